import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Backups that build on others. */
export const incrementals: Migration = {
  name: '0019-incrementals',
  async up({ queryInterface, transaction }) {
    const name = { type: DataTypes.STRING(64), allowNull: true };
    const columns = {
      backups: {
        archiveId: name,
        parentArchiveId: name,
        chainArchiveId: name,
        chainPosition: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
      },
      backup_configs: {
        incremental: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
        fullEveryDays: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 7 },
      },
    };
    for (const [table, added] of Object.entries(columns)) {
      for (const [column, type] of Object.entries(added)) {
        await queryInterface.addColumn(table, column, type, { transaction });
      }
    }
    await queryInterface.sequelize.query(`UPDATE backups SET "archiveId" = id WHERE "backupType" <> 'UPLOADED'`, {
      transaction,
    });
    await queryInterface.addIndex('backups', ['archiveId'], { transaction });
    await queryInterface.addIndex('backups', ['chainArchiveId'], { transaction });
  },
};

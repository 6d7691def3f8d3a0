import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Verifications are runs with rows of their own. The level that extracts the database is called CONTENT. */
export const verifications: Migration = {
  name: '0026-verifications',
  async up({ sequelize, queryInterface, transaction }) {
    const optional = (type: unknown) => ({ type: type as typeof DataTypes.TEXT, allowNull: true });
    const list = { type: DataTypes.JSON, allowNull: false, defaultValue: [] };
    const flag = { type: DataTypes.BOOLEAN, allowNull: false };
    await queryInterface.createTable(
      'verifications',
      {
        id: { type: DataTypes.STRING(64), primaryKey: true },
        backupId: { type: DataTypes.STRING(64), allowNull: false, references: { model: 'backups', key: 'id' } },
        configId: {
          ...optional(DataTypes.INTEGER),
          references: { model: 'backup_configs', key: 'id' },
          onDelete: 'SET NULL',
        },
        level: { type: DataTypes.STRING(16), allowNull: false },
        destinationId: optional(DataTypes.INTEGER),
        queued: flag,
        bytes: { type: DataTypes.BIGINT, allowNull: false },
        status: { type: DataTypes.STRING(32), allowNull: false },
        progress: { type: DataTypes.DOUBLE, allowNull: false, defaultValue: 0 },
        bytesDone: optional(DataTypes.BIGINT),
        bytesTotal: optional(DataTypes.BIGINT),
        phase: optional(DataTypes.STRING(32)),
        phases: list,
        errorCode: optional(DataTypes.STRING(64)),
        errorMessage: optional(DataTypes.TEXT),
        errorHint: optional(DataTypes.TEXT),
        warnings: list,
        cancelRequested: { ...flag, defaultValue: false },
        leaseHolder: optional(DataTypes.STRING(100)),
        createdBy: optional(DataTypes.STRING(320)),
        createdAt: { type: DataTypes.DATE, allowNull: false },
        startedAt: optional(DataTypes.DATE),
        completedAt: optional(DataTypes.DATE),
      },
      { transaction },
    );
    const indexes: [table: string, columns: string[]][] = [
      ['verifications', ['createdAt', 'id']],
      ['verifications', ['status', 'createdAt', 'id']],
      ['verifications', ['configId', 'createdAt', 'id']],
      ['verifications', ['backupId', 'createdAt', 'id']],
      // What was verified longest ago is found without reading all copies.
      ['stored_objects', ['verifiedAt']],
    ];
    for (const [table, columns] of indexes) await queryInterface.addIndex(table, columns, { transaction });
    await sequelize.query(`UPDATE backups SET "verificationLevel" = 'CONTENT' WHERE "verificationLevel" = 'DRILL'`, {
      transaction,
    });
  },
};

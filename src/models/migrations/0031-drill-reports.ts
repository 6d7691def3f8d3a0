import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** When the backups of a config are drilled by themselves, and the signed reports of drills. */
export const drillReports: Migration = {
  name: '0031-drill-reports',
  async up({ queryInterface, transaction }) {
    const add = (column: string, type: unknown) =>
      queryInterface.addColumn(
        'backup_configs',
        column,
        { type: type as typeof DataTypes.TEXT, allowNull: true },
        { transaction },
      );
    await add('drillSchedule', DataTypes.STRING(200));
    await add('nextDrillAt', DataTypes.DATE);
    const text = { type: DataTypes.TEXT, allowNull: true };
    await queryInterface.addColumn('verifications', 'report', text, { transaction });
    await queryInterface.addColumn('verifications', 'reportSignature', text, { transaction });
    await queryInterface.createTable(
      'signing_keys',
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        publicKey: { type: DataTypes.TEXT, allowNull: false },
        secret: text,
        createdAt: { type: DataTypes.DATE, allowNull: false },
      },
      { transaction },
    );
    // What is due, and the newest drill of a config, are found without reading all.
    await queryInterface.addIndex('backup_configs', ['nextDrillAt'], { transaction });
    await queryInterface.addIndex('verifications', ['level', 'configId', 'createdAt', 'id'], { transaction });
  },
};

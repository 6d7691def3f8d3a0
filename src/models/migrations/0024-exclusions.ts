import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Tables that the backups of a config leave out. */
export const exclusions: Migration = {
  name: '0024-exclusions',
  async up({ queryInterface, transaction }) {
    const patterns = { type: DataTypes.JSON, allowNull: false, defaultValue: [] };
    await queryInterface.addColumn('backup_configs', 'excludeTables', patterns, { transaction });
    await queryInterface.addColumn('backup_configs', 'excludeTableData', patterns, { transaction });
    const excluded = { type: DataTypes.JSON, allowNull: true };
    await queryInterface.addColumn('backups', 'excluded', excluded, { transaction });
  },
};

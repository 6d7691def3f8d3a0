import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Verifications that restore: what they found, how long that took, and the command of a config that judges it. */
export const drills: Migration = {
  name: '0030-drills',
  async up({ queryInterface, transaction }) {
    const add = (table: string, column: string, type: unknown) =>
      queryInterface.addColumn(
        table,
        column,
        { type: type as typeof DataTypes.TEXT, allowNull: true },
        { transaction },
      );
    await add('backup_configs', 'drillCommand', DataTypes.STRING(200));
    await add('verifications', 'restoreSeconds', DataTypes.DOUBLE);
    await add('verifications', 'drill', DataTypes.JSON);
  },
};

import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** When the backups of a config are drilled by themselves. */
export const drillSchedules: Migration = {
  name: '0031-drill-schedules',
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
    // What is due, and the newest drill of a config, are found without reading all.
    await queryInterface.addIndex('backup_configs', ['nextDrillAt'], { transaction });
    await queryInterface.addIndex('verifications', ['level', 'configId', 'createdAt', 'id'], { transaction });
  },
};

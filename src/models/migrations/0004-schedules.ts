import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

const number = { type: DataTypes.INTEGER, allowNull: true };
const moment = { type: DataTypes.DATE, allowNull: true };

/** When each config is due, its keep-rules, and which attempt of which due time a backup is. */
export const schedules: Migration = {
  name: '0004-schedules',
  async up({ queryInterface, transaction }) {
    const columns = {
      keepLast: number,
      keepHourly: number,
      keepDaily: number,
      keepWeekly: number,
      keepMonthly: number,
      keepYearly: number,
      keepWithin: { type: DataTypes.STRING(32), allowNull: true },
      maxTotalSize: { type: DataTypes.BIGINT, allowNull: true },
      jitterSeconds: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
      nextRunAt: moment,
      retryAt: moment,
      retryAttempt: number,
      retryDueAt: moment,
    };
    for (const [name, column] of Object.entries(columns)) {
      await queryInterface.addColumn('backup_configs', name, column, { transaction });
    }
    await queryInterface.addColumn(
      'backups',
      'attempt',
      { ...number, allowNull: false, defaultValue: 1 },
      { transaction },
    );
    await queryInterface.addColumn('backups', 'dueAt', moment, { transaction });
    const person = { type: DataTypes.STRING(320), allowNull: true };
    await queryInterface.addColumn('backups', 'pinnedBy', person, { transaction });
    await queryInterface.addIndex('backup_configs', ['nextRunAt'], { transaction });
    await queryInterface.addIndex('backup_configs', ['retryAt'], { transaction });
  },
};

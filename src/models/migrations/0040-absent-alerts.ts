import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Since when a problem is not found any more: one that comes and goes is told of once. */
export const absentAlerts: Migration = {
  name: '0040-absent-alerts',
  async up({ queryInterface, transaction }) {
    const column = { type: DataTypes.DATE, allowNull: true };
    await queryInterface.addColumn('alerts', 'absentSince', column, { transaction });
  },
};

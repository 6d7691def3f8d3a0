import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Full backups that were made of a chain. */
export const consolidations: Migration = {
  name: '0022-consolidations',
  async up({ queryInterface, transaction }) {
    const name = { type: DataTypes.STRING(64), allowNull: true };
    await queryInterface.addColumn('backups', 'consolidates', name, { transaction });
    await queryInterface.addIndex('backups', ['consolidates'], { transaction });
  },
};

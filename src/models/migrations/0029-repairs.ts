import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Restores that bring single rows back: which. */
export const repairs: Migration = {
  name: '0029-repairs',
  async up({ queryInterface, transaction }) {
    await queryInterface.addColumn('restores', 'repair', { type: DataTypes.JSON, allowNull: true }, { transaction });
  },
};

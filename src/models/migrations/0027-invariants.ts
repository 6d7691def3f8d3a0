import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Queries with expected answers: of a config, and what they came to in its backups. */
export const invariants: Migration = {
  name: '0027-invariants',
  async up({ queryInterface, transaction }) {
    const list = { type: DataTypes.JSON, allowNull: false, defaultValue: [] };
    for (const table of ['backup_configs', 'backups', 'verifications']) {
      await queryInterface.addColumn(table, 'invariants', list, { transaction });
    }
  },
};

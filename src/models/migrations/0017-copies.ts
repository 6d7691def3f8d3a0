import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Archives are copied to further destinations, and what fails there is tried again. */
export const copies: Migration = {
  name: '0017-copies',
  async up({ queryInterface, transaction }) {
    const date = { type: DataTypes.DATE, allowNull: true };
    const columns = {
      backup_configs: {
        copyTo: { type: DataTypes.JSON, allowNull: false, defaultValue: [] },
        minimumCopies: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 1 },
      },
      stored_objects: {
        attempts: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
        nextTryAt: date,
        gaveUpAt: date,
      },
    };
    for (const [table, added] of Object.entries(columns)) {
      for (const [name, column] of Object.entries(added)) {
        await queryInterface.addColumn(table, name, column, { transaction });
      }
    }
    await queryInterface.addIndex('stored_objects', ['nextTryAt'], { transaction });
    await queryInterface.addIndex('stored_objects', ['gaveUpAt'], { transaction });
  },
};

import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** How many bytes of its present phase a run has done, and of how many. */
export const bytes: Migration = {
  name: '0005-bytes',
  async up({ queryInterface, transaction }) {
    const column = { type: DataTypes.BIGINT, allowNull: true };
    for (const table of ['backups', 'restores']) {
      await queryInterface.addColumn(table, 'bytesDone', column, { transaction });
      await queryInterface.addColumn(table, 'bytesTotal', column, { transaction });
    }
  },
};

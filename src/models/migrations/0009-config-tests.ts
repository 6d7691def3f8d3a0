import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** What failed when a config was saved although it does not work, and where the media folders of an older machine are now. */
export const configTests: Migration = {
  name: '0009-config-tests',
  async up({ queryInterface, transaction }) {
    const column = { type: DataTypes.JSON, allowNull: true };
    await queryInterface.addColumn('backup_configs', 'testError', column, { transaction });
    await queryInterface.addColumn('backup_configs', 'mediaMoved', column, { transaction });
  },
};

import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** What a webhook sends in place of the notice. */
export const channelTemplates: Migration = {
  name: '0041-channel-templates',
  async up({ queryInterface, transaction }) {
    const column = { type: DataTypes.TEXT, allowNull: true };
    await queryInterface.addColumn('channels', 'template', column, { transaction });
  },
};

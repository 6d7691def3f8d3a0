import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Why a channel lost a message. */
export const lostMessages: Migration = {
  name: '0036-lost-messages',
  async up({ queryInterface, transaction }) {
    const column = { type: DataTypes.TEXT, allowNull: true };
    await queryInterface.addColumn('channels', 'lostError', column, { transaction });
  },
};

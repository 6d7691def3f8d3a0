import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Backups of damaged databases, and what a request allows of them. */
export const damage: Migration = {
  name: '0010-damage',
  async up({ queryInterface, transaction }) {
    const flag = { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false };
    await queryInterface.addColumn('backups', 'damaged', flag, { transaction });
    await queryInterface.addColumn('backups', 'allowDamaged', flag, { transaction });
    await queryInterface.addColumn('restores', 'rebuildIndexes', flag, { transaction });
  },
};

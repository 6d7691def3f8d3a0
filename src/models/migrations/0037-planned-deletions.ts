import { DataTypes, Op } from 'sequelize';
import type { Migration } from './migration.js';

/** Deletions that wait: when, and whether a policy wants them. */
export const plannedDeletions: Migration = {
  name: '0037-planned-deletions',
  async up({ queryInterface, transaction }) {
    const add = (name: string, type: typeof DataTypes.DATE | typeof DataTypes.BOOLEAN) =>
      queryInterface.addColumn('backups', name, { type, allowNull: true }, { transaction });
    await add('deleteAfter', DataTypes.DATE);
    await add('deleteByPolicy', DataTypes.BOOLEAN);
    const where = { deleteAfter: { [Op.ne]: null } };
    await queryInterface.addIndex('backups', {
      fields: ['deleteAfter'],
      name: 'backups_delete_after',
      where,
      transaction,
    });
  },
};

import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** For how long each lease was taken: one that ends later than that from now was written by a clock that was ahead. */
export const leaseLifetime: Migration = {
  name: '0008-lease-lifetime',
  async up({ queryInterface, transaction }) {
    const lifetime = { type: DataTypes.BIGINT, allowNull: true };
    await queryInterface.addColumn('leases', 'lifetime', lifetime, { transaction });
  },
};

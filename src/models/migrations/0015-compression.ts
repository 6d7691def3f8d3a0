import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** How the archives of a config are compressed. */
export const compression: Migration = {
  name: '0015-compression',
  async up({ queryInterface, transaction }) {
    const method = { type: DataTypes.STRING(16), allowNull: false, defaultValue: 'DEFLATE' };
    const level = { type: DataTypes.INTEGER, allowNull: false, defaultValue: 1 };
    await queryInterface.addColumn('backup_configs', 'compression', method, { transaction });
    await queryInterface.addColumn('backup_configs', 'compressionLevel', level, { transaction });
  },
};

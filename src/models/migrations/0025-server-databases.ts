import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Databases of protected servers that no config backs up, and which configs take such databases in. */
export const serverDatabases: Migration = {
  name: '0025-server-databases',
  async up({ queryInterface, transaction }) {
    const pattern = { type: DataTypes.STRING(300), allowNull: true };
    await queryInterface.addColumn('backup_configs', 'autoInclude', pattern, { transaction });
    const date = { type: DataTypes.DATE, allowNull: true };
    await queryInterface.createTable(
      'server_databases',
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        databaseKey: { type: DataTypes.TEXT, allowNull: false },
        name: { type: DataTypes.TEXT, allowNull: false },
        configId: { type: DataTypes.INTEGER, allowNull: true },
        foundAt: date,
        declinedAt: date,
        problem: { type: DataTypes.TEXT, allowNull: true },
      },
      { transaction },
    );
    await queryInterface.addIndex('server_databases', ['databaseKey'], { unique: true, transaction });
  },
};

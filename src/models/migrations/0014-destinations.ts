import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** A destination is a named place with settings and sealed secrets, and remembers how its last check went. */
export const destinations: Migration = {
  name: '0014-destinations',
  async up({ sequelize, queryInterface, transaction }) {
    const text = { type: DataTypes.TEXT, allowNull: true };
    const date = { type: DataTypes.DATE, allowNull: true };
    const columns = {
      name: { type: DataTypes.STRING(200), allowNull: true },
      offline: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
      settings: { type: DataTypes.JSON, allowNull: true },
      secrets: text,
      free: { type: DataTypes.BIGINT, allowNull: true },
      lastCheckedAt: date,
      checkError: { type: DataTypes.JSON, allowNull: true },
      deletedAt: date,
    };
    for (const [name, column] of Object.entries(columns)) {
      await queryInterface.addColumn('destinations', name, column, { transaction });
    }
    await queryInterface.addIndex('destinations', ['name'], { unique: true, transaction });
    // Every config's place is a destination from the start, not only from its first backup on.
    await sequelize.query(
      `INSERT INTO destinations ("storageType", "storagePath", offline)
       SELECT DISTINCT c."storageType", c."storagePath", false FROM backup_configs c
       WHERE NOT EXISTS (SELECT 1 FROM destinations d
         WHERE d."storageType" = c."storageType" AND d."storagePath" = c."storagePath")`,
      { transaction },
    );
  },
};

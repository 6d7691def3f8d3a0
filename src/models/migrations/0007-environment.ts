import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Where a config comes from, and which settings were last taken from the environment. */
export const environment: Migration = {
  name: '0007-environment',
  async up({ sequelize, queryInterface, transaction }) {
    const origin = { type: DataTypes.STRING(16), allowNull: true };
    await queryInterface.addColumn('backup_configs', 'origin', origin, { transaction });
    await queryInterface.addColumn(
      'backup_configs',
      'environment',
      { type: DataTypes.JSON, allowNull: true },
      { transaction },
    );
    const statements = [
      `UPDATE backup_configs SET origin = 'SAMPLE'
        WHERE name = 'Sample application' AND "databaseUrl" LIKE 'sqlite:%sample_db.sqlite3'`,
      // What such a config was made of is not known any more, so its differences are shown and never overwritten.
      `UPDATE backup_configs SET origin = 'ENVIRONMENT', environment = '{}'
        WHERE origin IS NULL AND CAST(id AS VARCHAR(20)) IN
          (SELECT subject FROM audit_events WHERE action = 'config.create' AND actor = 'system')`,
    ];
    for (const statement of statements) await sequelize.query(statement, { transaction });
  },
};

import { randomUUID } from 'node:crypto';
import { DataTypes, QueryTypes } from 'sequelize';
import type { Migration } from './migration.js';

/**
 * Which application a config protects and a backup was made of. Backups that were made here are of their config's
 * application; what was uploaded before does not say.
 */
export const origins: Migration = {
  name: '0006-origins',
  async up({ sequelize, queryInterface, transaction }) {
    const id = { type: DataTypes.STRING(36), allowNull: true };
    await queryInterface.addColumn('backup_configs', 'applicationId', id, { transaction });
    const prefix = { type: DataTypes.STRING(40), allowNull: true };
    await queryInterface.addColumn('backup_configs', 'archivePrefix', prefix, { transaction });
    await queryInterface.addColumn('backups', 'applicationId', id, { transaction });
    await queryInterface.addColumn('backups', 'origin', { type: DataTypes.JSON, allowNull: true }, { transaction });
    const configs = await sequelize.query<{ id: number }>('SELECT id FROM backup_configs', {
      type: QueryTypes.SELECT,
      transaction,
    });
    for (const config of configs) {
      const replacements = { config: config.id, application: randomUUID() };
      await sequelize.query('UPDATE backup_configs SET "applicationId" = :application WHERE id = :config', {
        replacements,
        transaction,
      });
      await sequelize.query(
        `UPDATE backups SET "applicationId" = :application WHERE "configId" = :config AND "backupType" IN ('MANUAL', 'AUTO')`,
        { replacements, transaction },
      );
    }
    await queryInterface.addIndex('backup_configs', ['applicationId'], { transaction });
  },
};

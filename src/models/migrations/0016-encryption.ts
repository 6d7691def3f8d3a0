import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Keys that archives are sealed for, and what a sealed archive is known by. */
export const encryption: Migration = {
  name: '0016-encryption',
  async up({ queryInterface, transaction }) {
    const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
    const date = { type: DataTypes.DATE, allowNull: true };
    await queryInterface.createTable(
      'encryption_keys',
      {
        id,
        name: { type: DataTypes.STRING(200), allowNull: false, unique: true },
        recipient: { type: DataTypes.STRING(100), allowNull: true, unique: true },
        secret: { type: DataTypes.TEXT, allowNull: true },
        createdAt: { type: DataTypes.DATE, allowNull: false },
        lastUsedAt: date,
      },
      { transaction },
    );
    const keyId = {
      type: DataTypes.INTEGER,
      primaryKey: true,
      references: { model: 'encryption_keys', key: 'id' },
      onDelete: 'CASCADE',
    };
    for (const [table, owner, type, model] of [
      ['config_keys', 'configId', DataTypes.INTEGER, 'backup_configs'],
      ['backup_keys', 'backupId', DataTypes.STRING(64), 'backups'],
    ] as const) {
      const references = { model, key: 'id' };
      const column = { type, primaryKey: true, references, onDelete: 'CASCADE' };
      await queryInterface.createTable(table, { [owner]: column, keyId }, { transaction });
      await queryInterface.addIndex(table, ['keyId'], { transaction });
    }
    const text = { type: DataTypes.TEXT, allowNull: true };
    // SHA-256 of the header of the sealed archive, hex: no two archives have the same.
    await queryInterface.addColumn(
      'backups',
      'sealHeader',
      { type: DataTypes.STRING(64), allowNull: true },
      { transaction },
    );
    await queryInterface.addColumn('restores', 'sealedFileKey', text, { transaction });
  },
};

import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Tokens that programs use in place of a login. */
export const apiTokens: Migration = {
  name: '0034-api-tokens',
  async up({ queryInterface, transaction }) {
    const date = { type: DataTypes.DATE, allowNull: true };
    await queryInterface.createTable(
      'api_tokens',
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        name: { type: DataTypes.STRING(100), allowNull: false },
        scopes: { type: DataTypes.JSON, allowNull: false },
        tokenHash: { type: DataTypes.STRING(64), allowNull: false },
        userId: { type: DataTypes.INTEGER, allowNull: true },
        createdBy: { type: DataTypes.STRING(320), allowNull: false },
        createdAt: { type: DataTypes.DATE, allowNull: false },
        expiresAt: date,
        lastUsedAt: date,
      },
      { transaction },
    );
    await queryInterface.addIndex('api_tokens', ['tokenHash'], { unique: true, transaction });
    await queryInterface.addIndex('api_tokens', ['name'], { unique: true, transaction });
  },
};

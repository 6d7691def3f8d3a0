import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Backups of the control database itself, one row for each destination that one lies in. */
export const controlBackups: Migration = {
  name: '0018-control-backups',
  async up({ queryInterface, transaction }) {
    const text = { type: DataTypes.TEXT, allowNull: true };
    await queryInterface.createTable(
      'control_backups',
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        destinationId: { type: DataTypes.INTEGER, allowNull: false },
        name: { type: DataTypes.STRING(100), allowNull: false },
        size: { type: DataTypes.BIGINT, allowNull: true },
        createdAt: { type: DataTypes.DATE, allowNull: false },
        errorCode: { type: DataTypes.STRING(64), allowNull: true },
        errorMessage: text,
        errorHint: text,
      },
      { transaction },
    );
    await queryInterface.addIndex('control_backups', ['destinationId'], { transaction });
  },
};

import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Channels, the messages that wait for them, and the problems that they were told of. */
export const notifications: Migration = {
  name: '0032-notifications',
  async up({ queryInterface, transaction }) {
    const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
    const text = { type: DataTypes.TEXT, allowNull: false };
    const date = { type: DataTypes.DATE, allowNull: false };
    const json = { type: DataTypes.JSON, allowNull: false };
    await queryInterface.createTable(
      'channels',
      {
        id,
        name: { type: DataTypes.STRING(200), allowNull: false, unique: true },
        kind: { type: DataTypes.STRING(32), allowNull: false },
        target: text,
        sealed: { type: DataTypes.TEXT, allowNull: true },
        events: json,
        configIds: json,
        digestAt: { type: DataTypes.DATE, allowNull: true },
        lastDeliveryAt: { type: DataTypes.DATE, allowNull: true },
        lastError: { type: DataTypes.TEXT, allowNull: true },
        createdAt: date,
      },
      { transaction },
    );
    await queryInterface.createTable(
      'alerts',
      {
        cause: { type: DataTypes.STRING(200), primaryKey: true },
        token: { type: DataTypes.STRING(36), allowNull: false },
        event: { type: DataTypes.STRING(32), allowNull: false },
        configId: {
          type: DataTypes.INTEGER,
          allowNull: true,
          references: { model: 'backup_configs', key: 'id' },
          onDelete: 'CASCADE',
        },
        backupId: { type: DataTypes.STRING(64), allowNull: true },
        fromStatus: { type: DataTypes.BOOLEAN, allowNull: false },
        notice: json,
        openedAt: date,
        notifiedAt: date,
      },
      { transaction },
    );
    await queryInterface.createTable(
      'deliveries',
      {
        id,
        channelId: {
          type: DataTypes.INTEGER,
          allowNull: false,
          references: { model: 'channels', key: 'id' },
          onDelete: 'CASCADE',
        },
        content: json,
        tries: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
        nextTryAt: date,
        createdAt: date,
      },
      { transaction },
    );
    await queryInterface.addIndex('deliveries', ['channelId', 'id'], { transaction });
  },
};

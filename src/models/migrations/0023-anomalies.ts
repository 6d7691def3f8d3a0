import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** What backups are compared by, and those that are unlike the ones before them. */
export const anomalies: Migration = {
  name: '0023-anomalies',
  async up({ sequelize, queryInterface, transaction }) {
    const flag = { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false };
    const columns = {
      anomalies: { type: DataTypes.JSON, allowNull: false, defaultValue: [] },
      suspicious: flag,
      anomaliesAcknowledgedAt: { type: DataTypes.DATE, allowNull: true },
      facts: { type: DataTypes.JSON, allowNull: true },
      normal: { type: DataTypes.JSON, allowNull: true },
    };
    for (const [name, column] of Object.entries(columns)) {
      await queryInterface.addColumn('backups', name, column, { transaction });
    }
    // The status asks for them every few seconds, and there are hardly ever any.
    await sequelize.query(`CREATE INDEX backups_suspicious ON backups ("configId", id) WHERE suspicious`, {
      transaction,
    });
  },
};

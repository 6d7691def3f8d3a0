import { DataTypes } from 'sequelize';
import type { Migration } from './migration.js';

/** Failed logins of the present window, per e-mail and per address. Times are milliseconds of the database's clock. */
export const loginLimits: Migration = {
  name: '0012-login-limits',
  async up({ queryInterface, transaction }) {
    await queryInterface.createTable(
      'login_limits',
      {
        key: { type: DataTypes.STRING(400), primaryKey: true },
        tries: { type: DataTypes.INTEGER, allowNull: false },
        expiresAt: { type: DataTypes.BIGINT, allowNull: false },
      },
      { transaction },
    );
    await queryInterface.addIndex('login_limits', ['expiresAt'], { transaction });
  },
};

import type { QueryInterface, Sequelize, Transaction } from 'sequelize';

/** What a migration works with: everything it does goes through the one transaction. */
export interface MigrationContext {
  sequelize: Sequelize;
  queryInterface: QueryInterface;
  transaction: Transaction;
}

/** One step of the control database's schema. Steps are never changed once released; there is no way down but a backup. */
export interface Migration {
  name: string;
  up(context: MigrationContext): Promise<void>;
}

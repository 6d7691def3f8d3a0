import { type QueryInterface, QueryTypes, type Sequelize, Transaction } from 'sequelize';
import { Umzug } from 'umzug';
import { AppError } from '../errors.js';
import { initial } from './migrations/0001-initial.js';
import { jobs } from './migrations/0002-jobs.js';
import { lists } from './migrations/0003-lists.js';

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

const MIGRATIONS: Migration[] = [initial, jobs, lists];

/**
 * Brings the control database to the present version. All steps run in one transaction that holds the write lock, so
 * of several processes that start at once one migrates and the others find it done, and a failed step leaves nothing.
 * @returns the names of the steps that ran
 * @throws AppError CONTROL_DATABASE_FAILED, also when the database was written by a newer version
 */
export async function migrate(sequelize: Sequelize): Promise<string[]> {
  return sequelize.transaction({ type: Transaction.TYPES.IMMEDIATE }, async (transaction) => {
    if (sequelize.getDialect() === 'postgres') {
      await sequelize.query(`SELECT pg_advisory_xact_lock(hashtext('db-manager migrations'))`, { transaction });
    }
    await sequelize.query('CREATE TABLE IF NOT EXISTS migrations (name VARCHAR(100) PRIMARY KEY)', { transaction });
    const umzug = new Umzug<MigrationContext>({
      migrations: MIGRATIONS.map(({ name, up }) => ({ name, up: ({ context }) => up(context) })),
      context: { sequelize, queryInterface: sequelize.getQueryInterface(), transaction },
      storage: {
        async executed() {
          const rows = await sequelize.query<{ name: string }>('SELECT name FROM migrations ORDER BY name', {
            type: QueryTypes.SELECT,
            transaction,
          });
          return rows.map((row) => row.name);
        },
        async logMigration({ name }) {
          await sequelize.query('INSERT INTO migrations (name) VALUES (:name)', {
            replacements: { name },
            transaction,
          });
        },
        async unlogMigration({ name }) {
          await sequelize.query('DELETE FROM migrations WHERE name = :name', { replacements: { name }, transaction });
        },
      },
      logger: undefined,
    });
    const known = new Set(MIGRATIONS.map((step) => step.name));
    const newer = (await umzug.executed()).filter((step) => !known.has(step.name));
    if (newer.length > 0) {
      throw new AppError(
        'CONTROL_DATABASE_FAILED',
        `The control database was written by a newer version (${newer.map((step) => step.name).join(', ')}).`,
        { hint: 'Start the newer version of db-manager, or put a copy of the older control database back.' },
      );
    }
    return (await umzug.up()).map((step) => step.name);
  });
}

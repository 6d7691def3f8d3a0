import { QueryTypes, type Sequelize, Transaction } from 'sequelize';
import { AppError } from '../errors.js';
import type { Migration, MigrationContext } from './migrations/migration.js';
import { initial } from './migrations/0001-initial.js';
import { jobs } from './migrations/0002-jobs.js';
import { lists } from './migrations/0003-lists.js';
import { schedules } from './migrations/0004-schedules.js';
import { bytes } from './migrations/0005-bytes.js';
import { origins } from './migrations/0006-origins.js';
import { environment } from './migrations/0007-environment.js';
import { leaseLifetime } from './migrations/0008-lease-lifetime.js';
import { configTests } from './migrations/0009-config-tests.js';
import { damage } from './migrations/0010-damage.js';
import { storedObjects } from './migrations/0011-stored-objects.js';
import { loginLimits } from './migrations/0012-login-limits.js';
import { scale } from './migrations/0013-scale.js';
import { destinations } from './migrations/0014-destinations.js';
import { compression } from './migrations/0015-compression.js';
import { encryption } from './migrations/0016-encryption.js';
import { copies } from './migrations/0017-copies.js';
import { auditChain } from './migrations/0020-audit-chain.js';

const MIGRATIONS: Migration[] = [
  initial,
  jobs,
  lists,
  schedules,
  bytes,
  origins,
  environment,
  leaseLifetime,
  configTests,
  damage,
  storedObjects,
  loginLimits,
  scale,
  destinations,
  compression,
  encryption,
  copies,
  auditChain,
];

const TABLE = 'db_manager_migrations';

/**
 * Brings the control database to the present version. All steps run in one transaction that holds the write lock, so
 * of several processes that start at once one migrates and the others find it done, and a failed step leaves nothing.
 * @returns the names of the steps that ran
 * @throws AppError CONTROL_DATABASE_FAILED, also when the database was written by a newer version
 */
export async function migrate(sequelize: Sequelize): Promise<string[]> {
  if (await isUpToDate(sequelize)) return [];
  // Loading it takes longer than all else that opens a database does, and it is hardly ever needed.
  const { Umzug } = await import('umzug');
  return sequelize.transaction({ type: Transaction.TYPES.IMMEDIATE }, async (transaction) => {
    if (sequelize.getDialect() === 'postgres') {
      await sequelize.query(`SELECT pg_advisory_xact_lock(hashtext('db-manager migrations'))`, { transaction });
    }
    await assertOurs(sequelize, transaction);
    await sequelize.query(`CREATE TABLE IF NOT EXISTS ${TABLE} (name VARCHAR(100) PRIMARY KEY)`, { transaction });
    const executed = async () => {
      const rows = await sequelize.query<{ name: string }>(`SELECT name FROM ${TABLE} ORDER BY name`, {
        type: QueryTypes.SELECT,
        transaction,
      });
      return rows.map((row) => row.name);
    };
    const umzug = new Umzug<MigrationContext>({
      migrations: MIGRATIONS.map(({ name, up }) => ({ name, up: ({ context }) => up(context) })),
      context: { sequelize, queryInterface: sequelize.getQueryInterface(), transaction },
      storage: {
        executed,
        async logMigration({ name }) {
          await sequelize.query(`INSERT INTO ${TABLE} (name) VALUES (:name)`, {
            replacements: { name },
            transaction,
          });
        },
        async unlogMigration({ name }) {
          await sequelize.query(`DELETE FROM ${TABLE} WHERE name = :name`, { replacements: { name }, transaction });
        },
      },
      logger: undefined,
    });
    const known = new Set(MIGRATIONS.map((step) => step.name));
    const newer = (await executed()).filter((name) => !known.has(name));
    if (newer.length > 0) {
      throw new AppError(
        'CONTROL_DATABASE_FAILED',
        `The control database was written by a newer version (${newer.join(', ')}).`,
        { hint: 'Start the newer version of db-manager, or put a copy of the older control database back.' },
      );
    }
    return (await umzug.up()).map((step) => step.name);
  });
}

async function isUpToDate(sequelize: Sequelize): Promise<boolean> {
  const queries = sequelize.getQueryInterface();
  if (!(await queries.tableExists(TABLE))) return false;
  const rows = await sequelize.query<{ name: string }>(`SELECT name FROM ${TABLE}`, { type: QueryTypes.SELECT });
  const done = new Set(rows.map(({ name }) => name));
  return done.size === MIGRATIONS.length && MIGRATIONS.every(({ name }) => done.has(name));
}

/** Refuses a database in which another program's tables have our names. */
async function assertOurs(sequelize: Sequelize, transaction: Transaction): Promise<void> {
  const queries = sequelize.getQueryInterface();
  const exists = (table: string) => queries.tableExists(table, { transaction });
  if (await exists(TABLE)) return;
  for (const table of ['users', 'backups', 'backup_configs', 'restores', 'audit_events', 'leases', 'jobs']) {
    if (!(await exists(table))) continue;
    throw new AppError(
      'CONTROL_DATABASE_FAILED',
      `The control database already has a table "${table}" of another program.`,
      {
        hint: 'Give db-manager a database of its own: CONTROL_DATABASE_URL, or an empty DATA_DIR.',
      },
    );
  }
}

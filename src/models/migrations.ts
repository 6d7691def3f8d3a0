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
import { controlBackups } from './migrations/0018-control-backups.js';
import { incrementals } from './migrations/0019-incrementals.js';
import { auditChain } from './migrations/0020-audit-chain.js';
import { lookups } from './migrations/0021-lookups.js';
import { consolidations } from './migrations/0022-consolidations.js';
import { anomalies } from './migrations/0023-anomalies.js';
import { exclusions } from './migrations/0024-exclusions.js';
import { serverDatabases } from './migrations/0025-server-databases.js';
import { verifications } from './migrations/0026-verifications.js';
import { invariants } from './migrations/0027-invariants.js';
import { repairs } from './migrations/0029-repairs.js';
import { drills } from './migrations/0030-drills.js';
import { drillReports } from './migrations/0031-drill-reports.js';
import { notifications } from './migrations/0032-notifications.js';
import { apiTokens } from './migrations/0034-api-tokens.js';
import { lostMessages } from './migrations/0036-lost-messages.js';
import { plannedDeletions } from './migrations/0037-planned-deletions.js';
import { absentAlerts } from './migrations/0040-absent-alerts.js';
import { channelTemplates } from './migrations/0041-channel-templates.js';

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
  controlBackups,
  incrementals,
  auditChain,
  lookups,
  consolidations,
  anomalies,
  exclusions,
  serverDatabases,
  verifications,
  invariants,
  repairs,
  drills,
  drillReports,
  notifications,
  apiTokens,
  lostMessages,
  plannedDeletions,
  absentAlerts,
  channelTemplates,
];

const TABLE = 'db_manager_migrations';

/** All other tables, those first that refer to others. */
const TABLES = [
  'api_tokens',
  'deliveries',
  'alerts',
  'channels',
  'verifications',
  'restores',
  'backup_keys',
  'config_keys',
  'control_backups',
  'stored_objects',
  'backups',
  'encryption_keys',
  'destinations',
  'server_databases',
  'backup_configs',
  'users',
  'audit_events',
  'leases',
  'jobs',
  'login_limits',
];

/**
 * Brings the control database to the present version. All steps run in one transaction that holds the write lock, so
 * of several processes that start at once one migrates and the others find it done, and a failed step leaves nothing.
 * @returns the names of the steps that ran
 * @throws AppError CONTROL_DATABASE_FAILED, also when the database was written by a newer version
 */
export async function migrate(sequelize: Sequelize): Promise<string[]> {
  if (await isUpToDate(sequelize)) return [];
  return sequelize.transaction({ type: Transaction.TYPES.IMMEDIATE }, async (transaction) => {
    if (sequelize.getDialect() === 'postgres') {
      await sequelize.query(`SELECT pg_advisory_xact_lock(hashtext('db-manager migrations'))`, { transaction });
    }
    await assertOurs(sequelize, transaction);
    const steps = await stepsOf(sequelize, transaction);
    assertKnown(await executedSteps(sequelize, transaction));
    return (await steps.up()).map((step) => step.name);
  });
}

/**
 * Makes the control database anew, all in one transaction: its tables as the given steps leave them, what `fill` writes into
 * them, and then the steps that came later. Everything that was in it is lost.
 * @param names the steps that ran in the database that the content is from
 * @throws AppError CONTROL_DATABASE_FAILED if a newer version wrote that; what `fill` throws
 */
export async function remake(
  sequelize: Sequelize,
  names: readonly string[],
  fill: (transaction: Transaction) => Promise<void>,
): Promise<void> {
  assertKnown(names);
  await sequelize.transaction({ type: Transaction.TYPES.IMMEDIATE }, async (transaction) => {
    for (const table of [TABLE, ...TABLES]) {
      await sequelize.query(`DROP TABLE IF EXISTS ${table}`, { transaction });
    }
    const steps = await stepsOf(sequelize, transaction);
    await steps.up({ migrations: [...names] });
    await fill(transaction);
    await steps.up();
  });
}

/** The names of all steps, in their order. */
export const stepNames = (): string[] => MIGRATIONS.map(({ name }) => name);

/** The steps and what ran of them, all within one transaction. */
async function stepsOf(sequelize: Sequelize, transaction: Transaction) {
  // Loading it takes longer than all else that opens a database does, and it is hardly ever needed.
  const { Umzug } = await import('umzug');
  await sequelize.query(`CREATE TABLE IF NOT EXISTS ${TABLE} (name VARCHAR(100) PRIMARY KEY)`, { transaction });
  return new Umzug<MigrationContext>({
    migrations: MIGRATIONS.map(({ name, up }) => ({ name, up: ({ context }) => up(context) })),
    context: { sequelize, queryInterface: sequelize.getQueryInterface(), transaction },
    storage: {
      executed: () => executedSteps(sequelize, transaction),
      async logMigration({ name }) {
        await sequelize.query(`INSERT INTO ${TABLE} (name) VALUES (:name)`, { replacements: { name }, transaction });
      },
      async unlogMigration({ name }) {
        await sequelize.query(`DELETE FROM ${TABLE} WHERE name = :name`, { replacements: { name }, transaction });
      },
    },
    logger: undefined,
  });
}

/** @throws AppError CONTROL_DATABASE_FAILED if a step is of a newer version */
function assertKnown(names: readonly string[]): void {
  const known = new Set(stepNames());
  const newer = names.filter((name) => !known.has(name));
  if (newer.length === 0) return;
  throw new AppError(
    'CONTROL_DATABASE_FAILED',
    `The control database was written by a newer version (${newer.join(', ')}).`,
    { hint: 'Start the newer version of db-manager, or put a copy of the older control database back.' },
  );
}

async function executedSteps(sequelize: Sequelize, transaction: Transaction): Promise<string[]> {
  const rows = await sequelize.query<{ name: string }>(`SELECT name FROM ${TABLE} ORDER BY name`, {
    type: QueryTypes.SELECT,
    transaction,
  });
  return rows.map((row) => row.name);
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

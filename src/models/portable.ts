import { DataTypes, type Model, type ModelStatic, QueryTypes, type Sequelize, Transaction } from 'sequelize';
import { AppError } from '../errors.js';
import type { Models } from './index.js';
import { remake } from './migrations.js';
import { readPlain } from './plain.js';

/** The hash of a user whom no password lets in, until a new one is set. */
export const NO_PASSWORD = '';

/** What a row is in JSON. */
type Values = Record<string, unknown>;

/** A line of the portable form: a table begins, a row of it, or all ends. */
type Line =
  | { table: string; dates: string[]; json: string[] }
  | { row: Values }
  /** How many rows there were: what is cut off is known by its lack. */
  | { rows: number };

/** Rows are read and written in batches of so many. */
const BATCH = 200;

/**
 * The tables that are kept, those first that others refer to. Leases, jobs, login limits, alerts and messages that wait are of
 * the moment; API tokens are made anew, as no archive carries what lets a program in.
 */
export const KEPT_TABLES = [
  'users',
  'backup_configs',
  'server_databases',
  'encryption_keys',
  'destinations',
  'channels',
  'backups',
  'stored_objects',
  'config_keys',
  'backup_keys',
  'restores',
  'verifications',
  'signing_keys',
  'audit_events',
  'control_backups',
];

/**
 * The records of the control database as lines of JSON, the same whichever kind of database holds them. They are of one moment,
 * and no one who writes waits for it.
 * @param options `passwords`: false leaves the hashes of users' passwords out
 */
export async function* portableRecords(
  models: Models,
  { passwords = true }: { passwords?: boolean } = {},
): AsyncGenerator<string> {
  const isSqlite = models.sequelize.getDialect() === 'sqlite';
  const transaction = await models.sequelize.transaction({
    type: Transaction.TYPES.DEFERRED,
    ...(isSqlite ? {} : { isolationLevel: Transaction.ISOLATION_LEVELS.REPEATABLE_READ }),
  });
  try {
    let rows = 0;
    for (const table of KEPT_TABLES) {
      const model = modelOf(models, table);
      yield line(headOf(model));
      for await (const row of rowsOf(model, transaction)) {
        rows += 1;
        const isBare = !passwords && table === 'users';
        yield line({ row: isBare ? { ...row, passwordHash: NO_PASSWORD } : row });
      }
    }
    yield line({ rows });
  } finally {
    await transaction.rollback();
  }
}

function modelOf({ sequelize }: Models, table: string): ModelStatic<Model> {
  const model = Object.values(sequelize.models).find(({ tableName }) => tableName === table);
  if (model === undefined) throw new Error(`No model has the table ${table}.`);
  return model;
}

const line = (value: Line) => `${JSON.stringify(value)}\n`;

function headOf(model: ModelStatic<Model>): Line {
  const attributes = Object.entries(model.getAttributes());
  const named = (kind: abstract new () => unknown) =>
    attributes.filter(([, { type }]) => (type as unknown) instanceof kind).map(([name]) => name);
  return { table: model.tableName, dates: named(DataTypes.DATE), json: named(DataTypes.JSON) };
}

async function* rowsOf(model: ModelStatic<Model>, transaction: Transaction): AsyncGenerator<Values> {
  const order = model.primaryKeyAttributes.map((name): [string, string] => [name, 'ASC']);
  const columns = Object.keys(model.getAttributes());
  for (let offset = 0; ; offset += BATCH) {
    const rows = (await readPlain(model, columns as never[], { order, limit: BATCH, offset, transaction })) as Values[];
    yield* rows;
    if (rows.length < BATCH) return;
  }
}

/**
 * Makes the control database anew of such lines: all of it or nothing.
 * @param steps the migrations that ran in the database that they are of
 * @param change what each row becomes
 * @throws AppError CONTROL_DATABASE_FAILED, also if the lines are not whole; what `lines` throws
 */
export async function loadRecords(
  sequelize: Sequelize,
  steps: readonly string[],
  lines: AsyncIterable<string>,
  change: (table: string, row: Values) => Promise<Values>,
): Promise<void> {
  await remake(sequelize, steps, async (transaction) => {
    if (sequelize.getDialect() === 'sqlite') await sequelize.query('PRAGMA defer_foreign_keys = ON', { transaction });
    await insertAll(sequelize, lines, change, transaction);
    if (sequelize.getDialect() === 'postgres') await alignSequences(sequelize, transaction);
  });
}

async function insertAll(
  sequelize: Sequelize,
  lines: AsyncIterable<string>,
  change: (table: string, row: Values) => Promise<Values>,
  transaction: Transaction,
): Promise<void> {
  const queries = sequelize.getQueryInterface();
  let head: Extract<Line, { table: string }> | null = null;
  let waiting: Values[] = [];
  let count = 0;
  const insert = async () => {
    if (head !== null && waiting.length > 0) await queries.bulkInsert(head.table, waiting, { transaction });
    waiting = [];
  };
  for await (const text of lines) {
    const next = parsed(text);
    if ('rows' in next) {
      await insert();
      if (next.rows === count) return;
      break;
    }
    if ('table' in next) {
      await insert();
      if (!KEPT_TABLES.includes(next.table)) throw unreadable(`It names a table "${next.table}"`);
      head = next;
      continue;
    }
    if (head === null) break;
    count += 1;
    waiting.push(stored(await change(head.table, next.row), head));
    if (waiting.length === BATCH) await insert();
  }
  throw unreadable('Its records are not whole');
}

function parsed(text: string): Line {
  try {
    return JSON.parse(text) as Line;
  } catch (error) {
    throw unreadable('A line of its records is no JSON', error);
  }
}

/** The values as the database takes them. */
function stored(row: Values, { dates, json }: { dates: string[]; json: string[] }): Values {
  const entries = Object.entries(row).map(([name, value]): [string, unknown] => {
    if (value === null) return [name, null];
    if (dates.includes(name)) return [name, new Date(value as string)];
    return [name, json.includes(name) ? JSON.stringify(value) : value];
  });
  return Object.fromEntries(entries);
}

/** Rows came with their own numbers: the next ones go on behind them. */
async function alignSequences(sequelize: Sequelize, transaction: Transaction): Promise<void> {
  const columns = await sequelize.query<{ table: string; column: string }>(
    `SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns
     WHERE table_schema = current_schema() AND column_default LIKE 'nextval(%'`,
    { type: QueryTypes.SELECT, transaction },
  );
  for (const { table, column } of columns) {
    await sequelize.query(
      `SELECT setval(pg_get_serial_sequence('"${table}"', '${column}'), coalesce(max("${column}"), 0) + 1, false)
       FROM "${table}"`,
      { transaction },
    );
  }
}

const unreadable = (why: string, cause?: unknown) =>
  new AppError('CONTROL_DATABASE_FAILED', `The backup of the control database cannot be read: ${why}.`, {
    hint: 'Choose an older one with --control-backup, or none with --control-backup none.',
    cause,
  });

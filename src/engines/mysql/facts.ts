import type { AppVersion, Finding, ServerDatabase, TableInfo } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { isOurs } from '../beside.js';
import { type Connection, serverOf } from './connection.js';
import { qualified, quoted, STAMP_TABLE } from './names.js';
import { definitionOf } from './scan.js';
import { isServersOwn, type Place, urlBeside } from './url.js';

/** What a database holds beside its tables, which are those that the dump holds. */
export interface Facts {
  apps: AppVersion[];
  source: Record<string, string | number>;
  findings: Finding[];
}

/** A table as the server lists it. */
export interface ListedTable {
  name: string;
  /** BASE TABLE, VIEW, SEQUENCE, SYSTEM VERSIONED, … */
  type: string;
  engine: string;
}

/** All that stands in the place of a table, but what is ours. */
export async function listTables(connection: Connection, database: string): Promise<ListedTable[]> {
  const rows = await connection.rows<ListedTable>(
    `SELECT TABLE_NAME AS name, TABLE_TYPE AS type, COALESCE(ENGINE, '') AS engine
     FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME`,
    [database],
  );
  return rows.filter(({ name, type }) => name !== STAMP_TABLE && type !== 'TEMPORARY');
}

/** True for what holds rows of the application. */
export const holdsRows = ({ type }: ListedTable): boolean => type === 'BASE TABLE' || type === 'SYSTEM VERSIONED';

/** Bytes of rows and indexes, as the server estimates them. @param without tables that do not count */
export async function sizeOf(
  connection: Connection,
  database: string,
  without: ReadonlySet<string> = new Set(),
): Promise<number> {
  const rows = await connection.rows<{ name: string; bytes: string | number | null }>(
    `SELECT TABLE_NAME AS name, DATA_LENGTH + INDEX_LENGTH AS bytes FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = ?`,
    [database],
  );
  return rows.filter(({ name }) => !without.has(name)).reduce((sum, { bytes }) => sum + Number(bytes ?? 0), 0);
}

/** The tables with their rows as far as they can be counted until the deadline, in milliseconds since 1970; null: all. */
export async function tablesOf(
  connection: Connection,
  database: string,
  deadline: number | null,
): Promise<TableInfo[]> {
  const listed: TableInfo[] = [];
  for (const table of (await listTables(connection, database)).filter(holdsRows)) {
    const at = qualified(database, table.name);
    const [made] = await connection.rows<Record<string, string>>(`SHOW CREATE TABLE ${at}`);
    const isLate = deadline !== null && Date.now() > deadline;
    const [counted] = isLate
      ? []
      : await connection.rows<{ rows: string | number }>(`SELECT COUNT(*) AS \`rows\` FROM ${at}`);
    listed.push({
      name: table.name,
      rows: counted === undefined ? null : Number(counted.rows),
      ...definitionOf(made?.['Create Table'] ?? ''),
    });
  }
  return listed;
}

/** What the metadata note of a database, and what a user should know of it. */
export async function factsOf(connection: Connection, database: string): Promise<Facts> {
  const tables = await listTables(connection, database);
  const shape = await shapeOf(connection, database);
  return {
    apps: await djangoApps(connection, database, tables),
    source: { server: connection.kind, server_version: connection.text, ...shape },
    findings: [...looseFinding(tables), ...historyFinding(tables)],
  };
}

/** Character set and collation of a database; null if there is none. */
export async function shapeOf(
  connection: Connection,
  database: string,
): Promise<{ charset: string; collation: string } | null> {
  const [row] = await connection.rows<{ charset: string; collation: string }>(
    `SELECT DEFAULT_CHARACTER_SET_NAME AS charset, DEFAULT_COLLATION_NAME AS collation
     FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?`,
    [database],
  );
  return row === undefined ? null : { ...row };
}

function looseFinding(tables: ListedTable[]): Finding[] {
  const loose = tables.filter((table) => holdsRows(table) && !/^(InnoDB|RocksDB|TokuDB)$/i.test(table.engine));
  if (loose.length === 0) return [];
  const named = loose.slice(0, 3).map(({ name, engine }) => `${name} (${engine})`);
  const more = loose.length > 3 ? ` and ${loose.length - 3} more` : '';
  return [
    {
      kind: 'unchecked',
      table: loose.length === 1 ? (loose[0]?.name ?? null) : null,
      message: `${named.join(', ')}${more} have no transactions: what is written to them while a backup runs may be in it in part. Change them to InnoDB.`,
    },
  ];
}

function historyFinding(tables: ListedTable[]): Finding[] {
  const kept = tables.filter(({ type }) => type === 'SYSTEM VERSIONED');
  if (kept.length === 0) return [];
  const message = `Of ${kept.map(({ name }) => name).join(', ')} the rows of now are backed up, and not their history.`;
  return [{ kind: 'unchecked', table: null, message }];
}

async function djangoApps(connection: Connection, database: string, tables: ListedTable[]): Promise<AppVersion[]> {
  if (!tables.some((table) => table.name === 'django_migrations' && holdsRows(table))) return [];
  const columns = await connection.rows<{ name: string }>(
    `SELECT COLUMN_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = 'django_migrations'`,
    [database],
  );
  const names = new Set(columns.map(({ name }) => name));
  if (!['id', 'app', 'name'].every((name) => names.has(name))) return [];
  const table = qualified(database, 'django_migrations');
  const rows = await connection.rows<{ app: string; name: string }>(
    `SELECT app, name FROM ${table} WHERE id IN (SELECT MAX(id) FROM ${table} GROUP BY app) ORDER BY app`,
  );
  return rows.map(({ app, name }) => ({ app: String(app), latestMigration: String(name) }));
}

/** Rights on a database, by the name that GRANT gives them. `ALL PRIVILEGES` stands for all. */
export interface Rights {
  /** On the database, or on all. */
  own: Set<string>;
  /** On all databases. */
  all: Set<string>;
  /** True if the definitions of all routines may be read. */
  routines: boolean;
}

/** Reads what SHOW GRANTS answers. Rights on single tables do not count. */
export function readRights(grants: readonly string[], database: string): Rights {
  const rights: Rights = { own: new Set(), all: new Set(), routines: false };
  for (const grant of grants) {
    const [, given = '', on = ''] =
      /^GRANT (.+?) ON (?:TABLE )?((?:`(?:[^`]|``)+`|\*)\.(?:`(?:[^`]|``)+`|\*)) TO /i.exec(grant) ?? [];
    const names = given
      .replace(/\([^)]*\)/g, '')
      .split(',')
      .map((name) => name.trim().toUpperCase());
    const has = (name: string) => names.includes(name) || names.includes('ALL PRIVILEGES');
    if (on === '*.*') for (const name of names) rights.all.add(name);
    const pattern = /^`((?:[^`]|``)+)`\.\*$/.exec(on)?.[1];
    if (on === '*.*' || (pattern !== undefined && matches(pattern.replaceAll('``', '`'), database))) {
      for (const name of names) rights.own.add(name);
      if (has('SHOW_ROUTINE') || has('SHOW CREATE ROUTINE') || (on === '*.*' && has('SELECT'))) rights.routines = true;
    }
    if (/^`mysql`\.(\*|`proc`)$/i.test(on) && has('SELECT')) rights.routines = true;
  }
  return rights;
}

/** `%` and `_` in the name of a database stand for other characters, as in LIKE. */
function matches(pattern: string, database: string): boolean {
  const form = pattern.replace(/\\([%_\\])|([%_])|[.*+?^${}()|[\]\\]/g, (sign, escaped?: string, wild?: string) => {
    if (wild !== undefined) return wild === '%' ? '.*' : '.';
    return escaped === undefined ? `\\${sign}` : escaped.replace(/\\/, '\\\\');
  });
  return new RegExp(`^${form}$`, 'is').test(database);
}

/** What a right is missing of. */
export const lacking = (has: Set<string>, needed: readonly string[]): string[] =>
  has.has('ALL PRIVILEGES') ? [] : needed.filter((name) => !has.has(name));

const TO_READ = ['SELECT', 'SHOW VIEW', 'TRIGGER', 'EVENT'];
const TO_REPLACE = [
  ...['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER', 'INDEX', 'REFERENCES', 'LOCK TABLES'],
  ...['CREATE VIEW', 'SHOW VIEW', 'CREATE ROUTINE', 'ALTER ROUTINE', 'EXECUTE', 'TRIGGER', 'EVENT'],
];

async function rightsOf(connection: Connection, database: string): Promise<Rights & { account: string }> {
  const [me] = await connection.rows<{ account: string }>('SELECT CURRENT_USER() AS account');
  const rows = await connection.rows<Record<string, string>>('SHOW GRANTS');
  const at = (me?.account ?? '').lastIndexOf('@');
  const account = [me?.account.slice(0, at) ?? '', me?.account.slice(at + 1) ?? ''].map(quoted).join('@');
  return {
    ...readRights(
      rows.map((row) => Object.values(row)[0] ?? ''),
      database,
    ),
    account,
  };
}

/**
 * Fails unless the user may read all that a backup holds.
 * @throws AppError DATABASE_UNREADABLE with the statement that gives the rights
 */
export async function assertReadable(connection: Connection, place: Place): Promise<void> {
  const { database } = place;
  const { own, routines, account } = await rightsOf(connection, database);
  const missing = lacking(own, TO_READ);
  if (missing.length > 0) {
    throw denied(place, `lacks ${missing.join(', ')} on ${quoted(database)}`, [
      `GRANT ${missing.join(', ')} ON ${quoted(database)}.* TO ${account};`,
    ]);
  }
  if (routines) return;
  const right = connection.kind === 'MariaDB' ? 'SELECT ON `mysql`.`proc`' : 'SHOW_ROUTINE ON *.*';
  throw denied(place, 'must not read the stored procedures and functions of others', [`GRANT ${right} TO ${account};`]);
}

/**
 * Fails unless the user may replace the database.
 * @param beside the database that is filled first
 * @throws AppError DATABASE_UNREADABLE with the statements that give the rights
 */
export async function assertReplaceable(connection: Connection, place: Place, beside: string): Promise<void> {
  const { account, own } = await rightsOf(connection, place.database);
  const there = await rightsOf(connection, beside);
  const statements = [
    ...(lacking(own, TO_REPLACE).length > 0
      ? [`GRANT ALL PRIVILEGES ON ${quoted(place.database)}.* TO ${account};`]
      : []),
    ...(lacking(there.own, TO_REPLACE).length > 0 ? [`GRANT ALL PRIVILEGES ON \`dbm\\_%\`.* TO ${account};`] : []),
  ];
  if (statements.length === 0) return;
  const what = 'lacks rights that a restore takes, which fills a new database and then moves its tables';
  throw denied(place, what, statements);
}

const denied = (place: Place, what: string, statements: string[]) =>
  new AppError(
    'DATABASE_UNREADABLE',
    `The user ${quoted(place.user)} of ${serverOf(place).replace('The', 'the')} ${what}.`,
    { hint: `As an administrator, run: ${statements.join(' ')}` },
  );

/** What a user should know of a live database whose rows were not all counted. */
export function countFindings(tables: TableInfo[]): Finding[] {
  const uncounted = tables.filter(({ rows }) => rows === null).length;
  if (uncounted === 0) return [];
  const message = `The rows of ${uncounted} tables were not counted: that takes too long here. A backup counts all of them.`;
  return [{ kind: 'uncounted', table: null, message }];
}

/** As `Engine.databases`: those that the user may see. What a restore or a drill has made for itself is left out, too. */
export async function databasesOf(connection: Connection, place: Place): Promise<ServerDatabase[]> {
  const rows = await connection.rows<{ name: string; bytes: string | number | null }>(
    `SELECT s.SCHEMA_NAME AS name, SUM(t.DATA_LENGTH + t.INDEX_LENGTH) AS bytes FROM information_schema.SCHEMATA s
     LEFT JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = s.SCHEMA_NAME GROUP BY s.SCHEMA_NAME ORDER BY 1`,
  );
  return rows
    .filter(({ name }) => !isServersOwn(name) && !isOurs(name))
    .map(({ name, bytes }) => ({ name, url: urlBeside(place, name), bytes: Number(bytes ?? 0) }));
}

import { sqliteWords } from './connection.js';
import { createHash } from 'node:crypto';
import type { AppVersion, DatabaseInfo, Finding, TableInfo } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { readStart } from '../../file-locks.js';
import { isSqlError, type SqliteConnection } from './connection.js';
import { missingPart } from './missing.js';
import { STAMP_CONDITION } from './stamp.js';

/** `name` as SQL writes an identifier. */
export const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** Tables with row counts, Django's apps, and the file's own settings. Reads only. @throws the signal's reason, between tables */
export async function describeConnection(
  connection: SqliteConnection,
  signal?: AbortSignal,
): Promise<Pick<DatabaseInfo, 'tables' | 'apps' | 'source' | 'freeBytes' | 'findings'>> {
  const findings: Finding[] = [];
  const tables = await readTables(connection, findings, signal);
  const pageSize = await connection.value<number>('PRAGMA page_size');
  return {
    tables,
    apps: tables.some((table) => table.name === 'django_migrations') ? await djangoApps(connection) : [],
    source: {
      page_size: pageSize,
      journal_mode: await journalMode(connection),
      encoding: await connection.value<string>('PRAGMA encoding'),
      application_id: await connection.value<number>('PRAGMA application_id'),
      user_version: await connection.value<number>('PRAGMA user_version'),
      sqlite_version: await connection.value<string>('SELECT sqlite_version()'),
    },
    freeBytes: pageSize * (await connection.value<number>('PRAGMA freelist_count')),
    findings,
  };
}

/** A connection that may not write beside the file reports no WAL, so the file's own header is asked first. */
async function journalMode(connection: SqliteConnection): Promise<string> {
  const [version] = (await readStart(connection.path, 19)).subarray(18);
  return version === 2 ? 'wal' : connection.value<string>('PRAGMA journal_mode');
}

async function readTables(
  connection: SqliteConnection,
  findings: Finding[],
  signal?: AbortSignal,
): Promise<TableInfo[]> {
  const names = await connection.all<{ name: string; rootpage: number }>(
    `SELECT name, rootpage FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND NOT (${STAMP_CONDITION}) ORDER BY name`,
  );
  const tables: TableInfo[] = [];
  for (const { name, rootpage } of names) {
    signal?.throwIfAborted();
    let rows: number | null = null;
    try {
      rows = await connection.value<number>(`SELECT count(*) FROM ${quoted(name)}`);
    } catch (error) {
      findings.push(uncounted(name, rootpage === 0, error));
    }
    tables.push({ name, rows, ...(await shape(connection, name)) });
  }
  return tables;
}

/** Why a table could not be counted. @throws the error if it says nothing of the table */
function uncounted(table: string, virtual: boolean, error: unknown): Finding {
  const missing = missingPart(error);
  if (missing?.startsWith('module ')) {
    // A virtual table's content lies in its shadow tables, which are counted.
    const message = `Table ${table} belongs to a SQLite extension that is not loaded here; its rows were not counted.`;
    return { kind: 'uncounted', table, message };
  }
  if (missing !== null) {
    const message = `The rows of table ${table} were not counted: it needs the application's own ${missing}.`;
    return { kind: 'uncounted', table, message };
  }
  const damaged = error instanceof AppError && error.code === 'DATABASE_CORRUPT';
  if (!damaged && !isSqlError(error)) throw error;
  const message = `The rows of table ${table} could not be counted: ${(error as AppError).message}`;
  // The pages of a virtual table are those of its shadow tables.
  return { kind: damaged && !virtual ? 'pages' : 'uncounted', table, message };
}

/**
 * What is wrong with the foreign keys: rows that refer to nothing, definitions that do not fit the table that they refer to,
 * and what cannot be followed without the application's own parts.
 */
export async function foreignKeyFindings(connection: SqliteConnection): Promise<Finding[]> {
  const tables = await connection.all<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`,
  );
  const findings: Finding[] = [];
  for (const { name: table } of tables) {
    const problem = await foreignKeyProblem(connection, table);
    const messages = [...(await parentless(connection, table)), ...(problem === null ? [] : [problem])];
    findings.push(...messages.map((message): Finding => ({ kind: 'foreign-keys', table, message })));
  }
  return findings;
}

async function foreignKeyProblem(connection: SqliteConnection, table: string): Promise<string | null> {
  try {
    if (await refersOnlyToRows(connection, table)) return null;
    const broken = await connection.all('SELECT 1 FROM pragma_foreign_key_check(?) LIMIT 1', table);
    return broken.length > 0 ? `Rows of table ${table} refer to rows that are not there (foreign keys).` : null;
  } catch (error) {
    const missing = missingPart(error);
    if (missing !== null) {
      return `The foreign keys of table ${table} were not checked: they need the application's own ${missing}.`;
    }
    const damaged = error instanceof AppError && error.code === 'DATABASE_CORRUPT';
    if (!damaged && !isSqlError(error)) throw error;
    const { message } = error as AppError;
    const mismatch = /^foreign key mismatch - .* referencing "(.*)"$/s.exec(sqliteWords(error));
    if (mismatch === null) return `The foreign keys of table ${table} could not be checked: ${message}`;
    return (
      `A foreign key of table ${table} does not fit table ${mismatch[1]}: its columns there need a primary key or a ` +
      'unique index without a condition. SQLite refuses changes of both tables while it enforces foreign keys.'
    );
  }
}

/**
 * True if each foreign key of the table is one column with an index of its own and refers to a rowid, and every value is
 * there. Going through the index in its order takes a fraction of the time of SQLite's check, which goes through the rows.
 * @returns false also if that cannot be told so
 */
async function refersOnlyToRows(connection: SqliteConnection, table: string): Promise<boolean> {
  const keys = await connection.all<{ child: string; parent: string; target: string | null; columns: number }>(
    `SELECT "from" AS child, "table" AS parent, "to" AS target, count(*) AS columns FROM pragma_foreign_key_list(?) GROUP BY id`,
    table,
  );
  for (const { child, parent, target, columns } of keys) {
    const key = columns === 1 ? await rowidOf(connection, parent) : null;
    const index = key === null ? null : await indexOn(connection, table, child);
    if (key === null || index === null || (target ?? key).toLowerCase() !== key.toLowerCase()) return false;
    const lost = await connection.all(
      `SELECT 1 FROM (SELECT DISTINCT ${quoted(child)} AS value FROM ${quoted(table)} INDEXED BY ${quoted(index)})
       WHERE value IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ${quoted(parent)} AS parent WHERE parent.${quoted(key)} = value) LIMIT 1`,
    );
    if (lost.length > 0) return false;
  }
  return true;
}

/** The column of a table that is its rowid; null if there is none. */
async function rowidOf(connection: SqliteConnection, table: string): Promise<string | null> {
  const keys = await connection.all<{ name: string; type: string }>(
    `SELECT name, type FROM pragma_table_info(?) WHERE pk > 0
     AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk')`,
    table,
    table,
  );
  const [key] = keys;
  return keys.length === 1 && key?.type.toUpperCase() === 'INTEGER' ? key.name : null;
}

/** An index without a condition that begins with the column; null if there is none. */
async function indexOn(connection: SqliteConnection, table: string, column: string): Promise<string | null> {
  const [found] = await connection.all<{ name: string }>(
    `SELECT i.name FROM pragma_index_list(?) AS i JOIN pragma_index_info(i.name) AS c
     WHERE i.partial = 0 AND c.seqno = 0 AND c.name = ? COLLATE NOCASE LIMIT 1`,
    table,
    column,
  );
  return found?.name ?? null;
}

/** Foreign keys to tables that do not exist, of which SQLite's own check says nothing while the column holds no value. */
async function parentless(connection: SqliteConnection, table: string): Promise<string[]> {
  const absent = await connection.all<{ parent: string }>(
    `SELECT DISTINCT "table" AS parent FROM pragma_foreign_key_list(?)
     WHERE lower("table") NOT IN (SELECT lower(name) FROM sqlite_schema WHERE type IN ('table', 'view'))`,
    table,
  );
  return absent.map(({ parent }) => `A foreign key of table ${table} refers to table ${parent}, which does not exist.`);
}

async function shape(connection: SqliteConnection, table: string): Promise<Pick<TableInfo, 'schema' | 'references'>> {
  const parts = await connection.all<{ sql: string }>(
    'SELECT sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL ORDER BY type, name',
    table,
  );
  const foreign = await connection.all<{ table: string }>(
    'SELECT DISTINCT "table" FROM pragma_foreign_key_list(?)',
    table,
  );
  const hash = createHash('sha256').update(parts.map((part) => part.sql).join(';\n'));
  return { schema: hash.digest('hex').slice(0, 16), references: foreign.map((row) => row.table).sort() };
}

async function djangoApps(connection: SqliteConnection): Promise<AppVersion[]> {
  const columns = await connection.all<{ name: string }>(`SELECT name FROM pragma_table_info('django_migrations')`);
  const found = new Set(columns.map((column) => column.name));
  if (!['id', 'app', 'name'].every((column) => found.has(column))) return [];
  const rows = await connection.all<{ app: string; name: string }>(
    `SELECT app, name FROM django_migrations WHERE id IN (SELECT max(id) FROM django_migrations GROUP BY app) ORDER BY app`,
  );
  return rows.map(({ app, name }) => ({ app, latestMigration: name }));
}

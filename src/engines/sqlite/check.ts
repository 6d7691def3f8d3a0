import type { Finding } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { isSqlError, type SqliteConnection } from './connection.js';
import { findingsOf, type SchemaName } from './findings.js';
import { quoted } from './info.js';
import { unproven } from './index-shapes.js';
import { missingPart } from './missing.js';

/** SQLite's own checks: the full one also looks up every row in every index. */
type Level = 'quick_check' | 'integrity_check';

/** How many messages are read of one check; where there are more, each table is checked by itself. */
const MAX_MESSAGES = 10_000;

interface CheckedTable extends SchemaName {
  rootpage: number;
}

/** What a check of the pages has found. */
export interface CheckedPages {
  /** `pages` is damage, all else is derived or logical. */
  findings: Finding[];
  /** True if nothing is wrong so far, and the indexes are still to be compared with their tables: `checkIndexes`. */
  pending: boolean;
  /** False if they cannot be read at all. */
  readable: boolean;
}

/**
 * Checks the form of all pages and the types of every row; where anything is wrong, also each index against its table. SQLite
 * leaves CHECK conditions out of a schema that it may not write; they are the application's rules, and may call its
 * functions. The same list of checks serves backups, verifications and restores. What cannot be checked here, because the
 * application's own functions, collations or tokenizers are part of the schema, is checked as far as it goes.
 * @throws AppError if the file cannot be read; the signal's reason, between tables
 */
export async function checkPages(connection: SqliteConnection, signal?: AbortSignal): Promise<CheckedPages> {
  const quick = await wholeCheck(connection, 'quick_check');
  if (quick.complete && quick.messages.every((message) => message === 'ok'))
    return { findings: [], pending: true, readable: true };
  const schema = await schemaOf(connection);
  const whole = await wholeCheck(connection, 'integrity_check');
  const found = findingsOf(whole.messages, schema);
  if (whole.complete) return { findings: found, pending: false, readable: true };
  // The check of a single table leaves out what is wrong between tables: that comes first in the whole check.
  const findings = found.filter(isDamage);
  for (const table of tablesOf(schema)) {
    signal?.throwIfAborted();
    findings.push(...(await checkTable(connection, table, schema)));
  }
  if (!findings.some(isDamage)) findings.push(...(await damagedPages(connection)));
  return { findings, pending: false, readable: true };
}

/**
 * Compares every index with its table, in a database whose pages are in order.
 * @param connection to a private file
 * @throws as `checkPages`
 */
export async function checkIndexes(connection: SqliteConnection, signal?: AbortSignal): Promise<Finding[]> {
  const asked = await unproven(connection, signal);
  if (asked.size === 0) return [];
  const schema = await schemaOf(connection);
  const findings: Finding[] = [];
  for (const table of tablesOf(schema)) {
    signal?.throwIfAborted();
    if (asked.has(table.name)) findings.push(...(await checkTable(connection, table, schema)));
  }
  return findings;
}

const schemaOf = (connection: SqliteConnection) =>
  connection.all<CheckedTable>('SELECT type, name, tbl_name, rootpage FROM sqlite_schema');

const isDamage = ({ kind }: Finding) => kind === 'pages';

/** @throws AppError DATABASE_CORRUPT if the pages of the database are damaged @param what names it in the error */
export function assertUndamaged(findings: Finding[], what: string): void {
  const damage = findings.filter(isDamage);
  if (damage.length === 0) return;
  const words = damage.slice(0, 5).map(({ message }) => message);
  throw new AppError('DATABASE_CORRUPT', `${what} is damaged: ${words.join('; ')}`, {
    hint: 'Restore the newest verified backup. To keep the database as it is all the same, back up with allowDamaged: true (command line: --allow-damaged).',
  });
}

/** The messages of a check of the whole file; not complete if a table keeps it from running, or if there are too many. */
async function wholeCheck(
  connection: SqliteConnection,
  level: Level,
): Promise<{ messages: string[]; complete: boolean }> {
  const messages: string[] = [];
  try {
    const rows = connection.each<Record<string, string>>(`PRAGMA ${level}(${MAX_MESSAGES})`);
    for await (const row of rows) messages.push(row[level] ?? '');
    return { messages, complete: messages.length < MAX_MESSAGES };
  } catch (error) {
    if (!isCheckError(error)) throw error;
    return { messages, complete: false };
  }
}

/** Errors that say something about a table, not about the disk, the lock or the signal. */
const isCheckError = (error: unknown) =>
  isSqlError(error) || (error instanceof AppError && error.code === 'DATABASE_CORRUPT');

const tablesOf = (schema: CheckedTable[]): CheckedTable[] => [
  { type: 'table', name: 'sqlite_schema', tbl_name: 'sqlite_schema', rootpage: 1 },
  ...schema.filter(({ type }) => type === 'table').sort((one, other) => (one.name < other.name ? -1 : 1)),
];

async function checkTable(connection: SqliteConnection, table: CheckedTable, schema: SchemaName[]): Promise<Finding[]> {
  try {
    return findingsOf(await messagesOf(connection, 'integrity_check', table.name), schema);
  } catch (error) {
    if (!isCheckError(error)) throw error;
    return table.rootpage === 0
      ? [await uncheckedVirtual(connection, table.name, error as AppError)]
      : quickCheck(connection, table.name, error as AppError, schema);
  }
}

/** A virtual table's pages are those of its companions, which are checked as the tables that they are. */
async function uncheckedVirtual(connection: SqliteConnection, table: string, error: AppError): Promise<Finding> {
  const missing = missingPart(error) ?? (await missingTokenizer(connection, table));
  const message = missing === null ? unusable(table, error) : unchecked(table, missing);
  return { kind: 'unchecked', table, message };
}

/** Checks a table without its indexes, after its full check has failed. */
async function quickCheck(
  connection: SqliteConnection,
  table: string,
  cause: AppError,
  schema: SchemaName[],
): Promise<Finding[]> {
  const missing = missingPart(cause);
  try {
    const found = findingsOf(await messagesOf(connection, 'quick_check', table), schema);
    if (missing !== null) return [...found, { kind: 'unchecked', table, message: uncompared(table, missing) }];
    return cause.code === 'DATABASE_CORRUPT' && !found.some(isDamage)
      ? [...found, { kind: 'pages', table, message: cause.message }]
      : [...found, { kind: 'unchecked', table, message: unusable(table, cause) }];
  } catch (error) {
    if (!isCheckError(error)) throw error;
    const { code, message } = error as AppError;
    if (code === 'DATABASE_CORRUPT') return [{ kind: 'pages', table, message }];
    const lacking = missingPart(error);
    return [
      { kind: 'unchecked', table, message: lacking === null ? unusable(table, cause) : unchecked(table, lacking) },
    ];
  }
}

const unchecked = (table: string, missing: string) =>
  `Table ${table} could not be checked for damage beyond its pages: it needs the application's own ${missing}.`;
const uncompared = (table: string, missing: string) =>
  `The indexes of table ${table} cannot be compared with its rows: they need the application's own ${missing}.`;
const unusable = (table: string, { message }: AppError) =>
  `Table ${table} could not be checked for damage beyond its pages: ${message}`;

async function messagesOf(connection: SqliteConnection, level: Level, table: string): Promise<string[]> {
  const rows = await connection.all<Record<string, string>>(`PRAGMA ${level}(${quoted(table)})`);
  return rows.map((row) => row[level] ?? '');
}

/** An FTS5 table of an own tokenizer fails the check without saying so, and is asked why. */
async function missingTokenizer(connection: SqliteConnection, table: string): Promise<string | null> {
  const search = `SELECT 1 FROM ${quoted(table)} WHERE ${quoted(table)} MATCH 'a' LIMIT 1`;
  return connection.all(search).then(() => null, missingPart);
}

/** Reads the form of every page of every table and index, for which nothing of the application is needed. */
async function damagedPages(connection: SqliteConnection): Promise<Finding[]> {
  const damaged = await connection.all<{ name: string }>(
    `SELECT DISTINCT name FROM dbstat WHERE pagetype = 'corrupted' LIMIT 5`,
  );
  return damaged.map(({ name }) => ({ kind: 'pages', table: name, message: `damaged pages in ${name}` }));
}

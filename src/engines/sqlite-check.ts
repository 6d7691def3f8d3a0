import { AppError } from '../errors.js';
import type { SqliteConnection } from './sqlite-connection.js';
import { quoted } from './sqlite-info.js';
import { missingPart, whatIsMissing } from './sqlite-missing.js';

/** SQLite's own checks: the full one also compares every index with the rows of its table. */
export type Level = 'quick_check' | 'integrity_check';

/**
 * Checks the whole file. What cannot be checked here, because the application's own functions, collations or tokenizers
 * are part of the schema, is no damage: such tables are checked as far as it goes, and all others fully.
 * @param what names the database in the error
 * @returns a warning for each table that could not be checked fully
 * @throws AppError DATABASE_CORRUPT; the signal's reason, between tables
 */
export async function assertSound(
  connection: SqliteConnection,
  level: Level,
  what: string,
  signal?: AbortSignal,
): Promise<string[]> {
  // CHECK conditions are the application's rules, not the file's structure, and may call its functions.
  await connection.run('PRAGMA ignore_check_constraints = ON');
  const passed = (await lack(connection, () => check(connection, level, null, what))) === null;
  // The short check does not look into expression indexes. Compiling the full one tells what it would lack.
  if (passed && (level === 'integrity_check' || (await fullCheckLacks(connection)) === null)) return [];
  const warnings: string[] = [];
  for (const table of await tableNames(connection)) {
    signal?.throwIfAborted();
    const warning = passed ? await foretell(connection, table) : await checkTable(connection, level, table, what);
    if (warning !== null) warnings.push(warning);
  }
  if (!passed) await assertPages(connection, what);
  return warnings;
}

/** All tables, and the schema with the list of free pages, which the check of a single table leaves out. */
async function tableNames(connection: SqliteConnection): Promise<string[]> {
  const tables = await connection.all<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`,
  );
  return ['sqlite_schema', ...tables.map(({ name }) => name)];
}

const unchecked = (table: string, missing: string) =>
  `Table ${table} could not be checked for damage beyond its pages: it needs the application's own ${missing}.`;
const uncompared = (table: string, missing: string) =>
  `The indexes of table ${table} cannot be compared with its rows: they need the application's own ${missing}.`;

/** The warning about a table that a passed short check leaves. */
async function foretell(connection: SqliteConnection, table: string): Promise<string | null> {
  const missing = await fullCheckLacks(connection, table);
  return missing === null ? null : uncompared(table, missing);
}

async function checkTable(
  connection: SqliteConnection,
  level: Level,
  table: string,
  what: string,
): Promise<string | null> {
  const pass = (wanted: Level) => lack(connection, () => check(connection, wanted, table, what), table);
  const missing = level === 'integrity_check' ? await pass(level) : await fullCheckLacks(connection, table);
  if (missing === null && level === 'integrity_check') return null;
  const structure = await pass('quick_check');
  if (structure !== null) return unchecked(table, structure);
  return missing === null ? null : uncompared(table, missing);
}

const fullCheckLacks = (connection: SqliteConnection, table: string | null = null) =>
  lack(connection, () => connection.all(`EXPLAIN PRAGMA ${call('integrity_check', table)}`), table);

const call = (level: Level, table: string | null) => `${level}(${table === null ? 5 : quoted(table)})`;

async function check(connection: SqliteConnection, level: Level, table: string | null, what: string): Promise<void> {
  const rows = await connection.all<Record<string, string>>(`PRAGMA ${call(level, table)}`);
  const words = rows.slice(0, 5).map((row) => row[level]);
  if (words[0] === 'ok') return;
  throw new AppError('DATABASE_CORRUPT', `${what} fails SQLite's ${level}: ${words.join('; ')}`);
}

/** As `whatIsMissing`; an FTS5 table of an own tokenizer fails the check without saying so, and is asked why. */
async function lack(
  connection: SqliteConnection,
  work: () => Promise<unknown>,
  table: string | null = null,
): Promise<string | null> {
  try {
    return await whatIsMissing(work);
  } catch (error) {
    if (!(error instanceof AppError) || !/SQL logic error\.$/.test(error.message)) throw error;
    const tokenizer = await missingTokenizer(connection, table);
    if (tokenizer === null) throw error;
    return tokenizer;
  }
}

async function missingTokenizer(connection: SqliteConnection, table: string | null): Promise<string | null> {
  const virtual = await connection.all<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage = 0 AND sql LIKE '%fts5%' AND name = coalesce(?, name)`,
    table,
  );
  for (const { name } of virtual) {
    const search = `SELECT 1 FROM ${quoted(name)} WHERE ${quoted(name)} MATCH 'a' LIMIT 1`;
    const reason = await connection.all(search).then(() => null, missingPart);
    if (reason !== null) return reason;
  }
  return null;
}

/** Reads the form of every page of every table and index, for which nothing of the application is needed. */
async function assertPages(connection: SqliteConnection, what: string): Promise<void> {
  const damaged = await connection.all<{ name: string }>(
    `SELECT DISTINCT name FROM dbstat WHERE pagetype = 'corrupted' LIMIT 5`,
  );
  if (damaged.length === 0) return;
  const names = damaged.map(({ name }) => name).join(', ');
  throw new AppError('DATABASE_CORRUPT', `${what} has damaged pages in: ${names}.`);
}

import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { AppVersion, DatabaseInfo, TableInfo } from '../core/ports.js';
import type { SqliteConnection } from './sqlite-connection.js';
import { missingPart, whatIsMissing } from './sqlite-missing.js';
import { STAMP_CONDITION } from './sqlite-stamp.js';

/** `name` as SQL writes an identifier. */
export const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** Tables with row counts, Django's apps, and the file's own settings. Reads only. @throws the signal's reason, between tables */
export async function describeConnection(
  connection: SqliteConnection,
  signal?: AbortSignal,
): Promise<Pick<DatabaseInfo, 'tables' | 'apps' | 'source' | 'warnings'>> {
  const warnings: string[] = [];
  const tables = await readTables(connection, warnings, signal);
  return {
    tables,
    apps: tables.some((table) => table.name === 'django_migrations') ? await djangoApps(connection) : [],
    source: {
      page_size: await connection.value<number>('PRAGMA page_size'),
      journal_mode: await journalMode(connection),
      encoding: await connection.value<string>('PRAGMA encoding'),
      application_id: await connection.value<number>('PRAGMA application_id'),
      user_version: await connection.value<number>('PRAGMA user_version'),
      sqlite_version: await connection.value<string>('SELECT sqlite_version()'),
    },
    warnings,
  };
}

/** A connection that may not write beside the file reports no WAL, so the file's own header is asked first. */
async function journalMode(connection: SqliteConnection): Promise<string> {
  const handle = await open(connection.path, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 18);
    return buffer[0] === 2 ? 'wal' : await connection.value<string>('PRAGMA journal_mode');
  } finally {
    await handle.close();
  }
}

async function readTables(
  connection: SqliteConnection,
  warnings: string[],
  signal?: AbortSignal,
): Promise<TableInfo[]> {
  const names = await connection.all<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND NOT (${STAMP_CONDITION}) ORDER BY name`,
  );
  const tables: TableInfo[] = [];
  for (const { name } of names) {
    signal?.throwIfAborted();
    try {
      tables.push({
        name,
        rows: await connection.value<number>(`SELECT count(*) FROM ${quoted(name)}`),
        ...(await shape(connection, name)),
      });
    } catch (error) {
      const missing = missingPart(error);
      if (missing === null) throw error;
      warnings.push(uncounted(name, missing));
    }
  }
  return tables;
}

const uncounted = (table: string, missing: string) =>
  // A virtual table's content lies in its shadow tables, which are counted.
  missing.startsWith('module ')
    ? `Table ${table} belongs to a SQLite extension that is not loaded here; its rows were not counted.`
    : `The rows of table ${table} were not counted: it needs the application's own ${missing}.`;

/** A warning for each table whose foreign keys are broken, or cannot be followed without the application's own parts. */
export async function foreignKeyWarnings(connection: SqliteConnection): Promise<string[]> {
  const tables = await connection.all<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`,
  );
  const warnings: string[] = [];
  for (const { name } of tables) {
    let broken = false;
    const missing = await whatIsMissing(async () => {
      broken = (await connection.all('SELECT 1 FROM pragma_foreign_key_check(?) LIMIT 1', name)).length > 0;
    });
    if (missing !== null) {
      warnings.push(`The foreign keys of table ${name} were not checked: they need the application's own ${missing}.`);
    }
    if (broken) warnings.push(`Rows of table ${name} refer to rows that are not there (foreign keys).`);
  }
  return warnings;
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

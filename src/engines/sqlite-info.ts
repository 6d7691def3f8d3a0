import { open } from 'node:fs/promises';
import type { AppVersion, DatabaseInfo, TableCount } from '../core/ports.js';
import { AppError } from '../errors.js';
import type { SqliteConnection } from './sqlite-connection.js';

/** `name` as SQL writes an identifier. */
export const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** Tables with row counts, Django's apps, and the file's own settings. Reads only. */
export async function describeConnection(
  connection: SqliteConnection,
): Promise<Pick<DatabaseInfo, 'tables' | 'apps' | 'source' | 'warnings'>> {
  const warnings: string[] = [];
  const tables = await countTables(connection, warnings);
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

async function countTables(connection: SqliteConnection, warnings: string[]): Promise<TableCount[]> {
  const names = await connection.all<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name`,
  );
  const tables: TableCount[] = [];
  for (const { name } of names) {
    try {
      tables.push({ name, rows: await connection.value<number>(`SELECT count(*) FROM ${quoted(name)}`) });
    } catch (error) {
      // A virtual table of an extension that is not loaded here: its content lies in its shadow tables, which are counted.
      if (!(error instanceof AppError) || !/no such module/.test(error.message)) throw error;
      warnings.push(`Table ${name} belongs to a SQLite extension that is not loaded here; its rows were not counted.`);
    }
  }
  return tables;
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

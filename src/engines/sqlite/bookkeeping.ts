import { AppError } from '../../errors.js';
import type { SqliteConnection } from './connection.js';
import type { SchemaName } from './objects.js';
import { folded } from './schema.js';
import { withWritableSchema } from './writable.js';

/** The tables in which SQLite notes something about others (AUTOINCREMENT counters, ANALYZE), and the column with the name. */
const NOTES = {
  sqlite_sequence: 'name',
  sqlite_stat1: 'tbl',
  sqlite_stat2: 'tbl',
  sqlite_stat3: 'tbl',
  sqlite_stat4: 'tbl',
};
/** How SQLite itself writes the definition of such a table: columns without types or conditions. */
const PLAIN = /^CREATE TABLE sqlite_\w+\([\w,]+\)$/;

/** Replaces what SQLite has noted about these tables by the dump's notes, or by nothing where the dump has none. */
export async function copyBookkeeping(connection: SqliteConnection, keys: Set<string>): Promise<void> {
  const [dump, main] = [await notesOf(connection, 'dump'), await notesOf(connection, 'main')];
  for (const [table, column] of Object.entries(NOTES)) {
    const definition = dump.get(table);
    if (definition === undefined && !main.has(table)) continue;
    if (!main.has(table)) await create(connection, definition ?? '');
    await remove(connection, table, column, keys);
    if (definition === undefined) await dropIfUnused(connection, table);
    else await copy(connection, table, column, keys);
  }
}

async function notesOf(connection: SqliteConnection, schema: SchemaName): Promise<Map<string, string>> {
  const names = Object.keys(NOTES);
  const rows = await connection.all<{ name: string; sql: string }>(
    `SELECT name, sql FROM ${schema}.sqlite_schema WHERE type = 'table' AND name IN (${names.map(() => '?').join(', ')})`,
    ...names,
  );
  return new Map(rows.map(({ name, sql }) => [name, sql]));
}

async function create(connection: SqliteConnection, definition: string): Promise<void> {
  if (!PLAIN.test(definition)) {
    throw new AppError('ARCHIVE_HOSTILE', `${definition} is not SQLite's own definition. Nothing was changed.`);
  }
  await withWritableSchema(connection, () => connection.run(definition));
}

/** The rows of a note table whose table is one of these. */
async function rowsOf(
  connection: SqliteConnection,
  schema: SchemaName,
  table: string,
  column: string,
  keys: Set<string>,
): Promise<string[]> {
  const rows = await connection.all<{ name: string | null }>(
    `SELECT DISTINCT ${column} AS name FROM ${schema}.${table} WHERE typeof(${column}) = 'text'`,
  );
  return rows.flatMap(({ name }) => (name !== null && keys.has(folded(name)) ? [name] : []));
}

async function remove(connection: SqliteConnection, table: string, column: string, keys: Set<string>): Promise<void> {
  for (const name of await rowsOf(connection, 'main', table, column, keys)) {
    await connection.run(`DELETE FROM main.${table} WHERE ${column} = ?`, name);
  }
}

async function copy(connection: SqliteConnection, table: string, column: string, keys: Set<string>): Promise<void> {
  for (const name of await rowsOf(connection, 'dump', table, column, keys)) {
    await connection.run(`INSERT INTO main.${table} SELECT * FROM dump.${table} WHERE ${column} = ?`, name);
  }
}

/** Takes away what an earlier restore has made, so that undoing it leaves what was there. */
async function dropIfUnused(connection: SqliteConnection, table: string): Promise<void> {
  const used = await connection.all(`SELECT 1 FROM main.${table} LIMIT 1`);
  if (used.length > 0) return;
  if (table !== 'sqlite_sequence') return connection.run(`DROP TABLE main.${table}`);
  const counted = await connection.all(
    `SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND sql LIKE '%autoincrement%' LIMIT 1`,
  );
  if (counted.length > 0) return;
  // SQLite drops the table of counters under another name only.
  const name = '_db_manager_sequence';
  await withWritableSchema(connection, () =>
    connection.run(
      `UPDATE main.sqlite_schema SET name = '${name}', tbl_name = '${name}', sql = 'CREATE TABLE ${name}(name,seq)'
       WHERE name = 'sqlite_sequence'`,
    ),
  );
  await connection.run(`DROP TABLE main.${name}`);
}

import { stat } from 'node:fs/promises';
import type { LoadOptions } from '../core/ports.js';
import { AppError } from '../errors.js';
import { SqliteConnection } from './sqlite-connection.js';
import { quoted } from './sqlite-info.js';
import { definitionProblem, sameName, type SchemaItem } from './sqlite-schema.js';
import { whatIsMissing } from './sqlite-missing.js';
import { writeStamp } from './sqlite-stamp.js';

const WHOLE = 'Restore the whole database, or into another file with targetDatabaseUrl.';

/**
 * Replaces single tables by the dump's: schema, rows, indexes, triggers and AUTOINCREMENT counters, in one transaction.
 * No trigger fires; foreign keys are checked before the commit. A table that the dump lacks is dropped.
 * @throws AppError DATABASE_FAILED if foreign keys would be broken that were not broken before: nothing is changed then
 */
export async function loadTables(
  dump: string,
  target: string,
  options: LoadOptions & { tables: string[] },
): Promise<void> {
  const connection = await SqliteConnection.open(target, 'create', options.lockTimeoutMs);
  const stop = () => connection.interrupt();
  options.signal.addEventListener('abort', stop);
  try {
    await connection.run('ATTACH DATABASE ? AS dump', dump);
    connection.forbidAttach(1);
    await connection.run('PRAGMA foreign_keys = OFF');
    await connection.run('BEGIN IMMEDIATE');
    try {
      const others = await schemaOfOthers(connection, options.tables);
      const broken = await violations(connection, options.tables);
      const { size } = await stat(dump);
      let done = 0;
      for (const table of options.tables) {
        options.signal.throwIfAborted();
        await restorable(table, () => replaceTable(connection, table));
        options.onProgress((size * (done += 1)) / (options.tables.length + 1), size);
      }
      await assertNoNewViolations(connection, options.tables, broken);
      await assertOthersUntouched(connection, options.tables, others);
      await writeStamp(connection, options.stamp);
      await connection.run('COMMIT');
    } catch (error) {
      await connection.run('ROLLBACK').catch(() => undefined);
      throw options.signal.aborted ? options.signal.reason : error;
    }
  } finally {
    options.signal.removeEventListener('abort', stop);
    await connection.close();
  }
}

async function replaceTable(connection: SqliteConnection, table: string): Promise<void> {
  const items = await connection.all<SchemaItem>(
    `SELECT type, name, tbl_name, sql FROM dump.sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL
     ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 ELSE 2 END, name`,
    table,
  );
  await assertOrdinary(connection, table);
  // The new table and its indexes may have names that other objects of the target have now.
  for (const item of items) await assertNameFree(connection, item, table);
  await connection.run(`DROP TABLE IF EXISTS main.${quoted(table)}`);
  const [definition] = items;
  if (definition === undefined) return;
  await define(connection, definition);
  const columns = await storedColumns(connection, table);
  await connection.run(`INSERT INTO main.${quoted(table)} (${columns}) SELECT ${columns} FROM dump.${quoted(table)}`);
  for (const item of items.slice(1)) await define(connection, item);
  await copySequence(connection, table);
}

/** Makes an object of the dump in the target. Only its own definition is run, never what else its text may hold. */
async function define(connection: SqliteConnection, item: SchemaItem): Promise<void> {
  const problem = definitionProblem(item);
  if (problem !== null || item.sql === null) {
    throw new AppError(
      'ARCHIVE_HOSTILE',
      `The definition of the ${item.type} ${JSON.stringify(item.name)} ${problem ?? 'is missing'}. Nothing was changed.`,
    );
  }
  await connection.run(item.sql);
}

/** The definitions of all objects that do not belong to the chosen tables. */
async function schemaOfOthers(connection: SqliteConnection, chosen: string[]): Promise<string> {
  const items = await connection.all<SchemaItem>(
    `SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name`,
  );
  return JSON.stringify(items.filter(({ tbl_name: table }) => !chosen.some((one) => sameName(one, table))));
}

/** What is not chosen stays as it is, so that undoing the chosen tables undoes all that a restore did. */
async function assertOthersUntouched(connection: SqliteConnection, chosen: string[], before: string): Promise<void> {
  if ((await schemaOfOthers(connection, chosen)) === before) return;
  throw new AppError(
    'ARCHIVE_HOSTILE',
    'Restoring these tables would change tables that were not chosen. Nothing was changed.',
    { field: 'tables' },
  );
}

/** Says of a table that needs what only the application has that it cannot be made anew here. The transaction ends with it. */
async function restorable(table: string, work: () => Promise<void>): Promise<void> {
  const missing = await whatIsMissing(work);
  if (missing === null) return;
  throw new AppError(
    'BAD_USER_INPUT',
    `tables: ${table} cannot be restored by itself: it needs the application's own ${missing}. Nothing was changed.`,
    { field: 'tables', hint: WHOLE },
  );
}

/** The columns to copy, without generated ones; with the hidden rowid where a table has one that no column shows. */
async function storedColumns(connection: SqliteConnection, table: string): Promise<string> {
  const columns = await connection.all<{ name: string; type: string; pk: number; hidden: number }>(
    `SELECT name, type, pk, hidden FROM pragma_table_xinfo(?, 'dump')`,
    table,
  );
  const stored = columns.filter((column) => column.hidden === 0).map((column) => quoted(column.name));
  const [info] = await connection.all<{ wr: number }>(
    `SELECT wr FROM pragma_table_list WHERE schema = 'dump' AND name = ?`,
    table,
  );
  const key = columns.filter((column) => column.pk > 0);
  // A column that is the rowid under another name has no index of its own (INTEGER PRIMARY KEY DESC has one).
  const indexed = await connection.all(`SELECT 1 FROM pragma_index_list(?, 'dump') WHERE origin = 'pk'`, table);
  const aliases = key.length === 1 && key[0]?.type.toUpperCase() === 'INTEGER' && indexed.length === 0;
  const shadowed = new Set(columns.map((column) => column.name.toLowerCase()));
  const rowid = ['rowid', '_rowid_', 'oid'].find((name) => !shadowed.has(name));
  return [...(info?.wr === 1 || aliases || rowid === undefined ? [] : [rowid]), ...stored].join(', ');
}

async function copySequence(connection: SqliteConnection, table: string): Promise<void> {
  const has = (schema: string) =>
    connection
      .all(`SELECT 1 FROM ${schema}.sqlite_schema WHERE name = 'sqlite_sequence'`)
      .then((rows) => rows.length > 0);
  if (!(await has('dump')) || !(await has('main'))) return;
  await connection.run('DELETE FROM main.sqlite_sequence WHERE name = ?', table);
  await connection.run(
    'INSERT INTO main.sqlite_sequence (name, seq) SELECT name, seq FROM dump.sqlite_sequence WHERE name = ?',
    table,
  );
}

async function assertOrdinary(connection: SqliteConnection, table: string): Promise<void> {
  const [info] = await connection.all<{ type: string }>(
    `SELECT type FROM pragma_table_list WHERE schema = 'dump' AND name = ?`,
    table,
  );
  if (info === undefined || info.type === 'table') return;
  throw new AppError(
    'BAD_USER_INPUT',
    `tables: ${table} is a ${info.type} table, which lives only with its companions.`,
    { field: 'tables', hint: WHOLE },
  );
}

async function assertNameFree(connection: SqliteConnection, item: SchemaItem, table: string): Promise<void> {
  const [other] = await connection.all<{ type: string; tbl_name: string }>(
    'SELECT type, tbl_name FROM main.sqlite_schema WHERE name = ? AND tbl_name <> ?',
    item.name,
    table,
  );
  if (other === undefined) return;
  throw new AppError(
    'DATABASE_FAILED',
    `The ${item.type} ${item.name} of table ${table} cannot be restored: the database has a ${other.type} of this name on ${other.tbl_name}.`,
    { hint: WHOLE },
  );
}

/** Broken foreign keys of the target. Those of a table that cannot be followed count only where the table is chosen. */
async function violations(connection: SqliteConnection, chosen: string[]): Promise<Map<string, number>> {
  const tables = await connection.all<{ name: string }>(`SELECT name FROM main.sqlite_schema WHERE type = 'table'`);
  const found = new Map<string, number>();
  for (const { name } of tables) {
    const count = async () => {
      const rows = await connection.all<{ link: string; n: number }>(
        `SELECT "table" || ' → ' || parent AS link, count(*) AS n FROM pragma_foreign_key_check(?, 'main') GROUP BY 1`,
        name,
      );
      for (const { link, n } of rows) found.set(link, n);
    };
    // A key of own collation that a table which stays refers to stays as well: such a table cannot be chosen.
    if (chosen.includes(name)) await restorable(name, count);
    else await whatIsMissing(count);
  }
  return found;
}

async function assertNoNewViolations(
  connection: SqliteConnection,
  chosen: string[],
  before: Map<string, number>,
): Promise<void> {
  const after = await violations(connection, chosen);
  const worse = [...after].filter(([link, n]) => n > (before.get(link) ?? 0)).map(([link, n]) => `${link} (${n} rows)`);
  if (worse.length === 0) return;
  throw new AppError('DATABASE_FAILED', `These tables alone would break foreign keys: ${worse.join(', ')}.`, {
    field: 'tables',
    hint: 'Restore the tables that they refer to as well: the plan lists them (includeRelated: true).',
  });
}

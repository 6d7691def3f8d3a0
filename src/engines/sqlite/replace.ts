import { sqliteCode } from './connection.js';
import { AppError } from '../../errors.js';
import type { SqliteConnection } from './connection.js';
import { copyBookkeeping } from './bookkeeping.js';
import { quoted } from './info.js';
import { whatIsMissing } from './missing.js';
import type { Objects, SchemaObject } from './objects.js';
import { definitionProblem, folded, type SchemaItem } from './schema.js';
import { WHOLE } from './selection.js';
import { withWritableSchema } from './writable.js';

/**
 * Replaces tables and views of the target by the dump's, with rows, indexes, triggers, counters and statistics, in the
 * transaction that is open. No trigger fires. Virtual tables are moved as VACUUM does it: their shadow tables as ordinary
 * ones and their definition as it is, so that nothing of their module is needed.
 * @param onObject is called after each object whose rows are copied
 */
export async function replaceObjects(
  connection: SqliteConnection,
  keys: Set<string>,
  { dump, target }: { dump: Objects; target: Objects },
  onObject: () => void,
): Promise<void> {
  const chosen = (objects: Objects) => [...objects].filter(([key]) => keys.has(key)).map(([, object]) => object);
  await dropObjects(connection, chosen(target));
  const objects = chosen(dump);
  await assertNamesFree(connection, objects);
  const stored = objects.filter(({ kind }) => kind === 'table' || kind === 'shadow');
  for (const object of stored) {
    await restorable(object.name, () => createTable(connection, object));
    onObject();
  }
  await insertVirtual(
    connection,
    objects.filter(({ kind }) => kind === 'virtual'),
  );
  for (const { definition } of objects.filter(({ kind }) => kind === 'view')) await define(connection, definition);
  for (const trigger of objects.flatMap(({ triggers }) => triggers)) await define(connection, trigger);
  await copyBookkeeping(connection, keys);
}

/** Reports a table that needs what only the application has as one that cannot be made here. The transaction ends with it. */
export async function restorable(table: string, work: () => Promise<void>): Promise<void> {
  const missing = await whatIsMissing(work);
  if (missing === null) return;
  throw new AppError(
    'BAD_USER_INPUT',
    `tables: ${table} cannot be restored by itself: it needs the application's own ${missing}. Nothing was changed.`,
    { field: 'tables', hint: WHOLE },
  );
}

async function dropObjects(connection: SqliteConnection, objects: SchemaObject[]): Promise<void> {
  const virtual = objects.filter(({ kind }) => kind === 'virtual');
  if (virtual.length > 0) {
    await withWritableSchema(connection, async () => {
      for (const { name } of virtual) {
        await connection.run(`DELETE FROM main.sqlite_schema WHERE type = 'table' AND name = ?`, name);
      }
    });
  }
  for (const { name, kind } of objects) {
    if (kind !== 'virtual') await connection.run(`DROP ${kind === 'view' ? 'VIEW' : 'TABLE'} main.${quoted(name)}`);
  }
}

async function createTable(connection: SqliteConnection, { name, definition, indexes }: SchemaObject): Promise<void> {
  await define(connection, definition);
  await copyRows(connection, name);
  for (const index of indexes) await define(connection, index);
}

async function insertVirtual(connection: SqliteConnection, objects: SchemaObject[]): Promise<void> {
  if (objects.length === 0) return;
  await withWritableSchema(connection, async () => {
    for (const { definition } of objects) {
      assertDefinition(definition);
      await connection.run(
        `INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', ?, ?, 0, ?)`,
        definition.name,
        definition.name,
        definition.sql,
      );
    }
  });
}

/** Makes an object of the dump in the target. Only its own definition is run, never what else its text may hold. */
async function define(connection: SqliteConnection, item: SchemaItem): Promise<void> {
  await connection.run(assertDefinition(item));
}

/** @returns the text of the definition @throws AppError ARCHIVE_HOSTILE */
function assertDefinition(item: SchemaItem): string {
  const problem = definitionProblem(item);
  if (problem === null && item.sql !== null) return item.sql;
  throw new AppError(
    'ARCHIVE_HOSTILE',
    `The definition of the ${item.type} ${JSON.stringify(item.name)} ${problem ?? 'is missing'}. Nothing was changed.`,
  );
}

/** Copies the rows. Those that the table's own rules would refuse are copied as they are stored, as VACUUM does. */
async function copyRows(connection: SqliteConnection, table: string): Promise<void> {
  const columns = await storedColumns(connection, table);
  const insert = `INSERT INTO main.${quoted(table)}`;
  try {
    await connection.run(`${insert} (${columns}) SELECT ${columns} FROM dump.${quoted(table)}`);
  } catch (error) {
    if (sqliteCode(error) !== 'SQLITE_CONSTRAINT') throw error;
    await connection.run(`${insert} SELECT * FROM dump.${quoted(table)}`);
  }
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
  const shadowed = new Set(columns.map((column) => folded(column.name)));
  const rowid = ['rowid', '_rowid_', 'oid'].find((name) => !shadowed.has(name));
  return [...(info?.wr === 1 || aliases || rowid === undefined ? [] : [rowid]), ...stored].join(', ');
}

/** Tables, views and indexes share their names; triggers have names of their own. */
const spaceOf = ({ type, name }: Pick<SchemaItem, 'type' | 'name'>) => `${type === 'trigger'} ${folded(name)}`;

/** What is left in the target belongs to others now, so its names are not for the restored objects. */
async function assertNamesFree(connection: SqliteConnection, objects: SchemaObject[]): Promise<void> {
  const present = await connection.all<SchemaItem>('SELECT type, name, tbl_name FROM main.sqlite_schema');
  const taken = new Map(present.map((item) => [spaceOf(item), item]));
  for (const { name, definition, indexes, triggers } of objects) {
    for (const item of [definition, ...indexes, ...triggers]) {
      const other = taken.get(spaceOf(item));
      if (other === undefined) continue;
      throw new AppError(
        'DATABASE_FAILED',
        `The ${item.type} ${item.name} of ${name} cannot be restored: the database has a ${other.type} of this name on ${other.tbl_name}.`,
        { field: 'tables', hint: WHOLE },
      );
    }
  }
}

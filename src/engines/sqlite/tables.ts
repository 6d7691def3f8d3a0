import { sqliteWords } from './connection.js';
import { stat } from 'node:fs/promises';
import type { LoadOptions, StepContext } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { brokenObjects, judgeBroken } from './compiles.js';
import { SqliteConnection, withConnection } from './connection.js';
import { assertNoWorse, foreignKeysOf } from './foreign-keys.js';
import { quoted } from './info.js';
import { type Objects, readObjects } from './objects.js';
import { replaceObjects, restorable } from './replace.js';
import { folded, type SchemaItem } from './schema.js';
import { type Selection, selectObjects, WHOLE } from './selection.js';
import { STAMP_CONDITION, writeStamp } from './stamp.js';

/** The schemas of a load, as they are before it. */
export interface Schemas {
  dump: Objects;
  target: Objects;
}

/**
 * Replaces single tables by the dump's: schema, rows, indexes, triggers, AUTOINCREMENT counters and statistics, in one
 * transaction. No trigger fires; what is derived from the tables is replaced or rebuilt with them; foreign keys are checked
 * before the commit. A table that the dump lacks is dropped.
 * @throws AppError if the result would not be right: nothing is changed then
 */
export async function loadTables(
  dump: string,
  target: string,
  options: LoadOptions & { tables: string[] },
): Promise<void> {
  await inTransaction(dump, target, options, async (connection) => {
    const schemas = await schemasOf(connection);
    const selection = await select(connection, schemas, { ...options, includeRelated: false });
    const [refusal] = selection.refusals;
    if (refusal !== undefined) throw refusal;
    const { size } = await stat(dump);
    await replaceSelected(connection, selection, schemas, {
      signal: options.signal,
      onProgress: (done, total) => options.onProgress((size * done) / total, size),
    });
    await writeStamp(connection, options.stamp);
  });
}

/**
 * Works out what is replaced. Where it is to be exact, an index that would be rebuilt, or refused, is laid as the dump has it
 * if the tables that it is of and that stay are the dump's.
 */
export async function select(
  connection: SqliteConnection,
  { dump, target }: Schemas,
  { tables, includeRelated, exact }: { tables: string[]; includeRelated: boolean; exact: boolean },
): Promise<Selection> {
  const selection = selectObjects(tables, dump, target, includeRelated);
  if (!exact) return selection;
  const exactly = new Set<string>();
  for (const { name, sources, rebuildable } of selection.stale) {
    if (!dump.has(name)) continue;
    let same = true;
    for (const source of sources) same &&= selection.keys.has(source) || (await isUnchanged(connection, source));
    if (same || !rebuildable) exactly.add(name);
  }
  return exactly.size === 0 ? selection : selectObjects([...tables, ...exactly], dump, target, includeRelated, exactly);
}

/** True if the table holds the same rows in both databases. */
async function isUnchanged(connection: SqliteConnection, key: string): Promise<boolean> {
  const name = quoted(key);
  const differs = (one: string, other: string) =>
    `SELECT 1 FROM (SELECT * FROM ${one}.${name} EXCEPT SELECT * FROM ${other}.${name})`;
  try {
    const found = await connection.all(`${differs('main', 'dump')} UNION ALL ${differs('dump', 'main')} LIMIT 1`);
    return found.length === 0;
  } catch (error) {
    // Another shape, or not there at all.
    if (error instanceof AppError && error.code === 'DATABASE_FAILED') return false;
    throw error;
  }
}

/** Both schemas of a connection that `inTransaction` has opened. */
export async function schemasOf(connection: SqliteConnection): Promise<Schemas> {
  return { dump: await readObjects(connection, 'dump'), target: await readObjects(connection, 'main') };
}

/**
 * Runs work in one transaction of the target, with the dump attached as `dump`: all of it or nothing.
 * @throws the signal's reason if it was aborted
 */
export async function inTransaction(
  dump: string,
  target: string,
  { lockTimeoutMs, signal }: Pick<LoadOptions, 'lockTimeoutMs' | 'signal'>,
  work: (connection: SqliteConnection) => Promise<void>,
): Promise<void> {
  const connection = await SqliteConnection.open(target, 'create', lockTimeoutMs);
  const stop = () => connection.interrupt();
  signal.addEventListener('abort', stop);
  try {
    await attachDump(connection, dump);
    connection.forbidAttach(1);
    await connection.run('PRAGMA foreign_keys = OFF');
    // Rows are copied as they are; whether they keep the application's rules is not for a restore to judge.
    await connection.run('PRAGMA ignore_check_constraints = ON');
    await connection.run('BEGIN IMMEDIATE');
    try {
      await work(connection);
      await connection.run('COMMIT');
    } catch (error) {
      await connection.run('ROLLBACK').catch(() => undefined);
      throw signal.aborted ? signal.reason : error;
    }
  } finally {
    signal.removeEventListener('abort', stop);
    await connection.close();
  }
}

/**
 * Attaches the dump. A target that holds nothing yet takes on the dump's text encoding.
 * @throws AppError BAD_USER_INPUT where the encodings differ: SQLite attaches no such database
 */
async function attachDump(connection: SqliteConnection, dump: string): Promise<void> {
  const encoding = await withConnection(dump, 'readonly', undefined, (opened) =>
    opened.value<string>('PRAGMA encoding'),
  );
  // Without effect on a database that has content.
  await connection.run(`PRAGMA encoding = ${quoted(encoding)}`);
  const own = await connection.value<string>('PRAGMA encoding');
  if (own !== encoding) {
    throw new AppError(
      'BAD_USER_INPUT',
      `tables: the backup stores text as ${encoding} and ${connection.path} as ${own}, so no single table can go from one to the other. Nothing was changed.`,
      { field: 'tables', hint: WHOLE },
    );
  }
  await connection.run('ATTACH DATABASE ? AS dump', dump);
}

/**
 * Replaces the selection and rebuilds what has to be, and checks that the rest still works.
 * @returns warnings about the result
 * @throws AppError if it would not be right: the transaction must end with it
 */
export async function replaceSelected(
  connection: SqliteConnection,
  { keys, rebuild }: Selection,
  schemas: Schemas,
  { signal, onProgress }: StepContext,
): Promise<string[]> {
  const others = await schemaOfOthers(connection, keys);
  const before = {
    links: await foreignKeysOf(connection, 'main', keys),
    broken: await brokenObjects(connection, 'main', schemas.target),
  };
  const total = keys.size + rebuild.length + 1;
  let done = 0;
  await replaceObjects(connection, keys, schemas, () => {
    signal.throwIfAborted();
    onProgress((done += 1), total);
  });
  for (const name of rebuild) {
    signal.throwIfAborted();
    await rebuildIndex(connection, name);
    onProgress((done += 1), total);
  }
  const links = await foreignKeysOf(connection, 'main', keys);
  if (links.broken.size + links.unfit.size > 0) {
    assertNoWorse(links, before.links, await foreignKeysOf(connection, 'dump', keys));
  }
  await assertOthersUntouched(connection, keys, others);
  const objects = await readObjects(connection, 'main');
  const after = await brokenObjects(connection, 'main', objects);
  if (after.size === 0) return [];
  const dump = await brokenObjects(connection, 'dump', schemas.dump);
  return judgeBroken({ after, before: before.broken, dump }, objects, keys);
}

/** Makes a full-text index agree with the table that holds its content. */
export async function rebuildIndex(connection: SqliteConnection, name: string): Promise<void> {
  const index = quoted(name);
  await restorable(name, async () => {
    try {
      await connection.run(`INSERT INTO main.${index} (${index}) VALUES ('rebuild')`);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'DATABASE_FAILED') throw error;
      if (/^no such (tokenizer|module)/.test(sqliteWords(error))) throw error;
      throw new AppError(
        'DATABASE_FAILED',
        `tables: the full-text index ${name} cannot be rebuilt from the restored tables: ${error.message}`,
        { field: 'tables', cause: error },
      );
    }
  });
}

/** The definitions of all objects that are not selected. */
export async function schemaOfOthers(connection: SqliteConnection, keys: Set<string>): Promise<string> {
  const items = await connection.all<SchemaItem>(
    `SELECT type, name, tbl_name, sql FROM main.sqlite_schema
     WHERE tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND NOT (${STAMP_CONDITION}) ORDER BY type, name`,
  );
  return JSON.stringify(items.filter(({ tbl_name: table }) => !keys.has(folded(table))));
}

/** What is not selected stays as it is, so that undoing the selection undoes all that a restore did. */
async function assertOthersUntouched(connection: SqliteConnection, keys: Set<string>, before: string): Promise<void> {
  if ((await schemaOfOthers(connection, keys)) === before) return;
  throw new AppError(
    'ARCHIVE_HOSTILE',
    'Restoring these tables would change tables that were not chosen. Nothing was changed.',
    { field: 'tables' },
  );
}

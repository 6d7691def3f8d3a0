import { stat } from 'node:fs/promises';
import { startThread } from '../../threads.js';
import { isSqlError, type SqliteConnection } from './connection.js';
import { type IndexColumn, type IndexShape, type TableShape, unprovenTables } from './index-compare.js';

/** Bytes of a file that is compared on the calling thread: starting another one would take longer. */
const SMALL = 8 * 1024 * 1024;

/**
 * Compares all indexes of a private file with their tables.
 * @param connection has the file open, which has passed `quick_check`
 * @returns the names of the tables for which that proves nothing, so that SQLite has to be asked
 * @throws the signal's reason
 */
export async function unproven(connection: SqliteConnection, signal?: AbortSignal): Promise<Set<string>> {
  const { comparable, others } = await tableShapes(connection);
  const { path } = connection;
  const isSmall = (await stat(path)).size <= SMALL;
  signal?.throwIfAborted();
  const left = isSmall ? unprovenTables(path, comparable) : await apart(path, comparable, signal);
  return new Set([...others, ...left]);
}

/** The comparison in a thread of its own. One that fails has proven nothing: SQLite, which is asked then, says what is wrong. */
function apart(path: string, tables: TableShape[], signal?: AbortSignal): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const worker = startThread(new URL('./index-worker', import.meta.url), { path, tables });
    const stop = () => {
      reject(signal?.reason as Error);
      void worker.terminate();
    };
    signal?.addEventListener('abort', stop, { once: true });
    worker.once('message', resolve);
    const unproved = () => resolve(tables.map(({ name }) => name));
    worker.once('error', unproved);
    worker.once('exit', () => {
      signal?.removeEventListener('abort', stop);
      unproved();
    });
  });
}

interface Row {
  tbl: string;
  table_root: number;
  wr: number;
  idx: string | null;
  unique: number;
  origin: string;
  partial: number;
  root: number;
}

/** The tables whose indexes can be compared by their entries, and those that have others. */
async function tableShapes(connection: SqliteConnection): Promise<{ comparable: TableShape[]; others: string[] }> {
  const rows = await connection.all<Row>(
    `SELECT m.name AS tbl, m.rootpage AS table_root, t.wr, i.name AS idx, i."unique", i.origin, i.partial, s.rootpage AS root
     FROM sqlite_schema AS m JOIN pragma_table_list(m.name) AS t ON t.schema = 'main'
     LEFT JOIN pragma_index_list(m.name) AS i LEFT JOIN sqlite_schema AS s ON s.type = 'index' AND s.name = i.name
     WHERE m.type = 'table' AND m.rootpage > 0`,
  );
  const isUtf8 = (await connection.value<string>('PRAGMA encoding')) === 'UTF-8';
  const comparable: TableShape[] = [];
  const others: string[] = [];
  for (const name of new Set(rows.map(({ tbl }) => tbl))) {
    const own = rows.filter(({ tbl }) => tbl === name);
    const indexes = own.filter(({ idx }) => idx !== null);
    if (own.some(({ wr }) => wr === 1)) others.push(name);
    else if (indexes.length > 0) {
      const shape = isUtf8 ? await tableShape(connection, name, own[0]?.table_root ?? 0, indexes) : null;
      if (shape === null) others.push(name);
      else comparable.push(shape);
    }
  }
  return { comparable, others };
}

async function tableShape(
  connection: SqliteConnection,
  name: string,
  root: number,
  rows: Row[],
): Promise<TableShape | null> {
  if (rows.some(({ partial, root: page }) => partial === 1 || !page)) return null;
  try {
    const columns = await connection.all<{ type: string; pk: number; hidden: number; dflt_value: string | null }>(
      'SELECT type, pk, hidden, dflt_value FROM pragma_table_xinfo(?) ORDER BY cid',
      name,
    );
    // Computed columns are not stored where their number says.
    if (columns.some(({ hidden }) => hidden !== 0)) return null;
    const key = columns.findIndex(({ pk, type }) => pk === 1 && type.toUpperCase() === 'INTEGER');
    const hasAlias = key !== -1 && columns.every(({ pk }) => pk <= 1) && !rows.some(({ origin }) => origin === 'pk');
    const indexes: IndexShape[] = [];
    for (const row of rows) {
      const shape = await indexShape(connection, row, hasAlias ? key : -1);
      if (shape === null) return null;
      indexes.push(shape);
    }
    return { name, root, absentIsNull: columns.map(({ dflt_value: value }) => value === null), indexes };
  } catch (error) {
    if (isSqlError(error)) return null;
    throw error;
  }
}

/** @param alias the column that is the rowid, which records do not hold; -1 if there is none */
async function indexShape(connection: SqliteConnection, row: Row, alias: number): Promise<IndexShape | null> {
  const found = await connection.all<{ cid: number; desc: number; coll: string; key: number }>(
    'SELECT cid, desc, coll, key FROM pragma_index_xinfo(?) ORDER BY seqno',
    row.idx,
  );
  const columns: IndexColumn[] = [];
  for (const { cid, desc, coll } of found) {
    const collation = (['BINARY', 'NOCASE', 'RTRIM'] as const).find((known) => known === coll.toUpperCase());
    // An expression, or the application's own order.
    if (cid < -1 || collation === undefined) return null;
    columns.push({ column: cid === alias ? -1 : cid, descending: desc === 1, collation });
  }
  return { root: row.root, columns, unique: row.unique === 1 ? found.filter(({ key }) => key === 1).length : 0 };
}

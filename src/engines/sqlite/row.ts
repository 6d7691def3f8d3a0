import { createHash } from 'node:crypto';
import type { Cell, FoundRow } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { cellOf, cellSql } from './cells.js';
import { isSqlError, type SqliteConnection, sqliteWords } from './connection.js';
import { quoted } from './info.js';
import { readObjects } from './objects.js';
import { openPrivate } from './query.js';
import { folded } from './schema.js';

/** Bytes of a value that are read at once. */
const PIECE = 1024 * 1024;

/**
 * Looks for the one row of a private copy that has these values.
 * @returns null if there is none, `unknown` if there is no such table or column
 * @throws AppError BAD_USER_INPUT naming `key` if several rows have them; DATABASE_…
 */
export async function rowIn(task: {
  path: string;
  table: string;
  key: Record<string, Cell>;
}): Promise<FoundRow | null | 'unknown'> {
  const connection = await openPrivate(task.path);
  try {
    const object = (await readObjects(connection, 'main')).get(folded(task.table));
    if (object?.kind !== 'table') return 'unknown';
    const columns = await columnsOf(connection, object.name);
    const known = new Set(columns.map(folded));
    if (Object.keys(task.key).some((name) => !known.has(folded(name)))) return 'unknown';
    return await readRow(connection, { table: object.name, columns, key: task.key });
  } catch (error) {
    if (isSqlError(error)) throw badInput('key', `${sqliteWords(error)}.`);
    throw error;
  } finally {
    await connection.close();
  }
}

/** The names of all columns that a SELECT shows or hides, but for those of virtual tables that hold nothing. */
async function columnsOf(connection: SqliteConnection, table: string): Promise<string[]> {
  const sql = 'SELECT name FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1';
  return (await connection.all<{ name: string }>(sql, table, 'main')).map(({ name }) => name);
}

async function readRow(
  connection: SqliteConnection,
  { table, columns, key }: { table: string; columns: string[]; key: Record<string, Cell> },
): Promise<FoundRow | null> {
  const [condition, values] = conditionOf(key);
  const from = `FROM main.${quoted(table)} WHERE ${condition}`;
  const shown = columns.map((name, index) => {
    const column = quoted(name);
    return `${cellSql(column)} AS c${index}, typeof(${column}) AS t${index}, length(CAST(${column} AS BLOB)) AS n${index}`;
  });
  const rows = await connection.all<Record<string, string | number | null>>(
    `SELECT ${shown.join(', ')} ${from} LIMIT 2`,
    ...values,
  );
  const [row] = rows;
  if (row === undefined) return null;
  if (rows.length > 1) {
    throw badInput(
      'key',
      `names several rows of ${table}.`,
      'Give the values of its primary key, as a comparison shows them.',
    );
  }
  const found: FoundRow = { values: {}, hashes: {} };
  for (const [index, name] of columns.entries()) {
    const cell = row[`c${index}`];
    found.values[name] = cellOf(cell === null || cell === undefined ? null : String(cell));
    const hash = createHash('sha256').update(`${row[`t${index}`]}:`);
    for (let at = 0; at < Number(row[`n${index}`] ?? 0); at += PIECE) {
      const sql = `SELECT substr(CAST(${quoted(name)} AS BLOB), ${at + 1}, ${PIECE}) AS piece ${from}`;
      for (const { piece } of await connection.all<{ piece: Uint8Array }>(sql, ...values)) hash.update(piece);
    }
    found.hashes[name] = hash.digest('hex');
  }
  return found;
}

/** The SQL condition that these values make, and what is bound to it. The affinity of each column applies. */
function conditionOf(key: Record<string, Cell>): [string, string[]] {
  const values: string[] = [];
  const parts = Object.entries(key).map(([name, value]) => {
    const column = quoted(name);
    if (value === null) return `${column} IS NULL`;
    // node-sqlite3 binds a whole number beyond 2^31 as REAL, which a column of texts has as "9876543210.0".
    if (typeof value === 'number') return `${column} = ${value}`;
    values.push(value);
    const isBlob = typeof value === 'string' && /^x'([0-9a-f]{2})*'$/i.test(value);
    return isBlob ? `(${column} = ? OR ${column} = ${value})` : `${column} = ?`;
  });
  return [parts.join(' AND '), values];
}

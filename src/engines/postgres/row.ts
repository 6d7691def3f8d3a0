import { createHash } from 'node:crypto';
import type { Cell, FoundRow } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { cellOf, cellSql, isOwnType, textSql } from './cells.js';
import { fromOf, readTables, type ReadTable, tableCalled } from './columns.js';
import type { Connection } from './connection.js';
import { literal, quoted } from './names.js';
import { asOwners, type ReadTexts } from './owners.js';
import { SETTINGS, sqlError, whileWanted } from './query.js';
import type { Place } from './url.js';

/**
 * Looks for the one row of a table that has these values.
 * @returns null if there is none, `unknown` if there is no such table or column
 * @throws AppError BAD_USER_INPUT naming `key` if several rows have them; DATABASE_…; the signal's reason
 */
export async function rowAt(
  place: Place,
  { table: name, key }: { table: string; key: Record<string, Cell> },
  signal: AbortSignal,
): Promise<FoundRow | null | 'unknown'> {
  return whileWanted(place, signal, async (connection) => {
    await connection.run(`${SETTINGS}; SET default_transaction_read_only = off; BEGIN ISOLATION LEVEL REPEATABLE READ`);
    const table = tableCalled(await readTables(connection), name);
    if (table === undefined) return 'unknown';
    const known = new Set(table.columns.map((column) => column.name));
    if (Object.values(key).some((value) => String(value).includes('\0'))) {
      throw badInput('key', 'holds a NUL character.', KEY);
    }
    if (Object.keys(key).some((column) => !known.has(column))) return 'unknown';
    try {
      const read = await asOwners(connection, [table.oid]);
      await connection.run('SET TRANSACTION READ ONLY');
      return await readRow(connection, table, key, read);
    } catch (error) {
      signal.throwIfAborted();
      throw sqlError(error, 'key', KEY) ?? error;
    }
  });
}

const KEY = 'Give columns with their values as they are shown, such as {"id": 17}.';

async function readRow(
  connection: Connection,
  table: ReadTable,
  key: Record<string, Cell>,
  read: ReadTexts,
): Promise<FoundRow | null> {
  const from = `FROM ${fromOf(table)} AS t WHERE ${conditionOf(table, key)}`;
  const shown = table.columns.flatMap(({ name, type }) => {
    const column = `t.${quoted(name)}`;
    return [cellSql(column, type), hashSql(column, type)];
  });
  const rows = await connection.rows<{ texts: (string | null)[] }>(read(table.oid, shown, `${from} LIMIT 2`));
  const [row] = rows;
  if (row === undefined) return null;
  if (rows.length > 1) {
    throw badInput(
      'key',
      `names several rows of ${table.name}.`,
      'Give the values of its primary key, as a comparison shows them.',
    );
  }
  const found: FoundRow = { values: {}, hashes: {} };
  for (const [index, { name, type, typeName }] of table.columns.entries()) {
    found.values[name] = cellOf(row.texts[2 * index] ?? null, type);
    const hash = createHash('sha256').update(`${typeName}:`);
    found.hashes[name] = hash.update(row.texts[2 * index + 1] ?? 'null').digest('hex');
  }
  return found;
}

const BYTEA = 17;

/** A hash of all bytes, made on the server: a value may have a gigabyte. */
const hashSql = (column: string, type: number) =>
  `encode(sha256(${type === BYTEA ? column : `convert_to(${textSql(column, type)}, getdatabaseencoding())`}), 'hex')`;

/**
 * The SQL condition that these values make: each is read as its column's type reads it. One of an own type is compared as it
 * is shown: to find an operator for it, PostgreSQL may choose a cast of the role that owns it.
 */
function conditionOf(table: ReadTable, key: Record<string, Cell>): string {
  const types = new Map(table.columns.map((column) => [column.name, column.type]));
  const parts = Object.entries(key).map(([name, value]) => {
    const column = `t.${quoted(name)}`;
    const type = types.get(name) ?? 0;
    if (value === null) return `${column} IS NULL`;
    const hex = type === BYTEA ? /^x'((?:[0-9a-f]{2})*)'$/i.exec(String(value))?.[1] : undefined;
    const text = literal(hex === undefined ? String(value) : `\\x${hex}`);
    return `${isOwnType(type) ? textSql(column, type) : column} OPERATOR(pg_catalog.=) ${text}`;
  });
  return parts.join(' AND ');
}

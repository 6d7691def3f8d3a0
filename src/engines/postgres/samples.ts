import type { Cell } from '../../core/ports.js';
import { cellOf, cellSql } from './cells.js';
import type { Connection } from './connection.js';
import { quoted } from './names.js';

/** A column as its values are shown. */
export interface ShownColumn {
  name: string;
  /** The oid of its type, or of the one that its domain is made of. */
  base: number;
}

/** The SQL of the oid of a column's type, or of the one that its domain is made of; `a` is its row of pg_attribute. */
export const BASE = `(WITH RECURSIVE bases AS (SELECT oid, typtype, typbasetype FROM pg_type WHERE oid = a.atttypid
    UNION ALL SELECT t.oid, t.typtype, t.typbasetype FROM pg_type t JOIN bases ON bases.typtype = 'd' AND t.oid = bases.typbasetype)
  SELECT oid::int8 FROM bases WHERE typtype <> 'd')`;

/**
 * How values are written in a transaction whose rows are compared or shown, whatever the user or the database has set: each
 * text is of one value, and the same on every server.
 */
export const PLAIN_VALUES = `SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
  SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL xmloption = 'content'; SET LOCAL lc_monetary = 'C';
  SET LOCAL quote_all_identifiers = off`;

/** All that some columns of a row hold, as one text: values that differ in a byte have another. @param side an alias */
export const imageOf = (side: string, columns: readonly { name: string }[]): string =>
  `ROW(${columns.map(({ name }) => `${side}.${quoted(name)}`).join(', ')})::text`;

/** The two encodings whose bytes stand for no characters stay as they are. */
const ENCODING = `CASE WHEN getdatabaseencoding() IN ('SQL_ASCII', 'MULE_INTERNAL') THEN getdatabaseencoding() ELSE 'UTF8' END`;

/** A hash of an image, of the type uuid: the same whatever encoding the database has. */
export const hashOf = (image: string): string =>
  `encode(substring(sha256(convert_to(${image}, ${ENCODING})) FOR 16), 'hex')::uuid`;

/** The SQL of each shown value of a row, a text. @param side an alias */
export const cellList = (side: string, columns: readonly ShownColumn[]): string[] =>
  columns.map(({ name, base }) => cellSql(`${side}.${quoted(name)}`, base));

/** The SQL of the shown values of a row: an array of texts, which `valuesOf` reads. @param side an alias */
export const cellsSql = (side: string, columns: readonly ShownColumn[]): string =>
  `ARRAY[${cellList(side, columns).join(', ')}]::text[]`;

/** The values that `cellList` gave, by column. */
export const valuesOf = (cells: (string | null)[], columns: readonly ShownColumn[]): Record<string, Cell> =>
  Object.fromEntries(columns.map((column, index) => [column.name, cellOf(cells[index] ?? null, column.base)]));

/** The values of some columns. */
export const pick = (values: Record<string, Cell>, columns: readonly { name: string }[]): Record<string, Cell> =>
  Object.fromEntries(columns.map(({ name }) => [name, values[name] ?? null]));

/** How many rows there are. @param rows a FROM clause, and what follows it */
export async function countRows(connection: Connection, rows: string): Promise<number> {
  const [found] = await connection.rows<{ rows: string }>(`SELECT count(*)::text AS rows FROM ${rows}`);
  return Number(found?.rows ?? 0);
}

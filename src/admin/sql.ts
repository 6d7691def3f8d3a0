import type { DatabaseEngine } from '../client/generated/graphql.js';

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** A table, as a query of a backup names it. On PostgreSQL lists have its schema in front, and quotes where they are needed. */
export const tableInSql = (engine: DatabaseEngine, name: string): string =>
  engine === 'POSTGRES'
    ? (name.match(/"(?:[^"]|"")*"|[^.]+/g) ?? []).map((part) => (part.startsWith('"') ? part : quoted(part))).join('.')
    : quoted(name);

/** Which rows of a table are shown. */
export interface Browsing {
  table: string;
  sort: { column: string; descending: boolean } | null;
  /** Rows whose value in the column contains this text, whatever its case; null for all rows. */
  filter: { column: string; text: string } | null;
  /** How many rows stand before the first one. */
  offset: number;
}

/** The SELECT that gives one page of a table's rows. @param limit the most rows */
export function browseSql(engine: DatabaseEngine, { table, sort, filter, offset }: Browsing, limit: number): string {
  return [
    `SELECT * FROM ${tableInSql(engine, table)}`,
    filter && `WHERE lower(CAST(${quoted(filter.column)} AS text)) LIKE lower(${pattern(filter.text)}) ESCAPE '!'`,
    sort && `ORDER BY ${quoted(sort.column)}${sort.descending ? ' DESC' : ''}`,
    `LIMIT ${limit}`,
    offset > 0 && `OFFSET ${offset}`,
  ]
    .filter(Boolean)
    .join('\n');
}

const pattern = (text: string) => `'%${text.replace(/[!%_]/g, '!$&').replaceAll("'", "''")}%'`;

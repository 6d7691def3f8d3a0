import type { DatabaseEngine } from '../client/generated/graphql.js';

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** A table, as a query of a backup names it. On PostgreSQL lists have its schema in front, and quotes where they are needed. */
export const tableInSql = (engine: DatabaseEngine, name: string): string =>
  engine === 'POSTGRES'
    ? (name.match(/"(?:[^"]|"")*"|[^.]+/g) ?? []).map((part) => (part.startsWith('"') ? part : quoted(part))).join('.')
    : quoted(name);

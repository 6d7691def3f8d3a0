import type { Connection } from './connection.js';
import { OWN } from './facts.js';
import { qualified, type TableName, tableName } from './names.js';

/** A table as it is read: the partitions of one are read with it, and are tables of their own as well. */
export interface ReadTable extends TableName {
  oid: string;
  /** `r` for one that holds rows, `p` for one whose partitions do. */
  kind: 'r' | 'p';
  isPartition: boolean;
  columns: { name: string; type: number; typeName: string; isText: boolean }[];
  /** The columns of its primary key. */
  key: string[];
}

/** The tables of the database with their columns, by schema and name. */
export const readTables = (connection: Connection): Promise<ReadTable[]> =>
  connection.rows<ReadTable>(
    `WITH RECURSIVE bases AS (
       SELECT oid, oid AS base FROM pg_type WHERE typtype <> 'd'
       UNION ALL SELECT t.oid, bases.base FROM pg_type t JOIN bases ON t.typtype = 'd' AND t.typbasetype = bases.oid)
     SELECT c.oid::text AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       c.relispartition AS "isPartition",
       COALESCE((SELECT json_agg(json_build_object('name', a.attname, 'type', b.base::int8,
           'typeName', format_type(a.atttypid, NULL), 'isText', t.typcategory = 'S') ORDER BY a.attnum)
         FROM pg_attribute a JOIN bases b ON b.oid = a.atttypid JOIN pg_type t ON t.oid = b.base
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns,
       COALESCE((SELECT json_agg(a.attname ORDER BY array_position(i.indkey::int2[], a.attnum))
         FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = c.oid AND i.indisprimary), '[]') AS key
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND ${OWN} ORDER BY 2, 3`,
  );

/** The table that lists name so, also with `public.` in front. */
export const tableCalled = (tables: readonly ReadTable[], name: string): ReadTable | undefined =>
  tables.find((table) => tableName(table) === name) ??
  tables.find((table) => table.schema === 'public' && `public.${tableName(table)}` === name);

/** A table as FROM takes it: the rows of one that inherits from it are its own. */
export const fromOf = (table: ReadTable): string => `${table.kind === 'r' ? 'ONLY ' : ''}${qualified(table)}`;

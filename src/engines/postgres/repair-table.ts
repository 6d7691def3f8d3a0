import { badInput } from '../../errors.js';
import type { Connection } from './connection.js';
import { storedTables, type Table } from './facts.js';
import { qualified, tableName } from './names.js';
import { BASE, type ShownColumn } from './samples.js';

/** A column of a table. */
export interface RepairColumn extends ShownColumn {
  type: string;
  isRequired: boolean;
  hasDefault: boolean;
  /** The server makes its values from others of the row. */
  isGenerated: boolean;
  /** `a`: the server numbers it always, `d`: where no value is given; empty if it does not. */
  identity: string;
  /** Its default takes a number from a sequence. */
  isCounted: boolean;
}

/** A table as a repair needs to know it. */
export interface ShapedTable extends Table {
  columns: RepairColumn[];
  /** The columns of the primary key; empty if it has none. */
  key: string[];
}

/** A table whose rows can be brought back. */
export interface RepairTable {
  name: string;
  oid: string;
  /** The table as the target and the dump know it. */
  table: Table;
  /** As SQL takes it, without what inherits from it. */
  live: string;
  /** Columns that are written: the target stores them, and the backup has them. */
  columns: RepairColumn[];
  /** Columns that only the target has, without generated ones. */
  extra: RepairColumn[];
  /** All columns of the target. */
  all: RepairColumn[];
  /** The primary key; null where rows are told apart only by all that they hold. */
  primary: RepairColumn[] | null;
  /** Temporary tables: the rows of the backup, which of them are written, and what they will be in the target. */
  rows: string;
  list: string;
  next: string;
}

/** The tables of a database by the names that lists give them, with their columns and primary keys. */
export async function shapedTables(connection: Connection): Promise<Map<string, ShapedTable>> {
  const rows = await connection.rows<{ oid: string; columns: RepairColumn[] }>(
    `SELECT a.attrelid::text AS oid, json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod),
       'base', ${BASE}, 'isRequired', attnotnull, 'hasDefault', atthasdef AND attgenerated = '', 'isGenerated', attgenerated <> '', 'identity', attidentity,
       'isCounted', attidentity <> '' OR EXISTS (SELECT FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
         WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass)) ORDER BY attnum) AS columns
     FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE attnum > 0 AND NOT attisdropped GROUP BY a.attrelid`,
  );
  const keys = await connection.rows<{ oid: string; key: string[] }>(
    `SELECT indrelid::text AS oid, array_agg(attname::text ORDER BY place) AS key
     FROM pg_index, unnest(indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
       JOIN pg_attribute a ON a.attnum = k.attnum
     WHERE indisprimary AND indisvalid AND attrelid = indrelid AND place <= indnkeyatts GROUP BY indrelid`,
  );
  const columns = new Map(rows.map((row) => [row.oid, row.columns]));
  const primary = new Map(keys.map((row) => [row.oid, row.key]));
  return new Map(
    (await storedTables(connection)).map((table) => [
      tableName(table),
      { ...table, columns: columns.get(table.oid) ?? [], key: primary.get(table.oid) ?? [] },
    ]),
  );
}

const WHOLE_TABLE =
  'Restore the whole table (rows: REPLACE), or into another database with targetDatabaseUrl, and copy there.';

const unfit = (text: string, hint = WHOLE_TABLE) => badInput('tables', text, hint);

/**
 * Judges whether rows of the backup's table fit the target's: nothing that the backup holds may be left behind or changed.
 * @param from the table in the dump @param to that of the target @param number distinguishes its temporary tables
 * @throws AppError BAD_USER_INPUT naming `tables`
 */
export function repairTable(
  name: string,
  from: ShapedTable | undefined,
  to: ShapedTable | undefined,
  number: number,
): RepairTable {
  if (to === undefined) throw unfit(`the target has no table ${name}.`);
  if (from === undefined) throw unfit(`the backup has no table ${name}.`);
  const nowOf = (column: RepairColumn) => to.columns.find((one) => one.name === column.name);
  const stored = from.columns.filter(({ isGenerated }) => !isGenerated);
  for (const column of stored) {
    const now = nowOf(column);
    if (now === undefined) throw unfit(`the target has no column ${column.name} in ${name}.`);
    if (now.isGenerated) throw unfit(`the column ${column.name} of ${name} is made by the server now.`);
    if (now.type !== column.type) {
      throw unfit(`the column ${column.name} of ${name} was ${column.type}, and is ${now.type}.`);
    }
  }
  const names = new Set(stored.map((column) => column.name));
  const written = to.columns.filter(({ isGenerated }) => !isGenerated);
  const extra = written.filter((column) => !names.has(column.name));
  const empty = extra.find(({ isRequired, hasDefault, identity }) => isRequired && !hasDefault && identity === '');
  if (empty !== undefined) {
    const hint = `Give ${empty.name} a default, or restore into another database with targetDatabaseUrl, and copy there.`;
    throw unfit(`the backup has no value for ${empty.name} of ${name}, which must not be NULL.`, hint);
  }
  if (from.key.join('\0') !== to.key.join('\0')) {
    throw unfit(`the primary key of ${name} was ${keyText(from.key)}, and is ${keyText(to.key)}.`);
  }
  const columns = written.filter((column) => names.has(column.name));
  const primary = to.key.map((key) => columns.find((column) => column.name === key));
  return {
    name,
    oid: to.oid,
    table: { oid: to.oid, schema: to.schema, name: to.name },
    live: `ONLY ${qualified(to)}`,
    columns,
    extra,
    all: to.columns,
    // A generated column may be part of a key: the backup's rows do not have it then.
    primary: primary.length === 0 || primary.includes(undefined) ? null : (primary as RepairColumn[]),
    rows: `pg_temp.repair_rows_${number}`,
    list: `pg_temp.repair_list_${number}`,
    next: `pg_temp.repair_next_${number}`,
  };
}

const keyText = (key: string[]) => (key.length === 0 ? 'none' : key.join(', '));

import { AppError } from '../../errors.js';
import type { SqliteConnection } from './connection.js';
import { quoted } from './info.js';
import type { SchemaName, SchemaObject } from './objects.js';
import { folded } from './schema.js';
import type { Schemas } from './tables.js';

/** A table whose rows can be brought back, as SQL names its parts. */
export interface RepairTable {
  name: string;
  key: string;
  /** The table in the dump and in the target. */
  from: string;
  to: string;
  /** Columns that are written: the target stores them, and the backup has them. */
  columns: { name: string }[];
  /** Columns that only the target has. */
  extra: string[];
  /** The primary key; null where rows are told apart only by all that they hold. */
  primary: { name: string }[] | null;
  /** What names one row in the dump and in the target: its rowid, or its key. */
  source: string[];
  target: string[];
  /** The hidden rowid in the target; null where a column shows it or there is none. */
  rowid: string | null;
  /** The backup has such a rowid too: rows keep it where it is free. */
  keepsRowid: boolean;
  /** The temporary table that lists the rows to write. */
  list: string;
}

interface Column {
  name: string;
  type: string;
  pk: number;
  hidden: number;
  notnull: number;
  dflt: string | null;
}

const WHOLE_TABLE =
  'Restore the whole table (rows: REPLACE), or into another file with targetDatabaseUrl, and copy there.';

const unfit = (text: string, hint = WHOLE_TABLE) =>
  new AppError('BAD_USER_INPUT', `tables: ${text}`, { field: 'tables', hint });

/**
 * Judges whether rows of the backup's table fit the target's: nothing that the backup holds may be left behind or changed.
 * @param number distinguishes its temporary table
 * @throws AppError BAD_USER_INPUT naming `tables`
 */
export async function repairTable(
  connection: SqliteConnection,
  { dump, target }: Schemas,
  name: string,
  number: number,
): Promise<RepairTable> {
  const [from, to] = [dump.get(folded(name)), target.get(folded(name))];
  if (to === undefined) throw unfit(`the target has no table ${name}.`);
  for (const object of [from, to]) if (object !== undefined) assertPlain(object);
  if (from === undefined) throw unfit(`the backup has no table ${name}.`);
  const [old, now] = [await columnsOf(connection, 'dump', from.name), await columnsOf(connection, 'main', to.name)];
  const formerOf = (column: Column) => old.find((one) => folded(one.name) === folded(column.name));
  const lost = old.find(
    (column) => column.hidden === 0 && !now.some((one) => folded(one.name) === folded(column.name)),
  );
  if (lost !== undefined) throw unfit(`the target has no column ${lost.name} in ${name}.`);
  const stored = now.filter(({ hidden }) => hidden === 0);
  for (const column of stored) {
    const former = formerOf(column);
    const isOther = former !== undefined && affinityOf(former.type) !== affinityOf(column.type);
    if (isOther) throw unfit(`the column ${column.name} of ${name} was ${typed(former)}, and is ${typed(column)}.`);
  }
  const columns = stored.filter((column) => formerOf(column) !== undefined);
  const extra = stored.filter((column) => formerOf(column) === undefined);
  const empty = extra.find(({ notnull, dflt }) => notnull === 1 && dflt === null);
  if (empty !== undefined) {
    const hint = `Give ${empty.name} a default, or restore into another file with targetDatabaseUrl, and copy there.`;
    throw unfit(`the backup has no value for ${empty.name} of ${name}, which must not be NULL.`, hint);
  }
  const [oldKey, key] = [keyOf(old), keyOf(now)];
  if (oldKey.map(folded).join('\0') !== key.map(folded).join('\0')) {
    throw unfit(`the primary key of ${name} was ${keyText(oldKey)}, and is ${keyText(key)}.`);
  }
  const sides = {
    dump: await identityOf(connection, 'dump', from.name),
    main: await identityOf(connection, 'main', to.name),
  };
  if (sides.dump.collations !== sides.main.collations)
    throw unfit(`the primary key of ${name} compares texts in another way.`);
  const [dumped, live] = [`dump.${quoted(from.name)}`, `main.${quoted(to.name)}`];
  const isTold = key.length > 0 && !(await hasNull(connection, dumped, key)) && !(await hasNull(connection, live, key));
  return {
    name: to.name,
    key: folded(name),
    from: dumped,
    to: live,
    columns,
    extra: extra.map((column) => column.name),
    primary: isTold ? key.map((column) => ({ name: column })) : null,
    source: sides.dump.names,
    target: sides.main.names,
    rowid: sides.main.hidden ? (sides.main.names[0] ?? null) : null,
    keepsRowid: sides.dump.hidden && sides.main.hidden,
    list: `temp.repair_${number}`,
  };
}

const KIND = { view: 'a view', virtual: 'a virtual table', shadow: 'part of a virtual table' };

function assertPlain({ name, kind }: SchemaObject): void {
  if (kind === 'table') return;
  throw unfit(
    `${name} is ${KIND[kind]}, so it has no rows of its own to bring back.`,
    'Choose the tables that hold the rows.',
  );
}

const columnsOf = (connection: SqliteConnection, schema: SchemaName, table: string) =>
  connection.all<Column>(
    'SELECT name, type, pk, hidden, "notnull", dflt_value AS dflt FROM pragma_table_xinfo(?, ?) ORDER BY cid',
    table,
    schema,
  );

const keyOf = (columns: Column[]) =>
  columns
    .filter(({ pk }) => pk > 0)
    .sort((one, other) => one.pk - other.pk)
    .map(({ name }) => name);

const keyText = (key: string[]) => (key.length === 0 ? 'none' : key.join(', '));
const typed = ({ type }: Column) => type || 'of no type';

/** What SQLite makes of values that a column of this type gets. */
export function affinityOf(type: string): string {
  if (/INT/i.test(type)) return 'INTEGER';
  if (/CHAR|CLOB|TEXT/i.test(type)) return 'TEXT';
  if (type === '' || /BLOB/i.test(type)) return 'BLOB';
  return /REAL|FLOA|DOUB/i.test(type) ? 'REAL' : 'NUMERIC';
}

async function hasNull(connection: SqliteConnection, table: string, key: string[]): Promise<boolean> {
  const isNull = key.map((name) => `${quoted(name)} IS NULL`).join(' OR ');
  return (await connection.value<number>(`SELECT EXISTS (SELECT 1 FROM ${table} WHERE ${isNull})`)) === 1;
}

/** What names one row of a table: the rowid, by the column that shows it or hidden, or the key. */
export async function identityOf(
  connection: SqliteConnection,
  schema: SchemaName,
  table: string,
): Promise<{ names: string[]; hidden: boolean; collations: string }> {
  const columns = await columnsOf(connection, schema, table);
  const key = keyOf(columns);
  const collations = await connection.all<{ coll: string }>(
    `SELECT upper(c.coll) AS coll FROM pragma_index_list(?1, ?2) AS i JOIN pragma_index_xinfo(i.name, ?2) AS c
     WHERE i.origin = 'pk' AND c.key = 1 ORDER BY c.seqno`,
    table,
    schema,
  );
  const compared = collations.map(({ coll }) => coll).join();
  const [info] = await connection.all<{ wr: number }>(
    'SELECT wr FROM pragma_table_list WHERE schema = ? AND name = ?',
    schema,
    table,
  );
  const shown = key.length === 1 && collations.length === 0 ? key : null;
  if (info?.wr === 1 || shown !== null) return { names: shown ?? key, hidden: false, collations: compared };
  const taken = new Set(columns.map(({ name }) => folded(name)));
  const rowid = ['rowid', '_rowid_', 'oid'].find((name) => !taken.has(name));
  if (rowid !== undefined) return { names: [rowid], hidden: true, collations: compared };
  throw unfit(`the rows of ${table} cannot be told apart: its columns hide its rowid.`);
}

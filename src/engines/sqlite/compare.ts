import type { Cell, DatabaseComparison, RowSample, TableComparison } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { cellOf, cellSql } from './cells.js';
import type { SqliteConnection } from './connection.js';
import { quoted } from './info.js';
import { type Objects, readObjects, type SchemaObject } from './objects.js';
import { openPrivate } from './query.js';
import { folded, type SchemaItem } from './schema.js';

/** A result may have so many columns. */
export const MAX_COLUMNS = 2_000;

interface Column {
  name: string;
  type: string;
  /** Its place in the primary key, from 1; 0 if it is not part of it. */
  pk: number;
}

/** A table that both databases have. */
interface Pair {
  before: SchemaObject;
  after: SchemaObject;
  /** Columns that both have, as `before` spells them. */
  columns: Column[];
  /** The primary key; null where rows are told apart only by all that they hold. */
  key: Column[] | null;
}

/** Compares two private copies. @throws AppError BAD_USER_INPUT naming `tables`; DATABASE_… */
export async function compareCopies(task: {
  before: string;
  after: string;
  tables: string[] | null;
  samples: number;
}): Promise<DatabaseComparison> {
  const connection = await openPrivate(task.before, [{ name: 'later', path: task.after }]);
  try {
    const before = await readObjects(connection, 'main');
    const after = await readObjects(connection, 'later');
    const names = namesOf(before, after, 'table');
    const wanted = task.tables?.map(folded) ?? names;
    const unknown = task.tables?.find((name) => !names.includes(folded(name)));
    if (unknown !== undefined) throw badInput('tables', `neither database has a table "${unknown}".`);
    const tables: TableComparison[] = [];
    for (const name of names.filter((one) => wanted.includes(one))) {
      tables.push(await compareTable(connection, before.get(name), after.get(name), task.samples));
    }
    const others = [...new Set([...namesOf(before, after, 'view'), ...namesOf(before, after, 'virtual')])];
    const schemaChanges = others.flatMap((name) => otherChange(before.get(name), after.get(name)));
    return { tables, schemaChanges: task.tables === null ? schemaChanges : [] };
  } finally {
    await connection.close();
  }
}

/** Folded names of what either has, in their order. */
function namesOf(before: Objects, after: Objects, kind: SchemaObject['kind']): string[] {
  const names = [before, after].flatMap((objects) => [...objects].filter(([, object]) => object.kind === kind));
  return [...new Set(names.map(([name]) => name))].sort();
}

async function compareTable(
  connection: SqliteConnection,
  before: SchemaObject | undefined,
  after: SchemaObject | undefined,
  samples: number,
): Promise<TableComparison> {
  const nothing = { added: 0, removed: 0, changed: 0, unchanged: 0, samples: [] };
  if (before?.kind === 'table' && after?.kind === 'table') return comparePair(connection, { before, after }, samples);
  if (after?.kind === 'table') {
    const added = await countOf(connection, 'later', after);
    const rows = await rowsOf(connection, 'later', after, samples);
    const shown = rows.map((row): RowSample => ({ key: {}, before: null, after: row }));
    return { ...nothing, name: after.name, added, schemaChanges: ['The table is new.'], samples: shown };
  }
  const table = before as SchemaObject;
  const removed = await countOf(connection, 'main', table);
  const rows = await rowsOf(connection, 'main', table, samples);
  const shown = rows.map((row): RowSample => ({ key: {}, before: row, after: null }));
  return { ...nothing, name: table.name, removed, schemaChanges: ['The table is gone.'], samples: shown };
}

const countOf = (connection: SqliteConnection, schema: string, { name }: SchemaObject) =>
  connection.value<number>(`SELECT count(*) FROM ${schema}.${quoted(name)}`);

async function rowsOf(
  connection: SqliteConnection,
  schema: 'main' | 'later',
  { name }: SchemaObject,
  limit: number,
): Promise<Record<string, Cell>[]> {
  const columns = await columnsOf(connection, schema, name);
  const rows = await connection.all<Cells>(
    `SELECT ${cells('', columns, 'c')} FROM ${schema}.${quoted(name)} LIMIT ${limit}`,
  );
  return rows.map((row) => valuesOf(row, columns, 'c'));
}

async function comparePair(
  connection: SqliteConnection,
  both: Pick<Pair, 'before' | 'after'>,
  samples: number,
): Promise<TableComparison> {
  const { before, after } = both;
  const [old, now] = [
    await columnsOf(connection, 'main', before.name),
    await columnsOf(connection, 'later', after.name),
  ];
  const columns = old.filter(({ name }) => now.some((column) => folded(column.name) === folded(name)));
  const key = await keyOf(connection, both, old, now);
  const pair: Pair = { ...both, columns, key };
  const rows =
    key === null
      ? await compareWholeRows(connection, pair, samples)
      : await compareByKey(connection, { ...pair, key }, samples);
  return { name: after.name, ...rows, schemaChanges: tableChanges(both, old, now) };
}

/** Those that hold values of their own. */
async function columnsOf(connection: SqliteConnection, schema: string, table: string): Promise<Column[]> {
  return connection.all<Column>(
    'SELECT name, type, pk FROM pragma_table_xinfo(?, ?) WHERE hidden = 0 ORDER BY cid',
    table,
    schema,
  );
}

/** The primary key that both have; null if they have none, another, or one that is NULL in some rows. */
async function keyOf(
  connection: SqliteConnection,
  { before, after }: Pick<Pair, 'before' | 'after'>,
  old: Column[],
  now: Column[],
): Promise<Column[] | null> {
  const keys = [old, now].map((columns) => columns.filter(({ pk }) => pk > 0).sort((one, other) => one.pk - other.pk));
  const [key = [], later = []] = keys;
  const isSame =
    key.length === later.length && key.every(({ name }, at) => folded(name) === folded(later[at]?.name ?? ''));
  if (key.length === 0 || !isSame) return null;
  for (const table of [`main.${quoted(before.name)}`, `later.${quoted(after.name)}`]) {
    const isNull = key.map(({ name }) => `${quoted(name)} IS NULL`).join(' OR ');
    if ((await connection.value<number>(`SELECT EXISTS (SELECT 1 FROM ${table} WHERE ${isNull})`)) === 1) return null;
  }
  return key;
}

type Counts = Pick<TableComparison, 'added' | 'removed' | 'changed' | 'unchanged' | 'samples'>;

async function compareByKey(
  connection: SqliteConnection,
  pair: Pair & { key: Column[] },
  samples: number,
): Promise<Counts> {
  const { before, after, columns, key } = pair;
  const [main, later] = [`main.${quoted(before.name)} AS a`, `later.${quoted(after.name)} AS b`];
  const same = key.map(({ name }) => `a.${quoted(name)} = b.${quoted(name)}`).join(' AND ');
  const differs = columns.map(differ).join(' OR ');
  const [found] = await connection.all<{ common: number; changed: number }>(
    `SELECT count(*) AS common, count(CASE WHEN ${differs} THEN 1 END) AS changed FROM ${later} JOIN ${main} ON ${same}`,
  );
  const { common = 0, changed = 0 } = found ?? {};
  const removed = (await countOf(connection, 'main', before)) - common;
  const added = (await countOf(connection, 'later', after)) - common;
  // Where the two columns take different texts for equal, a key may fit several rows.
  if (removed < 0 || added < 0) return compareWholeRows(connection, pair, samples);
  const shown: RowSample[] = [];
  const only = async (side: 'a' | 'b', from: string, other: string, wanted: number) => {
    if (wanted === 0) return;
    const rows = await connection.all<Cells>(
      `SELECT ${cells(`${side}.`, columns, 'c')} FROM ${from}
       WHERE NOT EXISTS (SELECT 1 FROM ${other} WHERE ${same}) LIMIT ${Math.min(wanted, samples)}`,
    );
    for (const row of rows) {
      const values = valuesOf(row, columns, 'c');
      const own = Object.fromEntries(key.map(({ name }) => [name, values[name] ?? null]));
      shown.push({ key: own, before: side === 'a' ? values : null, after: side === 'b' ? values : null });
    }
  };
  await only('a', main, later, removed);
  if (changed > 0 && 3 * columns.length <= MAX_COLUMNS) {
    const flags = columns.map((column, index) => `${differ(column)} AS d${index}`).join(', ');
    const rows = await connection.all<Cells & Record<`d${number}`, number>>(
      `SELECT ${cells('a.', columns, 'a')}, ${cells('b.', columns, 'b')}, ${flags}
       FROM ${later} JOIN ${main} ON ${same} WHERE ${differs} LIMIT ${samples}`,
    );
    for (const row of rows) {
      const differing = columns.filter((_column, index) => row[`d${index}`] === 1);
      const [old, now] = [valuesOf(row, columns, 'a'), valuesOf(row, columns, 'b')];
      shown.push({ key: pick(old, key), before: pick(old, differing), after: pick(now, differing) });
    }
  }
  await only('b', later, main, added);
  return { added, removed, changed, unchanged: common - changed, samples: shown };
}

/** By bytes, whatever the column's own order takes for equal. */
const differ = ({ name }: Column) => `(a.${quoted(name)} IS NOT b.${quoted(name)} COLLATE BINARY)`;

/** Rows without a key are the same if all that they hold is; of equal ones it counts how many there are. */
async function compareWholeRows(
  connection: SqliteConnection,
  { before, after, columns }: Pair,
  samples: number,
): Promise<Counts> {
  const rows = { main: await countOf(connection, 'main', before), later: await countOf(connection, 'later', after) };
  const none = { added: rows.later, removed: rows.main, changed: 0, unchanged: 0, samples: [] };
  if (columns.length === 0) return none;
  // A table may have columns of any name, also of those that are given here: its own are numbered.
  const numbered = columns.map((column, index) => ({ ...column, name: `k${index}` }));
  const own = columns.map(({ name }, index) => `${quoted(name)} AS k${index}`).join(', ');
  const binary = numbered.map(({ name }) => `${name} COLLATE BINARY`).join(', ');
  const differing = `SELECT sum(side) AS surplus, ${numbered.map(({ name }) => name).join(', ')} FROM (
      SELECT 1 AS side, ${own} FROM later.${quoted(after.name)}
      UNION ALL SELECT -1, ${own} FROM main.${quoted(before.name)})
    GROUP BY ${binary} HAVING sum(side) <> 0`;
  const [found] = await connection.all<{ added: number | null; removed: number | null }>(
    `SELECT sum(max(surplus, 0)) AS added, sum(max(-surplus, 0)) AS removed FROM (${differing})`,
  );
  const [added, removed] = [found?.added ?? 0, found?.removed ?? 0];
  const shown: RowSample[] = [];
  for (const [side, wanted] of [
    ['before', removed],
    ['after', added],
  ] as const) {
    if (wanted === 0) continue;
    const sign = side === 'before' ? '<' : '>';
    const found = await connection.all<Cells>(
      `SELECT ${cells('', numbered, 'c')} FROM (${differing}) WHERE surplus ${sign} 0 LIMIT ${samples}`,
    );
    for (const row of found) shown.push({ key: {}, before: null, after: null, [side]: valuesOf(row, columns, 'c') });
  }
  return { added, removed, changed: 0, unchanged: rows.main - removed, samples: shown };
}

/** A row of cells as `cells` names them. */
export type Cells = Record<`${'a' | 'b' | 'c'}${number}`, string | null>;

/** The SQL of a row's cells. @param side the alias of its table, with a dot @param as what their names begin with */
export const cells = (side: string, columns: Pick<Column, 'name'>[], as: 'a' | 'b' | 'c') =>
  columns.map(({ name }, index) => `${cellSql(side + quoted(name))} AS ${as}${index}`).join(', ');

/** The values of a row by column. */
export const valuesOf = (row: Cells, columns: Pick<Column, 'name'>[], as: 'a' | 'b' | 'c'): Record<string, Cell> =>
  Object.fromEntries(columns.map(({ name }, index) => [name, cellOf(row[`${as}${index}`] ?? null)]));

/** The values of some columns. */
export const pick = (values: Record<string, Cell>, columns: Pick<Column, 'name'>[]): Record<string, Cell> =>
  Object.fromEntries(columns.map(({ name }) => [name, values[name] ?? null]));

/** What differs of a table's definition, in words. */
function tableChanges({ before, after }: Pick<Pair, 'before' | 'after'>, old: Column[], now: Column[]): string[] {
  const find = (columns: Column[], name: string) => columns.find((column) => folded(column.name) === folded(name));
  const gone = old.filter(({ name }) => !find(now, name)).map(({ name }) => `The column ${name} is gone.`);
  const added = now.filter(({ name }) => !find(old, name)).map(({ name }) => `The column ${name} is new.`);
  const other = now.flatMap(({ name, type }) => {
    const former = find(old, name)?.type;
    return former === undefined || former === type
      ? []
      : [`The column ${name} was ${former || 'of no type'}, and is ${type || 'of no type'}.`];
  });
  const columns = [...gone, ...added, ...other];
  const isOther = columns.length === 0 && before.definition.sql !== after.definition.sql;
  return [
    ...columns,
    ...(isOther ? ['The definition of the table differs.'] : []),
    ...itemChanges('index', before.indexes, after.indexes),
    ...itemChanges('trigger', before.triggers, after.triggers),
  ];
}

function itemChanges(kind: string, old: SchemaItem[], now: SchemaItem[]): string[] {
  const find = (items: SchemaItem[], { name }: SchemaItem) => items.find((item) => folded(item.name) === folded(name));
  return [
    ...old.filter((item) => !find(now, item)).map(({ name }) => `The ${kind} ${name} is gone.`),
    ...now.flatMap((item) => {
      const former = find(old, item);
      if (former === undefined) return [`The ${kind} ${item.name} is new.`];
      return former.sql === item.sql ? [] : [`The ${kind} ${item.name} differs.`];
    }),
  ];
}

const KIND = { table: 'table', view: 'view', virtual: 'virtual table', shadow: 'table of a virtual table' };

function otherChange(before: SchemaObject | undefined, after: SchemaObject | undefined): string[] {
  const { kind, name } = (after ?? before) as SchemaObject;
  if (before !== undefined && after !== undefined && before.kind !== after.kind) {
    return [`${name} was a ${KIND[before.kind]}, and is a ${KIND[after.kind]}.`];
  }
  const what = `The ${KIND[kind]} ${name}`;
  if (before === undefined) return [`${what} is new.`];
  if (after === undefined) return [`${what} is gone.`];
  return before.definition.sql === after.definition.sql ? [] : [`${what} differs.`];
}

import type { CompareOptions, DatabaseComparison, RowSample, TableComparison } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import type { Connection } from './connection.js';
import { type ComparedTable, type DefinedColumn, type Definitions, definitionsIn, type Part } from './definitions.js';
import { qualified } from './names.js';
import { whileWanted } from './query.js';
import { cellsSql, countRows, hashOf, imageOf, pick, PLAIN_VALUES, valuesOf } from './samples.js';
import type { Place } from './url.js';

/** Both databases, each in one transaction. */
interface Sides {
  before: Connection;
  after: Connection;
}

/** A table that both have. */
interface Pair {
  before: ComparedTable;
  after: ComparedTable;
  /** Columns that both have, in the order of `before`. */
  columns: DefinedColumn[];
  /** The primary key that both have; null where rows are told apart only by all that they hold. */
  key: DefinedColumn[] | null;
}

/**
 * Compares two databases. What tells the rows of the later one apart goes through this process into the earlier one, which
 * compares them: no more than a piece of it is held here.
 * @param before may be written: a transaction that is taken back makes temporary tables in it
 * @param after is only read
 * @throws AppError BAD_USER_INPUT naming `tables`; DATABASE_…
 */
export function compareDatabases(before: Place, after: Place, options: CompareOptions): Promise<DatabaseComparison> {
  const { signal } = options;
  return whileWanted(before, signal, (one) =>
    whileWanted(after, signal, async (other) => {
      await one.run(`BEGIN ISOLATION LEVEL REPEATABLE READ; ${PLAIN_VALUES}`);
      await other.run(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${PLAIN_VALUES}`);
      try {
        return await compareSides({ before: one, after: other }, options);
      } finally {
        await one.run('ROLLBACK').catch(() => undefined);
        await other.run('ROLLBACK').catch(() => undefined);
      }
    }),
  );
}

async function compareSides(sides: Sides, { tables, samples, signal }: CompareOptions): Promise<DatabaseComparison> {
  const [before, after] = [await definitionsIn(sides.before), await definitionsIn(sides.after)];
  const names = [...new Set([...before.tables.keys(), ...after.tables.keys()])].sort();
  const unknown = tables?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw badInput('tables', `neither database has a table "${unknown}".`);
  await sides.before.run(
    `CREATE TEMP TABLE earlier (k uuid, h uuid, id tid) ON COMMIT DROP;
     CREATE TEMP TABLE later (k uuid, h uuid, id tid) ON COMMIT DROP`,
  );
  const compared: TableComparison[] = [];
  for (const name of names.filter((one) => tables === null || tables.includes(one))) {
    signal.throwIfAborted();
    const [old, now] = [before.tables.get(name), after.tables.get(name)];
    if (old !== undefined && now !== undefined) compared.push(await comparePair(sides, name, old, now, samples));
    else compared.push(await compareOne(sides, name, { old, now }, samples));
  }
  return { tables: compared, schemaChanges: tables === null ? otherChanges(before, after) : [] };
}

/** A table that only one of them has. */
async function compareOne(
  sides: Sides,
  name: string,
  { old, now }: { old: ComparedTable | undefined; now: ComparedTable | undefined },
  samples: number,
): Promise<TableComparison> {
  const isNew = old === undefined;
  const table = (now ?? old) as ComparedTable;
  const connection = isNew ? sides.after : sides.before;
  const rows = await countRows(connection, `ONLY ${qualified(table)}`);
  const columns = held(table);
  const found = await connection.rows<{ cells: (string | null)[] }>(
    `SELECT ${cellsSql('t', columns)} AS cells FROM ONLY ${qualified(table)} t LIMIT ${samples}`,
  );
  const nothing = { name, added: 0, removed: 0, changed: 0, unchanged: 0 };
  return {
    ...nothing,
    [isNew ? 'added' : 'removed']: rows,
    schemaChanges: [isNew ? 'The table is new.' : 'The table is gone.'],
    samples: found.map(({ cells }) => {
      const values = valuesOf(cells, columns);
      return { key: {}, before: isNew ? null : values, after: isNew ? values : null };
    }),
  };
}

/** Columns that hold values of their own. */
const held = ({ columns }: ComparedTable) => columns.filter(({ isGenerated }) => !isGenerated);

async function comparePair(
  sides: Sides,
  name: string,
  before: ComparedTable,
  after: ComparedTable,
  samples: number,
): Promise<TableComparison> {
  const now = held(after);
  const columns = held(before).filter((column) => now.some((one) => one.name === column.name));
  const isSameKey = before.key.length > 0 && before.key.join('\0') === after.key.join('\0');
  const key = isSameKey ? before.key.map((part) => columns.find((column) => column.name === part)) : [undefined];
  const pair: Pair = { before, after, columns, key: key.includes(undefined) ? null : (key as DefinedColumn[]) };
  await layHashes(sides, pair);
  // Without a common column nothing says that two rows are one.
  const isApart = columns.length === 0 && before.columns.length + after.columns.length > 0;
  const counts = pair.key === null ? await countWhole(sides.before, isApart) : await countByKey(sides.before);
  return {
    name,
    ...counts,
    schemaChanges: tableChanges(before, after),
    samples: samples === 0 || isApart ? [] : await samplesOf(sides, pair, samples),
  };
}

/** Notes of each row where it is, a hash of its key and one of all that it holds: of both tables, in the earlier database. */
async function layHashes(sides: Sides, { before, after, columns, key }: Pair): Promise<void> {
  const rows = (table: ComparedTable) => {
    const image = hashOf(imageOf('t', columns));
    return `SELECT ${key === null ? 'NULL::uuid' : hashOf(imageOf('t', key))}, ${image}, t.ctid FROM ONLY ${qualified(table)} t`;
  };
  await sides.before.run('TRUNCATE pg_temp.earlier, pg_temp.later');
  await sides.before.run(`INSERT INTO pg_temp.earlier ${rows(before)}`);
  const into = await sides.before.copyIn('COPY pg_temp.later FROM STDIN');
  try {
    for await (const bytes of sides.after.copyOut(`COPY (${rows(after)}) TO STDOUT`)) await into.write(bytes);
    await into.end();
  } catch (error) {
    await into.abort();
    throw error;
  }
  await sides.before.run('ANALYZE pg_temp.earlier; ANALYZE pg_temp.later');
}

type Counts = Pick<TableComparison, 'added' | 'removed' | 'changed' | 'unchanged'>;

async function countByKey(connection: Connection): Promise<Counts> {
  const [counts] = await connection.rows<Counts>(
    `SELECT count(*) FILTER (WHERE a.id IS NULL)::float8 AS added, count(*) FILTER (WHERE b.id IS NULL)::float8 AS removed,
       count(*) FILTER (WHERE a.h <> b.h)::float8 AS changed, count(*) FILTER (WHERE a.h = b.h)::float8 AS unchanged
     FROM pg_temp.earlier a FULL JOIN pg_temp.later b ON a.k = b.k`,
  );
  return counts as Counts;
}

/** Rows without a key are the same if all that they hold is; of equal ones it counts how many there are. */
async function countWhole(connection: Connection, isApart: boolean): Promise<Counts> {
  const [counts] = await connection.rows<Pick<Counts, 'added' | 'removed' | 'unchanged'>>(
    `SELECT coalesce(sum(greatest(now - was, 0)), 0)::float8 AS added, coalesce(sum(greatest(was - now, 0)), 0)::float8 AS removed,
       coalesce(sum(least(was, now)), 0)::float8 AS unchanged FROM (${WHOLE}) surplus`,
  );
  const { added = 0, removed = 0, unchanged = 0 } = counts ?? {};
  if (!isApart) return { added, removed, unchanged, changed: 0 };
  return { added: added + unchanged, removed: removed + unchanged, unchanged: 0, changed: 0 };
}

/** How many rows of each content there are. */
const WHOLE = `SELECT h, count(*) FILTER (WHERE side = 'a') AS was, count(*) FILTER (WHERE side = 'b') AS now,
    min(id::text) FILTER (WHERE side = 'a') AS a, min(id::text) FILTER (WHERE side = 'b') AS b
  FROM (SELECT 'a' AS side, h, id FROM pg_temp.earlier UNION ALL SELECT 'b', h, id FROM pg_temp.later) rows GROUP BY h`;

/** Where rows are that differ, as `before` lists them and as `after` does: the server knows a row by its place. */
async function samplesOf({ before, after }: Sides, pair: Pair, samples: number): Promise<RowSample[]> {
  const { columns, key } = pair;
  const places = (sql: string) => before.rows<{ a: string | null; b: string | null }>(`${sql} LIMIT ${samples}`);
  const joined = 'SELECT a.id::text AS a, b.id::text AS b FROM pg_temp.earlier a';
  const whole = (only: 'a' | 'b', condition: string) =>
    places(`SELECT ${only} FROM (${WHOLE}) surplus WHERE ${condition} ORDER BY ${only}`);
  const [removed, changed, added] =
    key === null
      ? [await whole('a', 'was > now'), [], await whole('b', 'now > was')]
      : [
          await places(`${joined} LEFT JOIN pg_temp.later b ON a.k = b.k WHERE b.id IS NULL ORDER BY a.id`),
          await places(`${joined} JOIN pg_temp.later b ON a.k = b.k WHERE a.h <> b.h ORDER BY a.id`),
          await places(`${joined} RIGHT JOIN pg_temp.later b ON a.k = b.k WHERE a.id IS NULL ORDER BY b.id`),
        ];
  const all = [...removed, ...changed, ...added];
  const old = await rowsAt(
    before,
    pair.before,
    columns,
    all.flatMap(({ a }) => a ?? []),
  );
  const now = await rowsAt(
    after,
    pair.after,
    columns,
    all.flatMap(({ b }) => b ?? []),
  );
  return all.map(({ a, b }): RowSample => {
    const [was, is] = [old.get(a ?? ''), now.get(b ?? '')];
    const own = pick((was ?? is)?.values ?? {}, key ?? []);
    if (was === undefined || is === undefined)
      return { key: own, before: was?.values ?? null, after: is?.values ?? null };
    const differing = columns.filter((_column, index) => was.hashes[index] !== is.hashes[index]);
    return { key: own, before: pick(was.values, differing), after: pick(is.values, differing) };
  });
}

/** Some rows of a table by their places, with a hash of each value. */
async function rowsAt(connection: Connection, table: ComparedTable, columns: DefinedColumn[], places: string[]) {
  const shown = table.columns.filter(({ name }) => columns.some((column) => column.name === name));
  const ordered = columns.map((column) => shown.find(({ name }) => name === column.name) ?? column);
  const hashes = ordered.map((column) => hashOf(imageOf('t', [column])));
  const found = await connection.rows<{ place: string; cells: (string | null)[]; hashes: string[] }>(
    `SELECT t.ctid::text AS place, ${cellsSql('t', ordered)} AS cells, ARRAY[${hashes.join(', ')}]::text[] AS hashes
     FROM ONLY ${qualified(table)} t WHERE t.ctid = ANY ($1::tid[])`,
    [places],
  );
  return new Map(found.map((row) => [row.place, { values: valuesOf(row.cells, ordered), hashes: row.hashes }]));
}

/** What differs of a table's definition, in words. */
function tableChanges(before: ComparedTable, after: ComparedTable): string[] {
  const find = ({ columns }: ComparedTable, name: string) => columns.find((column) => column.name === name);
  const gone = before.columns.filter(({ name }) => !find(after, name)).map(({ name }) => `The column ${name} is gone.`);
  const added = after.columns.filter(({ name }) => !find(before, name)).map(({ name }) => `The column ${name} is new.`);
  const other = after.columns.flatMap(({ name, type, more }) => {
    const former = find(before, name);
    if (former === undefined || (former.type === type && former.more === more)) return [];
    if (former.type !== type) return [`The column ${name} was ${former.type}, and is ${type}.`];
    return [`The column ${name} was ${former.more || 'without a default'}, and is ${more || 'without a default'}.`];
  });
  return [
    ...gone,
    ...added,
    ...other,
    ...(before.options === after.options ? [] : ['The definition of the table differs.']),
    ...partChanges(before.parts, after.parts),
  ];
}

/** What differs of parts with names, in words. */
function partChanges(before: Part[], after: Part[]): string[] {
  const keyOf = ({ kind, name }: Part) => `${kind}\0${name}`;
  const [old, now] = [before, after].map((parts) => new Map(parts.map((part) => [keyOf(part), part])));
  const named = ({ kind, name }: Part) => `The ${kind} ${name}`;
  return [
    ...before.filter((part) => !now?.has(keyOf(part))).map((part) => `${named(part)} is gone.`),
    ...after.flatMap((part) => {
      const former = old?.get(keyOf(part));
      if (former === undefined) return [`${named(part)} is new.`];
      return former.definition === part.definition ? [] : [`${named(part)} differs.`];
    }),
  ];
}

const otherChanges = (before: Definitions, after: Definitions) => partChanges(before.others, after.others);

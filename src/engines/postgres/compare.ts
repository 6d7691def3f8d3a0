import type { CompareOptions, DatabaseComparison, RowSample, TableComparison } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import type { Connection } from './connection.js';
import { type ComparedTable, type DefinedColumn, type Definitions, definitionsIn, type Part } from './definitions.js';
import { literal, qualified } from './names.js';
import { asOwners } from './owners.js';
import { whileWanted } from './query.js';
import { cellList, hashOf, imageOf, pick, PLAIN_VALUES, valuesOf } from './samples.js';
import type { Place } from './url.js';

/** Both databases, each in one transaction that only reads. */
interface Sides {
  before: Side;
  after: Side;
  /** In the earlier one, with temporary tables: what its tables bring along runs elsewhere. */
  work: Connection;
}

interface Side {
  definitions: Definitions;
  /** The rows of a query of one table, as `ReadTexts` takes it. */
  texts(table: ComparedTable, cells: readonly string[], rest: string): Promise<(string | null)[][]>;
  /** As `texts`, in the text that COPY reads. */
  copyOut(table: ComparedTable, cells: readonly string[], rest: string): AsyncIterable<Buffer>;
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
 * @param after keeps nothing of it
 * @throws AppError BAD_USER_INPUT naming `tables`; DATABASE_…
 */
export function compareDatabases(before: Place, after: Place, options: CompareOptions): Promise<DatabaseComparison> {
  const { signal } = options;
  return whileWanted(before, signal, (one) =>
    whileWanted(after, signal, (other) =>
      whileWanted(before, signal, async (work) => {
        await work.run('SET default_transaction_read_only = off; BEGIN');
        try {
          return await compareSides({ before: await sideOf(one), after: await sideOf(other), work }, options);
        } finally {
          for (const each of [one, other, work]) await each.run('ROLLBACK').catch(() => undefined);
        }
      }),
    ),
  );
}

/** What is set for the values of a table: a function that was called while a query was planned may have set it otherwise. */
const SET = `SET search_path = pg_catalog, pg_temp; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on;
  SET row_security = off; ${PLAIN_VALUES}`;

/** Begins the transaction in which a database is read. */
async function sideOf(connection: Connection): Promise<Side> {
  await connection.run('SET default_transaction_read_only = off; BEGIN ISOLATION LEVEL REPEATABLE READ');
  await connection.run(SET);
  const definitions = await definitionsIn(connection);
  const read = await asOwners(
    connection,
    [...definitions.tables.values()].map(({ oid }) => oid),
  );
  await connection.run('SET TRANSACTION READ ONLY');
  return {
    definitions,
    texts: async ({ oid }, cells, rest) => {
      await connection.run(SET);
      const rows = await connection.rows<{ texts: (string | null)[] }>(read(oid, cells, rest));
      await connection.run(SET);
      return rows.map(({ texts }) => texts);
    },
    copyOut: async function* ({ oid }, cells, rest) {
      const each = cells.map((_cell, index) => `texts[${index + 1}]`).join(', ');
      await connection.run(SET);
      yield* connection.copyOut(`COPY (SELECT ${each} FROM (${read(oid, cells, rest)}) AS read) TO STDOUT`);
      await connection.run(SET);
    },
  };
}

async function compareSides(sides: Sides, { tables, samples, signal }: CompareOptions): Promise<DatabaseComparison> {
  const [before, after] = [sides.before.definitions, sides.after.definitions];
  const names = [...new Set([...before.tables.keys(), ...after.tables.keys()])].sort();
  const unknown = tables?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw badInput('tables', `neither database has a table "${unknown}".`);
  await sides.work.run(
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
  const side = isNew ? sides.after : sides.before;
  const from = `FROM ONLY ${qualified(table)} t`;
  const [count] = await side.texts(table, ['count(*)::text'], from);
  const columns = held(table);
  const found = await side.texts(table, cellList('t', columns), `${from} LIMIT ${samples}`);
  const nothing = { name, added: 0, removed: 0, changed: 0, unchanged: 0 };
  return {
    ...nothing,
    [isNew ? 'added' : 'removed']: Number(count?.[0] ?? 0),
    schemaChanges: [isNew ? 'The table is new.' : 'The table is gone.'],
    samples: found.map((cells) => {
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
  const counts = pair.key === null ? await countWhole(sides.work, isApart) : await countByKey(sides.work);
  return {
    name,
    ...counts,
    schemaChanges: tableChanges(before, after),
    samples: samples === 0 || isApart ? [] : await samplesOf(sides, pair, samples),
  };
}

/** Notes of each row where it is, a hash of its key and one of all that it holds: of both tables, in the earlier database. */
async function layHashes(sides: Sides, { before, after, columns, key }: Pair): Promise<void> {
  const cells = [key === null ? 'NULL' : hashOf(imageOf('t', key)), hashOf(imageOf('t', columns)), 't.ctid'];
  const lay = async (side: Side, table: ComparedTable, list: string) => {
    const into = await sides.work.copyIn(`COPY ${list} FROM STDIN`);
    try {
      const rows = side.copyOut(
        table,
        cells.map((cell) => `${cell}::text`),
        `FROM ONLY ${qualified(table)} t`,
      );
      for await (const bytes of rows) await into.write(bytes);
      await into.end();
    } catch (error) {
      await into.abort();
      throw error;
    }
  };
  await sides.work.run('TRUNCATE pg_temp.earlier, pg_temp.later');
  await lay(sides.before, before, 'pg_temp.earlier');
  await lay(sides.after, after, 'pg_temp.later');
  await sides.work.run('ANALYZE pg_temp.earlier; ANALYZE pg_temp.later');
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
async function samplesOf({ before, after, work }: Sides, pair: Pair, samples: number): Promise<RowSample[]> {
  const { columns, key } = pair;
  const places = (sql: string) => work.rows<{ a: string | null; b: string | null }>(`${sql} LIMIT ${samples}`);
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
async function rowsAt(side: Side, table: ComparedTable, columns: DefinedColumn[], places: string[]) {
  const shown = table.columns.filter(({ name }) => columns.some((column) => column.name === name));
  const ordered = columns.map((column) => shown.find(({ name }) => name === column.name) ?? column);
  const cells = cellList('t', ordered);
  const hashes = ordered.map((column) => `${hashOf(imageOf('t', [column]))}::text`);
  const chosen = places.map((place) => literal(place)).join(', ');
  const found = await side.texts(
    table,
    ['t.ctid::text', ...cells, ...hashes],
    `FROM ONLY ${qualified(table)} t WHERE t.ctid = ANY (ARRAY[${chosen}]::tid[])`,
  );
  return new Map(
    found.map(([place, ...row]) => [
      place,
      { values: valuesOf(row.slice(0, cells.length), ordered), hashes: row.slice(cells.length) },
    ]),
  );
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

import { setTimeout as sleep } from 'node:timers/promises';
import type { RepairConflict, RowSample } from '../../core/ports.js';
import { AppError, errnoOf } from '../../errors.js';
import type { Connection, CopyIn } from './connection.js';
import type { DumpFile } from './dump.js';
import { literal, qualified, quoted, type TableName, tableName } from './names.js';
import {
  apartRules,
  clashing,
  isLate,
  isReference,
  isTorn,
  type Link,
  linksOf,
  linksTo,
  ownRules,
  parted,
  refersTo,
} from './repair-rules.js';
import type { RepairColumn, RepairTable } from './repair-table.js';
import { rowsIn } from './rows.js';
import { BASE, cellsSql, countRows, hashOf, imageOf, pick, valuesOf } from './samples.js';

/** How many rows are shown of each kind. */
const SAMPLES = 10;

/** Columns of a temporary table beside those of the target's, which have names of any kind. */
const SOURCE = quoted('db-manager: row of the backup');
const TARGET = quoted('db-manager: row of the target');

const listed = (columns: readonly { name: string }[], side = '') =>
  columns.map(({ name }) => `${side}${quoted(name)}`).join(', ');

/** Lays the rows of the backup into temporary tables of their own. @param onBytes called with the bytes of each piece */
export async function layRows(
  connection: Connection,
  dump: DumpFile,
  tables: RepairTable[],
  onBytes: (bytes: number) => void,
): Promise<void> {
  const byName = new Map(tables.map((table) => [tableName(table.table), table]));
  for (const { rows, list, live, columns } of tables) {
    await connection.run(
      `CREATE TEMP TABLE ${own(rows)} ON COMMIT DROP AS SELECT ${listed(columns)} FROM ${live} WITH NO DATA`,
    );
    await connection.run(`CREATE TEMP TABLE ${own(list)} (s tid UNIQUE, t tid, step int NOT NULL) ON COMMIT DROP`);
  }
  // As the dump has written them: by the setting of the database.
  await connection.run('SET LOCAL lc_monetary TO DEFAULT');
  let into: CopyIn | null = null;
  const names: TableName[] = tables.map(({ table }) => table);
  try {
    for await (const part of rowsIn(dump, names, [])) {
      if (part.kind === 'table') {
        const table = byName.get(tableName(part.table));
        into = await connection.copyIn(`COPY ${table?.rows ?? ''} ${part.columns} FROM STDIN`);
      } else if (part.kind === 'rows') {
        await into?.write(part.bytes);
        onBytes(part.bytes.length);
      } else if (part.kind === 'end') await into?.end();
    }
  } catch (error) {
    await into?.abort();
    throw error;
  }
  await connection.run("SET LOCAL lc_monetary = 'C'");
  for (const { rows } of tables) await connection.run(`ANALYZE ${rows}`);
}

/** A name of `pg_temp`, which none gives when a table is made. */
const own = (name: string) => name.replace('pg_temp.', '');

/** The condition for a row of the backup, `d`, and one of the target, `m`, that have the same primary key. */
async function sameKey(connection: Connection, table: RepairTable): Promise<string> {
  const rule = (await apartRules(connection, table)).find(({ isPrimary }) => isPrimary);
  const column = (place: number) => quoted(table.primary?.[place]?.name ?? '');
  return (
    rule?.clash(
      (place) => `d.${column(place)}`,
      (place) => `m.${column(place)}`,
    ) ?? 'false'
  );
}

/** True for rows of the backup that a condition chose. @param chosen a table with their `s`; null for all */
const isChosen = (chosen: string | null, row: string) =>
  chosen === null ? 'true' : `${row} IN (SELECT s FROM ${chosen})`;

/** Lists the rows of the backup that the target lost. Of equal rows without a key it counts how many there are. */
export async function listMissing(connection: Connection, table: RepairTable, chosen: string | null): Promise<void> {
  const { list, rows, live, columns, primary } = table;
  const into = `INSERT INTO ${list} (s, step)`;
  if (primary !== null) {
    const same = await sameKey(connection, table);
    return connection.run(
      `${into} SELECT d.ctid, 0 FROM ${rows} d
       WHERE NOT EXISTS (SELECT FROM ${live} m WHERE ${same}) AND ${isChosen(chosen, 'd.ctid')}`,
    );
  }
  const hash = (side: string) => hashOf(imageOf(side, columns));
  return connection.run(
    `${into} SELECT s, 0 FROM (SELECT s, h, row_number() OVER (PARTITION BY h ORDER BY s) AS nth
         FROM (SELECT d.ctid AS s, ${hash('d')} AS h FROM ${rows} d) all_) numbered
       LEFT JOIN (SELECT h, count(*) AS here FROM (SELECT ${hash('m')} AS h FROM ${live} m) all_ GROUP BY h) target USING (h)
     WHERE nth > coalesce(here, 0) AND ${isChosen(chosen, 's')}`,
  );
}

/** Lists the rows whose values differ from the target's in a byte. */
export async function listChanged(connection: Connection, table: RepairTable, chosen: string | null): Promise<void> {
  const { list, rows, live, columns, primary } = table;
  if (primary === null) return;
  const same = await sameKey(connection, table);
  await connection.run(
    `INSERT INTO ${list} (s, t, step) SELECT d.ctid, m.ctid, 0 FROM ${rows} d JOIN ${live} m ON ${same}
     WHERE ${imageOf('d', columns)} <> ${imageOf('m', columns)} AND ${isChosen(chosen, 'd.ctid')}`,
  );
}

/** A foreign key that rows of the list can be followed by: the backup has the values that it compares. */
const isFollowed = (link: Link, { columns }: RepairTable) =>
  link.columns.every((name) => columns.some((column) => column.name === name));

/**
 * Lists the rows that the listed ones refer to and that the target lacks, and those that these refer to, to the end.
 * @param open lays the rows of tables by their oids and gives them; those that the backup does not have are left out
 */
export async function listParents(
  connection: Connection,
  tables: readonly RepairTable[],
  open: (oids: string[]) => Promise<RepairTable[]>,
  signal: AbortSignal,
): Promise<void> {
  let children = [...tables];
  for (let step = 0; children.length > 0; step++) {
    const next = new Set<RepairTable>();
    for (const child of children) {
      for (const link of await linksOf(connection, child)) {
        signal.throwIfAborted();
        if (!isFollowed(link, child)) continue;
        const lost = `${child.list} l JOIN ${child.rows} d ON d.ctid = l.s WHERE l.step = ${step} AND ${isReference(link, 'd')}
          AND NOT EXISTS (SELECT FROM ${link.parentTable} m WHERE ${refersTo(link, 'm', 'd')})`;
        if ((await connection.rows(`SELECT FROM ${lost} LIMIT 1`)).length === 0) continue;
        for (const parent of await open(link.parents)) {
          if (!link.refers.every((name) => parent.columns.some((column) => column.name === name))) continue;
          const added = await connection.rows(
            `INSERT INTO ${parent.list} (s, step) SELECT DISTINCT q.ctid, ${step + 1} FROM ${parent.rows} q
             JOIN (SELECT d.* FROM ${lost}) c ON ${refersTo(link, 'q', 'c')} ON CONFLICT DO NOTHING RETURNING step`,
          );
          if (added.length > 0) next.add(parent);
        }
      }
    }
    children = [...next];
  }
}

/** Works out what the listed rows will be in the target, with what it has and the backup does not know. */
export async function makeNext(connection: Connection, table: RepairTable): Promise<void> {
  const { next, list, rows, live, columns, extra, all } = table;
  await connection.run(
    `CREATE TEMP TABLE ${own(next)} (LIKE ${live.replace('ONLY ', '')} INCLUDING DEFAULTS INCLUDING GENERATED) ON COMMIT DROP`,
  );
  for (const column of all) {
    await connection.run(`ALTER TABLE ${next} ALTER ${quoted(column.name)} DROP NOT NULL`);
    if (isLate(table, column)) await connection.run(`ALTER TABLE ${next} ALTER ${quoted(column.name)} DROP DEFAULT`);
  }
  await connection.run(`ALTER TABLE ${next} ADD ${SOURCE} tid, ADD ${TARGET} tid`);
  const from = `${list} l JOIN ${rows} d ON d.ctid = l.s`;
  const into = (more: readonly RepairColumn[]) => [listed([...columns, ...more]), SOURCE].filter(Boolean).join(', ');
  const values = (more: readonly RepairColumn[]) =>
    [listed(columns, 'd.'), listed(more, 'm.'), 'l.s'].filter(Boolean).join(', ');
  await connection.run(`INSERT INTO ${next} (${into([])}) SELECT ${values([])} FROM ${from} WHERE l.t IS NULL`);
  await connection.run(
    `INSERT INTO ${next} (${into(extra)}, ${TARGET}) SELECT ${values(extra)}, l.t
     FROM ${from} JOIN ${live} m ON m.ctid = l.t`,
  );
  await connection.run(`ANALYZE ${next}; ANALYZE ${list}`);
}

/** How many rows are listed: to add, and to overwrite. */
export async function countListed(connection: Connection, { list }: RepairTable) {
  const [found] = await connection.rows<{ add: number; overwrite: number }>(
    `SELECT (count(*) - count(t))::float8 AS add, count(t)::float8 AS overwrite FROM ${list}`,
  );
  return found ?? { add: 0, overwrite: 0 };
}

/** Some of the listed rows, before they are written. */
export async function sampleListed(connection: Connection, table: RepairTable): Promise<RowSample[]> {
  const { columns, list, rows, live, primary } = table;
  const from = `${list} l JOIN ${rows} d ON d.ctid = l.s`;
  const shown = await samplesOf(connection, table, `${from} WHERE l.t IS NULL ORDER BY l.s`);
  const found = await connection.rows<{ before: (string | null)[]; after: (string | null)[]; differ: boolean[] }>(
    `SELECT ${cellsSql('m', columns)} AS before, ${cellsSql('d', columns)} AS after,
       ARRAY[${columns.map((column) => `${imageOf('d', [column])} <> ${imageOf('m', [column])}`).join(', ')}]::boolean[] AS differ
     FROM ${from} JOIN ${live} m ON m.ctid = l.t ORDER BY l.s LIMIT ${SAMPLES}`,
  );
  const overwritten = found.map((row): RowSample => {
    const differing = columns.filter((_column, index) => row.differ[index]);
    const [before, after] = [valuesOf(row.before, columns), valuesOf(row.after, columns)];
    return { key: pick(after, primary ?? []), before: pick(before, differing), after: pick(after, differing) };
  });
  return [...shown, ...overwritten];
}

/** Some rows of the backup. @param rows a FROM clause and what follows it, in which `d` has their columns */
async function samplesOf(
  connection: Connection,
  { columns, primary }: RepairTable,
  rows: string,
): Promise<RowSample[]> {
  const found = await connection.rows<{ cells: (string | null)[] }>(
    `SELECT ${cellsSql('d', columns)} AS cells FROM ${rows} LIMIT ${SAMPLES}`,
  );
  return found.map(({ cells }): RowSample => {
    const after = valuesOf(cells, columns);
    return { key: pick(after, primary ?? []), before: null, after };
  });
}

/** What stands against the rows that are to be written. */
export interface Standing {
  conflicts: RepairConflict[];
  /** Names of tables that rows would have to come along of, as far as the backup has these tables. */
  parents: string[];
  /** Foreign keys whose rows refer to values that overwriting would take away, as `child → parent`. */
  taken: string[];
}

/**
 * What the rows break that are to be written, for each rule of the target. Reads only.
 * @param tables all of which rows are written, by their oids @param inBackup oids of those that the backup has
 */
export async function conflictsOf(
  connection: Connection,
  table: RepairTable,
  tables: ReadonlyMap<string, RepairTable>,
  inBackup: ReadonlySet<string>,
): Promise<Standing> {
  const { next, list, live } = table;
  const found: Standing = { conflicts: [], parents: [], taken: [] };
  const note = async (reason: string, condition: string) => {
    const rows = `${next} d WHERE ${condition}`;
    const count = await countRows(connection, rows);
    if (count > 0) found.conflicts.push({ reason, rows: count, samples: await samplesOf(connection, table, rows) });
    return count > 0;
  };
  const links = await linksTo(connection, table);
  const way = wayOf(links);
  for (const rule of await apartRules(connection, table)) {
    // Where values do not clash by being equal, only an index finds what does before every row was compared with every other.
    if (rule.index !== null) await connection.run(`CREATE INDEX ON ${next} ${rule.index}`);
    const [mine, theirs] = [parted(rule, next, `${SOURCE} AS id`), parted(rule, live, 'ctid AS id')];
    const clash = clashing(rule, 'a', 'b');
    const inTarget = `SELECT a.id FROM ${mine} a JOIN ${theirs} b ON ${clash} WHERE NOT EXISTS (SELECT FROM ${list} l WHERE l.t = b.id)`;
    const inBackup = `SELECT a.id FROM ${mine} a JOIN ${mine} b ON ${clash} WHERE a.id <> b.id`;
    await note(rule.reason, `${SOURCE} IN (${inTarget} UNION ${inBackup})`);
    if (way === 'replace' || !rule.isImmediate) continue;
    const swapped = `SELECT a.id FROM ${mine} a JOIN ${theirs} b ON ${clash} JOIN ${list} l ON l.t = b.id WHERE l.s <> a.id`;
    await note(
      `${rule.reason} until it is overwritten too, and foreign keys act when either is taken away`,
      `${TARGET} IS NOT NULL AND ${SOURCE} IN (${swapped})`,
    );
  }
  for (const { name } of way === 'replace' ? [] : table.all.filter(({ identity }) => identity === 'a')) {
    const differs = `${imageOf('m', [{ name }])} <> ${imageOf('d', [{ name }])}`;
    const isOther = `EXISTS (SELECT FROM ${live} m WHERE m.ctid = d.${TARGET} AND ${differs})`;
    await note(`${name} is numbered by the server, and foreign keys act when the row is taken away`, isOther);
  }
  for (const { reason, isBroken } of await ownRules(connection, table)) {
    await note(reason, `${SOURCE} IN (SELECT ${SOURCE} FROM ${next} d WHERE ${isBroken})`);
  }
  for (const link of await linksOf(connection, table)) {
    if (link.isFull) {
      const reason = `${link.name} does not allow NULL in some of ${link.columns.join(', ')} and not in all`;
      await note(reason, isTorn(link, 'd'));
    }
    const parents = link.parents.flatMap((oid) => tables.get(oid)?.next ?? []);
    const isNowhere = [link.parentTable, ...parents].map(
      (parent) => `NOT EXISTS (SELECT FROM ${parent} p WHERE ${refersTo(link, 'p', 'd')})`,
    );
    const reason = `${link.columns.join(', ')} refers to rows of ${tableName(link.parentName)} that the target does not have`;
    const isBroken = await note(reason, [isReference(link, 'd'), ...isNowhere].join(' AND '));
    if (isBroken && link.parents.some((oid) => inBackup.has(oid))) {
      found.parents.push(tableName(link.parentName));
    }
  }
  for (const link of links) {
    const refers = link.refers.map((name) => ({ name }));
    const [gone] = await connection.rows(
      `SELECT FROM ${next} d JOIN ${live} m ON m.ctid = d.${TARGET} WHERE ${imageOf('m', refers)} <> ${imageOf('d', refers)}
         AND EXISTS (SELECT FROM ${link.childTable} c WHERE ${refersTo(link, 'm', 'c')}) LIMIT 1`,
    );
    if (gone !== undefined) found.taken.push(`${tableName(link.childName)} → ${table.name}`);
  }
  return found;
}

/** How rows are overwritten: taken away and brought back, so that values may change places, unless foreign keys act on that. */
type Way = 'replace' | 'update';
const wayOf = (links: readonly Link[]): Way => (links.every(({ onDelete }) => onDelete === 'a') ? 'replace' : 'update');

/** Writes the rows in one statement: what depends on them is compared at its end. @returns how many were written */
export async function writeRows(connection: Connection, table: RepairTable): Promise<number> {
  const { next, live, all } = table;
  const stored = all.filter(({ isGenerated }) => !isGenerated);
  const given = stored.filter((column) => !isLate(table, column));
  const target = live.replace('ONLY ', '');
  const insert = (columns: RepairColumn[], condition: string) =>
    columns.length === 0
      ? `INSERT INTO ${target} SELECT FROM ${next} d WHERE ${condition} RETURNING 1`
      : `INSERT INTO ${target} (${listed(columns)}) OVERRIDING SYSTEM VALUE SELECT ${listed(columns, 'd.')}
         FROM ${next} d WHERE ${condition} RETURNING 1`;
  const way = wayOf(await linksTo(connection, table));
  const set = stored
    .filter(({ identity }) => identity !== 'a')
    .map(({ name }) => `${quoted(name)} = d.${quoted(name)}`);
  const isOld = `d.${TARGET} IS NOT NULL`;
  // What is read of `first` has ended before a row comes.
  const after = 'AND (SELECT count(*) FROM first) >= 0';
  const overwrite =
    way === 'replace'
      ? `first AS (DELETE FROM ${live} m USING ${next} d WHERE m.ctid = d.${TARGET} RETURNING 1),
         back AS (${insert(stored, `${isOld} ${after}`)})`
      : `first AS (${
          set.length === 0
            ? `SELECT 1 FROM ${next} d WHERE ${isOld}`
            : `UPDATE ${live} m SET ${set.join(', ')} FROM ${next} d WHERE m.ctid = d.${TARGET} RETURNING 1`
        }), back AS (SELECT 1 FROM first)`;
  const [written] = await connection.rows<{ rows: string }>(
    `WITH ${overwrite}, came AS (${insert(given, `d.${TARGET} IS NULL ${after}`)})
     SELECT ((SELECT count(*) FROM back) + (SELECT count(*) FROM came))::text AS rows`,
  );
  return Number(written?.rows ?? 0);
}

/** A sequence that is behind a number that comes back. */
export interface Counter {
  schema: string;
  name: string;
  /** Negative for one that counts down. */
  step: string;
  /** Who owns it, where the user must not act for that role; null otherwise. */
  owner: string | null;
  /** What it must have given. */
  last: bigint;
}

/**
 * The sequences of a table that would give numbers again which come back: those of its columns' defaults and identities, and
 * of the same columns of the tables that it is a partition of.
 */
export async function countersBehind(connection: Connection, table: RepairTable): Promise<Counter[]> {
  const found = await connection.rows<Omit<Counter, 'last'> & { column: string; isReadable: boolean }>(
    `SELECT DISTINCT n.nspname AS schema, s.relname AS name, a.attname AS column, q.seqincrement::text AS step,
       CASE WHEN NOT pg_has_role(s.relowner, 'USAGE') THEN pg_get_userbyid(s.relowner) END AS owner,
       has_sequence_privilege(s.oid, 'SELECT') AS "isReadable"
     FROM pg_attribute own JOIN pg_attribute a ON a.attname = own.attname AND (a.attrelid = own.attrelid
         OR a.attrelid IN (SELECT relid FROM pg_partition_ancestors(own.attrelid) AS up (relid)))
       LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
       JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND (
         (d.classid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
         OR (d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid))
       JOIN pg_class s ON s.relkind = 'S' AND s.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid ELSE d.refobjid END
       JOIN pg_namespace n ON n.oid = s.relnamespace JOIN pg_sequence q ON q.seqrelid = s.oid
     WHERE own.attrelid = $1::oid AND own.attnum > 0 AND NOT own.attisdropped
       AND ${BASE} IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
     ORDER BY 1, 2, 3`,
    [table.oid],
  );
  const behind: Counter[] = [];
  for (const { column, isReadable, ...counter } of found) {
    const number = `d.${quoted(column)}::numeric`;
    const [most] = await connection.rows<{ last: string | null }>(
      `SELECT ${isUp(counter) ? `floor(max(${number}))` : `ceil(min(${number}))`}::text AS last FROM ${table.next} d
       JOIN pg_sequence q ON q.seqrelid = ${literal(qualified(counter))}::regclass
       WHERE ${number} BETWEEN q.seqmin AND q.seqmax`,
    );
    if (most === undefined || most.last === null) continue;
    const one = { ...counter, last: BigInt(most.last) };
    if (!isReadable || (await isBehind(connection, one))) behind.push(one);
  }
  return behind;
}

const isUp = ({ step }: Pick<Counter, 'step'>) => !step.startsWith('-');

async function isBehind(connection: Connection, counter: Counter): Promise<boolean> {
  const [now] = await connection.rows<{ value: string; called: boolean }>(
    `SELECT last_value::text AS value, is_called AS called FROM ${qualified(counter)}`,
  );
  const value = BigInt(now?.value ?? 0);
  if (counter.last === value) return !now?.called;
  return isUp(counter) ? counter.last > value : counter.last < value;
}

/**
 * Moves sequences on to what was brought back, and never to what they gave already. What is set is taken back with the
 * transaction, and nobody takes a number until it ends.
 * @throws AppError DATABASE_IN_USE
 */
export async function moveSequences(connection: Connection, table: RepairTable): Promise<void> {
  for (const counter of await countersBehind(connection, table)) {
    await lockSequence(connection, counter);
    if (await isBehind(connection, counter)) {
      await connection.run(`SELECT setval(${literal(qualified(counter))}::regclass, ${counter.last}, true)`);
    }
  }
}

/** How long a lock is waited for while others are held: below `deadlock_timeout`, after which the server ends one who waits. */
export const BRIEF = 500;
/** How often, and how long in milliseconds, a sequence is waited for: who took a number of it may wait for the table. */
const TRIES = 10;
const TRY = 50;

async function lockSequence(connection: Connection, { step, ...sequence }: Counter): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    await connection.run(`SAVEPOINT unlocked; SET LOCAL lock_timeout = ${TRY}`);
    try {
      // Changes nothing, but the sequence is ours from here on.
      await connection.run(`ALTER SEQUENCE ${qualified(sequence)} INCREMENT BY ${step}`);
      await connection.run(`RELEASE SAVEPOINT unlocked; SET LOCAL lock_timeout = ${BRIEF}`);
      return;
    } catch (error) {
      if (!isLocked(error) || tries === TRIES) throw error;
      await connection.run('ROLLBACK TO SAVEPOINT unlocked; RELEASE SAVEPOINT unlocked');
      await sleep(2 * TRY);
    }
  }
}

/** True where a lock did not come in time. */
export const isLocked = (error: unknown): boolean => error instanceof AppError && errnoOf(error.cause) === '55P03';

import type {
  LoadOptions,
  RehearseOptions,
  RowRepair,
  StepContext,
  TableRepair,
  TablesRehearsal,
} from '../../core/ports.js';
import { aboutTable, conflict, OTHER_ROWS, refusalsOf } from '../repair-words.js';
import { AppError, errnoOf } from '../../errors.js';
import { drillName, newName } from '../beside.js';
import { type Connection, withConnection, withServer } from './connection.js';
import { type DumpFile, dumpBytes } from './dump.js';
import { tableName } from './names.js';
import {
  BRIEF,
  conflictsOf,
  countersBehind,
  countListed,
  isLocked,
  layRows,
  listChanged,
  listMissing,
  listParents,
  makeNext,
  moveSequences,
  sampleListed,
  writeRows,
} from './repair-rows.js';
import { linksOf } from './repair-rules.js';
import { repairTable, type RepairTable, type ShapedTable, shapedTables } from './repair-table.js';
import { chooseRows } from './repair-where.js';
import { countRows, PLAIN_VALUES } from './samples.js';
import { dropLeftovers, inScratch, shapeOf } from './scratch.js';
import { inStampedTransaction, noOwner, staleViews, triggersOf } from './tables.js';
import type { Place } from './url.js';

/** What a repair came to: where there are refusals, its transaction must end. */
type Outcome = Pick<TablesRehearsal, 'tables' | 'warnings' | 'repairs' | 'refusals'>;

/** A repair that was worked out in temporary tables: nothing is written yet. */
interface Worked extends Outcome {
  /** The tables that get rows, parents first. */
  written: { table: RepairTable; repair: TableRepair }[];
}

/**
 * Brings rows of the dump back into tables of the target, in one transaction that judges anew what fits. No trigger fires.
 * @throws AppError RESTORE_CONFLICT, BAD_USER_INPUT: nothing is changed then
 */
export async function loadRows(
  dump: DumpFile,
  place: Place,
  options: LoadOptions & { tables: string[]; repair: RowRepair },
): Promise<string[]> {
  const dumped = await dumpedTables(dump, place, newName(options.stamp));
  const warnings = await givingWay(() =>
    inStampedTransaction(place, options, async (connection) => {
      const worked = await work(connection, dump, place, dumped, { ...options, locked: options });
      const { tables, refusals, written } = worked;
      const [refusal] = refusals;
      if (refusal !== undefined) throw refusal;
      const other = tables.find((name) => !options.tables.includes(name));
      if (other !== undefined) {
        const text = `tables: rows of ${other} would be needed as well by now, which the plan did not say.`;
        throw conflict(text, 'Look at the plan again, and restore again.');
      }
      await writeAll(connection, written, options.signal);
      return worked.warnings;
    }),
  );
  options.onProgress(1, 1);
  return warnings;
}

/** As `Engine.rehearse`: works it out in a transaction that is taken back. The target is only read. */
export async function rehearseRows(
  dump: DumpFile,
  place: Place,
  options: StepContext & RehearseOptions & { repair: RowRepair },
): Promise<TablesRehearsal> {
  const dumped = await dumpedTables(dump, place, drillName());
  return withConnection(place, options.signal, async (connection) => {
    await connection.run('BEGIN ISOLATION LEVEL REPEATABLE READ');
    try {
      await connection.run(`SET LOCAL lock_timeout = ${PLAN_WAIT}`);
      const { written: _written, ...outcome } = await work(connection, dump, place, dumped, {
        ...options,
        locked: null,
      });
      return { ...outcome, related: [] };
    } finally {
      await connection.run('ROLLBACK').catch(() => undefined);
    }
  });
}

/** How long a plan waits for a lock, in milliseconds. */
const PLAN_WAIT = 10_000;

/** What the dump defines, read from a database beside the target that has no row. */
async function dumpedTables(dump: DumpFile, place: Place, scratch: string): Promise<Map<string, ShapedTable>> {
  return withServer(place, undefined, async (server) => {
    await dropLeftovers(server).catch(() => undefined);
    const shape = await shapeOf(server, place.database);
    if (shape === null) {
      const text = `There is no database "${place.database}", so no rows can be brought back into it.`;
      throw new AppError('DATABASE_NOT_FOUND', text, {
        hint: 'Restore whole tables or the whole database: leave rows out.',
      });
    }
    const beside = { place: { ...place, database: scratch }, shape, part: 'definitions' as const };
    return inScratch(server, dump, beside, shapedTables);
  });
}

/**
 * Works out what comes back, and what stands against it.
 * @param options.locked the tables of the plan, which are locked before any row is judged; null for a plan, which locks none
 */
async function work(
  connection: Connection,
  dump: DumpFile,
  place: Place,
  dumped: ReadonlyMap<string, ShapedTable>,
  {
    repair,
    signal,
    onProgress,
    locked,
  }: StepContext & { repair: RowRepair; locked: { tables: string[]; lockTimeoutMs: number } | null },
): Promise<Worked> {
  const { mode, tables: names, where, withParents } = repair;
  await connection.run(PLAIN_VALUES);
  const live = await shapedTables(connection);
  const total = await dumpBytes(dump.path);
  let done = 0;
  const opened = new Map<string, RepairTable>();
  const lay = async (chosen: string[]) => {
    const tables = chosen.map((name, index) =>
      repairTable(name, dumped.get(name), live.get(name), opened.size + index),
    );
    await assertMayWrite(connection, place, tables);
    await orConflict(chosen.join(', '), () =>
      layRows(connection, dump, tables, (bytes) => onProgress(Math.min((done += bytes), total) * 0.9, total)),
    );
    for (const table of tables) opened.set(table.oid, table);
    return tables;
  };
  try {
    const chosenNames = new Set(names);
    const known = await lay([...new Set([...chosenNames, ...(locked?.tables ?? [])])]);
    const wanted = known.slice(0, chosenNames.size);
    // Rows are laid first: those who write wait only for the rest. A table that the plan did not name gets no rows below.
    if (locked !== null) {
      const locks = known.map((table): Lock => {
        const overwrites = mode === 'CHANGED' && wanted.includes(table);
        return { table, mode: overwrites ? 'EXCLUSIVE' : 'SHARE ROW EXCLUSIVE' };
      });
      await lock(connection, locks, locked.lockTimeoutMs, signal);
    }
    const [only] = wanted;
    const chosen = where === null || only === undefined ? null : await chooseRows(connection, only, where);
    for (const table of wanted) {
      await listMissing(connection, table, chosen);
      if (mode === 'CHANGED') await listChanged(connection, table, chosen);
      signal.throwIfAborted();
    }
    if (withParents) {
      const nameOf = new Map([...live].map(([name, { oid }]) => [oid, name]));
      const open = async (oids: string[]) => {
        const fresh = oids.flatMap((oid) => (opened.has(oid) ? [] : (nameOf.get(oid) ?? [])));
        const there = fresh.filter((name) => dumped.has(name));
        if (there.length > 0) await lay(there);
        return oids.flatMap((oid) => opened.get(oid) ?? []);
      };
      await listParents(connection, wanted, open, signal);
    }
    const inBackup = new Set([...live].flatMap(([name, { oid }]) => (dumped.has(name) ? [oid] : [])));
    return await judge(connection, place, { opened, wanted, inBackup, withParents }, signal);
  } catch (error) {
    if (!(error instanceof AppError) || error.field !== 'tables') throw error;
    return { tables: names, warnings: [], repairs: [], refusals: [error], written: [] };
  }
}

/**
 * @param tables `opened`: all that rows were laid of, by their oids; `wanted`: those that were chosen; `inBackup`: oids of all
 *   that the backup has
 */
async function judge(
  connection: Connection,
  place: Place,
  {
    opened,
    wanted,
    inBackup,
    withParents,
  }: {
    opened: Map<string, RepairTable>;
    wanted: RepairTable[];
    inBackup: ReadonlySet<string>;
    withParents: boolean;
  },
  signal: AbortSignal,
): Promise<Worked> {
  const repairs = new Map<RepairTable, TableRepair>();
  for (const table of opened.values()) {
    const counts = await countListed(connection, table);
    const isParent = !wanted.includes(table);
    // Of a partitioned parent there may be partitions that nothing refers to.
    if (isParent && counts.add === 0) continue;
    const keep = (await countRows(connection, table.live)) - counts.overwrite;
    const samples = await sampleListed(connection, table);
    repairs.set(table, { name: table.name, parents: isParent, ...counts, keep, samples, conflicts: [] });
  }
  const written = [...repairs].filter(([, { add, overwrite }]) => add + overwrite > 0);
  for (const [table] of written) {
    await orConflict(table.name, () => makeNext(connection, table));
    signal.throwIfAborted();
  }
  const byOid = new Map(written.map(([table]) => [table.oid, table]));
  const parents = new Set<string>();
  const taken = new Set<string>();
  for (const [table, repair] of written) {
    const found = await orConflict(table.name, () => conflictsOf(connection, table, byOid, inBackup));
    repair.conflicts.push(...found.conflicts);
    for (const parent of found.parents) parents.add(parent);
    for (const link of found.taken) taken.add(link);
    signal.throwIfAborted();
  }
  const tables = written.map(([table]) => table);
  const foreign = new Map<string, AppError>();
  for (const table of tables) {
    for (const { owner, ...sequence } of await countersBehind(connection, table)) {
      if (owner !== null) foreign.set(owner, noOwner(place, { owner, names: tableName(sequence) }));
    }
  }
  return {
    tables: [...new Set([...wanted, ...repairs.keys()])].map(({ name }) => name),
    warnings: [
      ...(written.length === 0 ? ['The target has all of these rows: nothing comes back.'] : []),
      ...written.flatMap(([table]) =>
        aboutTable(table.name, { hasKey: table.primary !== null, extra: table.extra.map((column) => column.name) }),
      ),
      ...(await triggerWarnings(connection, tables)),
      ...(await staleViews(connection, tables)),
    ],
    repairs: [...repairs.values()],
    refusals: [
      ...refusalsOf([...repairs.values()], hintOf(withParents ? new Set() : parents)),
      ...takenAway(taken),
      ...foreign.values(),
    ],
    written: await parentsFirst(
      connection,
      written.map(([table, repair]) => ({ table, repair })),
    ),
  };
}

/** Fails unless the user may write the tables, and nothing would make other statements of those that write. */
async function assertMayWrite(connection: Connection, place: Place, tables: RepairTable[]): Promise<void> {
  const oids = tables.map(({ oid }) => oid);
  const [owned] = await connection.rows<{ owner: string; names: string }>(
    `SELECT pg_get_userbyid(relowner) AS owner, string_agg(relname, ', ' ORDER BY relname) AS names FROM pg_class
     WHERE oid = ANY ($1::oid[]) AND NOT pg_has_role(relowner, 'USAGE') GROUP BY 1 ORDER BY 1 LIMIT 1`,
    [oids],
  );
  if (owned !== undefined) throw noOwner(place, owned);
  const [ruled] = await connection.rows<{ schema: string; name: string; rule: string }>(
    `SELECT n.nspname AS schema, c.relname AS name, r.rulename AS rule FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
       JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = ANY ($1::oid[]) AND r.ev_enabled <> 'D' ORDER BY r.rulename LIMIT 1`,
    [oids],
  );
  if (ruled === undefined) return;
  const text = `tables: the rule ${ruled.rule} of ${tableName(ruled)} would change what is written.`;
  throw new AppError('BAD_USER_INPUT', text, { field: 'tables', hint: 'Restore the whole table (rows: REPLACE).' });
}

/** A table that is locked. Rows are overwritten only where no one else can lock them, or add rows that refer to them. */
interface Lock {
  table: RepairTable;
  mode: 'SHARE ROW EXCLUSIVE' | 'EXCLUSIVE';
}

/**
 * From here on others read these tables, and wait before they write them. While it waits for the first lock it holds no
 * other; where a further one does not come soon it gives up all, so that those who write can go on, and begins with that one.
 * @param within how long all may take, in milliseconds
 * @throws AppError DATABASE_IN_USE
 */
async function lock(connection: Connection, locks: Lock[], within: number, signal: AbortSignal): Promise<void> {
  const until = Date.now() + Math.max(1_000, within);
  const left = () => Math.max(1, until - Date.now());
  const order = [...locks].sort((a, b) => (a.table.live < b.table.live ? -1 : 1));
  await connection.run('SAVEPOINT unlocked');
  for (let place = 0; place < order.length;) {
    const next = order[place] as Lock;
    try {
      await connection.run(`SET LOCAL lock_timeout = ${place === 0 ? left() : Math.min(BRIEF, left())}`);
      await connection.run(`LOCK TABLE ${next.table.live} IN ${next.mode} MODE`);
      place += 1;
    } catch (error) {
      signal.throwIfAborted();
      if (!isLocked(error) || place === 0 || left() === 1) throw error;
      await connection.run('ROLLBACK TO SAVEPOINT unlocked');
      order.splice(place, 1);
      order.unshift(next);
      place = 0;
    }
  }
  // What is waited for from now on may be held by one who waits for these tables.
  await connection.run(`RELEASE SAVEPOINT unlocked; SET LOCAL lock_timeout = ${BRIEF}`);
}

/** Two that wait for each other: the server has ended us. */
async function givingWay<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof AppError) || errnoOf(error.cause) !== '40P01') throw error;
    const text = 'Another transaction and the restore waited for each other. Nothing was changed.';
    throw new AppError('DATABASE_IN_USE', text, {
      hint: 'Restore again, when fewer write to these tables.',
      cause: error,
    });
  }
}

/** Parents before what refers to them, as far as they do not refer to each other. */
async function parentsFirst(connection: Connection, written: Worked['written']): Promise<Worked['written']> {
  const parents = new Map<string, string[]>();
  for (const { table } of written) {
    parents.set(
      table.oid,
      (await linksOf(connection, table)).flatMap((link) => link.parents),
    );
  }
  const ordered = new Set<Worked['written'][number]>();
  const open = new Set<string>();
  const add = (one: Worked['written'][number]) => {
    const { oid } = one.table;
    if (open.has(oid)) return;
    open.add(oid);
    for (const parent of written) if (parents.get(oid)?.includes(parent.table.oid)) add(parent);
    ordered.add(one);
  };
  for (const one of written) add(one);
  return [...ordered];
}

/** Writes the rows while no trigger of the application fires, and has the server compare what depends on them. */
async function writeAll(connection: Connection, written: Worked['written'], signal: AbortSignal): Promise<void> {
  const triggers = await triggersOf(
    connection,
    written.map(({ table }) => table.oid),
  );
  for (const { table, name } of triggers) await connection.run(`ALTER TABLE ${table} DISABLE TRIGGER ${name}`);
  await connection.run('SET CONSTRAINTS ALL DEFERRED');
  for (const { table, repair } of written) {
    const rows = await orConflict(table.name, () => writeRows(connection, table));
    await assertCount(connection, table, repair, rows);
    signal.throwIfAborted();
  }
  const all = written.map(({ table }) => table.name).join(', ');
  await orConflict(all, () => connection.run('SET CONSTRAINTS ALL IMMEDIATE'));
  for (const { table, name, how } of triggers) await connection.run(`ALTER TABLE ${table} ENABLE ${how} ${name}`);
  for (const { table } of written) await moveSequences(connection, table);
}

/** Every row that was there is still there, and those that were added are, too. */
async function assertCount(
  connection: Connection,
  { name, live }: RepairTable,
  { add, overwrite, keep }: TableRepair,
  written: number,
): Promise<void> {
  const rows = await countRows(connection, live);
  const expected = add + overwrite + keep;
  if (rows === expected && written === add + overwrite) return;
  throw new AppError(
    'DATABASE_FAILED',
    `${name} would have ${rows} rows afterwards, not the expected ${expected}. Nothing was changed.`,
  );
}

async function triggerWarnings(connection: Connection, tables: RepairTable[]): Promise<string[]> {
  const warnings: string[] = [];
  for (const { oid, name } of tables) {
    const names = (await triggersOf(connection, [oid])).map((trigger) => trigger.name);
    if (names.length === 0) continue;
    warnings.push(
      `Triggers do not run for rows of ${name} that come back: ${names.join(', ')}. What they write stays as it is.`,
    );
  }
  return warnings;
}

function takenAway(links: Set<string>): AppError[] {
  if (links.size === 0) return [];
  const text = `tables: newer rows refer to values that overwriting would take away: ${[...links].join(', ')}.`;
  return [conflict(text, 'Bring back only missing rows (rows: MISSING), or choose rows with where.')];
}

/** @param parents tables of rows that would have to come along */
const hintOf = (parents: Set<string>) =>
  parents.size === 0
    ? OTHER_ROWS
    : `Set withParents: true (command line: --with-parents) to bring the missing rows of ${[...parents].join(', ')} back as well, where the backup has them, or choose others with where.`;

/** Runs what a value or a rule of the target can end: then the rows do not fit. */
async function orConflict<T>(tables: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const code = error instanceof AppError ? (errnoOf(error.cause) ?? '') : '';
    if (!/^(22|23|P0)/.test(code) || !(error instanceof AppError)) throw error;
    const said = error.cause instanceof Error ? error.cause.message.split('\n')[0] : error.message;
    throw conflict(`tables: rows of ${tables} cannot be brought back: ${said}.`, OTHER_ROWS, error);
  }
}

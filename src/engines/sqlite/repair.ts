import type {
  LoadOptions,
  RehearseOptions,
  RowRepair,
  StepContext,
  TableRepair,
  TablesRehearsal,
} from '../../core/ports.js';
import { aboutTable, conflict, OTHER_ROWS, refusalsOf } from '../repair-words.js';
import { AppError } from '../../errors.js';
import type { SqliteConnection } from './connection.js';
import { derivationsOf } from './derived.js';
import { foreignKeysOf } from './foreign-keys.js';
import { quoted } from './info.js';
import type { Objects } from './objects.js';
import { danglingOf, listParents } from './repair-links.js';
import {
  conflictsOf,
  countListed,
  listChanged,
  listMissing,
  makeList,
  sampleListed,
  writeListed,
} from './repair-rows.js';
import { repairTable, type RepairTable } from './repair-table.js';
import { restorable } from './replace.js';
import { chooseRows } from './rows.js';
import { definitionProblem, folded, type SchemaItem } from './schema.js';
import { writeStamp } from './stamp.js';
import { inTransaction, rebuildIndex, schemaOfOthers, type Schemas, schemasOf } from './tables.js';

/** What a repair came to: where there are refusals, its transaction must end. */
type Outcome = Pick<TablesRehearsal, 'tables' | 'warnings' | 'repairs' | 'refusals'>;

/**
 * Brings rows of the dump back into tables of the target, in one transaction that judges anew what fits. No trigger fires.
 * @throws AppError RESTORE_CONFLICT, BAD_USER_INPUT: nothing is changed then
 */
export async function loadRows(
  dump: string,
  target: string,
  options: LoadOptions & { tables: string[]; repair: RowRepair },
): Promise<void> {
  const chosen = await chosenRows(dump, options.repair, options.signal);
  await inTransaction(dump, target, options, async (connection) => {
    const { tables, refusals } = await repairRows(connection, options.repair, chosen, options);
    const [refusal] = refusals;
    if (refusal !== undefined) throw refusal;
    const planned = new Set(options.tables.map(folded));
    const other = tables.find((name) => !planned.has(folded(name)));
    if (other !== undefined) {
      const text = `tables: rows of ${other} would be needed as well by now, which the plan did not say.`;
      throw new AppError('RESTORE_CONFLICT', text, {
        field: 'tables',
        hint: 'Look at the plan again, and restore again.',
      });
    }
    await writeStamp(connection, options.stamp);
  });
}

/** Does the same with a private copy of the target, for the plan. */
export async function rehearseRows(
  dump: string,
  copy: string,
  options: StepContext & RehearseOptions & { repair: RowRepair; lockTimeoutMs: number },
): Promise<TablesRehearsal> {
  const chosen = await chosenRows(dump, options.repair, options.signal);
  let outcome: Outcome | null = null;
  await inTransaction(dump, copy, options, async (connection) => {
    outcome = await repairRows(connection, options.repair, chosen, options);
  });
  return { related: [], ...(outcome as unknown as Outcome) };
}

/** The error for rows that have no database to come back to. */
export const nothingToRepair = (target: string) =>
  new AppError('DATABASE_NOT_FOUND', `${target} is not there, so no rows can be brought back into it.`, {
    hint: 'Restore whole tables or the whole database: leave rows out.',
  });

/** The table of the dump that lists the rows which `where` chose; null for all rows. */
const chosenRows = async (dump: string, { tables: [table = ''], where }: RowRepair, signal: AbortSignal) =>
  where === null ? null : chooseRows(dump, { table, where }, signal);

/** @param chosen as `chosenRows` gave it */
async function repairRows(
  connection: SqliteConnection,
  { mode, tables: names, withParents }: RowRepair,
  chosen: string | null,
  { signal, onProgress }: StepContext,
): Promise<Outcome> {
  // A repaired row is like any that the application writes: it keeps the rules of its table.
  await connection.run('PRAGMA ignore_check_constraints = OFF');
  const schemas = await schemasOf(connection);
  const tables = new Map<string, RepairTable>();
  const open = async (name: string): Promise<RepairTable> => {
    const known = tables.get(folded(name));
    if (known !== undefined) return known;
    const table = await repairTable(connection, schemas, name, tables.size);
    await makeList(connection, table);
    tables.set(folded(name), table);
    return table;
  };
  const outcome: Outcome = { tables: names, warnings: [], repairs: [], refusals: [] };
  try {
    for (const name of names) {
      await restorable(name, async () => {
        const table = await open(name);
        await listMissing(connection, table, chosen);
        if (mode === 'CHANGED') await listChanged(connection, table, chosen);
      });
      signal.throwIfAborted();
    }
    const wanted = [...tables.values()];
    if (withParents) await listParents(connection, schemas, wanted, open, signal);
    return await writeAll(
      connection,
      schemas,
      { tables: [...tables.values()], wanted, withParents },
      { signal, onProgress },
    );
  } catch (error) {
    if (!(error instanceof AppError) || error.field !== 'tables') throw error;
    return { ...outcome, refusals: [error] };
  }
}

/** @param tables all that have a list; `wanted` are those that were chosen */
async function writeAll(
  connection: SqliteConnection,
  schemas: Schemas,
  { tables, wanted, withParents }: { tables: RepairTable[]; wanted: RepairTable[]; withParents: boolean },
  { signal, onProgress }: StepContext,
): Promise<Outcome> {
  const repairs = new Map<RepairTable, TableRepair>();
  for (const table of tables) repairs.set(table, await planned(connection, table, !wanted.includes(table)));
  const written = [...repairs].filter(([, { add, overwrite }]) => add + overwrite > 0);
  const keys = new Set(written.map(([{ name }]) => folded(name)));
  const bound = boundBy(keys, schemas.target);
  const before = await foreignKeysOf(connection, 'main', keys);
  const schema = await schemaOfOthers(connection, new Set());
  const triggers = await dropTriggers(connection, keys);
  let done = 0;
  for (const [table, repair] of written) {
    await restorable(table.name, async () => {
      const left = await writeListed(connection, table);
      if (left > 0) repair.conflicts.push(...(await conflictsOf(connection, table, left)));
    });
    signal.throwIfAborted();
    onProgress((done += 1), written.length);
  }
  const former = new Map<string, number>();
  const parents = new Set<string>();
  for (const [table, repair] of written) {
    const dangling = await danglingOf(connection, schemas, table);
    repair.conflicts.push(...dangling.conflicts);
    for (const parent of dangling.parents) parents.add(parent);
    for (const [link, rows] of dangling.former) former.set(link, rows);
  }
  for (const { sql } of triggers) await connection.run(sql ?? '');
  for (const name of bound.rebuild) await rebuildIndex(connection, name);
  const outcome: Outcome = {
    tables: tables.map(({ name }) => name),
    warnings: [
      ...(written.length === 0 ? ['The target has all of these rows: nothing comes back.'] : []),
      ...written.flatMap(([table]) => aboutTable(table.name, { hasKey: table.primary !== null, extra: table.extra })),
      ...triggerWarnings(triggers),
      ...formerWarnings(former),
    ],
    repairs: [...repairs.values()],
    refusals: [...bound.refusals, ...refusalsOf([...repairs.values()], hintOf(withParents ? new Set() : parents))],
  };
  if (outcome.refusals.length > 0) return outcome;
  for (const [table, repair] of repairs) await assertCount(connection, table, repair);
  if ((await schemaOfOthers(connection, new Set())) !== schema) {
    throw new AppError(
      'DATABASE_FAILED',
      'The definitions of the target would not be the same afterwards. Nothing was changed.',
    );
  }
  const after = await foreignKeysOf(connection, 'main', keys);
  const worse = [...after.broken].filter(
    ([link, rows]) => rows > (before.broken.get(link) ?? 0) + (former.get(link) ?? 0),
  );
  if (worse.length === 0) return outcome;
  const text = `tables: newer rows refer to values that overwriting would take away: ${worse.map(([link]) => link).join(', ')}.`;
  return {
    ...outcome,
    refusals: [conflict(text, 'Bring back only missing rows (rows: MISSING), or choose rows with where.')],
  };
}

async function planned(connection: SqliteConnection, table: RepairTable, parents: boolean): Promise<TableRepair> {
  const counts = await countListed(connection, table);
  const rows = await rowsIn(connection, table);
  const samples = await sampleListed(connection, table);
  return { name: table.name, parents, ...counts, keep: rows - counts.overwrite, samples, conflicts: [] };
}

const rowsIn = (connection: SqliteConnection, { to }: RepairTable) =>
  connection.value<number>(`SELECT count(*) FROM ${to}`);

/** Every row that was there is still there, and those that were added are, too. */
async function assertCount(connection: SqliteConnection, table: RepairTable, repair: TableRepair): Promise<void> {
  const rows = await rowsIn(connection, table);
  const expected = repair.add + repair.overwrite + repair.keep;
  if (rows === expected) return;
  throw new AppError(
    'DATABASE_FAILED',
    `${table.name} would have ${rows} rows afterwards, not the expected ${expected}. Nothing was changed.`,
  );
}

/** Drops the triggers of these tables, so that none fires. @returns them, in the order in which they were made */
async function dropTriggers(connection: SqliteConnection, keys: Set<string>): Promise<SchemaItem[]> {
  const all = await connection.all<SchemaItem>(
    `SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE type = 'trigger' ORDER BY rowid`,
  );
  const triggers = all.filter(({ tbl_name: table }) => keys.has(folded(table)));
  for (const trigger of triggers) {
    const problem = definitionProblem(trigger);
    if (problem !== null) {
      const text = `The definition of the trigger ${JSON.stringify(trigger.name)} ${problem}. Nothing was changed.`;
      throw new AppError('ARCHIVE_HOSTILE', text);
    }
    await connection.run(`DROP TRIGGER main.${quoted(trigger.name)}`);
  }
  return triggers;
}

/** Search indexes in virtual tables that follow from these tables. */
function boundBy(keys: Set<string>, target: Objects): { rebuild: string[]; refusals: AppError[] } {
  const { sources, rebuildable } = derivationsOf(target);
  const found: { rebuild: string[]; refusals: AppError[] } = { rebuild: [], refusals: [] };
  for (const [name, of] of sources) {
    const object = target.get(name);
    if (object?.kind !== 'virtual' || ![...of].some((source) => keys.has(source))) continue;
    if (rebuildable.has(name)) found.rebuild.push(object.name);
    else {
      const text = `tables: ${object.name} is kept by triggers of ${[...of].join(', ')}, and would not have the rows that come back.`;
      const hint = 'Restore the tables as a whole (rows: REPLACE), with includeRelated: true.';
      found.refusals.push(new AppError('BAD_USER_INPUT', text, { field: 'tables', hint }));
    }
  }
  return found;
}

function triggerWarnings(triggers: SchemaItem[]): string[] {
  const tables = [...new Set(triggers.map(({ tbl_name: table }) => table))];
  return tables.map((table) => {
    const names = triggers.filter((one) => one.tbl_name === table).map(({ name }) => name);
    return `Triggers do not run for rows of ${table} that come back: ${names.join(', ')}. What they write stays as it is.`;
  });
}

const formerWarnings = (former: Map<string, number>) =>
  [...former].map(
    ([link, rows]) =>
      `${rows} rows refer to rows that the backup does not have either (${link}): they come back as they were.`,
  );

/** @param parents tables of rows that would have to come along */
const hintOf = (parents: Set<string>) =>
  parents.size === 0
    ? OTHER_ROWS
    : `Set withParents: true (command line: --with-parents) to bring the missing rows of ${[...parents].join(', ')} back as well, or choose others with where.`;

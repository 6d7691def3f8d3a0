import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { RowRepair, StepContext } from '../../src/core/ports.js';
import { createEngines } from '../../src/engines/index.js';
import { all } from '../support/sqlite.js';
import { type Case, cases } from './generated.js';
import { problemsOf, runAll, stateOf, type State } from './state.js';

const engine = createEngines().of('SQLITE');
const step: StepContext = { signal: new AbortController().signal, onProgress: () => undefined };
const BASE = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const folded = (name: string) => engine.foldName(name);

/** How often the cases came to which end, so that a run shows what it was about. */
const ends = { refused: 0, written: 0 };

/** A folder with a database and a backup of it, which go afterwards. */
async function inFolder(work: (file: string, dump: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(BASE, 'repair-'));
  try {
    await mkdir(join(folder, 'dump'));
    await work(join(folder, 'app.sqlite3'), join(folder, 'dump'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const plan = (file: string, dump: string, repair: RowRepair) =>
  engine.rehearse(dump, `sqlite:${file}`, {
    ...{ ...step, tables: repair.tables, includeRelated: false, exact: false },
    repair,
  });

async function load(file: string, dump: string, repair: RowRepair, tables: string[]): Promise<void> {
  await engine.load(dump, `sqlite:${file}`, {
    ...{ ...step, lockTimeoutMs: 1_000, stamp: 'a run', tables, repair, source: {}, exact: false, madeHere: true },
    ...{ expected: [], onSwitch: () => undefined, damaged: false },
  });
  await engine.clearStamp(`sqlite:${file}`, 1_000);
}

/** Tables whose rows are told apart in all the ways that there are, by what names a row. */
const KINDS = [
  { columns: 'id INTEGER PRIMARY KEY, a, b', key: (row: Row) => row.id },
  { columns: 'id TEXT COLLATE NOCASE PRIMARY KEY, a, b', key: (row: Row) => row.id.toLowerCase() },
  { columns: 'b, a, id, PRIMARY KEY (id, a)) WITHOUT ROWID --', key: (row: Row) => `${row.id} ${row.a}` },
  { columns: 'id, a, b', key: null },
  { columns: 'id INTEGER PRIMARY KEY, a UNIQUE, b', key: (row: Row) => row.id },
];

/** Its values as SQL writes them. */
interface Row {
  id: string;
  a: string;
  b: string;
}

const value = fc.constantFrom('1', '2', "'x'", "'X'", "x'00ff'", "''", '0.5');
const ROW = fc.tuple(fc.constantFrom('1', '2', '3', '4', '5'), value, fc.oneof(value, fc.constant('NULL')));
const edit = fc.tuple(fc.nat(2), ROW);

const insert = ([id, a, b]: [string, string, string], text: boolean) =>
  `INSERT OR IGNORE INTO t (id, a, b) VALUES (${text ? `char(96 + ${id})` : id}, ${a}, ${b})`;

/** What a repair must come to, by the rows alone; null where two would have the same unique value. */
function expected(kind: number, mode: RowRepair['mode'], backup: Row[], now: Row[]): Row[] | null {
  const { key } = KINDS[kind] as (typeof KINDS)[number];
  if (key === null) {
    const left = now.map((row) => JSON.stringify(row));
    const lost = backup.filter((row) => {
      const at = left.indexOf(JSON.stringify(row));
      if (at >= 0) left.splice(at, 1);
      return at < 0;
    });
    return [...now, ...lost];
  }
  const backed = new Map(backup.map((row) => [key(row), row]));
  const kept = now.map((row) => (mode === 'CHANGED' ? (backed.get(key(row)) ?? row) : row));
  const known = new Set(now.map(key));
  const rows = [...kept, ...backup.filter((row) => !known.has(key(row)))];
  const isDouble = kind === 4 && new Set(rows.map(({ a }) => a)).size < rows.length;
  return isDouble ? null : rows;
}

const sorted = (rows: Row[]) => rows.map((row) => JSON.stringify(row)).sort();
const rowsOf = (file: string) => all<Row>(file, 'SELECT quote(id) AS id, quote(a) AS a, quote(b) AS b FROM t');

async function repairOneTable(
  kind: number,
  mode: RowRepair['mode'],
  rows: [string, string, string][],
  edits: [number, [string, string, string]][],
): Promise<void> {
  await inFolder(async (file, dump) => {
    const text = kind === 1;
    const table = `CREATE TABLE t (${KINDS[kind]?.columns}\n)`.replace('--\n)', '');
    await runAll(file, [table, ...rows.map((row) => insert(row, text))]);
    await copyFile(file, join(dump, 'database.sqlite3'));
    const id = (number: string) => (text ? `char(64 + ${number})` : number);
    await runAll(
      file,
      edits.map(([what, row]) => {
        if (what === 0) return `DELETE FROM t WHERE id = ${id(row[0])}`;
        return what === 1
          ? `UPDATE OR IGNORE t SET b = ${row[2]}, a = ${row[1]} WHERE id = ${id(row[0])}`
          : insert(row, text);
      }),
    );
    const [backup, now] = [await rowsOf(join(dump, 'database.sqlite3')), await rowsOf(file)];
    const result = expected(kind, mode, backup, now);
    const repair = { mode, tables: ['t'], where: null, withParents: false };
    const { refusals, repairs } = await plan(file, dump, repair);
    if (result === null) {
      expect(refusals).toMatchObject([{ code: 'RESTORE_CONFLICT' }]);
      await expect(load(file, dump, repair, ['t'])).rejects.toMatchObject({ code: 'RESTORE_CONFLICT' });
      expect(await rowsOf(file)).toEqual(now);
      return;
    }
    expect(refusals).toEqual([]);
    const kept = sorted(now).filter((row) => sorted(result).includes(row)).length;
    expect(repairs).toMatchObject([{ add: result.length - now.length, overwrite: now.length - kept, keep: kept }]);
    await load(file, dump, repair, ['t']);
    expect(sorted(await rowsOf(file))).toEqual(sorted(result));
  });
}

/** Breaks any database, plans and brings rows back: nothing else is changed, and no row that is not overwritten. */
async function repairAnything(found: Case): Promise<void> {
  await inFolder(async (file, dump) => {
    await runAll(file, found.build);
    await engine.snapshot(`sqlite:${file}`, dump, step);
    const known = (await engine.describeDump(dump, step)).tables.map(({ name }) => name);
    const tables = [...new Set(found.chosen.map(({ index }) => known[index % known.length] ?? ''))];
    const broken = tables.map((name) => `"${name.replaceAll('"', '""')}"`);
    await runAll(file, [
      ...broken.flatMap((name) => [
        `DELETE FROM ${name} WHERE id % 2 = 1`,
        `UPDATE ${name} SET n = 2 WHERE id % 4 = 0`,
      ]),
      // Most changes of a schema only refuse a repair.
      ...(found.other === null ? [] : found.breaks),
    ]);
    const mode = found.includeRelated ? 'CHANGED' : 'MISSING';
    const repair: RowRepair = { mode, tables, where: null, withParents: found.chosen[0]?.upper ?? false };
    const [before, problems] = [await stateOf(file), await problemsOf(file)];
    const planned = await plan(file, dump, repair);
    expect(await stateOf(file)).toEqual(before);
    const [refusal] = planned.refusals;
    if (refusal !== undefined) {
      ends.refused += 1;
      const { code, message } = refusal;
      await expect(load(file, dump, repair, planned.tables)).rejects.toMatchObject({ code, message });
      expect(await stateOf(file)).toEqual(before);
      return;
    }
    await load(file, dump, repair, planned.tables);
    const after = await stateOf(file);
    const written = planned.repairs.filter(({ add, overwrite }) => add + overwrite > 0);
    if (written.length > 0) ends.written += 1;
    expect(othersIn(after, written)).toEqual(othersIn(before, written));
    for (const { name, add, overwrite, keep } of written) {
      const [old, now] = [linesOf(before, name), linesOf(after, name)];
      expect(now).toHaveLength(old.length + add);
      expect(old.length).toBe(keep + overwrite);
      expect(left(old, now)).toBeGreaterThanOrEqual(keep);
    }
    expect((await problemsOf(file)).filter((text) => !problems.includes(text))).toEqual([]);
    const again = await plan(file, dump, repair);
    expect(again.refusals).toEqual([]);
    for (const { add, overwrite } of again.repairs) expect([add, overwrite]).toEqual([0, 0]);
  });
}

/** All but the rows that may be written: those of the tables, of search indexes that follow from them, and counters. */
const othersIn = (state: State, written: { name: string }[]) =>
  Object.fromEntries(
    Object.entries(state).filter(([key]) => {
      const table = /^rows (.*)$/s.exec(key)?.[1];
      if (table === undefined || table === 'sqlite_sequence')
        return table === undefined && key !== 'table sqlite_sequence';
      const isIndex = Object.entries(state).some(([other, sql]) => other === `table ${table}` && /VIRTUAL/i.test(sql));
      return !isIndex && !written.some(({ name }) => folded(name) === folded(table));
    }),
  );

const linesOf = (state: State, name: string) => {
  const [, text = ''] = Object.entries(state).find(([key]) => folded(key) === `rows ${folded(name)}`) ?? [];
  return text === '' ? [] : text.split('\n');
};

/** How many of the lines are still there. */
function left(old: string[], now: string[]): number {
  const rest = [...now];
  return old.filter((line) => {
    const at = rest.indexOf(line);
    if (at >= 0) rest.splice(at, 1);
    return at >= 0;
  }).length;
}

const CASES = Math.ceil(Number(process.env.CASES ?? 500) / 5);

describe('Rows of any table', () => {
  it(`are those of the target and of the backup, as the mode says, in ${CASES} random cases`, async () => {
    const modes = fc.constantFrom('MISSING' as const, 'CHANGED' as const);
    const rows = fc.array(ROW, { maxLength: 6 });
    const property = fc.asyncProperty(
      fc.nat(KINDS.length - 1),
      modes,
      rows,
      fc.array(edit, { maxLength: 6 }),
      repairOneTable,
    );
    await fc.assert(property, { numRuns: CASES });
  });

  it(`come back where the plan allows it, and nothing else changes, in ${CASES} random cases`, async () => {
    await fc.assert(fc.asyncProperty(cases, repairAnything), { numRuns: CASES });
  });

  afterAll(() => {
    // Cases that are all refused, or that have nothing to bring back, would show nothing.
    expect(ends.written).toBeGreaterThan(CASES / 20);
    expect(ends.refused).toBeGreaterThan(0);
  });
});

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { StepContext } from '../../src/core/ports.js';
import { createEngines } from '../../src/engines/index.js';
import { type Case, cases } from './generated.js';
import { runAll, problemsOf, stateOf, type State } from './state.js';

const engine = createEngines().of('SQLITE');
const step: StepContext = { signal: new AbortController().signal, onProgress: () => undefined };
/** Memory, where there is a file system of it: what is tested here is not the disk. */
const BASE = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** How often the cases came to which end, so that a run shows what it was about. */
const ends = { refused: 0, restored: 0 };

const folded = (name: string) => engine.foldName(name);

/**
 * Backs up, breaks, plans, restores and undoes. What the plan allows succeeds; what was restored is what the backup holds;
 * what was not stays; and an undo brings back exactly what was there.
 */
async function restoreSomeTables(found: Case): Promise<void> {
  const folder = await mkdtemp(join(BASE, 'tables-'));
  try {
    const file = join(folder, 'app.sqlite3');
    const url = `sqlite:${file}`;
    await runAll(file, found.build);
    const dump = await snapshot(url, join(folder, 'dump'));
    const backedUp = await stateOf(join(dump, 'database.sqlite3'));
    if (found.other !== null) await replaceByOther(file, found.other);
    await runAll(file, found.breaks);
    const tables = await chosenOf(dump, found);
    if (tables.length === 0) return;
    const before = await stateOf(file);
    const known = await problemsOf(file);
    const { includeRelated } = found;
    const plan = await engine.rehearse(dump, url, { ...step, tables, includeRelated, exact: false });
    expect(await stateOf(file)).toEqual(before);
    const load = (from: string, names: string[], exact = false) =>
      engine.load(from, url, {
        ...step,
        lockTimeoutMs: 1_000,
        stamp: 'a run',
        tables: names,
        source: {},
        exact,
        madeHere: true,
        expected: [],
        onSwitch: () => undefined,
        damaged: false,
      });
    if (plan.refusals.length > 0) {
      ends.refused += 1;
      await expect(load(dump, plan.tables)).rejects.toMatchObject({ code: plan.refusals[0]?.code });
      expect(await stateOf(file)).toEqual(before);
      return;
    }
    ends.restored += 1;
    const safety = await snapshot(url, join(folder, 'safety'));
    await load(dump, plan.tables);
    expect(await engine.stampOf(url)).toBe('a run');
    await engine.clearStamp(url, 1_000);
    const after = await stateOf(file);
    const derived = await derivedNames(file);
    compareRestored(after, { backedUp, before, restored: new Set(plan.tables.map(folded)), derived });
    expect(
      newProblems(await problemsOf(file), {
        before: known,
        backedUp: await problemsOf(join(dump, 'database.sqlite3')),
      }),
    ).toEqual([]);
    const undo = await engine.rehearse(safety, url, {
      ...step,
      tables: plan.tables,
      includeRelated: false,
      exact: true,
    });
    expect(undo.refusals).toEqual([]);
    await load(safety, undo.tables, true);
    await engine.clearStamp(url, 1_000);
    expect(await stateOf(file)).toEqual(before);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function snapshot(url: string, folder: string): Promise<string> {
  await mkdir(folder);
  await engine.snapshot(url, folder, step);
  return folder;
}

async function replaceByOther(file: string, encoding: string): Promise<void> {
  for (const side of ['', '-wal', '-shm', '-journal']) await rm(file + side, { force: true });
  await runAll(file, [
    `PRAGMA encoding = '${encoding}'`,
    'CREATE TABLE item (id INTEGER PRIMARY KEY, a, n)',
    `INSERT INTO item VALUES (1, 'apple', 2)`,
  ]);
}

async function chosenOf(dump: string, { chosen }: Case): Promise<string[]> {
  const { tables } = await engine.describeDump(dump, step);
  if (tables.length === 0) return [];
  const names = chosen.map(({ index, upper }) => {
    const name = tables[index % tables.length]?.name ?? '';
    return upper ? name.replace(/[a-z]/g, (letter) => letter.toUpperCase()) : name;
  });
  return [...new Map(names.map((name) => [folded(name), name])).values()];
}

/** Virtual tables: their content may follow from that of others. */
async function derivedNames(file: string): Promise<Set<string>> {
  const state = await stateOf(file);
  return new Set(
    Object.entries(state)
      .filter(([key, sql]) => key.startsWith('table ') && /CREATE VIRTUAL/i.test(sql))
      .map(([key]) => folded(key.slice('table '.length))),
  );
}

function compareRestored(
  after: State,
  {
    backedUp,
    before,
    restored,
    derived,
  }: { backedUp: State; before: State; restored: Set<string>; derived: Set<string> },
): void {
  const isRestored = (key: string, state: State) => restored.has(ownerOf(key, state));
  const pick = (state: State, wanted: (key: string) => boolean) =>
    Object.fromEntries(Object.entries(state).filter(([key]) => wanted(key)));
  const own = (state: State) =>
    pick(
      state,
      (key) =>
        isRestored(key, state) &&
        !key.startsWith('rows sqlite_') &&
        !(key.startsWith('rows ') && derived.has(folded(key.slice(5)))),
    );
  expect(own(after)).toEqual(own(backedUp));
  const others = (state: State) =>
    pick(
      state,
      (key) =>
        !isRestored(key, state) &&
        !/^(rows|table) sqlite_/.test(key) &&
        !(key.startsWith('rows ') && derived.has(folded(key.slice(5)))),
    );
  expect(others(after)).toEqual(others(before));
}

/** The table that an entry of a state belongs to. */
function ownerOf(key: string, state: State): string {
  if (key.startsWith('rows ')) return folded(key.slice('rows '.length));
  return (state[key] ?? '').split(': ')[0] ?? '';
}

/**
 * What a restore broke. A view that could not be used before it either is not: it may name several tables that are missing,
 * and SQLite words the first that it meets.
 */
function newProblems(now: string[], { before, backedUp }: { before: string[]; backedUp: string[] }): string[] {
  const view = (text: string) => /^view [^:]*: /.exec(text)?.[0];
  const unusable = new Set(before.flatMap((text) => view(text) ?? []));
  return now.filter((text) => !before.includes(text) && !backedUp.includes(text) && !unusable.has(view(text) ?? ''));
}

/** Half of the cases: the other half is a file of its own, so that both can run at the same time. */
const CASES = Math.ceil(Number(process.env.CASES ?? 5_000) / 2);

/** The tests of one half. */
export function describeHalf(): void {
  describe('Any selection of tables of any schema', () => {
    it(`is restored and undone exactly where its plan allows it, in ${CASES} random cases`, async () => {
      await fc.assert(fc.asyncProperty(cases, restoreSomeTables), { numRuns: CASES });
    });

    afterAll(() => {
      // Cases that are all refused would show nothing.
      expect(ends.restored).toBeGreaterThan(CASES / 4);
    });
  });
}

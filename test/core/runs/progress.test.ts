import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Engine } from '../../../src/core/ports.js';
import { type PacedRun, paceOf, shareOf, within } from '../../../src/core/runs/progress.js';
import { createEngines } from '../../../src/engines/index.js';
import type { BackupRow, RestoreRow } from '../../../src/models/index.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

const at = (seconds: number) => new Date(Date.parse('2026-01-01T00:00:00Z') + seconds * 1_000);
const UNKNOWN = { bytesDone: null, bytesTotal: null, bytesPerSecond: null, secondsLeft: null };

/** Ten seconds under way, in its second phase for four. */
const run: PacedRun = {
  status: 'RUNNING',
  progress: 0.4,
  phases: [
    { phase: 'snapshot', at: at(0).toISOString() },
    { phase: 'verify', at: at(6).toISOString() },
  ],
  startedAt: at(0),
  bytesDone: 2_000,
  bytesTotal: 10_000,
};

describe('The pace of a run', () => {
  it('is calculated from the bytes of its phase and the time since it began', () => {
    const pace = { bytesDone: 2_000, bytesTotal: 10_000, bytesPerSecond: 500, secondsLeft: 16 };
    expect(paceOf(run, at(10))).toEqual(pace);
    // A run that stands still becomes slower the longer one looks.
    expect(paceOf(run, at(14))).toEqual({ ...pace, bytesPerSecond: 250, secondsLeft: 32 });
  });

  it('is unknown of a run that is not under way, whatever its last bytes were', () => {
    for (const status of ['PENDING', 'COMPLETED', 'FAILED', 'DELETED'] as const) {
      expect(paceOf({ ...run, status }, at(10))).toEqual(UNKNOWN);
    }
  });

  it('is not guessed: no time left too early, no speed in the first moment or without bytes', () => {
    expect(paceOf({ ...run, bytesDone: 499 }, at(10)).secondsLeft).toBeNull();
    expect(paceOf(run, at(7.9)).secondsLeft).toBeNull();
    expect(paceOf({ ...run, bytesDone: 0 }, at(100)).secondsLeft).toBeNull();
    expect(paceOf(run, at(6.2))).toMatchObject({ bytesDone: 2_000, bytesPerSecond: null });
    expect(paceOf({ ...run, bytesDone: null, bytesTotal: null }, at(10))).toEqual(UNKNOWN);
    expect(paceOf({ ...run, phases: [], startedAt: null }, at(10))).toMatchObject({
      bytesPerSecond: null,
      secondsLeft: null,
    });
  });

  it('never promises less than all that is left takes at the speed of the run so far', () => {
    // The phase itself would end in 16 seconds, but four fifths of all bytes are still to come.
    expect(paceOf({ ...run, progress: 0.2 }, at(10))).toMatchObject({ bytesPerSecond: 500, secondsLeft: 40 });
    expect(paceOf({ ...run, progress: 0.04 }, at(10))).toMatchObject({ bytesPerSecond: 500, secondsLeft: null });
  });

  it('is not wrong where the clock of another node is behind', () => {
    expect(paceOf(run, at(-100))).toMatchObject({ bytesPerSecond: null, secondsLeft: null });
  });
});

it('A part of a step counts as its share of the whole, whatever it counts itself', () => {
  const told: [number, number][] = [];
  const step = { signal: NEVER, onProgress: (done: number, total: number) => void told.push([done, total]) };
  within(step, 100, 200, 200).onProgress(1, 4);
  within(within(step, 0, 0.5), 0.5, 1).onProgress(7, 7);
  within(step, 0, 50, 100).onProgress(0, 0);
  expect(told).toEqual([
    [125, 200],
    [0.5, 1],
    [50, 100],
  ]);
  expect([shareOf(-1, 10), shareOf(11, 10), shareOf(0, 0)]).toEqual([0, 1, 1]);
});

describe('A run of some size', () => {
  const SIZE = 48 * 1024 ** 2;
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    await writeFile(join(world.media, 'large.bin'), randomBytes(SIZE));
  });
  afterAll(() => world.close());

  /** Every state of the row that can be seen from outside while the run goes on. */
  async function watched<Row extends BackupRow | RestoreRow>(row: Row, work: Promise<unknown>) {
    const seen: { phase: string; done: number | null; total: number | null; progress: number }[] = [];
    let ended = false;
    void work.finally(() => (ended = true));
    while (!ended) {
      const { phase, bytesDone: done, bytesTotal: total, progress, status } = await row.reload();
      if (status === 'RUNNING' && phase !== null) seen.push({ phase, done, total, progress });
      await sleep(20);
    }
    await row.reload();
    return seen;
  }

  function assertRising(seen: { phase: string; done: number | null; total: number | null; progress: number }[]) {
    for (let i = 1; i < seen.length; i++) {
      const [one, two] = [seen[i - 1], seen[i]] as [(typeof seen)[number], (typeof seen)[number]];
      expect(two.progress).toBeGreaterThanOrEqual(one.progress);
      if (one.phase === two.phase) expect(two.done ?? 0).toBeGreaterThanOrEqual(one.done ?? 0);
      expect(two.done ?? 0).toBeLessThanOrEqual(two.total ?? Infinity);
    }
  }

  it('shows its bytes while it is made, and none when it has ended', async () => {
    const row = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const seen = await watched(row, world.app.backups.run(row.id, NEVER));
    expect(row).toMatchObject({ status: 'COMPLETED', bytesDone: null, bytesTotal: null });
    assertRising(seen);
    const totals = (phase: string) =>
      new Set(seen.filter((state) => state.phase === phase && state.total !== null).map((state) => state.total));
    const [archive] = totals('archive');
    expect([...totals('archive')]).toHaveLength(1);
    expect(archive).toBeGreaterThan(SIZE);
    // The stored bytes are read once more.
    for (const total of totals('verify')) expect(total).toBe(row.fileSize);
    expect(seen.some(({ phase, done }) => phase === 'archive' && (done ?? 0) > 0 && (done ?? 0) < SIZE)).toBe(true);
  });

  it('never exceeds the total nor goes back, where its source grows or is read again', async () => {
    const real = createEngines();
    const { of, forUrl } = real;
    const wordy = (engine: Engine): Engine => ({
      ...engine,
      async snapshot(url, folder, step) {
        for (const done of [7, 3, 12]) {
          step.onProgress(done, 10);
          await sleep(300);
        }
        while ((await other.backups.get(row.id)).bytesDone !== 10) step.onProgress(12, 10);
        return engine.snapshot(url, folder, step);
      },
    });
    const engines = { ...real, of: (kind: string) => wordy(of(kind)), forUrl: (url: string) => wordy(forUrl(url)) };
    const other = await world.again({ engines });
    const row = await other.backups.create({ backupType: 'MANUAL' }, 'test');
    const seen = await watched(row, other.backups.run(row.id, NEVER));
    assertRising(seen);
    expect(seen.map(({ done }) => done)).toEqual(expect.arrayContaining([7, 10]));
  });

  it('shows the bytes of a restore in the phases that have some', async () => {
    const backup = await world.backup();
    const row = await world.app.restores.create({ backupId: backup.id, confirm: true }, 'test');
    const seen = await watched(row, world.app.restores.run(row.id, NEVER));
    expect(row).toMatchObject({ status: 'COMPLETED', bytesDone: null, bytesTotal: null });
    assertRising(seen);
    const media = seen.filter(({ phase, total }) => phase === 'media' && total !== null);
    for (const { total } of media) expect(total).toBe(SIZE + 'first'.length + 'second'.length);
    // The safety backup's bytes are the restore's: it goes on while they are read, hashed and written.
    const safety = seen.filter(({ phase, done }) => phase === 'safety' && (done ?? 0) > 0);
    expect(new Set(safety.map(({ progress }) => progress)).size).toBeGreaterThan(1);
    for (const { total } of safety) expect(total).toBeGreaterThan(SIZE);
    expect(seen.some(({ phase, done }) => phase === 'verify' && (done ?? 0) > 0)).toBe(true);
  });
});

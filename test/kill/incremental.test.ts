import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { extractBackup } from '../../src/core/archives/extract.js';
import type { BackupRow } from '../../src/models/index.js';
import { contentHash, exec } from '../support/sqlite.js';
import { createWorld, filesIn, NEVER, readTree, type World } from '../support/world.js';
import { KILLS, lapse, runAndKill } from './kill.js';

let world: World;
/** What was backed up, by the id of the backup. */
const states = new Map<string, unknown>();
let step = 0;

beforeAll(async () => {
  world = await createWorld();
  await exec(
    world.database,
    `CREATE TABLE bulk AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
     SELECT i, randomblob(1200) AS v FROM n`,
  );
  await world.app.configs.update(1, { incremental: true, maxBackupFiles: 2 }, 'test');
});
afterAll(() => world.close());

const present = async () => [await contentHash(world.database), await readTree(world.media)];

/** Writes a sixth of the rows anew. */
async function change(): Promise<unknown> {
  step += 1;
  await exec(world.database, `UPDATE bulk SET v = randomblob(1200) WHERE i / 150 = ${step % 6}`);
  await writeFile(join(world.media, `step ${step % 7}.txt`), `step ${step}`);
  return present();
}

async function extracted({ id }: BackupRow): Promise<unknown> {
  const target = join(world.folder, 'out');
  const open = () => world.app.backups.open(id);
  await extractBackup(world.app.audit, open, target, 'test', { signal: NEVER, onProgress: () => undefined });
  const found = [await contentHash(join(target, 'database.sqlite3')), await readTree(join(target, 'media'))];
  await rm(target, { recursive: true });
  return found;
}

/** Puts right what the killed process has left, and looks for what it should not have left. @returns what is stored */
async function afterTheKill(): Promise<BackupRow[]> {
  const { app } = world;
  await lapse(world);
  await app.backups.recover();
  for (const row of await app.models.Backup.findAll({ where: { status: 'PENDING' } })) {
    await app.backups.cancel(row.id, 'test');
  }
  const rows = await app.models.Backup.findAll({ order: [['startedAt', 'ASC']] });
  expect(rows.filter(({ status }) => status === 'RUNNING')).toEqual([]);
  const stored = rows.filter(({ status }) => status === 'COMPLETED');
  // A deletion that was interrupted has its object gone and its row left, and is done again.
  const files = await filesIn(world.backups);
  expect(stored.map(({ fileName }) => fileName)).toEqual(expect.arrayContaining(files));
  expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  return stored.filter(({ fileName }) => files.includes(fileName));
}

const stateOf = ({ id, consolidates = null }: BackupRow) => states.get(consolidates ?? id);

/** Runs something again and again, and kills it at a random moment of each part of what it takes. */
async function killed(
  rounds: number,
  args: () => Promise<string[]>,
  then: (ended: boolean) => Promise<void>,
): Promise<Map<string, number>> {
  const phases = new Map<string, number>();
  let length = 0;
  for (let round = 0; round <= rounds; round++) {
    const given = await args();
    // The first one is let go to its end, to know how long a whole run takes; the others share that out among them.
    const after = length === 0 ? 60_000 : (length * 1.05 * (round - 1 + Math.random())) / Math.floor(rounds);
    const { ended, ms } = await runAndKill(world, given, after);
    if (length === 0) length = ms;
    const running = await world.app.models.Backup.findOne({ where: { status: 'RUNNING' } });
    const phase = ended ? 'ended' : (running?.phase ?? 'between');
    phases.set(phase, (phases.get(phase) ?? 0) + 1);
    await then(ended);
  }
  process.stdout.write(`${(await args())[0]}: killed in ${JSON.stringify([...phases])}\n`);
  return phases;
}

describe('A chain of incremental backups', () => {
  it('has every member restore to its source after backups were killed at any moment', async () => {
    await chainOf(2);
    let state: unknown;
    const note = async () => {
      const rows = await afterTheKill();
      for (const row of rows) if (!states.has(row.id)) states.set(row.id, state);
      const newest = rows.at(-1);
      if (newest !== undefined) expect(await extracted(newest)).toEqual(stateOf(newest));
    };
    const begin = async () => {
      state = await change();
      return ['backup'];
    };
    const phases = await killed(Math.max(4, KILLS / 40), begin, note);
    expect(phases.get('ended')).toBeGreaterThan(0);
    const rows = await afterTheKill();
    expect(rows.some(({ mode }) => mode === 'INCREMENTAL')).toBe(true);
    for (const row of rows) expect(await extracted(row)).toEqual(stateOf(row));
  });

  it('is as it was after a consolidation was killed at any moment, or has one more', async () => {
    const chain = await chainOf(5);
    const choose = () => Promise.resolve(['consolidate', chain[1 + Math.floor(Math.random() * 4)]?.id ?? '']);
    const phases = await killed(Math.max(4, KILLS / 40), choose, async (ended) => {
      const rows = await afterTheKill();
      const full = rows.filter(({ consolidates }) => (consolidates ?? null) !== null);
      if (ended) expect(full).toHaveLength(1);
      expect(rows.map(({ id }) => id)).toEqual(expect.arrayContaining(chain.map(({ id }) => id)));
      for (const row of [...full, chain.at(-1) as BackupRow]) expect(await extracted(row)).toEqual(stateOf(row));
      for (const { id } of full) await world.app.backups.remove([id], 'test');
    });
    expect(phases.size).toBeGreaterThan(1);
    for (const row of chain) expect(await extracted(row)).toEqual(stateOf(row));
  });

  it('has every kept state restore after a clean-up that consolidates was killed at any moment', async () => {
    let chain: BackupRow[] = [];
    const begin = async () => {
      chain = await chainOf(4);
      return ['cleanup'];
    };
    const phases = await killed(Math.max(4, KILLS / 60), begin, async () => {
      for (const row of await afterTheKill()) expect(await extracted(row)).toEqual(stateOf(row));
      const done = await world.app.cleanup.run(1, 'test');
      expect(done.items.flatMap(({ error }) => error ?? [])).toEqual([]);
      const rows = await afterTheKill();
      const kept = rows.map(stateOf);
      expect(kept).toEqual(expect.arrayContaining(chain.slice(-2).map(stateOf)));
      for (const row of rows) expect(await extracted(row)).toEqual(stateOf(row));
    });
    expect(phases.size).toBeGreaterThan(1);
  });
});

/** A new chain; all others are gone. */
async function chainOf(length: number): Promise<BackupRow[]> {
  const { app } = world;
  const old = (await app.models.Backup.findAll({ where: { status: 'COMPLETED' } })).map(({ id }) => id);
  if (old.length > 0) await app.backups.remove(old, 'test', 'for a new chain', true);
  const rows: BackupRow[] = [];
  for (let made = 0; made < length; made++) {
    const state = await change();
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', mode: made === 0 ? 'FULL' : 'INCREMENTAL' });
    states.set(row.id, state);
    rows.push(row);
  }
  return rows;
}

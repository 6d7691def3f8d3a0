import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { all, contentHash, exec } from '../support/sqlite.js';
import { createWorld, filesIn, NEVER, readTree, type World, writeTree } from '../support/world.js';

export const KILLS = Number(process.env.KILLS ?? 300);

/** Where few kills are asked for, chance may take this many to hit what must be hit. */
const MOST = 100;

/** Starts one run in a process of its own and kills it after so many milliseconds. @returns how long it lived, and if it ended before */
export function runAndKill(world: World, args: string[], after: number): Promise<{ ended: boolean; ms: number }> {
  const script = new URL('../support/run-once.mjs', import.meta.url).pathname;
  const env = {
    PATH: process.env.PATH,
    DATA_DIR: join(world.folder, 'data'),
    DB_BACKUP_PATH: world.backups,
    LOG_LEVEL: 'silent',
  };
  const child = spawn(process.execPath, [script, ...args], {
    env,
    cwd: world.folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let started = 0;
  let ended = false;
  child.stdout.on('data', (chunk: Buffer) => {
    const text = chunk.toString();
    if (text.includes('started')) {
      started = Date.now();
      setTimeout(() => child.kill('SIGKILL'), after);
    }
    if (text.includes('ended')) ended = true;
  });
  return new Promise((resolve) => child.on('close', () => resolve({ ended, ms: Date.now() - started })));
}

/** The killed process cannot come back, so its leases may lapse at once. */
export const lapse = (world: World) => world.app.models.sequelize.query('DELETE FROM leases');

/** A database of some megabytes and some dozen media files, so that every phase takes its time. */
async function fill(world: World, state: string): Promise<void> {
  await exec(
    world.database,
    `CREATE TABLE IF NOT EXISTS bulk (id INTEGER PRIMARY KEY, state TEXT, v BLOB);
     DELETE FROM bulk;
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
       INSERT INTO bulk SELECT i, '${state}', randomblob(1500) FROM n;`,
  );
  const files: Record<string, string> = {};
  for (let i = 0; i < 40; i++) files[`gallery/${i % 7}/${i}.txt`] = `${state} ${i} `.repeat(500);
  files[`only-${state}.txt`] = state;
  await writeTree(world.media, files);
}

/** Each journal mode is a test file of its own, so that both run at the same time. */
export function describeKills(journal: 'WAL' | 'DELETE'): void {
  describe(`With the database in ${journal} mode`, () => {
    let world: World;
    beforeAll(async () => {
      world = await createWorld({ pragmas: `PRAGMA journal_mode = ${journal};` });
    });
    afterAll(() => world.close());

    it('a backup killed at any moment leaves a COMPLETED row with its file, or neither', async () => {
      await fill(world, 'A');
      const source = await contentHash(world.database);
      const phases = new Set<string>();
      // The first one is let go to its end, to know how long a whole run takes in a process that has just started.
      let length = 0;
      const isOver = (round: number) => round > Math.max(5, KILLS / 10) && phases.has('archive');
      for (let round = 0; !isOver(round) && round < KILLS + MOST; round++) {
        const after = length === 0 ? 60_000 : Math.random() * length * 1.05;
        const { ended, ms } = await runAndKill(world, ['backup'], after);
        if (length === 0) length = ms;
        const running = await world.app.models.Backup.findOne({ where: { status: 'RUNNING' } });
        if (running?.phase) phases.add(running.phase);
        await lapse(world);
        await world.app.backups.recover();
        const rows = await world.app.models.Backup.findAll();
        const pending = rows.filter((row) => row.status === 'PENDING');
        for (const row of pending) await world.app.backups.cancel(row.id, 'test');
        const completed = rows.filter((row) => row.status === 'COMPLETED');
        expect(rows.filter((row) => row.status === 'RUNNING')).toEqual([]);
        expect(await filesIn(world.backups)).toEqual(completed.map((row) => row.fileName).sort());
        expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
        const newest = completed.at(-1);
        if (ended && newest) {
          expect(await world.app.verifications.verify(newest.id, 'CONTENT', 'test', NEVER)).toMatchObject({
            errorCode: null,
          });
        }
      }
      expect(await contentHash(world.database)).toBe(source);
      expect([...phases].sort()).toEqual(expect.arrayContaining(['archive']));
    });

    it('a restore killed at any moment leaves all of the old or all of the new, media included', async () => {
      await fill(world, 'A');
      await writeFile(join(world.media, 'only-A.txt'), 'A');
      const backup = await world.backup();
      const states = {
        A: { hash: await contentHash(world.database), media: await readTree(world.media) },
        B: { hash: '', media: {} },
      };
      const outcomes = { old: 0, new: 0 };
      const phases = new Map<string, number>();
      // The first one is let go to its end, to know how long a whole run takes.
      let length = 0;
      const isOver = (round: number) => round > KILLS / 2 && phases.size > 1;
      for (let round = 0; !isOver(round) && round < KILLS + MOST; round++) {
        await fill(world, 'B');
        states.B = { hash: await contentHash(world.database), media: await readTree(world.media) };
        const after = length === 0 ? 60_000 : Math.random() * length * 1.05;
        const { ms } = await runAndKill(world, ['restore', backup.id], after);
        if (length === 0) length = ms;
        const running = await world.app.models.Restore.findOne({ where: { status: 'RUNNING' } });
        if (running?.phase) phases.set(running.phase, (phases.get(running.phase) ?? 0) + 1);
        await lapse(world);
        await world.app.restores.recover();
        await world.app.backups.recover();
        for (const row of await world.app.models.Restore.findAll({ where: { status: 'PENDING' } })) {
          await world.app.restores.cancel(row.id, 'test');
        }
        expect(await all(world.database, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
        const hash = await contentHash(world.database);
        const media = await readTree(world.media);
        const name = hash === states.A.hash ? 'new' : 'old';
        outcomes[name] += 1;
        const state = name === 'new' ? states.A : states.B;
        expect(hash).toBe(state.hash);
        expect(media).toEqual(state.media);
        expect((await filesIn(world.media)).filter((file) => file.includes('.db-manager-'))).toEqual([]);
        expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
        const last = await world.app.models.Restore.findOne({ order: [['createdAt', 'DESC']] });
        if (last !== null && ['media', 'switch'].includes(last.phases.at(-1)?.phase ?? '')) {
          expect(last.safetyBackupId).not.toBeNull();
        }
        const safety = last?.safetyBackupId ? await world.app.backups.get(last.safetyBackupId) : null;
        if (safety !== null && safety.status !== 'DELETED') {
          if (safety.status === 'COMPLETED') {
            expect(await world.app.verifications.verify(safety.id, 'ARCHIVE', 'test', NEVER)).toMatchObject({
              errorCode: null,
            });
          }
          if (safety.status === 'PENDING') await world.app.backups.cancel(safety.id, 'test');
          await world.app.backups.pin(safety.id, false, 'test');
          await world.app.backups.remove([safety.id], 'test');
        }
      }
      expect(outcomes.old).toBeGreaterThan(0);
      expect(outcomes.new).toBeGreaterThan(0);
      expect([...phases.keys()].length).toBeGreaterThan(1);
      process.stdout.write(`${journal}: ${JSON.stringify(outcomes)}, killed in ${JSON.stringify([...phases])}\n`);
    });
  });
}

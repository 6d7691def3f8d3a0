import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { all, contentHash, exec } from '../support/sqlite.js';
import { unpack } from '../support/unpack.js';
import { assertOneCommittedState, createWorld, startWriter, type World } from '../support/world.js';

const MEGABYTES = Number(process.env.MEGABYTES ?? 500);
/** A sixth more than by itself: on a machine that does other things as well, more lies in buffers. */
const MOST_MEBIBYTES = 290;

/** Runs the compiled product once in a process of its own and watches its memory. @returns the peak in MiB */
async function runOnce(world: World, args: string[]): Promise<number> {
  const script = new URL('../support/run-once.mjs', import.meta.url).pathname;
  const env = {
    PATH: process.env.PATH,
    DATA_DIR: join(world.folder, 'data'),
    DB_BACKUP_PATH: world.backups,
    LOG_LEVEL: 'warn',
  };
  const child = spawn(process.execPath, [script, ...args], {
    env,
    cwd: world.folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  let peak = 0;
  const timer = setInterval(() => {
    readFile(`/proc/${child.pid}/status`, 'utf8')
      .then((text) => (peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? 0))))
      .catch(() => undefined);
  }, 50);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearInterval(timer);
  expect(code).toBe(0);
  return peak / 1024;
}

const sha256 = async (path: string) => {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
};

describe(`A database of ${MEGABYTES} MB with a process that commits throughout`, () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    await exec(
      world.database,
      `CREATE TABLE bulk (id INTEGER PRIMARY KEY, v BLOB);
       WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MEGABYTES * 100})
         INSERT INTO bulk SELECT i, randomblob(5000) || zeroblob(5000) FROM n;`,
    );
  });
  afterAll(() => world.close());

  it('is backed up as one committed state and restored to it, in flat memory, blocking no writer', async () => {
    const bulk = await contentHash(world.database, ['bulk']);
    const writer = await startWriter(world.database, 1);
    const backupPeak = await runOnce(world, ['backup']);
    expect(await writer.stop()).toMatchObject({ busy: 0, errors: [] });
    const row = await world.app.models.Backup.findOne();
    expect(row).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    const out = join(world.folder, 'out');
    await mkdir(out);
    await unpack(row?.filePath ?? '', out);
    const copy = join(out, 'database.sqlite3');
    const metadata = JSON.parse(await readFile(join(out, 'backup_metadata.json'), 'utf8')) as {
      entries: { path: string; size: number; sha256: string }[];
    };
    for (const { path, size, sha256: expected } of metadata.entries) {
      expect([path, (await stat(join(out, path))).size, await sha256(join(out, path))]).toEqual([path, size, expected]);
    }
    expect((await stat(copy)).size).toBeGreaterThan(MEGABYTES * 0.95e6);
    const state = await assertOneCommittedState(copy);
    expect(state).toBeGreaterThanOrEqual(0);
    expect(await contentHash(copy, ['bulk'])).toBe(bulk);
    expect(await all(copy, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
    const wanted = await contentHash(copy);
    await exec(world.database, 'DELETE FROM bulk WHERE id % 3 = 0; DELETE FROM entry;');
    const restorePeak = await runOnce(world, ['restore', row?.id ?? '']);
    expect(await contentHash(world.database)).toBe(wanted);
    process.stdout.write(`peak memory: backup ${backupPeak.toFixed(0)} MiB, restore ${restorePeak.toFixed(0)} MiB\n`);
    expect(backupPeak).toBeLessThan(MOST_MEBIBYTES);
    expect(restorePeak).toBeLessThan(MOST_MEBIBYTES);
    await rm(out, { recursive: true });
  });
});

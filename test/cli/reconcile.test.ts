import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { contentHash } from '../support/sqlite.js';
import { createWorld, type World } from '../support/world.js';
import { type Ended, start, translate } from './command.js';

let world: World;
let program: string;
beforeAll(async () => {
  world = await createWorld();
  program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
});
afterAll(() => world?.close());

const run = (data: string, ...args: string[]): Promise<Ended> =>
  start([program, ...args], {
    cwd: world.folder,
    env: {
      DATA_DIR: data,
      DB_BACKUP_PATH: world.backups,
      DATABASE_URL: `sqlite:${world.database}`,
      MEDIA_PATHS: world.media,
      LEASE_SECONDS: '5',
    },
  }).ended;
const json = async (data: string, ...args: string[]) => JSON.parse((await run(data, ...args, '--json')).stdout);

describe('After the loss of DATA_DIR', () => {
  it('`reconcile` finds archives in the storages of the configs, and imports them in place', async () => {
    const [first, second] = [await world.backup(), await world.backup()];
    const content = await contentHash(world.database);
    const names = (await readdir(world.backups)).sort();
    const report = await run('lost', 'reconcile');
    expect(report).toMatchObject({ code: 0, stdout: expect.stringContaining('2 file(s) without a record') });
    expect(report.stdout).toContain('reconcile --take-in');
    for (const side of ['', '-wal', '-shm']) await rm(world.database + side, { force: true });
    const { takenIn, refused } = await json('lost', 'reconcile', '--take-in');
    expect(refused).toEqual([]);
    expect(takenIn.map((row: { filePath: string }) => row.filePath).sort()).toEqual(
      [first.filePath, second.filePath].sort(),
    );
    expect(takenIn).toEqual([1, 2].map(() => expect.objectContaining({ status: 'COMPLETED', configId: 1 })));
    expect((await readdir(world.backups)).sort()).toEqual(names);
    expect((await json('lost', 'reconcile', '--take-in')).takenIn).toEqual([]);
    expect((await run('lost', 'verify', takenIn[0].id)).code).toBe(0);
    expect((await run('lost', 'restore', takenIn[1].id, '--confirm')).code).toBe(0);
    expect(await contentHash(world.database)).toBe(content);
  });

  it('`reconcile FOLDER` imports from another folder, and names damaged and foreign files', async () => {
    const row = await world.backup();
    const other = join(world.folder, 'usb');
    await mkdir(other);
    await rename(row.filePath, join(other, row.fileName));
    await writeFile(join(other, 'holiday.zip'), 'not ours');
    const args = ['reconcile', other, '--take-in', '--config', '1', '--same-application'];
    const found = await json('lost', ...args);
    expect(found.error).toBeUndefined();
    expect(found.takenIn).toEqual([expect.objectContaining({ configId: 1, filePath: join(other, row.fileName) })]);
    expect(found.refused).toEqual([
      { file: join(other, 'holiday.zip'), error: expect.objectContaining({ code: 'ARCHIVE_FOREIGN' }) },
    ]);
    const ended = await run('lost', 'reconcile', join(world.folder, 'nowhere'), '--json');
    expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'STORAGE_UNAVAILABLE' } });
  });
});

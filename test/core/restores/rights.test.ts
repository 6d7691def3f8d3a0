import { chmod, chown, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fileSource, openArchive } from '../../../src/archive/read.js';
import { createEngines } from '../../../src/engines/index.js';
import { all } from '../../support/sqlite.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

const APP = 12_345;
const OTHER = 23_456;
const isRoot = process.geteuid?.() === 0;
const asRoot = isRoot ? it : it.skip;

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const rights = async (path: string) => {
  const { mode, uid, gid } = await stat(path);
  return `${(mode & 0o7777).toString(8)} ${uid}:${gid}`;
};
const SIDES = ['', '-wal', '-shm', '-journal'];
const removeDatabase = async () => {
  for (const side of SIDES) await rm(world.database + side, { force: true });
};

describe(`A database that a restore makes anew${isRoot ? '' : ' (skipped in part: only root gives files away)'}`, () => {
  asRoot('has the permissions and the owner of the one that was backed up, its journals too', async () => {
    await chown(world.database, APP, OTHER);
    await chmod(world.database, 0o640);
    const row = await world.backup();
    await removeDatabase();
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await rights(world.database)).toBe(`640 ${APP}:${OTHER}`);
    const reader = all(world.database, 'SELECT count(*) FROM sqlite_schema');
    await reader;
    for (const side of ['-wal', '-shm']) {
      await stat(world.database + side).then(
        async () => expect(await rights(world.database + side)).toBe(`640 ${APP}:${OTHER}`),
        () => undefined,
      );
    }
  });

  asRoot('is private and of the folder\u2019s owner where the archive is of another machine', async () => {
    const row = await world.backup();
    const out = join(world.folder, 'out');
    const archive = await openArchive(await fileSource(join(world.backups, row.fileName)));
    await archive.extract(out, { filter: (path) => path === 'database.sqlite3' });
    const folder = join(world.folder, 'elsewhere');
    await mkdir(folder);
    await chown(folder, OTHER, APP);
    const target = join(folder, 'db.sqlite3');
    const options = { lockTimeoutMs: 1_000, stamp: 'x', tables: null, signal: NEVER, onProgress: () => undefined };
    const made = { file_mode: '0644', file_uid: 1, file_gid: 1 };
    const load = (source: Record<string, string | number>) =>
      createEngines()
        .of('SQLITE')
        .load(out, `sqlite:${target}`, {
          ...options,
          source,
          madeHere: false,
          damaged: false,
          exact: false,
          expected: [],
          onSwitch: () => undefined,
        });
    expect(await load(made)).toEqual([]);
    expect(await rights(target)).toBe(`644 ${OTHER}:${APP}`);
    for (const side of SIDES) await rm(target + side, { force: true });
    await load({});
    expect(await rights(target)).toBe(`600 ${OTHER}:${APP}`);
  });

  it('keeps what an empty file in its place has', async () => {
    const row = await world.backup();
    await removeDatabase();
    await writeFile(world.database, '', { mode: 0o660 });
    await chmod(world.database, 0o660);
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect((await stat(world.database)).mode & 0o7777).toBe(0o660);
  });

  it('is not left behind, empty, where the load fails', async () => {
    const row = await world.backup();
    await removeDatabase();
    const engines = createEngines();
    const failing = await world.again({
      engines: {
        ...engines,
        of: (kind) => ({
          ...engines.of(kind),
          load: (folder, url, options) => engines.of(kind).load(join(folder, 'nowhere'), url, options),
        }),
        forUrl: (url) => engines.forUrl(url),
      },
    });
    const restore = await failing.restores.create({ backupId: row.id, confirm: true }, 'test');
    await failing.restores.run(restore.id, NEVER);
    expect((await restore.reload()).status).toBe('FAILED');
    await expect(stat(world.database)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('Media folders that a restore makes anew', () => {
  it('have the permissions that they had, the root and filled ones too, and an undo removes them', async () => {
    const closed = join(world.media, 'uploads/closed');
    await mkdir(closed);
    await writeFile(join(closed, 'file.txt'), 'text');
    await chmod(closed, 0o500);
    await chmod(join(world.media, 'uploads'), 0o2750);
    await chmod(world.media, 0o700);
    const row = await world.backup();
    await rename(world.media, `${world.media}-away`);
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    const modes = async () =>
      Promise.all(
        [world.media, join(world.media, 'uploads'), closed].map(async (path) => (await stat(path)).mode & 0o7777),
      );
    expect(await modes()).toEqual([0o700, 0o2750, 0o500]);
    const undo = await world.app.restores.createUndo(restore.id, 'test');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    await expect(stat(join(world.media, 'uploads/closed/file.txt'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('are left as they are where they are there', async () => {
    const row = await world.backup();
    await chmod(world.media, 0o711);
    await rm(join(world.media, 'empty.txt'));
    await world.restore({ backupId: row.id });
    expect((await stat(world.media)).mode & 0o7777).toBe(0o711);
  });

  asRoot('belong to the owner of the folder above them, and so do their files', async () => {
    await chown(world.media, APP, APP);
    await mkdir(join(world.media, 'other'));
    await chown(join(world.media, 'other'), OTHER, OTHER);
    await mkdir(join(world.media, 'other/below'));
    await writeFile(join(world.media, 'other/below/file.txt'), 'text');
    const row = await world.backup();
    await rm(join(world.media, 'other/below'), { recursive: true });
    await rm(join(world.media, 'uploads'), { recursive: true });
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await rights(join(world.media, 'other/below/file.txt'))).toMatch(`${OTHER}:${OTHER}`);
    expect(await rights(join(world.media, 'uploads'))).toMatch(`${APP}:${APP}`);
    expect(await rights(join(world.media, 'uploads/a photo.txt'))).toMatch(`${APP}:${APP}`);
  });
});

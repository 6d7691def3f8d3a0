import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type MediaMode } from '../../../../src/core/restores/media/survey.js';
import { MediaSwap } from '../../../../src/core/restores/media/swap.js';
import type { Engine } from '../../../../src/core/ports.js';
import { createEngines } from '../../../../src/engines/index.js';
import { AppError } from '../../../../src/errors.js';
import type { RestoreRow } from '../../../../src/models/index.js';
import { type RawEntry, rawZip } from '../../../support/archives.js';
import { contentHash } from '../../../support/sqlite.js';
import { unpack } from '../../../support/unpack.js';
import { createWorld, filesIn, NEVER, readTree, type World, writeTree } from '../../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

/** A restore by another process, whose database is loaded by `load`. */
async function restoreWith(load: Engine['load'], backupId: string, mediaMode: MediaMode): Promise<RestoreRow> {
  const engines = createEngines();
  const of = (kind: Parameters<typeof engines.of>[0]) => ({ ...engines.of(kind), load });
  const other = await world.again({ engines: { ...engines, of } });
  const restore = await other.restores.create({ backupId, confirm: true, mediaMode }, 'test');
  await other.restores.run(restore.id, NEVER);
  return restore.reload();
}

/** A restore that fails after it has switched its media; `meanwhile` is what happens just before. */
const failing = (
  backupId: string,
  mediaMode: MediaMode = 'MIRROR',
  meanwhile = async (_id: string) => {},
): Promise<RestoreRow> =>
  restoreWith(
    async (_folder, _url, { stamp }) => {
      await meanwhile(stamp);
      throw new AppError('DATABASE_FAILED', 'injected');
    },
    backupId,
    mediaMode,
  );

describe('Media folders that lie in one another', () => {
  for (const nestedFirst of [false, true]) {
    it(`are put back when the load fails, the nested one ${nestedFirst ? 'first' : 'last'}`, async () => {
      const paths = [world.media, join(world.media, 'uploads')];
      await world.app.configs.update(1, { mediaPaths: nestedFirst ? paths.toReversed() : paths }, 'test');
      const row = await world.backup();
      await writeTree(world.media, { 'uploads/a photo.txt': 'changed', 'uploads/later.txt': 'later' });
      const before = await readTree(world.media);
      expect(await failing(row.id)).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_FAILED' });
      expect(await readTree(world.media)).toEqual(before);
      expect(await filesIn(world.media)).toEqual(Object.keys(before));
    });
  }
});

describe('A folder in the way of a file of the backup', () => {
  let backupId: string;
  let before: Record<string, string>;
  const stagingOf = (id: string) => join(world.media, `.db-manager-${id}`);

  beforeEach(async () => {
    backupId = (await world.backup()).id;
    await rm(join(world.media, 'empty.txt'));
    await rm(join(world.media, 'images'), { recursive: true });
    await writeTree(world.media, {
      'empty.txt/one.txt': 'one',
      'empty.txt/deep/two.txt': 'two',
      images: 'a file where a folder was',
      'uploads/later.txt': 'later',
      'uploads/a photo.txt': 'changed',
    });
    before = await readTree(world.media);
  });

  for (const mediaMode of ['MERGE', 'MIRROR'] as const) {
    it(`is put back with all else when the load fails, media ${mediaMode}`, async () => {
      const restore = await failing(backupId, mediaMode, async () => {
        expect((await stat(join(world.media, 'empty.txt'))).isFile()).toBe(true);
      });
      expect(restore).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_FAILED' });
      expect(await readTree(world.media)).toEqual(before);
    });
  }

  it('is put back when an earlier attempt was cut off after the new file was removed', async () => {
    const restore = await failing(backupId, 'MIRROR', () => rm(join(world.media, 'empty.txt')));
    expect(restore).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_FAILED' });
    expect(await readTree(world.media)).toEqual(before);
  });

  it('stays when an earlier attempt was cut off after everything was back', async () => {
    let plan = '';
    const restore = await failing(backupId, 'MIRROR', async () => {
      const all = await readTree(world.media);
      plan = Object.entries(all).find(([path]) => path.endsWith('plan.json'))?.[1] ?? '';
    });
    await mkdir(stagingOf(restore.id));
    await writeFile(join(stagingOf(restore.id), 'plan.json'), plan);
    await MediaSwap.finish(world.media, restore.id, 'undo');
    expect(await readTree(world.media)).toEqual(before);
  });

  it('that cannot be put back keeps nothing else from it, is named, and stays at hand', async () => {
    const restore = await failing(backupId, 'MIRROR', async () => {
      await rm(join(world.media, 'empty.txt'));
      await writeTree(world.media, { 'empty.txt/stranger.txt': 'made meanwhile' });
    });
    expect(restore).toMatchObject({
      status: 'FAILED',
      errorCode: 'RESTORE_ROLLBACK_FAILED',
      errorMessage: expect.stringContaining(join(world.media, 'empty.txt')),
    });
    const { 'empty.txt/one.txt': one, 'empty.txt/deep/two.txt': two, ...others } = before;
    expect(await readTree(world.media)).toMatchObject({ ...others, 'empty.txt/stranger.txt': 'made meanwhile' });
    const old = await readTree(join(stagingOf(restore.id), 'old', 'empty.txt'));
    expect(old).toEqual({ 'one.txt': one, 'deep/two.txt': two });
    expect(restore.errorMessage).toContain(join(stagingOf(restore.id), 'old'));
  });
});

/** The media folder on another disk, with a link in its place. */
async function linkMedia(): Promise<string> {
  const disk = join(world.folder, 'disk');
  await rename(world.media, disk);
  await symlink(disk, world.media);
  return disk;
}

/** The archive as `zip -r` or Python's shutil.make_archive pack it anew: with an entry for each folder. */
async function zippedByAnother(archive: string): Promise<Buffer> {
  const out = join(world.folder, 'out');
  await unpack(archive, out);
  const entries: RawEntry[] = [];
  for (const name of await readdir(out, { recursive: true })) {
    const folder = (await stat(join(out, name))).isDirectory();
    if (folder) entries.push({ name: `${name}/`, mode: 0o40755 });
    else entries.push({ name, data: await readFile(join(out, name)), mode: (await stat(join(out, name))).mode });
  }
  const isMetadata = ({ name }: RawEntry) => name === 'backup_metadata.json';
  expect(entries).toContainEqual({ name: 'media/', mode: 0o40755 });
  return rawZip([...entries.filter((entry) => !isMetadata(entry)), ...entries.filter(isMetadata)]);
}

describe('A media folder that is a link', () => {
  it('stays one when an archive of another tool has an entry for the folder itself', async () => {
    const made = await world.backup();
    const zip = await zippedByAnother(made.filePath);
    const wanted = { hash: await contentHash(world.database), media: await readTree(world.media) };
    const disk = await linkMedia();
    await writeTree(disk, { 'uploads/a photo.txt': 'changed' });
    const row = await world.app.backups.upload(Readable.from([zip]), 'zipped.zip', undefined, 'boss', NEVER);
    for (const mediaMode of ['MERGE', 'MIRROR'] as const) {
      const restore = await world.restore({ backupId: row.id, mediaMode });
      expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect((await lstat(world.media)).isSymbolicLink()).toBe(true);
      expect(await readTree(disk)).toEqual(wanted.media);
    }
    expect(await contentHash(world.database)).toBe(wanted.hash);
  });

  it('is counted by the plan as what the restore does to it', async () => {
    const row = await world.backup();
    const disk = await linkMedia();
    await writeTree(disk, { 'uploads/later.txt': 'later' });
    const plan = (mediaMode: MediaMode) => world.app.restores.plan({ backupId: row.id, confirm: true, mediaMode });
    expect((await plan('MERGE')).media).toMatchObject({ add: 0, replace: 0, unchanged: 3, keep: 1, remove: 0 });
    expect((await plan('MIRROR')).media).toMatchObject({ add: 0, replace: 0, unchanged: 3, keep: 0, remove: 1 });
  });
});

describe('The plan', () => {
  it('counts what is in the way as moved away, and never less than nothing as kept', async () => {
    const row = await world.backup();
    await rm(world.media, { recursive: true });
    await writeTree(world.media, { 'empty.txt/one.txt': 'one', images: 'a file', 'other.txt': 'other' });
    const plan = (mediaMode: MediaMode) => world.app.restores.plan({ backupId: row.id, confirm: true, mediaMode });
    expect((await plan('MERGE')).media).toMatchObject({ add: 2, replace: 1, keep: 1, remove: 2 });
    expect((await plan('MIRROR')).media).toMatchObject({ add: 2, replace: 1, keep: 0, remove: 3 });
  });
});

describe('A symbolic link in the way', () => {
  const hint = 'Restore the media to another place with targetMediaPath, or remove the link first.';

  it.each([
    ['of a folder leads to another disk', 'uploads', 'disk'],
    ['of a folder leads nowhere, as to a disk that is not mounted', 'uploads', 'absent'],
    ['of a file leads to a folder', 'empty.txt', 'disk'],
    ['of a file lies in a folder and leads to another one', 'empty.txt/link', 'disk'],
  ])('%s: the restore is refused and can go elsewhere', async (_title, path, leadsTo) => {
    const row = await world.backup();
    const wanted = await readTree(world.media);
    const target = join(world.folder, leadsTo);
    await writeTree(join(world.folder, 'disk'), { 'a photo.txt': 'moved to another disk' });
    const link = join(world.media, path);
    await rm(join(world.media, path.split('/')[0] ?? ''), { recursive: true });
    await mkdir(join(link, '..'), { recursive: true });
    await symlink(target, link);
    const refusal = { code: 'PATH_NOT_ALLOWED', hint, message: expect.stringContaining(link) };
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: true });
    expect(plan).toMatchObject({ allowed: false, refusals: [refusal] });
    expect(plan.refusals[0]?.message).toContain(target);
    await expect(world.restore({ backupId: row.id })).rejects.toMatchObject(refusal);
    expect(await readlink(link)).toBe(target);
    const elsewhere = join(world.folder, 'elsewhere');
    const restore = await world.restore({ backupId: row.id, targetMediaPath: elsewhere });
    expect(restore).toMatchObject({ status: 'COMPLETED', warnings: [] });
    expect(await readTree(elsewhere)).toEqual(wanted);
    expect(await readlink(link)).toBe(target);
  });

  it('that was made after the plan fails the run before anything is changed', async () => {
    const row = await world.backup();
    const restore = await world.app.restores.create({ backupId: row.id, confirm: true }, 'test');
    await rename(join(world.media, 'uploads'), join(world.folder, 'disk'));
    await writeTree(join(world.folder, 'disk'), { 'a photo.txt': 'changed' });
    await symlink('../../disk', join(world.media, 'uploads'));
    const before = await readTree(world.media);
    await world.app.restores.run(restore.id, NEVER);
    expect(await restore.reload()).toMatchObject({ status: 'FAILED', errorCode: 'PATH_NOT_ALLOWED', errorHint: hint });
    expect(await readTree(world.media)).toEqual(before);
    expect(await readlink(join(world.media, 'uploads'))).toBe('../../disk');
  });

  it('to a file, and a folder: the plan and the run name them, and a failed run brings them back', async () => {
    const row = await world.backup();
    const photo = join(world.media, 'uploads', 'a photo.txt');
    await rm(photo);
    await symlink('/etc/hostname', photo);
    await rm(join(world.media, 'empty.txt'));
    await writeTree(world.media, { 'empty.txt/one.txt': 'one' });
    await symlink('one.txt', join(world.media, 'empty.txt', 'two.txt'));
    const warnings = [
      expect.stringContaining(`the folder ${JSON.stringify(join(world.media, 'empty.txt'))}`),
      expect.stringMatching(/two.txt" \(leads to "one.txt"\), .*a photo.txt" \(leads to "\/etc\/hostname"\)/),
    ];
    expect(await world.app.restores.plan({ backupId: row.id, confirm: true })).toMatchObject({ warnings });
    expect(await failing(row.id)).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_FAILED' });
    expect(await readlink(photo)).toBe('/etc/hostname');
    expect(await readlink(join(world.media, 'empty.txt', 'two.txt'))).toBe('one.txt');
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', warnings });
    expect(await readFile(photo, 'utf8')).toBe('first');
  });

  it('that the backup knows nothing of stays', async () => {
    await symlink('uploads', join(world.media, 'current'));
    const row = await world.backup();
    const restore = await world.restore({ backupId: row.id, mediaMode: 'MIRROR' });
    expect(restore).toMatchObject({ status: 'COMPLETED', warnings: [] });
    expect(await readlink(join(world.media, 'current'))).toBe('uploads');
  });
});

/** Why nothing can be mounted here, or undefined. */
const noMount = ((): string | undefined => {
  if (process.getuid?.() !== 0) return 'only root can mount';
  const folder = mkdtempSync(join(tmpdir(), 'db-manager-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder]);
    return undefined;
  } catch {
    return 'mount does not work here';
  } finally {
    rmdirSync(folder);
  }
})();
const withMounts = noMount === undefined ? describe : describe.skip;
const why = noMount === undefined ? '' : ` (skipped: ${noMount})`;

for (const kind of ['disk of its own', 'second mount of the same disk'] as const) {
  withMounts(`A ${kind} inside a media folder${why}`, () => {
    let uploads: string;
    const mounted: string[] = [];
    const mount = async (folder: string) => {
      await mkdir(folder, { recursive: true });
      const disk = join(world.folder, 'disk', String(mounted.length));
      await mkdir(disk, { recursive: true });
      execFileSync('mount', kind === 'disk of its own' ? ['-t', 'tmpfs', 'tmpfs', folder] : ['--bind', disk, folder]);
      mounted.push(folder);
    };

    beforeEach(async () => {
      uploads = join(world.media, 'up loads');
      await mount(uploads);
      await writeTree(uploads, { 'one.txt': 'one', 'deep/two.txt': 'two', 'deep/three.txt': 'three' });
      await chmod(join(uploads, 'one.txt'), 0o440);
    });
    afterEach(() => {
      for (const folder of mounted.splice(0).toReversed()) execFileSync('umount', [folder]);
    });

    const change = async () => {
      await rm(join(uploads, 'deep'), { recursive: true });
      await writeTree(uploads, { 'one.txt': 'changed', 'later.txt': 'later', 'deep/two.txt': 'changed too' });
      await chmod(join(uploads, 'one.txt'), 0o604);
      await chown(join(uploads, 'one.txt'), 1234, 1234);
    };

    it('is restored', async () => {
      const row = await world.backup();
      const before = await readTree(world.media);
      await change();
      const restore = await world.restore({ backupId: row.id, mediaMode: 'MIRROR' });
      expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await readTree(world.media)).toEqual(before);
      expect(await stat(join(uploads, 'one.txt'))).toMatchObject({ mode: 0o100440, uid: 1234, gid: 1234 });
    });

    it('is put back when the load fails, with links and files that were in the way', async () => {
      const row = await world.backup();
      await change();
      await rm(join(uploads, 'deep', 'two.txt'));
      await symlink('../one.txt', join(uploads, 'deep', 'two.txt'));
      const before = await readTree(world.media);
      expect(await failing(row.id)).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_FAILED' });
      expect(await readTree(world.media)).toEqual(before);
      expect(await readlink(join(uploads, 'deep', 'two.txt'))).toBe('../one.txt');
      expect(await stat(join(uploads, 'one.txt'))).toMatchObject({ mode: 0o100604, uid: 1234, gid: 1234 });
    });

    it('is put back when the process died while it copied a file', async () => {
      const row = await world.backup();
      await change();
      const before = await readTree(world.media);
      const restore = await failing(row.id, 'MIRROR', async (id) => {
        // The new file has left where it lay ready, and is not in its place yet.
        await rename(join(uploads, 'deep', 'three.txt'), join(uploads, 'deep', `.db-manager-${id}.partial`));
      });
      expect(restore).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_FAILED' });
      expect(await readTree(world.media)).toEqual(before);
    });

    it.each([
      ['lies on it', 'one.txt'],
      ['is the mount itself', '.'],
    ])('refuses a restore, before anything changes, to which a folder is in the way that %s', async (_title, path) => {
      await rm(join(uploads, 'one.txt'));
      const folder = join(uploads, 'one.txt');
      await writeFile(folder, 'one');
      const row = await world.backup();
      await rm(folder);
      if (path === '.') await mount(folder);
      await writeTree(folder, { 'inside.txt': 'inside' });
      const before = await readTree(world.media);
      const refusal = { code: 'PATH_NOT_ALLOWED', message: expect.stringContaining(folder) };
      const plan = await world.app.restores.plan({ backupId: row.id, confirm: true });
      expect(plan).toMatchObject({ allowed: false, refusals: [refusal] });
      await expect(world.restore({ backupId: row.id })).rejects.toMatchObject(refusal);
      expect(await readTree(world.media)).toEqual(before);
    });

    it('refuses a restore to which it lies in a folder that is in the way', async () => {
      const row = await world.backup();
      await rm(join(world.media, 'empty.txt'));
      await mount(join(world.media, 'empty.txt', 'deep'));
      const plan = await world.app.restores.plan({ backupId: row.id, confirm: true });
      expect(plan).toMatchObject({ allowed: false, refusals: [{ code: 'PATH_NOT_ALLOWED' }] });
    });
  });
}

import { randomBytes } from 'node:crypto';
import { statfsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { mountSmallDisk, noSmallDisk, type SmallDisk } from '../../support/small-disk.js';
import { exec } from '../../support/sqlite.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

const MIB = 1024 ** 2;
let world: World | undefined;
let disk: SmallDisk | undefined;
afterEach(async () => {
  await world?.close();
  await disk?.remove();
  world = disk = undefined;
});

/** The most that the work takes on the disk at any moment, in bytes. */
async function peakOf(folder: string, work: () => Promise<unknown>): Promise<number> {
  const free = () => {
    const { bfree, bsize } = statfsSync(folder);
    return bfree * bsize;
  };
  const before = free();
  let least = before;
  const timer = setInterval(() => (least = Math.min(least, free())), 1);
  await work().finally(() => clearInterval(timer));
  return before - least;
}

async function onDisk(): Promise<World> {
  disk = mountSmallDisk('96m', 20_000);
  const made = await createWorld({
    env: { DATA_DIR: join(disk.folder, 'data'), DB_BACKUP_PATH: join(disk.folder, 'backups') },
  });
  world = made;
  const media = join(disk.folder, 'media');
  await mkdir(media);
  await writeFile(join(media, 'one.bin'), randomBytes(6 * MIB));
  for (let i = 0; i < 300; i++) await writeFile(join(media, `${i}.txt`), `${i}`);
  await made.app.configs.update(1, { mediaPaths: [media] }, 'test');
  await exec(made.database, 'CREATE TABLE large (a); INSERT INTO large VALUES (randomblob(3000000))');
  return made;
}

async function changeAll(folder: string): Promise<void> {
  await writeFile(join(folder, 'one.bin'), randomBytes(8 * MIB));
  for (let i = 0; i < 300; i++) await writeFile(join(folder, `${i}.txt`), `changed ${i}`);
}

(noSmallDisk === null ? describe : describe.skip)('The space that a restore’s plan asks for', () => {
  it('is what the run really takes, with its safety backup, summed up for folders on one disk', async () => {
    const { app, backup, restore } = await onDisk();
    const { id } = await backup();
    const folder = disk?.folder ?? '';
    await changeAll(join(folder, 'media'));
    const { space } = await app.restores.plan({ backupId: id, confirm: true });
    const place = space.find(({ paths }) => paths.includes(join(folder, 'backups')));
    expect(place?.paths).toEqual(expect.arrayContaining([join(folder, 'media'), join(folder, 'data', 'tmp')]));
    const peak = await peakOf(folder, () => restore({ backupId: id }));
    expect(place?.needed).toBeGreaterThanOrEqual(peak);
    expect(place?.needed).toBeLessThanOrEqual(peak * 1.5 + 2 * MIB);
  });

  it('is what a restore of media takes: its safety backup holds the database as well', async () => {
    const { app, backup, restore } = await onDisk();
    const { id } = await backup();
    const folder = disk?.folder ?? '';
    await changeAll(join(folder, 'media'));
    const request = { backupId: id, confirm: true, restoreDatabase: false };
    const [place] = (await app.restores.plan(request)).space;
    const peak = await peakOf(folder, () => restore(request));
    expect(place?.needed).toBeGreaterThanOrEqual(peak);
    expect(place?.needed).toBeLessThanOrEqual(peak * 1.5 + 2 * MIB);
  });

  it('is refused with the disk and the amount to free where there is less', async () => {
    const { app, backup } = await onDisk();
    const { id } = await backup();
    await changeAll(join(disk?.folder ?? '', 'media'));
    await disk?.fill();
    const { allowed, refusals } = await app.restores.plan({ backupId: id, confirm: true });
    expect(allowed).toBe(false);
    const full = refusals.find(({ code }) => code === 'STORAGE_FULL');
    expect(full?.message).toContain(join(disk?.folder ?? '', 'backups'));
    expect(full?.hint).toMatch(/Free at least [\d.]+ MiB on the disk of/);
  });
});

describe('A backup that cannot end well', () => {
  const phases = async (change: (made: World) => Promise<unknown>) => {
    const made = (world = await createWorld());
    await change(made);
    const row = await made.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await made.app.backups.run(row.id, NEVER);
    const { status, errorCode, phases: entered } = await row.reload();
    return { status, errorCode, entered: entered.map(({ phase }) => phase) };
  };

  it('takes no snapshot where a media path is missing', async () => {
    const ended = await phases(({ media }) => rm(media, { recursive: true }));
    expect(ended).toEqual({ status: 'FAILED', errorCode: 'MEDIA_NOT_FOUND', entered: ['check'] });
  });

  it('takes no snapshot where the storage is a file', async () => {
    const ended = await phases(({ backups }) => writeFile(backups, 'a file'));
    expect(ended).toEqual({ status: 'FAILED', errorCode: 'STORAGE_UNAVAILABLE', entered: ['check'] });
  });

  it('takes no snapshot where the media would be db-manager’s own', async () => {
    const ended = await phases(async ({ app, folder }) => {
      const config = await app.configs.get(1);
      await config.update({ mediaPaths: [join(folder, 'data')] });
    });
    expect(ended).toMatchObject({ errorCode: 'PATH_NOT_ALLOWED', entered: ['check'] });
  });
});

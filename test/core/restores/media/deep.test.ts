import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mediaRoots, walkMedia } from '../../../../src/archive/media.js';
import { fileSource, openArchive } from '../../../../src/archive/read.js';
import { HeldFolder } from '../../../../src/core/restores/media/held-folder.js';
import { createWorld, type World } from '../../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

describe('Media that lie very deep', () => {
  const DEPTH = 500;
  const deep = () => join(world.media, ...Array.from({ length: DEPTH }, () => 'd'));

  it('are backed up, restored and undone in a time that grows as their number', async () => {
    await mkdir(deep(), { recursive: true });
    await writeFile(join(deep(), 'leaf.txt'), 'leaf');
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    await rm(join(world.media, 'd'), { recursive: true });
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readFile(join(deep(), 'leaf.txt'), 'utf8')).toBe('leaf');
    const undo = await world.app.restores.createUndo(restore.id, 'test');
    await world.app.restores.run(undo.id, new AbortController().signal);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED' });
    await expect(stat(join(deep(), 'leaf.txt'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('are refused with the reason where a path is longer than the system allows', async () => {
    const held = await HeldFolder.at(world.media);
    await held.makeFolders(Array.from({ length: 2_500 }, () => 'd').join('/'));
    const walk = async () => {
      for (const root of await mediaRoots([world.media])) for await (const _ of walkMedia(root, () => false));
    };
    await expect(walk()).rejects.toMatchObject({ code: 'MEDIA_UNREADABLE', message: expect.stringMatching(/bytes/) });
    await held.clear();
    await held.close();
  });
});

describe('Media that are the same already', () => {
  it('are left alone and counted apart, by content and not by time alone', async () => {
    const same = join(world.media, 'uploads/a photo.txt');
    const other = join(world.media, 'images/ünï.txt');
    const row = await world.backup();
    const { ino } = await stat(same);
    const { atime, mtime } = await stat(other);
    await writeFile(other, 'SECOND');
    const media = async () => (await world.app.restores.plan({ backupId: row.id, confirm: true })).media;
    expect(await media()).toMatchObject({ add: 0, replace: 1, unchanged: 2 });
    await utimes(other, atime, mtime);
    const restore = await world.restore({ backupId: row.id, mediaMode: 'MIRROR' });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readFile(other, 'utf8')).toBe('second');
    expect((await stat(same)).ino).toBe(ino);
    const undo = await world.app.restores.createUndo(restore.id, 'test');
    await world.app.restores.run(undo.id, new AbortController().signal);
    expect(await readFile(other, 'utf8')).toBe('SECOND');
    expect((await stat(same)).ino).toBe(ino);
  });
});

describe('Media of an unknown type', () => {
  it('are stored where samples do not become smaller, and deflated where some do', async () => {
    const text = Buffer.alloc(300_000, 'text ');
    await writeFile(join(world.media, 'random.xyz'), randomBytes(300_000));
    await writeFile(join(world.media, 'small.xyz'), randomBytes(10_000));
    await writeFile(join(world.media, 'text.xyz'), text);
    await writeFile(join(world.media, 'half.xyz'), Buffer.concat([randomBytes(200_000), text]));
    const { filePath } = await world.backup();
    const { entries } = await openArchive(await fileSource(filePath));
    const isStored = (name: string) => {
      const entry = entries.find(({ path }) => path === `media/${name}`);
      return entry?.size === entry?.compressedSize;
    };
    expect(['random.xyz', 'small.xyz', 'text.xyz', 'half.xyz'].map(isStored)).toEqual([true, true, false, false]);
  });
});

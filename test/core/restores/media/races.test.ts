import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readlink, rename, rm, rmdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fileSource, openArchive } from '../../../../src/archive/read.js';
import { HeldFolder } from '../../../../src/core/restores/media/held-folder.js';
import { MediaSwap } from '../../../../src/core/restores/media/swap.js';
import { createWorld, filesIn, NEVER, readTree, type World, writeTree } from '../../../support/world.js';

const isLinux = process.platform === 'linux';
const step = { signal: NEVER, onProgress: () => undefined };

let world: World;
let outside: string;
beforeEach(async () => {
  world = await createWorld();
  outside = join(world.folder, 'outside');
  await mkdir(outside);
});
afterEach(() => world.close());

/** The media of a new backup, laid ready beside the present ones. */
async function laid(): Promise<MediaSwap> {
  const { filePath } = await world.backup();
  // Other rights than in the backup: what is the same would be left alone.
  for (const file of await filesIn(world.media)) await chmod(join(world.media, file), 0o640);
  const archive = await openArchive(await fileSource(filePath));
  const options = { runId: 'restore_x', mode: 'MERGE' as const, wanted: () => true, excluded: () => false };
  return MediaSwap.prepare(archive, { prefix: 'media/', root: world.media }, options, step);
}

/** What another program does: a folder goes away and a link to somewhere else takes its place. */
async function swapForLink(path: string): Promise<void> {
  await rename(path, `${path}.real`);
  await symlink(outside, path);
}

async function swapBack(path: string): Promise<void> {
  await rm(path);
  await rename(`${path}.real`, path);
}

(isLinux ? describe : describe.skip)('A restore of media while another program puts links in the way', () => {
  it('writes nothing through a link in a folder’s place, fails, and puts everything back', async () => {
    const before = await readTree(world.media);
    const swap = await laid();
    await writeFile(join(world.media, 'uploads/a photo.txt'), 'newer');
    await swapForLink(join(world.media, 'uploads'));
    await expect(swap.apply(step)).rejects.toMatchObject({ code: expect.stringMatching(/PATH_NOT_ALLOWED|MEDIA_/) });
    expect(await filesIn(outside)).toEqual([]);
    await swapBack(join(world.media, 'uploads'));
    await swap.undo();
    await swap.close();
    expect(await readTree(world.media)).toEqual({ ...before, 'uploads/a photo.txt': 'newer' });
  });

  it('undoes into the folder that it changed, not into what took its place', async () => {
    await writeFile(join(world.media, 'uploads/a photo.txt'), 'old');
    const swap = await laid();
    await writeFile(join(world.media, 'uploads/a photo.txt'), 'newer');
    await swap.apply(step);
    await swapForLink(join(world.media, 'uploads'));
    await writeFile(join(outside, 'a photo.txt'), 'precious');
    await swap.undo().catch(() => undefined);
    await swap.close();
    expect(await readTree(outside)).toEqual({ 'a photo.txt': 'precious' });
  });

  it('is undone although the whole media folder was swapped for a link meanwhile', async () => {
    const swap = await laid();
    await writeFile(join(world.media, 'empty.txt'), 'newer');
    await swap.apply(step);
    await swapForLink(world.media);
    await swap.undo();
    await swap.close();
    expect(await filesIn(outside)).toEqual([]);
    await swapBack(world.media);
    expect((await readTree(world.media))['empty.txt']).toBe('newer');
    expect(await filesIn(world.media)).not.toContainEqual(expect.stringMatching(/^\.db-manager-/));
  });

  it('is refused if the media folder leads elsewhere than when it was requested', async () => {
    const backup = await world.backup();
    const restore = await world.app.restores.create({ backupId: backup.id, confirm: true }, 'test');
    await swapForLink(world.media);
    await world.app.restores.run(restore.id, NEVER);
    expect(await restore.reload()).toMatchObject({ status: 'FAILED', errorCode: 'PATH_NOT_ALLOWED' });
    expect(await filesIn(outside)).toEqual([]);
  });

  it('obeys no plan that another user has put where an undo looks for its own', async () => {
    if (process.getuid?.() !== 0) return;
    await writeTree(world.media, {
      '.db-manager-restore_x/plan.json':
        '{"files":["empty.txt"],"present":[],"obstacles":[],"extras":[],"newFolders":[],"rootIsNew":false}',
    });
    const { chown } = await import('node:fs/promises');
    await chown(join(world.media, '.db-manager-restore_x'), 12345, 12345);
    await expect(MediaSwap.finish(world.media, 'restore_x', 'undo')).rejects.toMatchObject({
      code: 'PATH_NOT_ALLOWED',
    });
    expect(await filesIn(world.media)).toContain('empty.txt');
  });

  it('writes nothing outside in many runs against a program that swaps without pause', async () => {
    const backup = await world.backup();
    const attacker = fork(new URL('../../../support/swapper.mjs', import.meta.url).pathname, [
      join(world.media, 'uploads'),
      outside,
    ]);
    await once(attacker, 'message');
    const ends = new Set<string>();
    for (let run = 0; run < 12; run++) {
      await chmod(join(world.media, 'uploads/a photo.txt'), 0o640).catch(() => undefined);
      const row = await world.app.restores
        .create({ backupId: backup.id, confirm: true, restoreDatabase: false }, 'test')
        .catch((error: { code: string }) => error.code);
      if (typeof row === 'string') {
        ends.add(row);
        continue;
      }
      await world.app.restores.run(row.id, NEVER);
      ends.add((await row.reload()).errorCode ?? 'COMPLETED');
    }
    attacker.kill('SIGTERM');
    await once(attacker, 'exit');
    expect(await filesIn(outside)).toEqual([]);
    expect([...ends].filter((end) => end === 'INTERNAL_ERROR')).toEqual([]);
  });
});

(isLinux ? describe : describe.skip)('A backup of media while another program puts links in the way', () => {
  it('holds nothing from outside the media folder', async () => {
    await writeTree(outside, { 'a photo.txt': 'secret', shadow: 'secret' });
    const attacker = fork(new URL('../../../support/swapper.mjs', import.meta.url).pathname, [
      join(world.media, 'uploads'),
      outside,
    ]);
    await once(attacker, 'message');
    try {
      for (let run = 0; run < 6; run++) {
        const row = await world.backup();
        if (row.status !== 'COMPLETED') continue;
        const archive = await openArchive(await fileSource(row.filePath));
        const target = join(world.folder, `out-${run}`);
        await archive.extract(target, { filter: (path) => path.startsWith('media/') });
        expect(Object.values(await readTree(target))).not.toContain('secret');
      }
    } finally {
      attacker.kill('SIGTERM');
      await once(attacker, 'exit');
    }
  });
});

(isLinux ? describe : describe.skip)('A held folder', () => {
  it('reaches what lies below it wherever it is moved, and enters no link', async () => {
    await writeTree(outside, { 'deep/er/file.txt': 'x', 'file.txt': 'y' });
    await symlink(outside, join(outside, 'loop'));
    const held = await HeldFolder.at(outside);
    await rename(outside, `${outside}-moved`);
    expect((await stat(await held.path('deep/er/file.txt'))).size).toBe(1);
    await expect(held.path('loop/file.txt')).rejects.toMatchObject({ code: expect.stringMatching(/ENOTDIR|ELOOP/) });
    expect(await held.lstat('loop/file.txt')).toBeNull();
    expect(await held.lstat('missing/file.txt')).toBeNull();
    await held.clear();
    await held.close();
    await rmdir(`${outside}-moved`);
  });

  it('keeps few folders open however many it is asked for, and closes all', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `f${index}/g/h/i.txt`);
    await writeTree(outside, Object.fromEntries(names.map((name) => [name, 'x'])));
    const opened = async () => (await filesOpenBelow(outside)).length;
    const held = await HeldFolder.at(outside);
    for (const name of names) expect((await held.lstat(name))?.size).toBe(1);
    expect(await opened()).toBeLessThan(40);
    await held.close();
    for (let waited = 0; (await opened()) > 0 && waited < 50; waited++) await sleep(20);
    expect(await opened()).toBe(0);
  });
});

async function filesOpenBelow(root: string): Promise<string[]> {
  const { readdir } = await import('node:fs/promises');
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  );
  return links.filter((link) => link.startsWith(root));
}

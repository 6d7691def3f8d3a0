import { chmod, mkdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fileSource, openArchive } from '../../../../src/archive/read.js';
import { MediaSwap } from '../../../../src/core/restores/media/swap.js';
import { createWorld, filesIn, NEVER, readTree, type World, writeTree } from '../../../support/world.js';

const step = { signal: NEVER, onProgress: () => undefined };
const TIME = new Date('2024-02-29T12:34:56.789Z');
/** More than one batch, and so many that the disk is flushed once. */
const names = Array.from({ length: 600 }, (_, index) => `many/${index % 5}/${index}.txt`);

let world: World;
let before: Record<string, string>;
beforeEach(async () => {
  world = await createWorld();
  before = await readTree(world.media);
  await writeTree(world.media, Object.fromEntries(names.map((name) => [name, `the text of ${name}`])));
  for (const name of names) await utimes(join(world.media, name), TIME, TIME);
  await chmod(join(world.media, names[599] ?? ''), 0o604);
});
afterEach(() => world.close());

/** A new backup's media, laid ready beside the present ones, after the many files are lost. */
async function laid(): Promise<MediaSwap> {
  const { filePath } = await world.backup();
  await rm(join(world.media, 'many'), { recursive: true });
  const archive = await openArchive(await fileSource(filePath));
  const options = { runId: 'restore_x', mode: 'MERGE' as const, wanted: () => true, excluded: () => false };
  return MediaSwap.prepare(archive, { prefix: 'media/', root: world.media }, options, step);
}

describe('A new folder with many files', () => {
  it('comes back with content, permissions and times, and an undo takes it away again', async () => {
    const modeOf = async (path: string) => (await stat(join(world.media, path))).mode & 0o7777;
    const folderMode = await modeOf('many/1');
    const row = await world.backup();
    const whole = await readTree(world.media);
    await rm(join(world.media, 'many'), { recursive: true });
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readTree(world.media)).toEqual(whole);
    expect(await modeOf('many/1')).toBe(folderMode);
    expect(await modeOf(names[599] ?? '')).toBe(0o604);
    for (const name of names) expect((await stat(join(world.media, name))).mtime).toEqual(TIME);
    const undo = await world.app.restores.createUndo(restore.id, 'test');
    await world.app.restores.run(undo.id, NEVER);
    expect(await readTree(world.media)).toEqual(before);
  });

  it('goes with an undo, and what another program put there meanwhile stays', async () => {
    const swap = await laid();
    await swap.apply(step);
    await writeFile(join(world.media, 'many/1/of another program.txt'), 'precious');
    await swap.undo();
    await swap.close();
    expect(await readTree(world.media)).toEqual({ ...before, 'many/1/of another program.txt': 'precious' });
  });

  it('goes when the process died right after it got its place', async () => {
    const swap = await laid();
    await rename(join(world.media, '.db-manager-restore_x/new/many'), join(world.media, 'many'));
    await swap.close();
    await MediaSwap.finish(world.media, 'restore_x', 'undo');
    expect(await readTree(world.media)).toEqual(before);
  });

  it('is filled file by file where another program made the folder meanwhile', async () => {
    const swap = await laid();
    await mkdir(join(world.media, 'many/1'), { recursive: true });
    await writeFile(join(world.media, 'many/1/of another program.txt'), 'precious');
    await swap.apply(step);
    expect((await filesIn(join(world.media, 'many'))).length).toBe(names.length + 1);
    await swap.undo();
    await swap.close();
    expect(await readTree(world.media)).toEqual({ ...before, 'many/1/of another program.txt': 'precious' });
  });
});

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openArchive } from '../../src/archive/read.js';
import { bufferSource, rawArchive, type RawEntry } from '../support/archives.js';
import { readTree } from '../support/world.js';

const database: RawEntry = { name: 'database.sqlite3', data: 'SQLite format 3\0', deflate: true };
/** More than one batch of a `FolderWriter`, and so many that the disk is flushed once. */
const names = Array.from({ length: 700 }, (_, index) => `media/${index % 7}/${index}.txt`);
const many = rawArchive([database, ...names.map((name) => ({ name, data: `the text of ${name}`, deflate: true }))]);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'folder-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('Many small files', () => {
  it('are laid in batches with their content, and progress ends at the sum of their bytes', async () => {
    const archive = await openArchive(bufferSource(many));
    let progress = 0;
    await archive.extract(join(folder, 'out'), { onProgress: (bytes) => (progress = bytes) });
    expect(progress).toBe(archive.totalBytes);
    const tree = await readTree(join(folder, 'out'));
    expect(Object.keys(tree)).toHaveLength(names.length + 2);
    for (const name of names) expect(tree[name]).toBe(`the text of ${name}`);
  });

  it('are refused naming the one whose place is taken', async () => {
    const archive = await openArchive(bufferSource(many));
    const out = join(folder, 'out');
    await archive.extract(out, { filter: (path) => path === 'media/5/411.txt' });
    const again = archive.extract(out, { filter: (path) => path.startsWith('media/') });
    await expect(again).rejects.toMatchObject({
      code: 'STORAGE_NOT_WRITABLE',
      message: expect.stringContaining('media/5/411.txt'),
    });
  });

  it('are laid with nothing left under way when the run is cancelled between batches', async () => {
    const archive = await openArchive(bufferSource(many));
    const stop = new AbortController();
    const extracting = archive.extract(join(folder, 'out'), {
      signal: stop.signal,
      filter: (path) => {
        if (path.endsWith('/600.txt')) stop.abort();
        return true;
      },
    });
    await expect(extracting).rejects.toMatchObject({ code: 'CANCELLED' });
    rmSync(join(folder, 'out'), { recursive: true, force: true });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('are laid on a system without the sync command', async () => {
    writeFileSync(join(folder, 'archive.zip'), many);
    const reader = new URL('../../src/archive/read.ts', import.meta.url).href;
    const script = `
      const { fileSource, openArchive } = await import('${reader}');
      const archive = await openArchive(await fileSource('${join(folder, 'archive.zip')}'));
      await archive.extract('${join(folder, 'out')}');`;
    const loader = [
      '--import',
      new URL('../../dev/typescript.mjs', import.meta.url).href,
      '--input-type=module',
      '-e',
      script,
    ];
    execFileSync(process.execPath, loader, { env: { ...process.env, PATH: '' } });
    expect(Object.keys(await readTree(join(folder, 'out')))).toHaveLength(names.length + 2);
  });
});

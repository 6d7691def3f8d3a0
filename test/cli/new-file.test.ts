import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { writeNewFile } from '../../src/cli/new-file.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'db-manager-new-file-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function* pieces(failure?: Error) {
  yield 'first ';
  if (failure) throw failure;
  yield 'second';
}

it('A new file has all that it is given, and only its owner reads it', async () => {
  const file = join(folder, 'whole');
  await writeNewFile(file, pieces(), 'out');
  expect(await readFile(file, 'utf8')).toBe('first second');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

it('A file that is there stays as it is', async () => {
  const file = join(folder, 'taken');
  await writeNewFile(file, 'mine', 'out');
  await expect(writeNewFile(file, 'other', 'out')).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'out' });
  expect(await readFile(file, 'utf8')).toBe('mine');
});

it('Of a file that cannot be written to its end nothing is left', async () => {
  const before = await readdir(folder);
  const failure = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
  await expect(writeNewFile(join(folder, 'cut'), pieces(failure), 'out')).rejects.toThrow(/cut/);
  expect(await readdir(folder)).toEqual(before);
});

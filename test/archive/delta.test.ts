import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { AppError } from '../../src/errors.js';
import { deltaBytes, deltaOf, DeltaReader, deltaStream } from '../../src/archive/delta.js';
import { changedPages, hashPages, hashPagesSync } from '../../src/archive/page-hashes.js';
import { casesOf } from '../support/cases.js';

const PAGE = 512;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'delta-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pagesOf = (marks: number[]) => Buffer.concat(marks.map((mark) => Buffer.alloc(PAGE, mark)));

/** The entry of the difference between two databases. */
async function deltaBetween(before: Buffer, after: Buffer): Promise<Buffer> {
  const hashes = [before, after].map((bytes, index) => {
    writeFileSync(join(folder, String(index)), bytes);
    return hashPagesSync({ file: join(folder, String(index)), pageSize: PAGE });
  });
  const [old, now] = hashes;
  if (!old || !now) throw new Error('not made of whole pages');
  const sizes = { pageSize: PAGE, before: old.pageCount, after: now.pageCount };
  const header = deltaOf(changedPages(old, now), sizes);
  const bytes = await buffer(deltaStream(join(folder, '1'), header));
  expect(bytes.length).toBe(deltaBytes(header));
  return bytes;
}

async function* inChunks(bytes: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

async function applied(before: Buffer, delta: Buffer, chunk: number): Promise<Buffer> {
  const reader = await DeltaReader.open(inChunks(delta, chunk), delta.length);
  const result = Buffer.alloc(reader.header.after * PAGE);
  before.copy(result);
  for await (const { page, bytes } of reader.pages()) bytes.copy(result, (page - 1) * PAGE);
  return result;
}

/** Code and message with which reading fails. */
async function refusal(delta: Buffer, size = delta.length): Promise<string> {
  try {
    const reader = await DeltaReader.open(inChunks(delta, 100), size);
    for await (const { page } of reader.pages()) expect(page).toBeGreaterThan(0);
  } catch (error) {
    if (error instanceof AppError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

describe('the pages in which two databases differ', () => {
  it('reproduces any database from any other of the same page size', async () => {
    const database = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(database, database, fc.integer({ min: 1, max: 2000 }), async (one, other, chunk) => {
        const [before, after] = [pagesOf(one), pagesOf(other)];
        const result = await applied(before, await deltaBetween(before, after), chunk);
        expect(result.subarray(0, after.length).equals(after)).toBe(true);
      }),
      { numRuns: casesOf(300) },
    );
  });

  it('holds no page when nothing has changed', async () => {
    const same = pagesOf([1, 2, 3]);
    const delta = await deltaBetween(same, same);
    expect(delta.length).toBe(32);
    expect(await refusal(delta)).toBe('accepted');
  });

  it('gives the same hashes in a thread as on the calling one', async () => {
    const file = join(folder, 'large');
    const bytes = Buffer.alloc(9 * 1024 * 1024 + PAGE, 'page');
    writeFileSync(file, bytes);
    const found = await hashPages({ file, pageSize: PAGE }, new AbortController().signal);
    expect(found).toEqual(hashPagesSync({ file, pageSize: PAGE }));
    expect(found?.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(found?.pageCount).toBe(bytes.length / PAGE);
  });

  it('gives no hashes of a file that is not made of whole pages', () => {
    const file = join(folder, 'odd');
    writeFileSync(file, Buffer.alloc(PAGE + 1));
    expect(hashPagesSync({ file, pageSize: PAGE })).toBeNull();
  });

  it('ends the hashing with the reason of its signal', async () => {
    const file = join(folder, 'endless');
    writeFileSync(file, Buffer.alloc(PAGE));
    const stop = AbortSignal.abort(new AppError('CANCELLED', 'Enough.'));
    await expect(hashPages({ file, pageSize: PAGE }, stop)).rejects.toThrow('Enough.');
  });
});

describe('a delta that was made to do harm', () => {
  const honest = () => deltaBetween(pagesOf([1, 1, 1, 1]), pagesOf([1, 2, 1, 2, 3]));
  const cases: [string, (bytes: Buffer) => Buffer | void, string][] = [
    ['has another magic', (bytes) => void bytes.write('X', 0), 'ARCHIVE_CORRUPT'],
    ['has another version', (bytes) => void bytes.writeUInt32LE(2, 8), 'ARCHIVE_CORRUPT'],
    ['has a page size of 0', (bytes) => void bytes.writeUInt32LE(0, 12), 'ARCHIVE_HOSTILE'],
    ['has a page size that is no power of two', (bytes) => void bytes.writeUInt32LE(1000, 12), 'ARCHIVE_HOSTILE'],
    ['has a page size that is too large', (bytes) => void bytes.writeUInt32LE(1 << 20, 12), 'ARCHIVE_HOSTILE'],
    [
      'says that it has four thousand million runs',
      (bytes) => void bytes.writeUInt32LE(2 ** 32 - 1, 24),
      'ARCHIVE_HOSTILE',
    ],
    ['says that it has more pages', (bytes) => void bytes.writeUInt32LE(4, 28), 'ARCHIVE_HOSTILE'],
    ['has a page behind the last one', (bytes) => void bytes.writeUInt32LE(4, 20), 'ARCHIVE_HOSTILE'],
    ['begins with page 0', (bytes) => void bytes.writeUInt32LE(0, 32), 'ARCHIVE_HOSTILE'],
    ['has runs that overlap', (bytes) => void bytes.writeUInt32LE(2, 40), 'ARCHIVE_HOSTILE'],
    ['has an empty run', (bytes) => void bytes.writeUInt32LE(0, 36), 'ARCHIVE_HOSTILE'],
    ['lacks pages that were added', (bytes) => void bytes.writeUInt32LE(2, 16), 'ARCHIVE_CORRUPT'],
    ['ends early', (bytes) => bytes.subarray(0, bytes.length - 1), 'ARCHIVE_CORRUPT'],
    ['goes on', (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]), 'ARCHIVE_CORRUPT'],
  ];
  it.each(cases)('is refused when it %s', async (_what, change, code) => {
    const bytes = await honest();
    const size = bytes.length;
    expect(await refusal(change(bytes) ?? bytes, size)).toMatch(new RegExp(`^${code}`));
  });

  it('is refused when its size is not that of its pages', async () => {
    const bytes = await honest();
    expect(await refusal(bytes, bytes.length + PAGE)).toMatch(/^ARCHIVE_HOSTILE/);
  });
});

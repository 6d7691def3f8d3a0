import { randomBytes } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { crc32, inflateRawSync } from 'node:zlib';
import { ZipArchive } from 'archiver';
import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { BLOCK_BYTES } from '../../src/archive/block.js';
import { BlockThreads } from '../../src/archive/block-threads.js';
import { ParallelCompressor } from '../../src/archive/parallel.js';
import { openArchive } from '../../src/archive/read.js';
import { archiveBytes, bufferSource, buildMetadata, sourceFile } from '../support/archives.js';

/** Bytes of which about half deflate well. */
function mixed(length: number): Buffer {
  const bytes = Buffer.alloc(length, 'some text that repeats itself ');
  for (let at = 0; at < length; at += 1000) bytes.set(randomBytes(Math.min(300, length - at)), at);
  return bytes;
}

const threads = new BlockThreads();
afterAll(() => threads.close());

describe('The parallel deflate', () => {
  it.each([0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 5 * BLOCK_BYTES + 17])(
    'makes one stream of %d bytes that any inflater reads, with CRC-32 and sizes',
    async (length) => {
      const bytes = mixed(length);
      const deflate = new ParallelCompressor('DEFLATE', 1, threads);
      const output = buffer(deflate);
      deflate.end(bytes);
      const deflated = await output;
      expect(inflateRawSync(deflated).equals(bytes)).toBe(true);
      expect(deflate.digest().readUInt32BE()).toBe(crc32(bytes));
      expect([deflate.size(), deflate.size(true)]).toEqual([length, deflated.length]);
    },
  );

  it('keeps the order whatever pieces come in, and however slowly they are taken', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 700_000 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(sizes, async (lengths) => {
        const pieces = lengths.map(mixed);
        const expected = Buffer.concat(pieces);
        const taken: Buffer[] = [];
        const slow = new Writable({
          highWaterMark: 1,
          write: (chunk: Buffer, _encoding, done) => {
            taken.push(chunk);
            setImmediate(done);
          },
        });
        await pipeline(
          Readable.from(pieces, { objectMode: false }),
          new ParallelCompressor('DEFLATE', 1, threads),
          slow,
        );
        expect(inflateRawSync(Buffer.concat(taken)).equals(expected)).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  it('takes no more than it can give away', async () => {
    const deflate = new ParallelCompressor('DEFLATE', 1, threads);
    let taken = 0;
    const source = Readable.from(
      (function* () {
        for (; taken < 400; taken++) yield randomBytes(BLOCK_BYTES);
      })(),
      { objectMode: false },
    );
    source.pipe(deflate);
    for (let i = 0; i < 2_000; i++) await turn();
    expect(taken).toBeLessThan(100);
    source.destroy();
    deflate.destroy();
  });

  it('ends with the error when it is destroyed in the middle', async () => {
    const deflate = new ParallelCompressor('DEFLATE', 1, threads);
    const failed = new Error('stopped');
    const endless = Readable.from(
      (function* () {
        for (;;) yield randomBytes(BLOCK_BYTES);
      })(),
      { objectMode: false },
    );
    const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
    const piped = pipeline(endless, deflate, sink);
    setTimeout(() => deflate.destroy(failed), 50);
    await expect(piped).rejects.toBe(failed);
  });

  it('takes over only what is written to it whole, and leaves what is part of a larger buffer', async () => {
    const whole = mixed(8 * BLOCK_BYTES);
    const expected = Buffer.from(whole);
    const compressor = new ParallelCompressor('DEFLATE', 1, threads);
    const output = buffer(compressor);
    for (let at = 0; at < whole.length; at += BLOCK_BYTES) compressor.write(whole.subarray(at, at + BLOCK_BYTES));
    compressor.end();
    expect(inflateRawSync(await output).equals(expected)).toBe(true);
    expect(whole.equals(expected)).toBe(true);
  });

  it('finds in archiver the parts that it stands in for', () => {
    const { engine } = (new ZipArchive() as unknown as { _module: { engine: Record<string, unknown> } })._module;
    expect(Object.fromEntries(PARTS.map((part) => [part, typeof engine[part]]))).toEqual({
      _smartStream: 'function',
      _appendBuffer: 'function',
      _writeLocalFileHeader: 'function',
      _afterAppend: 'function',
      _finish: 'function',
      write: 'function',
      end: 'function',
      offset: 'number',
    });
  });
});

describe('An entry of several blocks', () => {
  const large = Buffer.concat([Buffer.alloc(2 * BLOCK_BYTES, 'text '), randomBytes(100), Buffer.alloc(5000, 'end')]);
  const written = () => archiveBytes({ files: [sourceFile('database.sqlite3', large.toString('latin1'))] });
  const read = async (bytes: Buffer) => buffer(await (await openArchive(bufferSource(bytes))).read('database.sqlite3'));

  it('is listed with its blocks, and inflated from them', async () => {
    const bytes = await written();
    const archive = await openArchive(bufferSource(bytes));
    const text = JSON.parse((await buffer(await archive.read('backup_metadata.json'))).toString()) as {
      entries: { size: number; blocks: number[] }[];
    };
    const [entry] = text.entries;
    expect(entry?.blocks).toHaveLength(Math.ceil((entry?.size ?? 0) / BLOCK_BYTES));
    expect(entry?.blocks.reduce((sum, length) => sum + length)).toBe(archive.entries[0]?.compressedSize);
    expect((await read(bytes)).length).toBe(entry?.size);
    await archive.verify();
  });

  it('keeps its bytes in the hands of a reader who takes them later than they are read', async () => {
    const text = randomBytes(12 * BLOCK_BYTES).toString('base64');
    const bytes = await archiveBytes({ files: [sourceFile('database.sqlite3', text)] });
    const taken: Buffer[] = [];
    for await (const chunk of await (await openArchive(bufferSource(bytes))).read('database.sqlite3')) {
      taken.push(chunk as Buffer);
    }
    expect(Buffer.concat(taken).equals(Buffer.from(text))).toBe(true);
  });

  it.each<[string, (blocks: number[]) => unknown[]]>([
    ['another sum', (blocks) => blocks.map((length) => length + 1)],
    ['too few', (blocks) => blocks.slice(1)],
    ['none', () => []],
    ['one of nothing', ([first = 0, ...others]) => [0, first, ...others]],
    ['as large as the whole', (blocks) => [...blocks.slice(1).map(() => 0), blocks.reduce((sum, n) => sum + n)]],
  ])('is read as one stream where the list cannot be of it: %s', async (_how, change) => {
    const lied = archiveBytes({
      files: [sourceFile('database.sqlite3', large.toString('latin1'))],
      describe: (collected) =>
        buildMetadata({
          ...collected,
          entries: collected.entries.map((entry) => ({ ...entry, blocks: change(entry.blocks ?? []) as number[] })),
        }),
    });
    expect((await read(await lied)).equals(await read(await written()))).toBe(true);
  });

  it('is refused as damaged where the list lies about where its blocks end', async () => {
    const lied = await archiveBytes({
      files: [sourceFile('database.sqlite3', large.toString('latin1'))],
      describe: (collected) =>
        buildMetadata({
          ...collected,
          entries: collected.entries.map(({ blocks: [first = 0, second = 0, ...others] = [], ...entry }) => ({
            ...entry,
            blocks: [first + 1, second - 1, ...others],
          })),
        }),
    });
    await expect(read(lied)).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });
});

const PARTS = [
  '_smartStream',
  '_appendBuffer',
  '_writeLocalFileHeader',
  '_afterAppend',
  '_finish',
  'write',
  'end',
  'offset',
];

describe('Threads that were closed', () => {
  it('refuse what comes later, and start no thread for it', async () => {
    const closed = new BlockThreads(1);
    await closed.close();
    await expect(closed.readFiles([], { method: null, level: 1 })).rejects.toThrow('broken off');
  });
});

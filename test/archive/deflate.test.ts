import { randomBytes } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { crc32, inflateRawSync } from 'node:zlib';
import { ZipArchive } from 'archiver';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { BLOCK_BYTES, ParallelDeflate } from '../../src/archive/deflate.js';

/** Bytes of which about half deflate well. */
function mixed(length: number): Buffer {
  const bytes = Buffer.alloc(length, 'some text that repeats itself ');
  for (let at = 0; at < length; at += 1000) bytes.set(randomBytes(Math.min(300, length - at)), at);
  return bytes;
}

describe('The parallel deflate', () => {
  it.each([0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 5 * BLOCK_BYTES + 17])(
    'makes one stream of %d bytes that any inflater reads, with CRC-32 and sizes',
    async (length) => {
      const bytes = mixed(length);
      const deflate = new ParallelDeflate(1);
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
        const taken: Buffer[] = [];
        const slow = new Writable({
          highWaterMark: 1,
          write: (chunk: Buffer, _encoding, done) => {
            taken.push(chunk);
            setImmediate(done);
          },
        });
        await pipeline(Readable.from(pieces, { objectMode: false }), new ParallelDeflate(1), slow);
        expect(inflateRawSync(Buffer.concat(taken)).equals(Buffer.concat(pieces))).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  it('takes no more than it can give away', async () => {
    const deflate = new ParallelDeflate(1);
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
    const deflate = new ParallelDeflate(1);
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

  it('finds in archiver the parts that it stands in for', () => {
    const { engine } = (new ZipArchive() as unknown as { _module: { engine: Record<string, unknown> } })._module;
    expect(Object.fromEntries(PARTS.map((part) => [part, typeof engine[part]]))).toEqual({
      _smartStream: 'function',
      _afterAppend: 'function',
      _finish: 'function',
      write: 'function',
      end: 'function',
      offset: 'number',
    });
  });
});

const PARTS = ['_smartStream', '_afterAppend', '_finish', 'write', 'end', 'offset'];

import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { DeltaPages } from '../../src/archive/delta-pages.js';
import { deltaBytes, deltaOf } from '../../src/archive/delta.js';
import { casesOf } from '../support/cases.js';

const PAGE = 512;
const ARCHIVE = { metadata: { backup_id: 'backup' } } as Parameters<DeltaPages['add']>[1];

const page = (fill: number) => Buffer.alloc(PAGE, fill);

/** A delta as `deltaStream` writes it. @param pages content by number */
function deltaEntry(pages: Map<number, Buffer>, before: number, after: number): Buffer {
  const numbers = [...pages.keys()].sort((one, other) => one - other);
  const { runs, changed } = deltaOf(numbers, { pageSize: PAGE, before, after });
  const head = Buffer.alloc(deltaBytes({ runs, changed, pageSize: PAGE }) - changed * PAGE);
  head.write('DBMDELTA');
  [1, PAGE, before, after, runs.length / 2, changed].forEach((value, index) =>
    head.writeUInt32LE(value, 8 + index * 4),
  );
  runs.forEach((value, index) => head.writeUInt32LE(value, 32 + index * 4));
  return Buffer.concat([head, ...numbers.map((number) => pages.get(number) as Buffer)]);
}

/** Cuts bytes into chunks of these lengths, over and over. */
function cut(bytes: Buffer, lengths: number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length] as number;
    chunks.push(Buffer.from(bytes.subarray(at, at + length)));
    at += length;
  }
  return chunks;
}

const step = fc.record({ pages: fc.nat({ max: 40 }), changed: fc.array(fc.nat({ max: 39 }), { maxLength: 30 }) });

describe('The pages of several deltas', () => {
  it('make the newest state of any growing and shrinking database, however its bytes are cut', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'delta-pages-'));
    let number = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 40 }),
        fc.array(step, { minLength: 1, maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1, maxLength: 5 }),
        async (first, steps, lengths) => {
          const base = Buffer.concat(Array.from({ length: first }, () => page(255)));
          let state: Buffer[] = Array.from({ length: first }, () => page(255));
          const deltas: Buffer[] = [];
          for (const [index, { pages: count, changed }] of steps.entries()) {
            const before = state.length;
            const after = Math.max(1, count);
            const pages = new Map<number, Buffer>();
            for (let added = before + 1; added <= after; added++) pages.set(added, page(index));
            for (const each of changed) if (each < after) pages.set(each + 1, page(index));
            state = Array.from({ length: after }, (_, at) => pages.get(at + 1) ?? (state[at] as Buffer));
            deltas.push(deltaEntry(pages, before, after));
          }
          const laid = await DeltaPages.create(join(folder, String((number += 1))), {
            page_size: PAGE,
            page_count: state.length,
          });
          for (const delta of deltas.toReversed()) {
            const start = laid.bytes;
            for (const chunk of cut(delta, lengths)) for await (const _ of laid.taking().lay(chunk, false));
            expect(await laid.add(start, ARCHIVE)).toMatchObject({ pageSize: PAGE });
          }
          const over = laid.over('database');
          const out: Buffer[] = [];
          for (const chunk of cut(base, lengths)) for await (const piece of over.lay(chunk, false)) out.push(piece);
          for await (const piece of over.lay(Buffer.alloc(0), true)) out.push(piece);
          await laid.close();
          const whole = Buffer.concat(state);
          expect(Buffer.concat(out).equals(whole)).toBe(true);
          expect(laid.sha256()).toBe(createHash('sha256').update(whole).digest('hex'));
        },
      ),
      { numRuns: casesOf(2_000) },
    );
    await rm(folder, { recursive: true });
  });

  it('are refused where no backup has a page of the database', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'delta-pages-'));
    const laid = await DeltaPages.create(join(folder, 'pages'), { page_size: PAGE, page_count: 4 });
    for await (const _ of laid.taking().lay(deltaEntry(new Map([[2, page(1)]]), 2, 2), true));
    await laid.add(0, ARCHIVE);
    const put = async () => {
      for await (const piece of laid.over('database').lay(Buffer.alloc(2 * PAGE), true)) expect(piece).toBeDefined();
    };
    await expect(put()).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT', message: expect.stringContaining('page 3') });
    await laid.close();
    await rm(folder, { recursive: true });
  });
});

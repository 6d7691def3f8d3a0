import { describe, expect, it } from '@jest/globals';
import { BSON, Code, Decimal128, Long, MaxKey, ObjectId, Timestamp } from 'mongodb';
import fc from 'fast-check';
import { assertDocument, documentsIn, MAX_DOCUMENT } from '../../../src/engines/mongodb/bson.js';
import { casesOf } from '../../support/cases.js';

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom<unknown>(null, true, 5, -0, NaN, new MaxKey(), new ObjectId(), /a/i, new Timestamp({ t: 1, i: 2 })),
    fc.constantFrom<unknown>(Long.MAX_VALUE, Decimal128.fromString('1.50'), new Code('x', { y: [1] }), new Code('y')),
    fc.string(),
    fc.uint8Array(),
    fc.date({ noInvalidDate: true }),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(
      fc.string().filter((name) => !name.includes('\0')),
      tie('any'),
      { maxKeys: 4 },
    ),
  ),
})).any;
const document = fc.dictionary(
  fc.string().filter((name) => !name.includes('\0')),
  value,
);
const bytesOf = (object: object) => Buffer.from(BSON.serialize(object));

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size));
}

async function all(chunks: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const documents: Buffer[] = [];
  for await (const each of documentsIn(chunks, 'x.bson')) documents.push(Buffer.from(each));
  return documents;
}

describe('The documents of a dump', () => {
  it('are those that were written, however the bytes arrive', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(document, { maxLength: 5 }), fc.integer({ min: 1, max: 70 }), async (objects, size) => {
        const written = objects.map(bytesOf);
        expect(await all(pieces(Buffer.concat(written), size))).toEqual(written);
      }),
      { numRuns: casesOf(300) },
    );
  });

  it('are refused with their reason, and never anything else, where bytes were changed', () => {
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(document, fc.nat(), fc.nat(255), (object, at, byte) => {
        const bytes = bytesOf(object);
        bytes[at % bytes.length] = byte;
        try {
          assertDocument(bytes);
          outcomes.add('whole');
          // What is let through is read by the driver's own reader, too; it may still refuse texts that are not UTF-8.
          // A regular expression stays one of BSON's: not each of them is one of JavaScript's.
          BSON.deserialize(bytes, { validation: { utf8: false }, bsonRegExp: true });
        } catch (error) {
          if ((error as { code?: string }).code === 'DATABASE_CORRUPT') outcomes.add('refused');
          else expect((error as Error).name).toMatch(/^BSON/);
        }
      }),
      { numRuns: casesOf(2_000) },
    );
    expect(outcomes).toEqual(new Set(['whole', 'refused']));
  });

  it('are refused where a byte is missing or left over', async () => {
    const bytes = bytesOf({ a: [1, { b: 'text' }] });
    for (let length = 1; length < bytes.length; length++) {
      await expect(all(pieces(bytes.subarray(0, length), 7))).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
    }
    await expect(all(pieces(Buffer.concat([bytes, Buffer.from([1])]), 7))).rejects.toThrow('1 bytes are left of it');
  });

  it('are refused by their length before anything is read for it', async () => {
    for (const length of [-1, 0, 4, MAX_DOCUMENT + 1, 0x7fffffff]) {
      const head = Buffer.alloc(4);
      head.writeInt32LE(length);
      await expect(all(pieces(head, 4))).rejects.toThrow(`document 1: its length is ${length} bytes`);
    }
  });

  it('are refused where they nest deeper than a server lets them, and not before', () => {
    const nested = (depth: number): object => (depth === 0 ? {} : { in: nested(depth - 1) });
    assertDocument(bytesOf(nested(200)));
    expect(() => assertDocument(bytesOf(nested(300)))).toThrow('nests deeper than 250 levels');
  });

  it.each([
    ['an unknown type', [0x14, 0x61, 0], 'unknown type 20'],
    ['a truth value of 2', [0x08, 0x61, 0, 2], 'neither true nor false'],
    ['a text without its end', [0x02, 0x61, 0, 1, 0, 0, 0, 65], 'a text has no end'],
    ['a text that is longer than the document', [0x02, 0x61, 0, 255, 255, 255, 127, 0], 'longer than what holds it'],
    ['a text of negative length', [0x02, 0x61, 0, 255, 255, 255, 255, 0], 'an impossible length'],
    ['a binary value of negative length', [0x05, 0x61, 0, 255, 255, 255, 255, 0], 'longer than what holds it'],
    ['a name without its end', [0x0a, 0x61], 'has no end'],
  ])('are refused with %s', (_, element, message) => {
    const bytes = Buffer.from([0, 0, 0, 0, ...element, 0]);
    bytes.writeInt32LE(bytes.length);
    if (message === 'has no end') bytes[bytes.length - 1] = 0x61;
    expect(() => assertDocument(bytes)).toThrow(message);
  });
});

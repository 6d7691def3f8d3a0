import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { AppError } from '../../src/errors.js';
import { openArchive, type Archive } from '../../src/archive/read.js';
import {
  archiveBytes,
  bufferSource,
  djangoArchive,
  rawArchive,
  sourceFile,
  type RawEntry,
} from '../support/archives.js';
import { casesOf } from '../support/cases.js';

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'archive-')));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Everything that an archive means: what a restore uses of it. */
async function meaning(archive: Archive): Promise<unknown> {
  const content: Record<string, string> = {};
  for (const { path, directory } of archive.entries) {
    content[path] = directory ? '' : Buffer.concat(await (await archive.read(path)).toArray()).toString('base64');
  }
  return { content, metadata: archive.metadata };
}

/** What a reader makes of bytes: the meaning, or the refusal. Any other error is passed on. */
async function outcome(bytes: Buffer): Promise<{ meaning?: unknown; refused?: string }> {
  try {
    const archive = await openArchive(bufferSource(bytes));
    await archive.verify();
    return { meaning: await meaning(archive) };
  } catch (error) {
    if (error instanceof AppError && error.code.startsWith('ARCHIVE_')) return { refused: error.code };
    throw error;
  }
}

/** A small archive of every kind of entry, and another one from the hand of the older system. */
const samples: [string, () => Promise<Buffer>][] = [
  [
    'version 2.0',
    async () => {
      const media = join(folder, 'sample');
      mkdirSync(join(media, 'empty'), { recursive: true });
      writeFileSync(join(media, 'a.txt'), 'some text '.repeat(30));
      writeFileSync(join(media, 'é.jpg'), Buffer.from([1, 2, 3]));
      return archiveBytes({ mediaPaths: [media], files: [sourceFile('database.sqlite3', 'SQLite '.repeat(40))] });
    },
  ],
  ['version 1.0', async () => djangoArchive()],
];

/**
 * The bytes of a ZIP that carry nothing a restore uses, so that a change in them may stay unseen here (the SHA-256 of the
 * whole stored file, compared one level up, sees it): in the directory "version made by", "version needed", internal
 * attributes and external attributes (type bits, and the permission bits of what the metadata list, are compared);
 * in the local header "version needed"; and deflated data where other bits decompress to the same bytes, such as the
 * padding at their end or another distance to the same text. That the meaning is the same is checked for each of them.
 */
function meaningless(bytes: Buffer): Set<number> {
  const found = new Set<number>();
  const add = (start: number, length: number) => {
    for (let at = start; at < start + length; at++) found.add(at);
  };
  const each = (signature: string, act: (at: number) => void) => {
    const sought = Buffer.from(signature, 'latin1');
    for (let at = bytes.indexOf(sought); at >= 0; at = bytes.indexOf(sought, at + 1)) act(at);
  };
  each('PK\x03\x04', (at) => {
    add(at + 4, 2);
  });
  each('PK\x01\x02', (at) => {
    add(at + 4, 4);
    add(at + 36, 6);
    const local = bytes.readUInt32LE(at + 42);
    const data = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    if (bytes.readUInt16LE(at + 10) === 8) add(data, bytes.readUInt32LE(at + 20));
  });
  return found;
}

describe.each(samples)('An archive of %s', (_version, make) => {
  it('with any one bit changed is refused, or means exactly the same', async () => {
    const bytes = await make();
    const whole = (await outcome(bytes)).meaning;
    expect(whole).toBeDefined();
    const unseen = meaningless(bytes);
    const position = fc.integer({ min: 0, max: bytes.length - 1 });
    await fc.assert(
      fc.asyncProperty(position, fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const flipped = Buffer.from(bytes);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
        const result = await outcome(flipped);
        if (result.refused !== undefined) return;
        expect(result.meaning).toEqual(whole);
        expect({ at, unseen: unseen.has(at) }).toEqual({ at, unseen: true });
      }),
      { numRuns: casesOf(600) },
    );
  });

  it('cut off anywhere is refused', async () => {
    const bytes = await make();
    const length = fc.integer({ min: 0, max: bytes.length - 1 });
    await fc.assert(
      fc.asyncProperty(length, async (end) => {
        expect((await outcome(bytes.subarray(0, end))).refused).toBeDefined();
      }),
      { numRuns: casesOf(200) },
    );
  });

  it('with any run of bytes overwritten ends in a refusal or the same meaning, never in a crash', async () => {
    const bytes = await make();
    const whole = (await outcome(bytes)).meaning;
    const patch = fc.record({ at: fc.nat(bytes.length - 1), junk: fc.uint8Array({ minLength: 1, maxLength: 40 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(patch, { minLength: 1, maxLength: 4 }), async (patches) => {
        const changed = Buffer.from(bytes);
        for (const { at, junk } of patches) changed.set(junk.slice(0, bytes.length - at), at);
        const result = await outcome(changed);
        if (result.refused === undefined) expect(result.meaning).toEqual(whole);
      }),
      { numRuns: casesOf(400) },
    );
  });
});

describe('Whatever the bytes are', () => {
  it('they are refused without a crash or a wait, also between the marks of a ZIP', async () => {
    const marks = [
      'PK\x03\x04',
      'PK\x01\x02',
      'PK\x05\x06',
      'PK\x06\x06',
      'PK\x06\x07',
      'backup_metadata.json',
      '\0\0\0\0',
    ];
    const mark = fc.constantFrom(...marks).map((text) => Buffer.from(text, 'latin1'));
    const junk = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(mark, junk), { maxLength: 20 }), async (parts) => {
        expect((await outcome(Buffer.concat(parts))).refused).toBeDefined();
      }),
      { numRuns: casesOf(500) },
    );
  });

  it('false sizes, places and methods are refused, or are true by chance', async () => {
    const number = fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 1, 0xffff, 0xffffffff, 0x7fffffff));
    const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 3 });
    const entry: fc.Arbitrary<RawEntry> = fc.record({
      name: fc.oneof(fc.constantFrom('a', 'b/c', 'b/', 'x'), fc.string()),
      data: fc.string().map((text) => text.repeat(5)),
      deflate: fc.boolean(),
      crc: maybe(number),
      size: maybe(number),
      compressedSize: maybe(number),
      offset: maybe(number),
      flags: maybe(fc.nat(0xffff)),
      method: maybe(fc.constantFrom(0, 8, 9, 99)),
      mode: maybe(fc.nat(0xffff)),
      extra: maybe(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 4 }), async (entries) => {
        await outcome(rawArchive(entries));
      }),
      { numRuns: casesOf(500) },
    );
  });
});

describe('Any tree of media', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
    .filter(
      (text) => !/[\p{Cc}\\/]/u.test(text) && text !== '.' && text !== '..' && Buffer.from(text).toString() === text,
    );
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
  const tree = fc.dictionary(path, fc.uint8Array({ maxLength: 3000 }), { maxKeys: 8, noNullPrototype: true });

  it('comes back as it was', async () => {
    let number = 0;
    await fc.assert(
      fc.asyncProperty(tree, async (files) => {
        const media = join(folder, `tree-${number++}`);
        mkdirSync(media);
        const expected: Record<string, string> = {};
        const taken = new Set<string>();
        for (const [file, bytes] of Object.entries(files)) {
          const parents = file.split('/').map((_part, index, all) =>
            all
              .slice(0, index + 1)
              .join('/')
              .normalize('NFC'),
          );
          if (parents.slice(0, -1).some((parent) => expected[`media/${parent}`] !== undefined)) continue;
          if (taken.has(file.normalize('NFC')) || parents.some((parent) => parent !== parent.normalize('NFC')))
            continue;
          if (file !== file.normalize('NFC')) continue;
          parents.forEach((parent) => taken.add(parent));
          mkdirSync(dirname(join(media, file)), { recursive: true });
          writeFileSync(join(media, file), bytes);
          expected[`media/${file}`] = Buffer.from(bytes).toString('base64');
        }
        const archive = await openArchive(bufferSource(await archiveBytes({ mediaPaths: [media] })));
        const { content } = (await meaning(archive)) as { content: Record<string, string> };
        const restored = Object.entries(content).filter(([file]) => file.startsWith('media/') && !file.endsWith('/'));
        expect(Object.fromEntries(restored)).toEqual(expected);
      }),
      { numRuns: casesOf(60) },
    );
  });
});

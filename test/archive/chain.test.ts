import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { AppError } from '../../src/errors.js';
import { type ChainMember, metadataHash, openChain } from '../../src/archive/chain.js';
import { DELTA_ENTRY, deltaBytes, deltaOf, deltaStream } from '../../src/archive/delta.js';
import { type MediaState, MediaWatch } from '../../src/archive/media-state.js';
import type { ArchiveMetadata } from '../../src/archive/metadata.js';
import { changedPages, hashPagesSync, type PageHashes } from '../../src/archive/page-hashes.js';
import { type Archive, openArchive } from '../../src/archive/read.js';
import { archiveBytes, bufferSource, buildMetadata } from '../support/archives.js';
import { casesOf } from '../support/cases.js';

const PAGE = 512;
const signal = new AbortController().signal;
const HOUR = 3_600_000;

/** Makes a chain of random states, as a run makes it. */
class Chain {
  readonly archives: Archive[] = [];
  readonly bytes: Buffer[] = [];
  private media: MediaState | null = null;
  private hashes: PageHashes | null = null;

  constructor(
    readonly folder: string,
    /** What the metadata of a member is changed to. */
    private readonly forged: (metadata: ArchiveMetadata) => ArchiveMetadata = (metadata) => metadata,
    private readonly now = () => Date.now(),
  ) {}

  async add(database: Buffer): Promise<void> {
    const file = join(this.folder, 'copy');
    writeFileSync(file, database);
    const now = hashPagesSync({ file, pageSize: PAGE }) as PageHashes;
    const watch = new MediaWatch(this.media, this.now());
    const position = this.archives.length;
    const parent = this.archives.at(-1);
    const before = this.hashes;
    const delta =
      before && deltaOf(changedPages(before, now), { pageSize: PAGE, before: before.pageCount, after: now.pageCount });
    const stored = delta
      ? { path: DELTA_ENTRY, size: deltaBytes(delta), open: async () => deltaStream(file, delta) }
      : {
          path: 'database.sqlite3',
          size: database.length,
          open: async () => (await import('node:fs')).createReadStream(file),
        };
    const parentHash = parent && (await metadataHash(parent, signal));
    const bytes = await archiveBytes({
      files: [stored],
      mediaPaths: [join(this.folder, 'media')],
      isUnchanged: (item) => watch.isUnchanged(item),
      describe: (collected) => {
        const state = watch.state(collected);
        this.media = state;
        const metadata = { ...buildMetadata(collected), backup_id: `b${position}` };
        if (parent === undefined || parentHash === undefined) return metadata;
        return this.forged({
          ...metadata,
          backup_version: '3.0',
          parent: { backup_id: `b${position - 1}`, file_name: 'parent.zip', metadata_sha256: parentHash },
          chain: { id: 'b0', position },
          reproduces: {
            database: {
              path: 'database.sqlite3',
              size: database.length,
              sha256: now.sha256,
              page_size: PAGE,
              page_count: now.pageCount,
            },
            media: watch.roots(state, collected.media),
            removed: watch.removed(state),
          },
        });
      },
    });
    this.hashes = now;
    this.bytes.push(bytes);
    this.archives.push(await openArchive(bufferSource(bytes)));
  }

  open(length = this.archives.length): Promise<Archive> {
    return openChain(this.members(length), signal);
  }

  members(length = this.archives.length): ChainMember[] {
    return this.archives.slice(0, length).map((archive) => ({ archive }));
  }
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'chain-'));
  mkdirSync(join(folder, 'media'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A file that last changed long enough ago to be told from what comes. */
function put(path: string, content: string): void {
  const file = join(folder, 'media', path);
  mkdirSync(dirname(file), { recursive: true });
  rmSync(file, { force: true });
  writeFileSync(file, content);
  utimesSync(file, new Date(Date.now() - HOUR), new Date(Date.now() - HOUR));
}

const pagesOf = (marks: number[]) => Buffer.concat(marks.map((mark) => Buffer.alloc(PAGE, mark)));

/** All files below a folder with their content. */
function tree(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(root, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) found[path.slice(root.length + 1)] = readFileSync(path, 'latin1');
  }
  return found;
}

async function extracted(archive: Archive, whole = false): Promise<Record<string, string>> {
  const target = mkdtempSync(join(folder, 'out-'));
  await archive.extract(target, { whole, ...(whole && { onBytes: () => undefined }) });
  const files = tree(target);
  rmSync(target, { recursive: true });
  return files;
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'accepted';
  } catch (error) {
    if (error instanceof AppError) return `${error.code} ${error.message}`;
    throw error;
  }
}

describe('a chain of archives', () => {
  it('gives for each of its members the database and media of that moment', async () => {
    const state = fc.record({
      database: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 30 }),
      media: fc.dictionary(fc.constantFrom('a', 'b', 'c/d', 'c/e', 'f'), fc.string({ maxLength: 5 }), {
        noNullPrototype: true,
      }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 2, maxLength: 6 }), async (states) => {
        const chain = new Chain(folder);
        const seen: Record<string, string>[] = [];
        for (const { database, media } of states) {
          rmSync(join(folder, 'media'), { recursive: true });
          mkdirSync(join(folder, 'media'));
          for (const [path, content] of Object.entries(media)) put(path, content);
          await chain.add(pagesOf(database));
          const files = Object.fromEntries(
            Object.entries(tree(join(folder, 'media'))).map(([path, text]) => [`media/${path}`, text]),
          );
          seen.push({ 'database.sqlite3': pagesOf(database).toString('latin1'), ...files });
        }
        for (let length = 2; length <= states.length; length++) {
          const archive = await chain.open(length);
          for (const whole of [false, true]) {
            const { 'backup_metadata.json': _text, ...files } = await extracted(archive, whole);
            expect(files).toEqual(seen[length - 1]);
          }
          const streamed = await buffer(await archive.read('database.sqlite3'));
          expect(streamed.toString('latin1')).toBe(seen[length - 1]?.['database.sqlite3']);
          expect(
            archive.entries
              .filter(({ directory }) => !directory)
              .map(({ path }) => path)
              .sort(),
          ).toEqual(['backup_metadata.json', ...Object.keys(seen[length - 1] ?? {})].sort());
        }
      }),
      { numRuns: casesOf(60) },
    );
  });

  it('stores a media file only once as long as it stays as it is', async () => {
    put('same.txt', 'same');
    put('other.txt', 'before');
    const chain = new Chain(folder, undefined, () => Date.now() + HOUR);
    await chain.add(pagesOf([1]));
    put('other.txt', 'behind');
    await chain.add(pagesOf([1]));
    const stored = chain.archives[1]?.entries.map(({ path }) => path);
    expect(stored).toEqual(expect.arrayContaining(['media/other.txt']));
    expect(stored).not.toContain('media/same.txt');
    expect(await extracted(await chain.open())).toMatchObject({
      'media/same.txt': 'same',
      'media/other.txt': 'behind',
    });
  });

  it('has the metadata of a full backup', async () => {
    const chain = new Chain(folder);
    put('a', 'a');
    await chain.add(pagesOf([1, 2]));
    await chain.add(pagesOf([1, 3]));
    const { metadata, entries } = await chain.open();
    const database = createHash('sha256')
      .update(pagesOf([1, 3]))
      .digest('hex');
    expect(metadata).toMatchObject({ backup_version: '2.0', backup_id: 'b1', media: [{ files: 1, bytes: 1 }] });
    expect(metadata.parent).toBeUndefined();
    expect(metadata.entries.find(({ path }) => path === 'database.sqlite3')?.sha256).toBe(database);
    expect(entries.map(({ path }) => path)).not.toContain(DELTA_ENTRY);
  });

  it('hands every stored byte of its newest member to whoever asks for all', async () => {
    const chain = new Chain(folder);
    await chain.add(pagesOf([1, 2]));
    await chain.add(pagesOf([1, 3]));
    const chunks: Buffer[] = [];
    await (await chain.open()).verify({ onBytes: (chunk) => void chunks.push(chunk) });
    expect(Buffer.concat(chunks).equals(chain.bytes[1] as Buffer)).toBe(true);
  });

  it('leaves only what was asked for in the folder', async () => {
    const chain = new Chain(folder);
    put('a', 'a');
    await chain.add(pagesOf([1, 2]));
    await chain.add(pagesOf([1, 3]));
    const target = mkdtempSync(join(folder, 'out-'));
    await (await chain.open()).extract(target, { filter: (path) => path === 'database.sqlite3' });
    expect(readdirSync(target)).toEqual(['database.sqlite3']);
    expect(statSync(join(target, 'database.sqlite3')).size).toBe(2 * PAGE);
  });
});

describe('archives that are no chain', () => {
  async function chainOf(forged?: (metadata: ArchiveMetadata) => ArchiveMetadata): Promise<Chain> {
    const chain = new Chain(folder, forged);
    for (const marks of [
      [1, 2],
      [1, 3],
      [2, 3],
    ])
      await chain.add(pagesOf(marks));
    return chain;
  }

  it('are refused when one of the middle is left out', async () => {
    const [full, , last] = (await chainOf()).members();
    expect(await refusal(openChain([full as ChainMember, last as ChainMember], signal))).toMatch(
      /^ARCHIVE_CORRUPT.*b2/,
    );
  });

  it('are refused when the first one is no full backup', async () => {
    expect(await refusal(openChain((await chainOf()).members().slice(1), signal))).toMatch(/^ARCHIVE_CORRUPT.*b1/);
  });

  it('are refused when a parent is another archive with the same id', async () => {
    const members = (await chainOf()).members();
    const other = new Chain(folder);
    await other.add(pagesOf([9, 9]));
    expect(await refusal(openChain([other.members()[0] as ChainMember, ...members.slice(1)], signal))).toMatch(
      /^ARCHIVE_CORRUPT b0 is not the archive/,
    );
  });

  const forgeries: [string, (metadata: ArchiveMetadata) => ArchiveMetadata, RegExp][] = [
    [
      'is its own parent',
      (m) => ({ ...m, parent: { ...m.parent!, backup_id: m.backup_id as string } }),
      /^ARCHIVE_CORRUPT/,
    ],
    ['has another place in it', (m) => ({ ...m, chain: { ...m.chain!, position: 7 } }), /^ARCHIVE_CORRUPT/],
    ['states another database', (m) => withDatabase(m, { sha256: '0'.repeat(64) }), /SHA-256 is another/],
    [
      'states four thousand million pages',
      (m) => withDatabase(m, { page_count: 2 ** 32 - 2, size: (2 ** 32 - 2) * PAGE }),
      /does not make/,
    ],
    ['states another page size', (m) => withDatabase(m, { page_size: 1024 }), /does not fit/],
    [
      'lays its database over the metadata',
      (m) => withDatabase(m, { path: 'backup_metadata.json' }),
      /^ARCHIVE_HOSTILE/,
    ],
    ['names a database that its full backup lacks', (m) => withDatabase(m, { path: 'other' }), /holds no "other"/],
    ['lays its database elsewhere', (m) => withDatabase(m, { path: '../database' }), /^ARCHIVE_HOSTILE/],
    [
      'states more media files',
      (m) => ({ ...m, reproduces: { ...m.reproduces!, media: [{ ...m.reproduces!.media[0]!, files: 5 }] } }),
      /5 files/,
    ],
  ];
  it.each(forgeries)('are refused when a member %s', async (_what, forged, expected) => {
    const chain = await chainOf(forged);
    const read = async () => extracted(await chain.open());
    expect(await refusal(read())).toMatch(expected);
    const stream = async () => buffer(await (await chain.open()).read('database.sqlite3'));
    if (!/files/.test(expected.source)) expect(await refusal(stream())).toMatch(expected);
  });
});

const withDatabase = (
  metadata: ArchiveMetadata,
  changes: Partial<NonNullable<ArchiveMetadata['reproduces']>['database']>,
): ArchiveMetadata => {
  const { reproduces } = metadata;
  if (reproduces === undefined) return metadata;
  return { ...metadata, reproduces: { ...reproduces, database: { ...reproduces.database, ...changes } } };
};

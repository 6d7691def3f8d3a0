import { createHash } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { flush } from '../disk.js';
import { AppError } from '../errors.js';
import { DELTA_ENTRY, type DeltaHeader, type DeltaPage, DeltaReader } from './delta.js';
import {
  type ArchiveMetadata,
  BACKUP_VERSION,
  type EntryMetadata,
  METADATA_ENTRY,
  RESERVED_PREFIX,
  type Reproduced,
} from './metadata.js';
import { nameProblem, shown } from './names.js';
import { DeltaPages, misfit } from './delta-pages.js';
import { BlockThreads } from './block-threads.js';
import type { Archive, ArchiveEntry, ExtractOptions, PassOptions } from './read.js';
import { corrupt, hostile } from './refuse.js';

/** One archive of a chain. */
export interface ChainMember {
  archive: Archive;
  /**
   * Works through the stored bytes in one pass, and compares their checksum. Left out for the newest member, whose caller
   * does that.
   */
  whole?: (signal: AbortSignal, pass: (onBytes: (chunk: Buffer) => void) => Promise<void>) => Promise<void>;
}

const NEVER = new AbortController().signal;
/** Where the deltas lie while a database is put together. */
const SCRATCH = `${RESERVED_PREFIX}chain`;

/**
 * A full backup and the incrementals that build on it, as one archive: that of the state of the last one. Its database is
 * put together page by page, of which each is the newest that there is.
 * @param members the full backup first, each following one on the one before
 * @throws AppError ARCHIVE_CORRUPT, ARCHIVE_HOSTILE if they are not one chain
 */
export async function openChain(members: readonly ChainMember[], signal: AbortSignal): Promise<Archive> {
  for (const [index, { archive }] of members.entries()) {
    await assertFollows(archive, members[index - 1]?.archive, signal);
  }
  return new ChainArchive(members, statesOf(members));
}

/** SHA-256 of the archive's metadata entry, hex: it covers the hashes of all other entries. */
export async function metadataHash(archive: Archive, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of await archive.read(METADATA_ENTRY, { signal })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function assertFollows(archive: Archive, before: Archive | undefined, signal: AbortSignal): Promise<void> {
  const { backup_id: id, parent, chain, database_engine: engine } = archive.metadata;
  if (before === undefined) {
    if (parent !== undefined) throw corrupt(`A chain begins with the incremental backup ${id}.`);
    return;
  }
  const below = before.metadata;
  // A full archive that was made of a chain stands where the incremental one stood that it was made of.
  const names = [below.backup_id, below.consolidated?.backup_id];
  const place = (below.chain ?? below.consolidated?.chain)?.position ?? 0;
  const follows = parent !== undefined && names.includes(parent.backup_id) && chain?.position === place + 1;
  if (!follows || engine !== below.database_engine) {
    throw corrupt(`The backup ${id} does not build on ${below.backup_id}.`);
  }
  if (below.consolidated?.metadata_sha256 === parent.metadata_sha256) return;
  if ((await metadataHash(before, signal)) !== parent.metadata_sha256) {
    throw corrupt(`${below.backup_id} is not the archive that ${id} builds on: its metadata are others.`);
  }
}

/** Which member each file of the state lies in. */
interface States {
  owners: Map<string, number>;
  reproduces: Reproduced;
}

function statesOf(members: readonly ChainMember[]): States {
  const owners = new Map<string, number>();
  const sizes = new Map<string, number>();
  for (const [index, { archive }] of members.entries()) {
    for (const path of archive.metadata.reproduces?.removed ?? []) owners.delete(path);
    for (const { path, size } of archive.entries) {
      if (!path.startsWith('media/')) continue;
      owners.set(path, index);
      sizes.set(path, size);
    }
  }
  const reproduces = members.at(-1)?.archive.metadata.reproduces;
  if (reproduces === undefined) throw new AppError('INTERNAL_ERROR', 'A chain has a full backup at its end.');
  const { path, page_size: pageSize, page_count: pageCount } = reproduces.database;
  if (nameProblem(path) !== undefined || path.startsWith('media/') || [METADATA_ENTRY, DELTA_ENTRY].includes(path)) {
    throw hostile(`The database would be laid at ${shown(path)}.`);
  }
  let most = 0;
  for (const [index, { archive }] of members.entries()) {
    const needed = index === 0 ? path : DELTA_ENTRY;
    const found = archive.entries.find((entry) => entry.path === needed);
    if (found === undefined) throw corrupt(`The backup ${archive.metadata.backup_id} holds no ${shown(needed)}.`);
    most += found.size;
  }
  // Memory is taken for each page.
  if (pageCount * pageSize > most) throw otherSize();
  assertMedia(reproduces, owners, sizes);
  return { owners, reproduces };
}

const otherSize = () => corrupt('The chain does not make a database of the size that its newest backup states.');

function assertMedia({ media }: Reproduced, owners: Map<string, number>, sizes: Map<string, number>): void {
  const found = media.map(({ prefix }) => ({ prefix, files: 0, bytes: 0 }));
  for (const path of owners.keys()) {
    if (path.endsWith('/')) continue;
    const root = found.find(({ prefix }) => path.startsWith(prefix));
    if (root === undefined) continue;
    root.files += 1;
    root.bytes += sizes.get(path) ?? 0;
  }
  for (const [index, { path, files, bytes }] of media.entries()) {
    if (found[index]?.files === files && found[index]?.bytes === bytes) continue;
    throw corrupt(`The chain says that ${shown(path)} had ${files} files of ${bytes} bytes, but holds others.`);
  }
}

/** One member's part of a pass over the chain. */
interface Turn {
  index: number;
  archive: Archive;
  /** Does the work, by which each of the member's stored bytes is compared if they are to be. */
  take(work: (watch: PassOptions) => Promise<void>): Promise<void>;
}

class ChainArchive implements Archive {
  readonly metadata: ArchiveMetadata;
  readonly entries: readonly ArchiveEntry[];
  readonly ignored: readonly string[];
  readonly totalBytes: number;
  private readonly newest: Archive;
  private readonly text: Buffer;

  constructor(
    private readonly members: readonly ChainMember[],
    private readonly states: States,
  ) {
    this.newest = (members.at(-1) as ChainMember).archive;
    this.ignored = this.newest.ignored;
    this.totalBytes = members.reduce((sum, { archive }) => sum + archive.totalBytes, 0);
    const files = [this.databaseEntry(), ...this.mediaEntries()];
    this.metadata = wholeMetadata(this.newest.metadata, states.reproduces, files);
    this.text = Buffer.from(`${JSON.stringify(this.metadata, null, 1)}\n`);
    const { mtime, mode, crc32 } = entryOf(this.newest, METADATA_ENTRY);
    const text = { mtime, mode, crc32, path: METADATA_ENTRY, original: METADATA_ENTRY, directory: false };
    this.entries = [...files, { ...text, size: this.text.length, compressedSize: this.text.length, sha256: undefined }];
  }

  original(path: string): string {
    return this.newest.original(path);
  }

  /** The piece of each member: all its bytes, and so what this archive is made of. */
  async verify(options: PassOptions = {}): Promise<void> {
    for await (const { archive, take } of this.turns(options)) await take((watch) => archive.verify(watch));
  }

  /** Of the newest member alone: what it builds on was not just written. */
  verifyWritten(made: readonly number[], options?: PassOptions): Promise<void> {
    return this.newest.verifyWritten(made, options);
  }

  async extract(folder: string, options: ExtractOptions = {}): Promise<void> {
    const { filter = () => true, whole = false } = options;
    const { path } = this.states.reproduces.database;
    const isWanted = filter(path);
    const scratch = join(folder, SCRATCH);
    if (isWanted) await mkdir(scratch, { recursive: true, mode: 0o700 });
    const laid = (index: number) => (entry: string) => {
      if (entry === path || entry === DELTA_ENTRY) return isWanted;
      return filter(entry) && this.states.owners.get(entry) === index;
    };
    const { database } = this.states.reproduces;
    const pages = isWanted ? await DeltaPages.create(join(scratch, 'pages'), database) : null;
    const headers: DeltaHeader[] = [];
    try {
      for await (const { index, archive, take } of this.turns(options)) {
        const isNeeded = laid(index);
        if (!whole && !archive.entries.some((entry) => isNeeded(entry.path))) continue;
        if (index === 0 && pages !== null) this.assertPages(entryOf(archive, path).size, headers);
        const overlay = pages === null ? undefined : index === 0 ? pages.over(path) : pages.taking();
        const start = pages?.bytes ?? 0;
        const own = { ...options, filter: isNeeded, ...(overlay && { overlay }) };
        await take((watch) => archive.extract(folder, { ...own, ...watch }));
        if (pages === null || index === 0) continue;
        headers.unshift(await pages.add(start, archive));
        await rm(join(folder, DELTA_ENTRY));
      }
      if (pages !== null) this.compare(pages.sha256(), database.sha256);
      if (filter(METADATA_ENTRY)) await writeText(join(folder, METADATA_ENTRY), this.text);
    } finally {
      await pages?.close();
      await rm(scratch, { recursive: true, force: true });
    }
  }

  async read(path: string, { signal = NEVER }: { signal?: AbortSignal } = {}): Promise<Readable> {
    if (path === METADATA_ENTRY) return Readable.from([this.text], { objectMode: false });
    if (path === this.states.reproduces.database.path) {
      return Readable.from(this.databaseBytes(signal), { objectMode: false });
    }
    const owner = this.states.owners.get(path);
    const member = owner === undefined || path.endsWith('/') ? undefined : this.members[owner];
    if (member === undefined) throw new AppError('NOT_FOUND', `The archive has no file ${shown(path)}.`);
    return member.archive.read(path, { signal });
  }

  /** The members, the newest first: what it changed lies ready when the full backup is read. */
  private async *turns({ signal, onProgress, onBytes }: PassOptions): AsyncGenerator<Turn> {
    const { newest } = this;
    const threads = new BlockThreads();
    try {
      let before = 0;
      for (const [index, { archive, whole }] of [...this.members.entries()].reverse()) {
        const at = before;
        const watch = { ...(signal && { signal }), threads, onProgress: (done: number) => onProgress?.(at + done) };
        yield {
          index,
          archive,
          async take(work) {
            // Who asks for every byte of the newest one wants every byte of its parents compared, too.
            if (archive === newest) await work({ ...watch, ...(onBytes && { onBytes }) });
            else if (onBytes === undefined || whole === undefined) await work(watch);
            else await whole(signal ?? NEVER, (bytes) => work({ ...watch, onBytes: bytes }));
          },
        };
        before += archive.totalBytes;
      }
    } finally {
      await threads.close();
    }
  }

  private databaseEntry(): ArchiveEntry {
    const { path, size, sha256 } = this.states.reproduces.database;
    const { mtime, mode, compressedSize, crc32 } = entryOf(this.newest, DELTA_ENTRY);
    return { path, original: path, size, sha256, mtime, mode, compressedSize, crc32, directory: false };
  }

  private mediaEntries(): ArchiveEntry[] {
    const { owners } = this.states;
    return this.members.flatMap(({ archive }, index) =>
      archive.entries.filter(({ path }) => owners.get(path) === index),
    );
  }

  private compare(found: string, sha256: string): void {
    if (found === sha256) return;
    const { backup_id: id } = this.newest.metadata;
    throw corrupt(
      `The database that the chain of ${id} makes is not the one that was backed up: its SHA-256 is another.`,
    );
  }

  /** Each delta must fit to the one before, and all together to the size that the newest member states. */
  private assertPages(baseBytes: number, headers: readonly DeltaHeader[]): void {
    const { page_size: pageSize, page_count: pageCount, size } = this.states.reproduces.database;
    let pages = baseBytes / pageSize;
    let most = pages;
    for (const [index, header] of headers.entries()) {
      if (header.pageSize !== pageSize || header.before !== pages) {
        throw misfit((this.members[index + 1] as ChainMember).archive);
      }
      pages = header.after;
      most += header.changed;
    }
    if (pages !== pageCount || pageCount > most || size !== pageCount * pageSize) {
      throw otherSize();
    }
  }

  /** The database as a stream, merged from all members at once: their pages come in order. */
  private async *databaseBytes(signal: AbortSignal): AsyncGenerator<Buffer> {
    const { page_size: pageSize, page_count: pageCount, path, sha256 } = this.states.reproduces.database;
    const base = (this.members[0] as ChainMember).archive;
    const merge = new PageMerge();
    const hash = createHash('sha256');
    try {
      const headers: DeltaHeader[] = [];
      for (const { archive } of this.members.slice(1)) {
        const { size } = entryOf(archive, DELTA_ENTRY);
        const chunks = (await archive.read(DELTA_ENTRY, { signal })) as AsyncIterable<Buffer>;
        const reader = await DeltaReader.open(chunks, size);
        headers.push(reader.header);
        await merge.add(reader);
      }
      this.assertPages(entryOf(base, path).size, headers);
      const full = new FullPages((await base.read(path, { signal })) as AsyncIterable<Buffer>, pageSize);
      for (let page = 1; page <= pageCount; page++) {
        const old = await full.next();
        const bytes = (await merge.take(page)) ?? old;
        if (bytes === null) throw corrupt(`No backup of the chain has page ${page} of the database.`);
        hash.update(bytes);
        yield bytes;
      }
      while ((await full.next()) !== null);
      await merge.finish();
    } finally {
      await merge.close();
    }
    this.compare(hash.digest('hex'), sha256);
  }
}

/** An entry that is there: see `statesOf`. */
const entryOf = ({ entries }: Archive, path: string) => entries.find((entry) => entry.path === path) as ArchiveEntry;

/** The metadata of a full backup of the same state. */
function wholeMetadata(own: ArchiveMetadata, { media }: Reproduced, files: ArchiveEntry[]): ArchiveMetadata {
  const { parent: _parent, chain: _chain, reproduces: _reproduces, ...about } = own;
  const entries = files.flatMap(({ path, size, sha256, mtime, mode, directory }): EntryMetadata[] => {
    if (directory || sha256 === undefined) return [];
    return [{ path, size, sha256, ...(mtime && { mtime: mtime.toISOString() }), ...(mode !== undefined && { mode }) }];
  });
  return { ...about, backup_version: BACKUP_VERSION, media, entries };
}

async function writeText(file: string, text: Buffer): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await flush(handle);
  } finally {
    await handle.close();
  }
}

/** The pages of the full backup's database. */
class FullPages {
  private readonly iterator: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(
    chunks: AsyncIterable<Buffer>,
    private readonly pageSize: number,
  ) {
    this.iterator = chunks[Symbol.asyncIterator]();
  }

  /** Null behind the last one. */
  async next(): Promise<Buffer | null> {
    while (this.rest.length < this.pageSize) {
      const { value, done } = await this.iterator.next();
      if (done) return null;
      this.rest = this.rest.length === 0 ? value : Buffer.concat([this.rest, value]);
    }
    const page = this.rest.subarray(0, this.pageSize);
    this.rest = this.rest.subarray(this.pageSize);
    return page;
  }
}

interface Cursor {
  /** The higher, the newer. */
  age: number;
  reader: DeltaReader;
  pages: AsyncGenerator<DeltaPage>;
  bytes: Buffer;
}

/** The changed pages of several deltas, page by page. */
class PageMerge {
  /** The deltas by the page that they have next. */
  private readonly waiting = new Map<number, Cursor[]>();
  private readonly all: Cursor[] = [];

  /** Adds a delta, the oldest first. */
  async add(reader: DeltaReader): Promise<void> {
    const cursor = { age: this.all.length, reader, pages: reader.pages(), bytes: Buffer.alloc(0) };
    this.all.push(cursor);
    await this.advance(cursor);
  }

  /** The newest content of a page; null if no delta has it. To be asked for every page in order. */
  async take(page: number): Promise<Buffer | null> {
    const cursors = this.waiting.get(page);
    if (cursors === undefined) return null;
    this.waiting.delete(page);
    const newest = cursors.reduce((one, other) => (other.age > one.age ? other : one));
    const { bytes } = newest;
    for (const cursor of cursors) await this.advance(cursor);
    return bytes;
  }

  /** Reads what lies behind the last page, so that every delta is compared to its end. */
  async finish(): Promise<void> {
    for (const { pages } of this.all) for await (const { page } of pages) if (page < 1) return;
  }

  async close(): Promise<void> {
    for (const { reader } of this.all) await reader.close();
  }

  private async advance(cursor: Cursor): Promise<void> {
    const { value, done } = await cursor.pages.next();
    if (done) return;
    cursor.bytes = value.bytes;
    this.waiting.set(value.page, [...(this.waiting.get(value.page) ?? []), cursor]);
  }
}

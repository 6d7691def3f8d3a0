import { createHash } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';
import type { ZipArchive, ZipEntryData } from 'archiver';
import { AppError, toAppError } from '../errors.js';
import { BLOCK_BYTES, hasZstd, type Method, missingZstd } from './block.js';
import { BlockThreads } from './block-threads.js';
import { isCompressed, isIncompressible } from './compressed.js';
import {
  type Excluded,
  mediaRoots,
  openMedia,
  unreadable,
  walkMedia,
  type MediaItem,
  type OpenedFile,
} from './media.js';
import {
  MAX_METADATA_BYTES,
  METADATA_ENTRY,
  type ArchiveMetadata,
  type EntryMetadata,
  type MediaMetadata,
  type RenamedMetadata,
  type SkippedMetadata,
  type SourceFile,
  type SymlinkMetadata,
} from './metadata.js';
import { SMALL_BYTES, TINY_BYTES } from './format.js';
import { nameProblem, shown } from './names.js';
import { abortReason } from './refuse.js';
import type { Archive } from './read.js';
import type { SmallFile, SmallFileOptions } from './small-file.js';
import { type Compressed, createZip } from './zip.js';

/** What went into an archive, for its metadata. */
export interface Collected {
  entries: EntryMetadata[];
  media: MediaMetadata[];
  symlinks: SymlinkMetadata[];
  skipped: SkippedMetadata[];
  renamed: RenamedMetadata[];
}

/** How the entries of an archive are compressed. */
export interface Compression {
  /** ZSTD is smaller and faster, but few tools read it, and Node 22.15 or newer is needed. NONE stores all as it is. */
  method: Method | 'NONE';
  /** From 0, the fastest, to 9. With DEFLATE, higher ones than 1 take twice the time and more for a tenth of the size. */
  level: number;
}

/** What to put into an archive. */
export interface WriteOptions {
  /** The database's files, stored first and in this order. */
  files: SourceFile[];
  /** Media folders: one is stored under `media/`, several under `media/<name of the folder>/`. */
  mediaPaths: string[];
  /** Called once, when all else is written: the metadata to write as the last entry. */
  describe(collected: Collected): ArchiveMetadata | Promise<ArchiveMetadata>;
  /** Its reason becomes the error of the stream and of `done`. */
  signal: AbortSignal;
  /** Bytes read so far, before compression, of database and media together. */
  onProgress(doneBytes: number): void;
  /** Default: DEFLATE, level 1. */
  compression?: Compression;
  /** How many threads compress; by default one for each core. */
  threads?: number;
  /** What is neither read nor entered below the media folders, such as other archives. Default: nothing. */
  excluded?: Excluded;
  /** Its media are stored, as they lie in it, in place of media folders. */
  copied?: Pick<Archive, 'entries' | 'read'>;
  /** Told of every media item in order; true leaves a file or folder out, because a parent archive has it. */
  isUnchanged?(item: MediaItem): Promise<boolean>;
}

/** An archive being written. */
export interface WrittenArchive {
  /** The ZIP's bytes. Destroyed with an AppError when anything fails. */
  stream: Readable;
  /** The metadata, once the last byte was handed to `stream`. Rejects with the same AppError; may be left unawaited. */
  done: Promise<ArchiveMetadata>;
  /** CRC-32 of each entry's bytes as they must lie in the archive, from where they were made: for `Archive.verifyWritten`. */
  sums: readonly number[];
  /** SHA-256 of the metadata entry, hex; only once `done`. */
  metadataSha256(): string;
}

/** An item of a walk, and its file if it was read already. */
interface ReadItem {
  item: MediaItem;
  file: SmallFile | null;
}

/** So many items go to a thread together; fewer are not worth one. */
const BATCH_ITEMS = 64;

/**
 * Writes an archive: the database's files, the media, then `backup_metadata.json`. Starts at once and holds at most one
 * file open for each thread and a few megabytes in memory, however large the media are; what grows is the list of entries.
 *
 * Fails, through `stream` and `done` alike, with AppError: MEDIA_NOT_FOUND, MEDIA_UNREADABLE, the signal's reason, or
 * what a SourceFile threw.
 */
export function writeArchive(options: WriteOptions): WrittenArchive {
  const stream = new PassThrough();
  const writer = new ArchiveWriter(options, stream);
  const done = writer.run();
  done.catch(() => undefined);
  return { stream, done, sums: writer.sums, metadataSha256: () => writer.metadataSha256 };
}

class ArchiveWriter {
  private readonly zip: ZipArchive;
  private readonly threads: BlockThreads;
  private readonly compressed: () => Compressed | undefined;
  private readonly ready: WeakMap<Buffer, SmallFile>;
  private readonly room: () => Promise<void>;
  private readonly small: SmallFileOptions;
  readonly sums: number[] = [];
  metadataSha256 = '';
  private readonly collected: Collected = { entries: [], media: [], symlinks: [], skipped: [], renamed: [] };
  private readonly names = new Set<string>();
  private failure: AppError | undefined;
  private rejectEntry: ((error: AppError) => void) | undefined;
  private doneBytes = 0;
  /** The open stream of a database file. */
  private database: Readable | undefined;

  constructor(
    private readonly options: WriteOptions,
    private readonly out: PassThrough,
  ) {
    this.threads = new BlockThreads(options.threads);
    const { method = 'DEFLATE', level = 1 } = options.compression ?? {};
    if (method === 'ZSTD' && !hasZstd) missingZstd();
    const { zip, compressed, ready, room } = createZip({
      method: method === 'NONE' ? 'DEFLATE' : method,
      level,
      threads: this.threads,
    });
    this.zip = zip;
    this.compressed = compressed;
    this.ready = ready;
    this.room = room;
    this.small = { method: method === 'NONE' ? null : method, level };
    this.zip.on('error', (error) => this.fail(error));
    this.zip.on('warning', (error) => this.fail(error));
    // The consumer need not listen: `done` reports it. Without this a failure before the first listener would end the process.
    this.out.on('error', (error) => this.fail(error));
  }

  async run(): Promise<ArchiveMetadata> {
    const { signal } = this.options;
    const abort = () => this.fail(abortReason(signal));
    signal.addEventListener('abort', abort, { once: true });
    const delivered = pipeline(this.zip, this.out);
    delivered.catch((error: unknown) => this.fail(receiverGone(error)));
    try {
      if (signal.aborted) abort();
      await this.writeFiles();
      await this.writeMedia();
      await this.writeCopied();
      const metadata = await this.writeMetadata();
      this.throwIfFailed();
      this.zip.finalize().catch((error: unknown) => this.fail(error));
      await delivered;
      return metadata;
    } catch (error) {
      this.fail(error);
      throw this.failure ?? toAppError(error);
    } finally {
      signal.removeEventListener('abort', abort);
      await this.threads.close();
    }
  }

  /** The first failure counts; it ends everything that might still be waiting. */
  private fail(error: unknown): void {
    if (this.failure !== undefined) return;
    this.failure = toAppError(error);
    this.rejectEntry?.(this.failure);
    // A stalled stream would never let its reader go.
    this.database?.destroy(this.failure);
    this.zip.abort();
    this.out.destroy(this.failure);
    this.zip.destroy();
  }

  private throwIfFailed(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  private async writeFiles(): Promise<void> {
    for (const file of this.options.files) {
      this.throwIfFailed();
      const problem = nameProblem(file.path);
      if (problem !== undefined || file.path === METADATA_ENTRY || file.path.startsWith('media/')) {
        throw new AppError('INTERNAL_ERROR', `A database file cannot be stored as ${shown(file.path)}.`);
      }
      if (this.names.has(file.path)) {
        throw new AppError('INTERNAL_ERROR', `Two database files would be stored as ${shown(file.path)}.`);
      }
      this.names.add(file.path);
      const entry = await this.add(file.path, file, this.readSource(file));
      if (file.size !== undefined && file.size !== entry.size) {
        throw new AppError(
          'DATABASE_FAILED',
          `The snapshot's file ${shown(file.path)} has ${entry.size} bytes instead of ${file.size}.`,
        );
      }
    }
  }

  private async *readSource(file: SourceFile): AsyncGenerator<Buffer> {
    const stream = await file.open();
    this.database = stream;
    try {
      for await (const chunk of stream) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    } finally {
      this.database = undefined;
    }
  }

  private async writeMedia(): Promise<void> {
    const excluded = this.options.excluded ?? (() => false);
    const { media, symlinks, skipped, renamed } = this.collected;
    for (const root of await mediaRoots(this.options.mediaPaths)) {
      const sum: MediaMetadata = { path: root.path, prefix: root.prefix, files: 0, bytes: 0 };
      media.push(sum);
      for await (const { item, file } of this.readAhead(this.changed(walkMedia(root, excluded)))) {
        this.throwIfFailed();
        if (file) await this.addSmall((item as { path: string }).path, file, sum);
        else if (item.kind === 'symlink') symlinks.push({ path: item.path, target: item.target });
        else if (item.kind === 'skipped') skipped.push({ path: item.path, reason: item.reason });
        else if (item.kind === 'renamed') renamed.push({ path: item.path, name: item.name });
        else if (item.kind === 'folder') await this.addFolder(item.path, item.stats.mtime, item.stats.mode);
        else await this.addMedia(item.path, item.file, sum);
      }
    }
  }

  private async writeCopied(): Promise<void> {
    const { copied, signal } = this.options;
    for (const { path, directory, size, compressedSize, mtime, mode } of copied?.entries ?? []) {
      if (copied === undefined || !path.startsWith('media/')) continue;
      this.throwIfFailed();
      if (directory) {
        await this.addFolder(path, mtime ?? NO_DATE, mode ?? 0o755);
        continue;
      }
      const bytes = await copied.read(path, { signal });
      const about = { mode: mode ?? 0o644, mtime: mtime ?? NO_DATE };
      // What did not become smaller there does not here.
      await this.add(path, about, size > SMALL_BYTES ? bytes : await whole(bytes), compressedSize >= size);
    }
  }

  private async *changed(walk: AsyncIterable<MediaItem>): AsyncGenerator<MediaItem> {
    const { isUnchanged } = this.options;
    for await (const item of walk) if (!(await isUnchanged?.(item))) yield item;
  }

  /** The items of a walk in their order; of many files, those that are small are read and compressed in threads before. */
  private async *readAhead(walk: AsyncIterable<MediaItem>): AsyncGenerator<ReadItem> {
    const batches: Promise<ReadItem[]>[] = [];
    let batch: MediaItem[] = [];
    let isMany = false;
    for await (const item of walk) {
      batch.push(item);
      if (batch.length < BATCH_ITEMS) continue;
      isMany = true;
      const read = this.readBatch(batch);
      // It is asked for later, or never if the writing is broken off.
      read.catch(() => undefined);
      batches.push(read);
      batch = [];
      if (batches.length > 2 * this.threads.most) yield* (await batches.shift()) as ReadItem[];
    }
    for (const earlier of batches) yield* await earlier;
    yield* isMany ? await this.readBatch(batch) : batch.map((item) => ({ item, file: null }));
  }

  private async readBatch(items: MediaItem[]): Promise<ReadItem[]> {
    const tasks = items.flatMap((item) => (item.kind === 'file' ? [{ file: item.file, path: item.path }] : []));
    const found = (await this.threads.readFiles(tasks, this.small)).values();
    return items.map((item) => ({ item, file: item.kind === 'file' ? (found.next().value ?? null) : null }));
  }

  private async addSmall(path: string, file: SmallFile, sum: MediaMetadata): Promise<void> {
    const { size, sha256, mode, changed } = file;
    const date = new Date(Math.round(file.mtimeMs));
    const bytes = Buffer.from(file.bytes.buffer as ArrayBuffer, file.bytes.byteOffset, file.bytes.byteLength);
    this.ready.set(bytes, file);
    await this.append(bytes, { name: path, mode: mode & 0o7777, date, store: file.stored }, () => file.sum);
    this.collected.entries.push({ path, size, sha256, mode: mode & 0o7777, mtime: date.toISOString() });
    if (changed) this.collected.skipped.push({ path, reason: 'changed' });
    sum.files += 1;
    sum.bytes += size;
    this.options.onProgress((this.doneBytes += size));
  }

  private async addMedia(path: string, file: string, sum: MediaMetadata): Promise<void> {
    const opened = await openMedia(file);
    if (typeof opened === 'string') {
      this.collected.skipped.push({ path, reason: opened });
      return;
    }
    try {
      const { stats, handle } = opened;
      const bytes = readMedia(file, opened);
      const store = isCompressed(path) || (await isIncompressible(handle, stats.size));
      // Most media are small: one buffer is several times faster than a stream.
      const entry = await this.add(path, stats, stats.size > SMALL_BYTES ? bytes : await whole(bytes), store);
      const after = await handle.stat().catch((error: unknown) => Promise.reject(unreadable(file, error)));
      const changed = after.mtimeMs !== stats.mtimeMs || after.size !== stats.size || entry.size !== stats.size;
      if (changed) this.collected.skipped.push({ path, reason: 'changed' });
      sum.files += 1;
      sum.bytes += entry.size;
    } finally {
      await opened.handle.close();
    }
  }

  /** Adds one file and waits until all its bytes are in the archive. */
  private async add(
    path: string,
    about: { mtime?: Date; mode?: number },
    bytes: AsyncIterable<Buffer> | Buffer,
    store = false,
  ): Promise<EntryMetadata> {
    const hash = createHash('sha256');
    let size = 0;
    let crc = 0;
    const count = (chunk: Buffer): void => {
      this.throwIfFailed();
      hash.update(chunk);
      crc = crc32(chunk, crc);
      size += chunk.length;
      this.options.onProgress((this.doneBytes += chunk.length));
    };
    const source = Buffer.isBuffer(bytes) ? bytes : Readable.from(tapped(bytes, count), { objectMode: false });
    if (Buffer.isBuffer(source)) count(source);
    const mode = (about.mode ?? 0o644) & 0o7777;
    const isTiny = Buffer.isBuffer(source) && source.length <= TINY_BYTES;
    const isStored = store || isTiny || this.options.compression?.method === 'NONE';
    const data = { name: path, mode, store: isStored, ...(about.mtime && { date: about.mtime }) };
    const compressed = await this.append(source, data, () => crc);
    const entry: EntryMetadata = { path, size, sha256: hash.digest('hex'), mode };
    if (about.mtime !== undefined) entry.mtime = about.mtime.toISOString();
    if (compressed !== undefined && size > BLOCK_BYTES) entry.blocks = [...compressed.lengths];
    this.collected.entries.push(entry);
    return entry;
  }

  private async addFolder(path: string, date: Date, mode: number): Promise<void> {
    await this.append(Buffer.alloc(0), { name: path, date, mode: mode & 0o7777 }, () => 0);
  }

  private async writeMetadata(): Promise<ArchiveMetadata> {
    const metadata = await this.options.describe(this.collected);
    const bytes = Buffer.from(`${JSON.stringify(metadata, null, 1)}\n`);
    if (bytes.length > MAX_METADATA_BYTES) {
      throw new AppError('MEDIA_UNREADABLE', 'There are too many media files for one archive.', {
        hint: 'Divide the media paths over several configs.',
      });
    }
    const crc = crc32(bytes);
    this.metadataSha256 = createHash('sha256').update(bytes).digest('hex');
    const date = new Date(metadata.backup_date);
    await this.append(bytes, { name: METADATA_ENTRY, mode: 0o644, date }, () => crc);
    return metadata;
  }

  /**
   * Hands one entry to archiver and waits until it is done, or until anything fails.
   * @param crc CRC-32 of the source, once it was read
   * @returns what compressed the entry; undefined if it was stored
   */
  private async append(
    source: Readable | Buffer,
    data: ZipEntryData,
    crc: () => number,
  ): Promise<Compressed | undefined> {
    try {
      await new Promise<void>((resolve, reject) => {
        if (this.failure !== undefined) throw this.failure;
        this.rejectEntry = reject;
        // archiver only listens for the source's first error, and does not end the entry with it.
        if (source instanceof Readable) source.on('error', (error) => this.fail(error));
        this.zip.once('entry', (entry) => {
          if (entry.name === data.name) resolve();
          else reject(new AppError('INTERNAL_ERROR', `The ZIP renamed ${shown(data.name)} to ${shown(entry.name)}.`));
        });
        this.zip.append(source, data);
      });
      const compressed = this.compressed();
      this.sums.push(compressed?.sum ?? crc());
      await new Promise<void>((resolve, reject) => {
        if (this.failure !== undefined) throw this.failure;
        this.rejectEntry = reject;
        void this.room().then(resolve);
      });
      return compressed;
    } finally {
      this.rejectEntry = undefined;
      if (source instanceof Readable) await closed(source);
    }
  }
}

/** What a ZIP without a date has. */
const NO_DATE = new Date(Date.UTC(1980, 0, 1));

/** The bytes of a media file, at most as many as it had when it was opened. */
async function* readMedia(file: string, { handle, stats }: OpenedFile): AsyncGenerator<Buffer> {
  for (let left = stats.size; left > 0;) {
    const buffer = Buffer.allocUnsafe(Math.min(left, SMALL_BYTES));
    const read = await handle
      .read(buffer, 0, buffer.length, stats.size - left)
      .catch((error: unknown) => Promise.reject(unreadable(file, error)));
    if (read.bytesRead === 0) return;
    left -= read.bytesRead;
    yield buffer.subarray(0, read.bytesRead);
  }
}

async function* tapped(bytes: AsyncIterable<Buffer>, tap: (chunk: Buffer) => void): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    tap(chunk);
    yield chunk;
  }
}

async function whole(bytes: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/** Destroys a stream and waits until its generator has given back what it holds. */
async function closed(source: Readable): Promise<void> {
  if (source.closed) return;
  await new Promise<void>((resolve) => {
    source.once('close', () => resolve());
    source.destroy();
  });
}

function receiverGone(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError('STORAGE_UNAVAILABLE', 'The receiver of the archive stopped before its end.', { cause: error });
}

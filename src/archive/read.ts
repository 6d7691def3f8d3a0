import { Readable } from 'node:stream';
import { AppError } from '../errors.js';
import { dosTime, readDirectory, type DirectoryRecord } from './directory.js';
import { entryBytes } from './entry.js';
import { FolderWriter } from './folder.js';
import {
  MAX_METADATA_BYTES,
  METADATA_ENTRY,
  parseMetadata,
  type ArchiveMetadata,
  type EntryMetadata,
} from './metadata.js';
import { shown } from './names.js';
import { corrupt, foreign, hostile } from './refuse.js';
import { RangeReader, type ArchiveSource } from './source.js';

export { fileSource, type ArchiveSource } from './source.js';

/** One entry of an archive, as its directory describes it. */
export interface ArchiveEntry {
  path: string;
  /** Bytes before compression. */
  size: number;
  compressedSize: number;
  crc32: number;
  directory: boolean;
  /** Exact where the metadata has it, otherwise the ZIP's own time (even seconds) taken as UTC; null if it has none. */
  mtime: Date | null;
  /** Unix permission bits; undefined if the ZIP has none. */
  mode: number | undefined;
}

/** How a long reading is stopped and watched. */
export interface ReadOptions {
  /** Its reason, if an AppError, is what the call throws; otherwise CANCELLED. */
  signal?: AbortSignal;
  /** Bytes read so far, before compression; at the end the sum of what was asked for. */
  onProgress?(doneBytes: number): void;
}

/**
 * An opened archive: its directory and metadata were checked, its content is checked whenever it is read. All methods
 * throw AppError: ARCHIVE_CORRUPT or ARCHIVE_HOSTILE naming the entry, what the source threw, or the signal's reason.
 */
export interface Archive {
  readonly metadata: ArchiveMetadata;
  /** All entries in the order in which they lie in the archive. */
  readonly entries: readonly ArchiveEntry[];
  /** Bytes of all entries before compression, the metadata included: what `verify` counts up to. */
  readonly totalBytes: number;
  /** Reads everything and compares sizes, CRC-32 and, for version 2, SHA-256. Writes nothing. */
  verify(options?: ReadOptions): Promise<void>;
  /**
   * Writes the entries that `filter` lets through below `folder`, which should be new: files 0600, folders 0700, nothing
   * is overwritten, each file is checked and on disk when this returns. After an error the caller removes the folder.
   * @throws AppError also STORAGE_FULL, STORAGE_NOT_WRITABLE
   */
  extract(folder: string, options?: ReadOptions & { filter?(path: string): boolean }): Promise<void>;
  /**
   * One file's bytes. They count only once the stream has ended: it fails at its end if they are not the stored ones.
   * @throws AppError NOT_FOUND if there is no such file
   */
  read(path: string, options?: { signal?: AbortSignal }): Promise<Readable>;
}

const NEVER = new AbortController().signal;

/**
 * Opens an archive: finds and checks its directory, reads its metadata, and compares the two. Trusts nothing: every wait
 * ends, and nothing is allocated by what the file merely says.
 * @throws AppError ARCHIVE_FOREIGN, ARCHIVE_TOO_NEW, ARCHIVE_CORRUPT, ARCHIVE_HOSTILE; what the source threw
 */
export async function openArchive(source: ArchiveSource, options: { signal?: AbortSignal } = {}): Promise<Archive> {
  const signal = options.signal ?? NEVER;
  const records = await readDirectory(source, signal);
  const record = records.find(({ path }) => path === METADATA_ENTRY);
  if (record === undefined) throw foreign(`The ZIP has no ${METADATA_ENTRY}.`);
  if (record.size > MAX_METADATA_BYTES) throw hostile(`${METADATA_ENTRY} has ${record.size} bytes: too many.`);
  const text: Buffer[] = [];
  for await (const { chunk } of contents(source, [record], new Map(), signal)) text.push(chunk);
  const metadata = parseMetadata(decodeUtf8(Buffer.concat(text)));
  const listed = new Map(metadata.entries.map((entry) => [entry.path, entry]));
  if (!metadata.backup_version.startsWith('1')) compare(records, listed, metadata);
  return new OpenArchive(source, records, listed, metadata);
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw foreign(`${METADATA_ENTRY} is not valid UTF-8.`, error);
  }
}

/** The archive must hold what its metadata lists, all of it and nothing else. */
function compare(records: DirectoryRecord[], listed: Map<string, EntryMetadata>, metadata: ArchiveMetadata): void {
  if (listed.size !== metadata.entries.length) throw corrupt(`${METADATA_ENTRY} lists a file twice.`);
  if (records.at(-1)?.path !== METADATA_ENTRY) throw corrupt(`${METADATA_ENTRY} is not the archive's last entry.`);
  let files = 0;
  for (const { path, directory, size, mode } of records) {
    if (directory || path === METADATA_ENTRY) continue;
    files += 1;
    const entry = listed.get(path);
    if (entry === undefined) throw corrupt(`The entry ${shown(path)} is not in the archive's own list.`);
    if (entry.size !== size || (entry.mode !== undefined && mode !== undefined && entry.mode !== mode)) {
      throw corrupt(`The entry ${shown(path)} has another size or mode than in the archive's own list.`);
    }
  }
  if (files === listed.size) return;
  const present = new Set(records.map(({ path }) => path));
  const missing = metadata.entries.find(({ path }) => !present.has(path) || path === METADATA_ENTRY);
  throw corrupt(`The file ${shown(missing?.path ?? '')} is in the archive's own list, but not in the archive.`);
}

interface Piece {
  record: DirectoryRecord;
  chunk: Buffer;
}

/** The content of entries, in the order in which they lie. Neighbours are read through one stream of the source. */
async function* contents(
  source: ArchiveSource,
  records: readonly DirectoryRecord[],
  listed: ReadonlyMap<string, EntryMetadata>,
  signal: AbortSignal,
): AsyncGenerator<Piece> {
  for (let first = 0; first < records.length;) {
    let after = first + 1;
    while (after < records.length && records[after]?.offset === records[after - 1]?.end) after += 1;
    const run = records.slice(first, after);
    const start = run[0]?.offset ?? 0;
    const reader = new RangeReader(source, start, (run.at(-1)?.end ?? start) - start, signal);
    try {
      for (const record of run) {
        for await (const chunk of entryBytes(reader, record, listed.get(record.path)?.sha256)) yield { record, chunk };
        yield { record, chunk: END };
      }
    } finally {
      reader.close();
    }
    first = after;
  }
}

/** Given out once behind an entry's last byte, when all of it was compared. */
const END = Buffer.alloc(0);

class OpenArchive implements Archive {
  readonly entries: readonly ArchiveEntry[];
  readonly totalBytes: number;

  constructor(
    private readonly source: ArchiveSource,
    private readonly records: DirectoryRecord[],
    private readonly listed: Map<string, EntryMetadata>,
    readonly metadata: ArchiveMetadata,
  ) {
    this.totalBytes = records.reduce((sum, { size }) => sum + size, 0);
    this.entries = records.map((record) => ({
      path: record.path,
      size: record.size,
      compressedSize: record.compressedSize,
      crc32: record.crc32,
      directory: record.directory,
      mtime: exactTime(listed.get(record.path)?.mtime) ?? dosTime(record.dosTime),
      mode: record.mode,
    }));
  }

  async verify({ signal = NEVER, onProgress }: ReadOptions = {}): Promise<void> {
    let done = 0;
    for await (const { chunk } of contents(this.source, this.records, this.listed, signal)) {
      onProgress?.((done += chunk.length));
    }
  }

  async extract(folder: string, options: ReadOptions & { filter?(path: string): boolean } = {}): Promise<void> {
    const { signal = NEVER, onProgress, filter } = options;
    const wanted = filter === undefined ? this.records : this.records.filter(({ path }) => filter(path));
    const files = new FolderWriter(folder);
    let done = 0;
    try {
      for await (const { record, chunk } of contents(this.source, wanted, this.listed, signal)) {
        await files.write(record, chunk, chunk === END);
        onProgress?.((done += chunk.length));
      }
    } finally {
      await files.close();
    }
  }

  async read(path: string, { signal = NEVER }: { signal?: AbortSignal } = {}): Promise<Readable> {
    const record = this.records.find((candidate) => candidate.path === path && !candidate.directory);
    if (record === undefined) throw new AppError('NOT_FOUND', `The archive has no file ${shown(path)}.`);
    const { source, listed } = this;
    const bytes = async function* (): AsyncGenerator<Buffer> {
      for await (const { chunk } of contents(source, [record], listed, signal)) if (chunk !== END) yield chunk;
    };
    return Readable.from(bytes(), { objectMode: false });
  }
}

function exactTime(text: string | undefined): Date | undefined {
  const time = text === undefined ? NaN : Date.parse(text);
  return Number.isNaN(time) ? undefined : new Date(time);
}

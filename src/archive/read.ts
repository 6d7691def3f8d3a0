import { Readable } from 'node:stream';
import { AppError } from '../errors.js';
import { breathe, dosTime, readDirectory, type DirectoryRecord } from './directory.js';
import { BlockThreads } from './block-threads.js';
import { areBlocksOf } from './parallel.js';
import { entryBytes, type Facts, isSmall, smallEntry, smallStored, storedBytes } from './entry.js';
import { type EntryToWrite, FolderWriter } from './folder.js';
import { STORED } from './format.js';
import type { FileAttributes, Missed } from './lay-files.js';
import { METADATA_ENTRY, readMetadata, type ArchiveMetadata, type EntryMetadata } from './metadata.js';
import { nameProblem, shown } from './names.js';
import { isLitter, unwrap } from './repacked.js';
import { corrupt, foreign, hostile } from './refuse.js';
import { RangeReader, type ArchiveSource } from './source.js';

export { fileSource, type ArchiveSource } from './source.js';

/** One entry of an archive, as its directory describes it. */
export interface ArchiveEntry {
  path: string;
  /** The path with the names that the files had on their machine, where those cannot stand in a ZIP; as `rawName` has it. */
  original: string;
  /** Bytes before compression. */
  size: number;
  compressedSize: number;
  crc32: number;
  directory: boolean;
  /** Exact where the metadata has it, otherwise the ZIP's own time (even seconds) taken as UTC; null if it has none. */
  mtime: Date | null;
  /** Unix permission bits; undefined if the ZIP has none. */
  mode: number | undefined;
  /** SHA-256 of the bytes before compression, hex; undefined where the archive does not say. */
  sha256: string | undefined;
}

/** How a long reading is stopped and watched. */
export interface ReadOptions {
  /** Its reason, if an AppError, is what the call throws; otherwise CANCELLED. */
  signal?: AbortSignal;
  /** Bytes read so far, before compression; at the end the sum of what was asked for. */
  onProgress?(doneBytes: number): void;
}

/** How a pass over the whole file is watched. */
export interface PassOptions extends ReadOptions {
  /** Called with every byte of the file, in their order: for a hash of all. */
  onBytes?(chunk: Buffer): void;
  /** Expands blocks; the caller closes them. Default: threads of its own. */
  threads?: BlockThreads | undefined;
}

/** What is extracted, and how it is laid. */
export interface ExtractOptions extends PassOptions {
  filter?(path: string): boolean;
  /** False for what is of no use after a crash: it need not be on the disk when this returns. Default: true. */
  flush?: boolean;
  /** Reads the whole file, so that all entries are verified as by `verify`; otherwise only those. */
  whole?: boolean;
  /** What a file gets instead of 0600, the time now and this process's user. */
  attributesOf?(entry: ArchiveEntry): FileAttributes;
  /** Permissions of folders instead of 0700. */
  folderMode?: number;
  /** Called for attributes that the disk or the user cannot give. */
  onMissed?(missed: Missed): void;
  /** Changes what is laid of one file. */
  overlay?: Overlay;
}

/**
 * What is laid of a file instead of its own bytes. These are compared with their CRC-32 only: whoever lays something else
 * compares the SHA-256 of that.
 */
export interface Overlay {
  path: string;
  /** @param chunk the file's next bytes, which may be changed in place @param last true behind the last of them @returns what to lay */
  lay(chunk: Buffer, last: boolean): AsyncIterable<Buffer>;
}

/**
 * An opened archive: its directory and metadata were checked, its content is checked whenever it is read. All methods
 * throw AppError: ARCHIVE_CORRUPT or ARCHIVE_HOSTILE naming the entry, what the source threw, or the signal's reason.
 */
export interface Archive {
  readonly metadata: ArchiveMetadata;
  /** All entries in the order in which they lie in the archive. */
  readonly entries: readonly ArchiveEntry[];
  /** The `original` of any path of the archive. */
  original(path: string): string;
  /** What tools of other systems added when they packed the archive again: names in the ZIP. Never read. */
  readonly ignored: readonly string[];
  /** Bytes of all entries before compression, the metadata included: what `verify` counts up to. */
  readonly totalBytes: number;
  /** Reads the whole file once and compares sizes, CRC-32 and, for version 2, SHA-256 of all entries. Writes nothing. */
  verify(options?: PassOptions): Promise<void>;
  /**
   * As `verify` for an archive that was just written: the entries are not inflated, but compared with what was written.
   * @param made `WrittenArchive.sums`
   */
  verifyWritten(made: readonly number[], options?: PassOptions): Promise<void>;
  /**
   * Writes the entries that `filter` lets through below `folder`, which should be new: files 0600, folders 0700, nothing
   * is overwritten, each file is checked, and on disk unless `flush` is false, when this returns. After an error the caller removes the folder.
   * @throws AppError also STORAGE_FULL, STORAGE_NOT_WRITABLE
   */
  extract(folder: string, options?: ExtractOptions): Promise<void>;
  /**
   * One file's bytes. They count only once the stream has ended: it fails at its end if they are not the stored ones.
   * @throws AppError NOT_FOUND if there is no such file
   */
  read(path: string, options?: { signal?: AbortSignal }): Promise<Readable>;
}

const NEVER = new AbortController().signal;
const IGNORE = () => undefined;

/**
 * Opens an archive: finds and checks its directory, reads its metadata, and compares the two. Trusts nothing: every wait
 * ends, and nothing is allocated by what the file merely says.
 * @throws AppError ARCHIVE_FOREIGN, ARCHIVE_TOO_NEW, ARCHIVE_CORRUPT, ARCHIVE_HOSTILE; what the source threw
 */
export async function openArchive(
  source: ArchiveSource,
  options: { signal?: AbortSignal; maxEntries?: number } = {},
): Promise<Archive> {
  const signal = options.signal ?? NEVER;
  const unwrapped = unwrap(await readDirectory(source, signal, options.maxEntries));
  const record = unwrapped.records.find(({ path }) => path === METADATA_ENTRY);
  if (record === undefined) throw foreign(`The ZIP has no ${METADATA_ENTRY}.`);
  // Hashes do not compress: a file of any length that lists real ones has nowhere near this ratio.
  if (record.size > MIN_SUSPECT_BYTES && record.size > record.compressedSize * MAX_METADATA_RATIO) {
    throw hostile(
      `${METADATA_ENTRY} declares ${record.size} bytes out of ${record.compressedSize}: it was made to do harm.`,
    );
  }
  const listed = new ListedFiles(unwrapped.records);
  const text = (async function* () {
    for await (const { chunk } of contents(source, [record], () => NO_FACTS, { signal })) yield chunk;
  })();
  const metadata = await readMetadata(text, (entry) => listed.add(entry));
  const isIgnored = ({ path, index }: DirectoryRecord) =>
    isLitter(path) && !listed.has(index) && !(metadata.backup_version.startsWith('1') && path.startsWith('media/'));
  const records = unwrapped.records.filter((candidate) => !isIgnored(candidate));
  const ignored = [...unwrapped.outside, ...unwrapped.records.filter(isIgnored).map(({ path }) => path)];
  if (!metadata.backup_version.startsWith('1')) await compare(records, listed, metadata, signal);
  const original = originalPaths(records, metadata);
  return new OpenArchive(source, records, listed, { metadata, original, ignored });
}

/**
 * Paths with the names that the files had on their machine.
 * @throws AppError ARCHIVE_HOSTILE if two files would have the same
 */
function originalPaths(records: DirectoryRecord[], { renamed, media }: ArchiveMetadata): (path: string) => string {
  if (renamed.length === 0) return (path) => path;
  const names = new Map<string, string>();
  for (const { path, name } of renamed) {
    // Only within the media folders; these themselves go where the config says.
    if (
      nameProblem(path) !== undefined ||
      !media.some(({ prefix }) => path.startsWith(prefix) && path.length > prefix.length)
    ) {
      throw hostile(`${METADATA_ENTRY} gives ${shown(path)} another name, which is no media file.`);
    }
    names.set(path, name);
  }
  const original = (path: string) => {
    let result = '';
    for (let at = 0; at < path.length;) {
      const slash = path.indexOf('/', at);
      const end = slash === -1 ? path.length : slash;
      result += names.get(path.slice(0, end)) ?? path.slice(at, end);
      if (slash !== -1) result += '/';
      at = end + 1;
    }
    return result;
  };
  const seen = new Set<string>();
  for (const { path } of records) {
    const name = original(path).replace(/\/$/, '');
    if (seen.has(name)) throw hostile(`Two files of the archive are to be laid at ${shown(name)}.`);
    seen.add(name);
  }
  return original;
}

const MIN_SUSPECT_BYTES = 1024 * 1024;
const MAX_METADATA_RATIO = 100;

/** What the metadata says of each record, in as little memory as it takes. */
class ListedFiles {
  count = 0;
  /** By index, of those entries that can be inflated in blocks. */
  readonly blocks = new Map<number, readonly number[]>();
  private readonly indexes: Map<string, number>;
  private normalised: Map<string, number> | undefined;
  private readonly digests: Buffer;
  /** Milliseconds since 1970; NaN where unknown. */
  private readonly times: Float64Array;
  private readonly modes: Int16Array;
  /** The first path that is listed twice, or that the archive does not have. */
  twice: string | undefined;
  missing: string | undefined;

  constructor(private readonly records: DirectoryRecord[]) {
    this.indexes = new Map(records.map(({ path }, index) => [path, index]));
    this.digests = Buffer.alloc(records.length * 32);
    this.times = new Float64Array(records.length).fill(NaN);
    this.modes = new Int16Array(records.length).fill(NOT_LISTED);
  }

  add({ path, size, sha256, mtime, mode, blocks }: EntryMetadata): void {
    const index = this.indexOf(path);
    const record = index === undefined ? undefined : this.records[index];
    if (index === undefined || record === undefined || record.directory || path === METADATA_ENTRY) {
      this.missing ??= path;
      return;
    }
    if (this.modes[index] !== NOT_LISTED) this.twice ??= path;
    if (size !== record.size) {
      throw corrupt(`The entry ${shown(path)} has another size than in the archive's own list.`);
    }
    record.path = path;
    this.count += 1;
    this.digests.write(sha256, index * 32, 'hex');
    this.times[index] = mtime === undefined ? NaN : Date.parse(mtime);
    this.modes[index] = mode ?? NO_MODE;
    // Of an archive that was packed again they are not this one's.
    if (blocks !== undefined && record.method !== STORED && areBlocksOf(blocks, record)) this.blocks.set(index, blocks);
  }

  /** A tool that packs an archive again may change the form of accents in its names. */
  private indexOf(path: string): number | undefined {
    const found = this.indexes.get(path);
    // eslint-disable-next-line no-control-regex -- anything but ASCII
    if (found !== undefined || /^[\u0000-\u007f]*$/.test(path)) return found;
    this.normalised ??= new Map([...this.indexes].map(([name, index]) => [name.normalize('NFC'), index]));
    return this.normalised.get(path.normalize('NFC'));
  }

  /** Permission bits as listed; undefined if the archive does not say. */
  mode(index: number): number | undefined {
    const mode = this.modes[index] ?? NO_MODE;
    return mode >= 0 ? mode : undefined;
  }

  has(index: number): boolean {
    return this.modes[index] !== NOT_LISTED;
  }

  sha256(index: number): string | undefined {
    return this.has(index) ? this.digests.toString('hex', index * 32, index * 32 + 32) : undefined;
  }

  mtime(index: number): Date | undefined {
    const time = this.times[index] ?? NaN;
    return Number.isNaN(time) ? undefined : new Date(time);
  }

  /** What was listed, as it stands in the metadata. */
  *all(): Generator<EntryMetadata> {
    for (const { path, size, index } of this.records) {
      const sha256 = this.sha256(index);
      if (sha256 === undefined) continue;
      const mode = this.mode(index);
      const mtime = this.mtime(index);
      yield { path, size, sha256, ...(mode !== undefined && { mode }), ...(mtime && { mtime: mtime.toISOString() }) };
    }
  }

  /** The paths are needed only while the list is read. */
  forgetPaths(): void {
    this.indexes.clear();
    this.normalised = undefined;
  }
}

const NO_FACTS: Facts = { sha256: undefined, blocks: undefined };
const NOT_LISTED = -2;
const NO_MODE = -1;

/** The archive must hold what its metadata lists, all of it and nothing else. */
async function compare(
  records: DirectoryRecord[],
  listed: ListedFiles,
  metadata: ArchiveMetadata,
  signal: AbortSignal,
): Promise<void> {
  if (listed.twice !== undefined) throw corrupt(`${METADATA_ENTRY} lists a file twice.`);
  const media = metadata.media.map(({ prefix }) => ({ prefix, files: 0, bytes: 0 }));
  for (const { path, directory, size, index } of records) {
    await breathe(index, signal);
    if (directory || path === METADATA_ENTRY) continue;
    if (!listed.has(index)) throw corrupt(`The entry ${shown(path)} is not in the archive's own list.`);
    const root = media.find(({ prefix }) => path.startsWith(prefix));
    if (root === undefined) continue;
    root.files += 1;
    root.bytes += size;
  }
  if (listed.missing !== undefined) {
    throw corrupt(`The file ${shown(listed.missing)} is in the archive's own list, but not in the archive.`);
  }
  for (const [index, { path, files, bytes }] of metadata.media.entries()) {
    if (media[index]?.files === files && media[index]?.bytes === bytes) continue;
    throw corrupt(`The archive says that ${shown(path)} had ${files} files of ${bytes} bytes, but holds others.`);
  }
}

interface Piece {
  record: DirectoryRecord;
  chunk: Buffer;
  /** True when all of the entry was compared. */
  last: boolean;
}

/** How `contents` gives out what it reads. */
interface ContentsOptions {
  signal: AbortSignal;
  /** Makes it read the whole file, and is called with all of its bytes. */
  onBytes?: ((chunk: Buffer) => void) | undefined;
  /** Gives out the bytes as they lie there, compared with these sums by the entries' index. */
  made?: readonly number[];
  threads?: BlockThreads | undefined;
}

/**
 * The content of entries, in the order in which they lie. Neighbours are read through one stream of the source. Each piece is
 * valid until the next one is asked for.
 */
async function* contents(
  source: ArchiveSource,
  records: readonly DirectoryRecord[],
  factsOf: (record: DirectoryRecord) => Facts,
  { threads, ...options }: ContentsOptions,
): AsyncGenerator<Piece> {
  const used = threads ?? new BlockThreads();
  try {
    yield* piecesOf({ source, records, factsOf, ...options, threads: used });
  } finally {
    if (threads === undefined) await used.close();
  }
}

async function* piecesOf({
  source,
  records,
  factsOf,
  signal,
  onBytes,
  made,
  threads,
}: ContentsOptions & {
  source: ArchiveSource;
  records: readonly DirectoryRecord[];
  factsOf: (record: DirectoryRecord) => Facts;
  threads: BlockThreads;
}): AsyncGenerator<Piece> {
  const runs = onBytes === undefined ? neighbours(records) : [{ records, start: 0, end: source.size }];
  for (const { records: run, start, end } of runs) {
    const reader = new RangeReader(source, start, end - start, signal, onBytes);
    let at = start;
    try {
      for (const record of run) {
        await reader.skip(record.offset - at);
        at = record.end;
        const sum = made === undefined ? undefined : (made[record.index] ?? -1);
        if (isSmall(record)) {
          const bytes = await reader.take(record.end - record.offset);
          const chunk =
            sum === undefined ? smallEntry(bytes, record, factsOf(record)) : smallStored(bytes, record, sum);
          yield { record, chunk, last: true };
          continue;
        }
        const bytes =
          sum === undefined
            ? entryBytes(reader, record, { ...factsOf(record), threads })
            : storedBytes(reader, record, sum);
        for await (const chunk of bytes) yield { record, chunk, last: false };
        yield { record, chunk: NOTHING, last: true };
      }
      await reader.skip(end - at);
    } finally {
      reader.close();
    }
  }
}

interface RecordRun {
  records: readonly DirectoryRecord[];
  /** Where the first of them begins, and the last one ends. */
  start: number;
  end: number;
}

/** Groups of entries that lie one after the other. */
function neighbours(records: readonly DirectoryRecord[]): RecordRun[] {
  const runs: RecordRun[] = [];
  for (let first = 0; first < records.length;) {
    let after = first + 1;
    while (after < records.length && records[after]?.offset === records[after - 1]?.end) after += 1;
    const run = records.slice(first, after);
    runs.push({ records: run, start: run[0]?.offset ?? 0, end: run.at(-1)?.end ?? 0 });
    first = after;
  }
  return runs;
}

const NOTHING = Buffer.alloc(0);

/** Counts bytes, and reports them at most once for each 64 KiB and at the end: not once for each small file. */
class Progress {
  private done = 0;
  private reported = 0;

  constructor(private readonly report: (doneBytes: number) => void = IGNORE) {}

  add(bytes: number): void {
    this.done += bytes;
    if (this.done - this.reported >= PROGRESS_BYTES) this.end();
  }

  end(): void {
    this.reported = this.done;
    this.report(this.done);
  }
}

const PROGRESS_BYTES = 64 * 1024;

class OpenArchive implements Archive {
  readonly entries: readonly ArchiveEntry[];
  readonly totalBytes: number;
  readonly metadata: ArchiveMetadata;
  readonly original: (path: string) => string;
  readonly ignored: readonly string[];
  private readonly entryOf: (record: DirectoryRecord) => ArchiveEntry;
  private readonly factsOf: (record: DirectoryRecord) => Facts;

  constructor(
    private readonly source: ArchiveSource,
    private readonly records: DirectoryRecord[],
    listed: ListedFiles,
    { metadata, original, ignored }: Pick<Archive, 'metadata' | 'original' | 'ignored'>,
  ) {
    this.original = original;
    this.ignored = ignored;
    listed.forgetPaths();
    this.totalBytes = records.reduce((sum, { size }) => sum + size, 0);
    this.entryOf = (record) => new OpenEntry(record, listed, original);
    this.entries = records.map(this.entryOf);
    this.factsOf = ({ index }) => ({ sha256: listed.sha256(index), blocks: listed.blocks.get(index) });
    this.metadata = Object.defineProperty({ ...metadata }, 'entries', {
      enumerable: true,
      get: () => [...listed.all()],
    });
  }

  verify(options?: PassOptions): Promise<void> {
    return this.pass(options);
  }

  verifyWritten(made: readonly number[], options?: PassOptions): Promise<void> {
    return this.pass(options, made);
  }

  /** Reads the whole file. */
  private async pass(
    { signal = NEVER, onProgress, onBytes = IGNORE, threads }: PassOptions = {},
    made?: readonly number[],
  ): Promise<void> {
    const progress = new Progress(onProgress);
    const options = { signal, onBytes, threads, ...(made && { made }) };
    for await (const { chunk } of contents(this.source, this.records, this.factsOf, options)) {
      progress.add(chunk.length);
    }
    progress.end();
  }

  async extract(folder: string, options: ExtractOptions = {}): Promise<void> {
    const { signal = NEVER, onProgress, filter = () => true, whole = false, onBytes = IGNORE } = options;
    const { attributesOf, folderMode, onMissed, flush, overlay, threads } = options;
    const laid = this.records.filter(({ path }) => filter(path));
    const writer = new FolderWriter(folder, { files: laid.length, flush, folderMode, onMissed });
    const progress = new Progress(onProgress);
    try {
      const factsOf = (record: DirectoryRecord): Facts => {
        const facts = this.factsOf(record);
        return record.path === overlay?.path ? { ...facts, sha256: undefined } : facts;
      };
      const pieces = contents(this.source, whole ? this.records : laid, factsOf, {
        signal,
        onBytes: whole ? onBytes : undefined,
        threads,
      });
      for await (const { record, chunk, last } of pieces) {
        if (!whole || filter(record.path)) {
          const attributes = last && !record.directory ? attributesOf?.(this.entryOf(record)) : undefined;
          const entry = { path: record.path, directory: record.directory, attributes };
          if (overlay?.path === record.path) await writeOver(writer, entry, overlay.lay(chunk, last), last);
          else await writer.write(entry, chunk, last);
        }
        progress.add(chunk.length);
      }
      progress.end();
      await writer.finish(signal);
    } finally {
      await writer.close();
    }
  }

  async read(path: string, { signal = NEVER }: { signal?: AbortSignal } = {}): Promise<Readable> {
    const record = this.records.find((candidate) => candidate.path === path && !candidate.directory);
    if (record === undefined) throw new AppError('NOT_FOUND', `The archive has no file ${shown(path)}.`);
    const { source, factsOf } = this;
    const bytes = async function* (): AsyncGenerator<Buffer> {
      for await (const { chunk } of contents(source, [record], factsOf, { signal })) {
        // A stream asks for more than its reader has taken.
        if (chunk.length > 0) yield Buffer.from(chunk);
      }
    };
    return Readable.from(bytes(), { objectMode: false });
  }
}

async function writeOver(
  writer: FolderWriter,
  entry: EntryToWrite,
  pieces: AsyncIterable<Buffer>,
  last: boolean,
): Promise<void> {
  for await (const piece of pieces) await writer.write(entry, piece, false);
  if (last) await writer.write(entry, NOTHING, true);
}

/** An entry as it is shown: a view of its record and of what the metadata says of it. */
class OpenEntry implements ArchiveEntry {
  constructor(
    private readonly record: DirectoryRecord,
    private readonly listed: ListedFiles,
    private readonly named: (path: string) => string,
  ) {}

  get path(): string {
    return this.record.path;
  }

  get original(): string {
    return this.named(this.record.path);
  }

  get size(): number {
    return this.record.size;
  }

  get compressedSize(): number {
    return this.record.compressedSize;
  }

  get crc32(): number {
    return this.record.crc32;
  }

  get directory(): boolean {
    return this.record.directory;
  }

  get mtime(): Date | null {
    return this.listed.mtime(this.record.index) ?? dosTime(this.record.dosTime);
  }

  /** What the metadata says counts: a tool that packs an archive again gives its files permissions of its own. */
  get mode(): number | undefined {
    return this.listed.mode(this.record.index) ?? this.record.mode;
  }

  get sha256(): string | undefined {
    return this.listed.sha256(this.record.index);
  }
}

import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { corrupt, hostile } from './refuse.js';

/*
 * `database.delta`: the pages in which a database differs from that of the parent archive. All numbers are little-endian
 * and unsigned; pages are numbered from 1, as SQLite numbers them.
 *
 *     0  8 bytes  "DBMDELTA"
 *     8  u32      1, the version
 *    12  u32      page size in bytes
 *    16  u32      pages of the parent's database
 *    20  u32      pages of this database
 *    24  u32      runs of changed pages
 *    28  u32      changed pages in all
 *    32  u32 u32  of each run, in ascending order: its first page, and how many pages it has
 *        …        the changed pages, in ascending order
 */

/** The entry that holds the changed pages of an incremental backup. */
export const DELTA_ENTRY = 'database.delta';

const MAGIC = Buffer.from('DBMDELTA');
const VERSION = 1;
const HEADER_BYTES = 32;
const RUN_BYTES = 8;
/** More runs than this are never written nor read: they are held in memory. */
export const MAX_RUNS = 4_000_000;
/** Taken from a list at once: a promise for each would take longer than the rest. */
const RUNS_AT_ONCE = 4096;
/** Read at once. */
const READ_BYTES = 1024 * 1024;
const MIN_PAGE_SIZE = 512;
const MAX_PAGE_SIZE = 65_536;

/** Which pages differ, and of how many. */
export interface DeltaHeader {
  /** Bytes. */
  pageSize: number;
  /** Pages of the parent's database, and of this one. */
  before: number;
  after: number;
  /** How many pages differ, those that were added included. */
  changed: number;
  /** First page and number of pages of each run, ascending; no two touch. */
  runs: Uint32Array;
}

/** Joins ascending page numbers into runs. @param options pages of the parent's database and of this one */
export function deltaOf(
  pages: Iterable<number>,
  { pageSize, before, after }: Pick<DeltaHeader, 'pageSize' | 'before' | 'after'>,
): DeltaHeader {
  const runs: number[] = [];
  let changed = 0;
  let end = 0;
  for (const page of pages) {
    if (page === end && runs.length > 0) runs[runs.length - 1] = (runs.at(-1) ?? 0) + 1;
    else runs.push(page, 1);
    end = page + 1;
    changed += 1;
  }
  return { pageSize, before, after, changed, runs: Uint32Array.from(runs) };
}

/** Bytes before the first page. */
export const deltaHeaderBytes = ({ runs }: Pick<DeltaHeader, 'runs'>): number =>
  HEADER_BYTES + (runs.length / 2) * RUN_BYTES;

/** Bytes of the whole entry. */
export const deltaBytes = ({ runs, changed, pageSize }: Omit<DeltaHeader, 'before' | 'after'>): number =>
  deltaHeaderBytes({ runs }) + changed * pageSize;

/** The entry's bytes. @param file the database that the header describes, which must not change meanwhile */
export function deltaStream(file: string, header: DeltaHeader): Readable {
  const { runs, pageSize } = header;
  async function* bytes(): AsyncGenerator<Buffer> {
    yield headerBytes(header);
    if (runs.length === 0) return;
    const handle = await open(file);
    try {
      for (let index = 0; index < runs.length; index += 2) {
        const start = ((runs[index] ?? 0) - 1) * pageSize;
        const end = start + (runs[index + 1] ?? 0) * pageSize;
        for (let at = start; at < end;) {
          const buffer = Buffer.allocUnsafe(Math.min(end - at, READ_BYTES));
          const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
          // A file that is too short makes an entry that is, which its writer refuses.
          if (bytesRead === 0) return;
          yield buffer.subarray(0, bytesRead);
          at += bytesRead;
        }
      }
    } finally {
      await handle.close();
    }
  }
  return Readable.from(bytes(), { objectMode: false });
}

function headerBytes({ pageSize, before, after, changed, runs }: DeltaHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + runs.length * 4);
  MAGIC.copy(bytes);
  [VERSION, pageSize, before, after, runs.length / 2, changed].forEach((value, index) =>
    bytes.writeUInt32LE(value, MAGIC.length + index * 4),
  );
  runs.forEach((value, index) => bytes.writeUInt32LE(value, HEADER_BYTES + index * 4));
  return bytes;
}

/** A changed page and its content. */
export interface DeltaPage {
  page: number;
  bytes: Buffer;
}

/**
 * Reads a delta as it comes. Nothing is allocated by what it merely says.
 * Everything throws AppError ARCHIVE_CORRUPT or ARCHIVE_HOSTILE naming what is wrong; and what the chunks throw.
 */
export class DeltaReader {
  private constructor(
    readonly header: DeltaHeader,
    private readonly pieces: Pieces,
  ) {}

  /**
   * Reads and checks the header.
   * @param size bytes of the entry as its directory says
   */
  static async open(chunks: AsyncIterable<Buffer>, size: number): Promise<DeltaReader> {
    const pieces = new Pieces(chunks);
    const start = await pieces.take(HEADER_BYTES);
    if (!start.subarray(0, MAGIC.length).equals(MAGIC)) throw corrupt(`${DELTA_ENTRY} is not a list of pages.`);
    const value = (index: number) => start.readUInt32LE(MAGIC.length + index * 4);
    const [version, pageSize, before, after, count, changed] = [0, 1, 2, 3, 4, 5].map(value) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    if (version !== VERSION) throw corrupt(`${DELTA_ENTRY} has version ${version}, which is unknown.`);
    if (!isPageSize(pageSize)) throw hostile(`${DELTA_ENTRY} has pages of ${pageSize} bytes.`);
    const isPossible = count <= changed && changed <= after && count <= MAX_RUNS;
    const expected = HEADER_BYTES + count * RUN_BYTES + changed * pageSize;
    if (!isPossible || expected !== size) {
      throw hostile(`${DELTA_ENTRY} says that it holds ${changed} pages in ${count} runs, but has ${size} bytes.`);
    }
    const runs = await readRuns(pieces, { before, after, count, changed });
    return new DeltaReader({ pageSize, before, after, changed, runs }, pieces);
  }

  /** The changed pages, ascending. To be called once. */
  async *pages(): AsyncGenerator<DeltaPage> {
    const { runs, pageSize } = this.header;
    for (let at = 0; at < runs.length; at += 2) {
      const first = runs[at] ?? 0;
      for (let page = first; page < first + (runs[at + 1] ?? 0); page++) {
        yield { page, bytes: await this.pieces.take(pageSize) };
      }
    }
    // What was read counts only once its end was compared.
    await this.pieces.end();
  }

  /** Gives back what the chunks hold. */
  close(): Promise<void> {
    return this.pieces.close();
  }
}

/** A power of two that SQLite takes. */
export const isPageSize = (bytes: number): boolean =>
  bytes >= MIN_PAGE_SIZE && bytes <= MAX_PAGE_SIZE && (bytes & (bytes - 1)) === 0;

/** Runs must be in order and within the database, and hold every page that the parent does not have. */
async function readRuns(
  pieces: Pieces,
  { before, after, count, changed }: { before: number; after: number; count: number; changed: number },
): Promise<Uint32Array> {
  const runs: number[] = [];
  let [end, pages, added] = [0, 0, 0];
  let bytes: Buffer = Buffer.alloc(0);
  for (let run = 0; run < count; run++) {
    const at = run % RUNS_AT_ONCE;
    if (at === 0) bytes = await pieces.take(Math.min(count - run, RUNS_AT_ONCE) * RUN_BYTES);
    const [first, length] = [bytes.readUInt32LE(at * RUN_BYTES), bytes.readUInt32LE(at * RUN_BYTES + 4)];
    if (first <= end || length === 0) throw hostile(`The pages of ${DELTA_ENTRY} are not in order.`);
    if (first + length - 1 > after) throw hostile(`${DELTA_ENTRY} has a page behind the last one, ${after}.`);
    runs.push(first, length);
    end = first + length;
    pages += length;
    added += Math.max(0, end - 1 - Math.max(before, first - 1));
  }
  if (pages !== changed) throw hostile(`${DELTA_ENTRY} says that it holds ${changed} pages, but lists ${pages}.`);
  if (added !== Math.max(0, after - before)) throw corrupt(`${DELTA_ENTRY} lacks pages that its parent does not have.`);
  return Uint32Array.from(runs);
}

/** Cuts what comes into pieces of a given length. */
class Pieces {
  private readonly iterator: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.iterator = chunks[Symbol.asyncIterator]();
  }

  async take(bytes: number): Promise<Buffer> {
    if (this.rest.length < bytes) {
      const parts = [this.rest];
      for (let have = this.rest.length; have < bytes;) {
        const { value, done } = await this.iterator.next();
        if (done) throw corrupt(`${DELTA_ENTRY} ends before its last page.`);
        parts.push(value);
        have += value.length;
      }
      this.rest = Buffer.concat(parts);
    }
    const taken = this.rest.subarray(0, bytes);
    this.rest = this.rest.subarray(bytes);
    return taken;
  }

  async end(): Promise<void> {
    if (this.rest.length > 0 || !(await this.iterator.next()).done) {
      throw corrupt(`${DELTA_ENTRY} goes on behind its last page.`);
    }
  }

  async close(): Promise<void> {
    await this.iterator.return?.();
  }
}

import { createHash } from 'node:crypto';
import { createReadStream, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { fromErrno } from '../errors.js';
import { DELTA_ENTRY, type DeltaHeader, DeltaReader, deltaHeaderBytes } from './delta.js';
import type { Archive, Overlay } from './read.js';
import { corrupt } from './refuse.js';

/** So much of the database is put together at once. */
const PIECE_BYTES = 1024 * 1024;

/** The error for a delta that was not made on its parent. */
export const misfit = ({ metadata }: Pick<Archive, 'metadata'>) =>
  corrupt(`${DELTA_ENTRY} of ${metadata.backup_id} does not fit to the database of its parent.`);

/** A delta that lies in the file, and how far it was laid over the database. */
interface Laid {
  runs: Uint32Array;
  /** Where its first page begins in the file. */
  start: number;
  /** Index in `runs` of the first that is not behind, and how many pages the runs before it have. */
  at: number;
  before: number;
}

/**
 * The pages that the deltas of a chain hold, one delta behind the other in a file of its own. Of each page the newest is laid
 * over the database of the full backup while that is written, so that nothing is written or read twice.
 */
export class DeltaPages {
  /** The newest first. */
  private readonly deltas: Laid[] = [];
  private readonly hash = createHash('sha256');
  /** Bytes of the file. */
  private end = 0;

  private constructor(
    private readonly handle: FileHandle,
    private readonly file: string,
    private readonly pageSize: number,
    private readonly pageCount: number,
  ) {}

  /**
   * @param file where they are laid; must not exist
   * @param database the sizes of the database that is put together
   */
  static async create(file: string, database: { page_size: number; page_count: number }): Promise<DeltaPages> {
    return new DeltaPages(await open(file, 'wx+', 0o600), file, database.page_size, database.page_count);
  }

  /** Takes a delta in while it is extracted; in its own place nothing is laid. */
  taking(): Overlay {
    // eslint-disable-next-line require-yield -- all of it goes into the file
    const lay = async function* (this: DeltaPages, chunk: Buffer): AsyncGenerator<Buffer> {
      await this.append(chunk);
    }.bind(this);
    return { path: DELTA_ENTRY, lay };
  }

  /**
   * Reads the header of the delta that was taken in last: to be called for the newest first.
   * @param start bytes of the file before it was taken in
   * @throws AppError ARCHIVE_CORRUPT, ARCHIVE_HOSTILE
   */
  async add(start: number, archive: Pick<Archive, 'metadata'>): Promise<DeltaHeader> {
    const size = this.end - start;
    const chunks = createReadStream(this.file, { start, end: Math.max(start, this.end - 1) }) as AsyncIterable<Buffer>;
    const reader = await DeltaReader.open(chunks, size);
    await reader.close();
    const { header } = reader;
    if (header.pageSize !== this.pageSize) throw misfit(archive);
    this.deltas.push({ runs: header.runs, start: start + deltaHeaderBytes(header), at: 0, before: 0 });
    return header;
  }

  /** Bytes of all that was taken in. */
  get bytes(): number {
    return this.end;
  }

  /**
   * Lays them over the database of the full backup, and gives the database that is put together.
   * @param path of its entry
   * @throws AppError ARCHIVE_CORRUPT where a page is missing
   */
  over(path: string): Overlay {
    const { hash, pageSize, pageCount } = this;
    const size = pageCount * pageSize;
    let done = 0;
    const next = (piece: Buffer, isWhole: boolean): Buffer => {
      const missing = this.lay(piece, done);
      if (!isWhole && missing !== null) throw corrupt(`No backup of the chain has page ${missing} of the database.`);
      done += piece.length;
      hash.update(piece);
      return piece;
    };
    return {
      path,
      async *lay(chunk, last) {
        const own = chunk.subarray(0, Math.max(0, size - done));
        for (let at = 0; at < own.length; at += PIECE_BYTES) yield next(own.subarray(at, at + PIECE_BYTES), true);
        while (last && done < size) yield next(Buffer.allocUnsafe(Math.min(PIECE_BYTES, size - done)), false);
      },
    };
  }

  /** SHA-256 of what was put together, hex. To be called once, at the end. */
  sha256(): string {
    return this.hash.digest('hex');
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  private async append(chunk: Buffer): Promise<void> {
    try {
      for (let at = 0; at < chunk.length;) {
        const { bytesWritten } = await this.handle.write(chunk, at, chunk.length - at, this.end);
        at += bytesWritten;
        this.end += bytesWritten;
      }
    } catch (error) {
      throw fromErrno(error, 'write changed pages', 'STORAGE_NOT_WRITABLE', 'STORAGE_NOT_WRITABLE') ?? error;
    }
  }

  /**
   * Lays the newest pages over a piece of the database. To be called for all of it, in order.
   * @param position where the piece begins; need not be the beginning of a page
   * @returns the first page of the piece that no delta has; null if they have all
   */
  private lay(piece: Buffer, position: number): number | null {
    const { pageSize } = this;
    const first = Math.floor(position / pageSize) + 1;
    const after = Math.ceil((position + piece.length) / pageSize) + 1;
    const taken = new Uint8Array(after - first);
    for (const delta of this.deltas) {
      const { runs } = delta;
      // A page of which only a part is in this piece is needed for the next one, too.
      while (delta.at < runs.length && endOf(runs, delta.at) <= first) {
        delta.before += runs[delta.at + 1] as number;
        delta.at += 2;
      }
      let { before } = delta;
      for (let at = delta.at; at < runs.length && (runs[at] as number) < after; at += 2) {
        const start = runs[at] as number;
        const until = Math.min(endOf(runs, at), after);
        for (let page = Math.max(start, first); page < until;) {
          const from = page;
          while (page < until && taken[page - first] === 0) taken[page++ - first] = 1;
          if (page > from)
            this.copy(piece, position, { from, until: page, at: delta.start + (before + from - start) * pageSize });
          while (page < until && taken[page - first] === 1) page += 1;
        }
        before += runs[at + 1] as number;
      }
    }
    const missing = taken.indexOf(0);
    return missing === -1 ? null : first + missing;
  }

  /** Copies pages into a piece, as far as they are in it. Synchronously: they were just written, and a promise takes longer. */
  private copy(piece: Buffer, position: number, pages: { from: number; until: number; at: number }): void {
    const { pageSize } = this;
    const start = (pages.from - 1) * pageSize - position;
    const [begin, end] = [Math.max(0, start), Math.min(piece.length, (pages.until - 1) * pageSize - position)];
    for (let at = begin; at < end;) {
      const read = readSync(this.handle.fd, piece, at, end - at, pages.at + at - start);
      if (read === 0) throw corrupt('A page of a delta is missing.');
      at += read;
    }
  }
}

/** The page behind the last one of a run. */
const endOf = (runs: Uint32Array, at: number): number => (runs[at] as number) + (runs[at + 1] as number);

import { createHash } from 'node:crypto';
import { createReadStream, writeSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { fromErrno } from '../errors.js';
import { DELTA_ENTRY, type DeltaHeader, DeltaReader } from './delta.js';
import type { Archive } from './read.js';
import { corrupt } from './refuse.js';

const READ_BYTES = 1024 * 1024;

/** The error for a delta that was not made on its parent. */
export const misfit = ({ metadata }: Pick<Archive, 'metadata'>) =>
  corrupt(`${DELTA_ENTRY} of ${metadata.backup_id} does not fit to the database of its parent.`);

/**
 * The newest content of all pages that the deltas of a chain hold. Each lies at its place in a file of its own, and what
 * lies between them takes no room; so they are laid over the database of the full backup while that is written.
 */
export class NewestPages {
  /** 1 for each page that is there, by its number. */
  private readonly has: Uint8Array;
  private readonly hash = createHash('sha256');

  private constructor(
    private readonly handle: FileHandle,
    private readonly pageSize: number,
    private readonly pageCount: number,
  ) {
    this.has = new Uint8Array(pageCount + 1);
  }

  /**
   * @param file where they are laid; must not exist
   * @param database the sizes of the database that is put together
   */
  static async create(file: string, database: { page_size: number; page_count: number }): Promise<NewestPages> {
    return new NewestPages(await open(file, 'wx+', 0o600), database.page_size, database.page_count);
  }

  /**
   * Adds the pages of a delta that no newer one has: to be called for the newest first.
   * @param file the delta @param archive that it is of, for errors
   * @throws AppError ARCHIVE_CORRUPT, ARCHIVE_HOSTILE
   */
  async add(file: string, archive: Pick<Archive, 'metadata'>, signal: AbortSignal): Promise<DeltaHeader> {
    const { size } = await stat(file);
    const chunks = createReadStream(file, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>;
    const reader = await DeltaReader.open(chunks, size);
    try {
      if (reader.header.pageSize !== this.pageSize) throw misfit(archive);
      for await (const { page, bytes } of reader.pages()) {
        signal.throwIfAborted();
        if (page > this.pageCount || this.has[page] === 1) continue;
        this.has[page] = 1;
        this.write(bytes, (page - 1) * this.pageSize);
      }
      return reader.header;
    } finally {
      await reader.close();
    }
  }

  /**
   * Lays them over the database of the full backup, and gives the database that is put together.
   * @returns what is to be called with each of its chunks, in order; it changes them
   * @throws AppError ARCHIVE_CORRUPT where a page is missing
   */
  over(): (chunk: Buffer, last: boolean) => AsyncGenerator<Buffer> {
    const { has, hash, pageSize } = this;
    const size = this.pageCount * pageSize;
    const pageOf = (position: number) => Math.floor(position / pageSize) + 1;
    const newer = Buffer.allocUnsafe(READ_BYTES);
    let done = 0;
    const next = async (piece: Buffer): Promise<Buffer> => {
      if (has.subarray(pageOf(done), pageOf(done + piece.length - 1) + 1).includes(1)) {
        await this.read(newer.subarray(0, piece.length), done);
        for (let at = 0; at < piece.length;) {
          const page = pageOf(done + at);
          const end = Math.min(page * pageSize - done, piece.length);
          if (has[page] === 1) newer.copy(piece, at, at, end);
          at = end;
        }
      }
      done += piece.length;
      hash.update(piece);
      return piece;
    };
    return async function* (chunk, last) {
      const own = chunk.subarray(0, Math.max(0, size - done));
      for (let at = 0; at < own.length; at += READ_BYTES) yield await next(own.subarray(at, at + READ_BYTES));
      if (!last) return;
      while (done < size) {
        const piece = Buffer.allocUnsafe(Math.min(READ_BYTES, size - done));
        const missing = has.subarray(pageOf(done), pageOf(done + piece.length - 1) + 1).indexOf(0);
        if (missing >= 0) throw corrupt(`No backup of the chain has page ${pageOf(done) + missing} of the database.`);
        yield await next(piece);
      }
    };
  }

  /** SHA-256 of what was put together, hex. To be called once, at the end. */
  sha256(): string {
    return this.hash.digest('hex');
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  /** Synchronously: a page takes microseconds, and a promise for each many times that. */
  private write(bytes: Buffer, position: number): void {
    try {
      for (let at = 0; at < bytes.length;) {
        at += writeSync(this.handle.fd, bytes, at, bytes.length - at, position + at);
      }
    } catch (error) {
      throw fromErrno(error, 'write changed pages', 'STORAGE_NOT_WRITABLE', 'STORAGE_NOT_WRITABLE') ?? error;
    }
  }

  /** Where no page was laid, and behind the last one, the bytes mean nothing. */
  private async read(buffer: Buffer, position: number): Promise<void> {
    for (let at = 0; at < buffer.length;) {
      const { bytesRead } = await this.handle.read(buffer, at, buffer.length - at, position + at);
      if (bytesRead === 0) return;
      at += bytesRead;
    }
  }
}

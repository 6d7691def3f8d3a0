import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { AppError, fromErrno } from '../errors.js';
import { abortReason, corrupt } from './refuse.js';

/** The bytes of a stored archive, wherever they lie. */
export interface ArchiveSource {
  /** Bytes. */
  size: number;
  /** The bytes from `start` to `endInclusive`. The reader destroys the stream when it has what it needs. */
  read(start: number, endInclusive: number): Promise<Readable>;
}

/**
 * A file as the source of an archive. Opens it anew for each read.
 * @throws AppError ARCHIVE_MISSING or STORAGE_UNAVAILABLE
 */
export async function fileSource(path: string): Promise<ArchiveSource> {
  try {
    const { size } = await stat(path);
    return { size, read: async (start, end) => createReadStream(path, { start, end, highWaterMark: 256 * 1024 }) };
  } catch (error) {
    throw readFailed(error, path);
  }
}

function readFailed(error: unknown, what: string): AppError {
  const known = fromErrno(error, `read ${what}`, 'STORAGE_UNAVAILABLE', 'ARCHIVE_MISSING');
  return known ?? new AppError('STORAGE_UNAVAILABLE', `Reading ${what} failed.`, { cause: error });
}

/** Reads a range of a source piece by piece. Every wait ends: with bytes, the range's end, an error or the signal. */
export class RangeReader {
  private iterator: AsyncIterator<Buffer> | undefined;
  private stream: Readable | undefined;
  private rest: Buffer = Buffer.alloc(0);
  private stopped: AppError | undefined;
  private rejectWait: ((error: AppError) => void) | undefined;
  private readonly abort = () => this.stop(abortReason(this.signal));

  /**
   * @param length bytes of the range; 0 is allowed
   * @param onBytes called with the bytes of the source as they come, in their order
   */
  constructor(
    private readonly source: ArchiveSource,
    private readonly start: number,
    private readonly length: number,
    private readonly signal: AbortSignal,
    private readonly onBytes: (chunk: Buffer) => void = () => undefined,
  ) {
    if (signal.aborted) this.abort();
    else signal.addEventListener('abort', this.abort, { once: true });
  }

  /**
   * The next `bytes` bytes in one buffer.
   * @throws AppError ARCHIVE_CORRUPT if the source ends before; the source's own error; the signal's reason
   */
  async take(bytes: number): Promise<Buffer> {
    if (bytes <= this.rest.length && this.stopped === undefined) {
      const taken = this.rest.subarray(0, bytes);
      this.rest = this.rest.subarray(bytes);
      return taken;
    }
    const parts: Buffer[] = [];
    for await (const part of this.pass(bytes)) parts.push(part);
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  /** The next `bytes` bytes as they come. Fails like `take`. */
  async *pass(bytes: number): AsyncGenerator<Buffer> {
    for (let left = bytes; left > 0;) {
      if (this.stopped !== undefined) throw this.stopped;
      if (this.rest.length === 0) this.rest = await this.next();
      const part = this.rest.subarray(0, left);
      this.rest = this.rest.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }

  /** Leaves out the next `bytes` bytes. Fails like `take`. */
  async skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0;) {
      if (this.stopped !== undefined) throw this.stopped;
      if (this.rest.length === 0) this.rest = await this.next();
      const part = Math.min(left, this.rest.length);
      this.rest = this.rest.subarray(part);
      left -= part;
    }
  }

  /** Ends the reading and frees the source's stream. */
  close(): void {
    this.signal.removeEventListener('abort', this.abort);
    this.stream?.destroy();
  }

  private stop(error: AppError): void {
    this.stopped ??= error;
    this.rejectWait?.(this.stopped);
    this.stream?.destroy();
  }

  private async next(): Promise<Buffer> {
    return new Promise<Buffer>((resolve, reject) => {
      this.rejectWait = reject;
      this.nextChunk().then(resolve, (error: unknown) => reject(this.stopped ?? error));
    }).finally(() => {
      this.rejectWait = undefined;
    });
  }

  private async nextChunk(): Promise<Buffer> {
    try {
      this.iterator ??= await this.open();
      for (;;) {
        const { value, done } = await this.iterator.next();
        if (done) throw corrupt('The archive ends before its last byte: it is truncated.');
        if (value.length === 0) continue;
        this.onBytes(value);
        return value;
      }
    } catch (error) {
      throw readFailed(error, 'the archive');
    }
  }

  private async open(): Promise<AsyncIterator<Buffer>> {
    const stream = await this.source.read(this.start, this.start + this.length - 1);
    this.stream = stream;
    // An error that comes after the last byte we wanted must not end the process.
    stream.on('error', () => undefined);
    if (this.stopped !== undefined) stream.destroy();
    return stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }
}

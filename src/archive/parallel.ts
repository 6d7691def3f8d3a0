import { Duplex } from 'node:stream';
import { crc32 } from 'node:zlib';
import { BLOCK_BYTES, type Method } from './block.js';
import type { BlockThreads } from './block-threads.js';
import type { RangeReader } from './source.js';

/**
 * Compresses in independent blocks on all cores and joins them to one stream that every reader expands. DEFLATE: each block
 * but the last ends with a sync flush, so that it ends at a byte and nothing after it refers back to it. ZSTD: each block is
 * a frame. Every block is expanded again and compared where it was made.
 *
 * It stands in for compress-commons' own compressor of one entry, which asks for `digest` and `size`: see `zip.ts`. Input
 * and output keep their order; at most one block more than threads is in memory. The chunks that are written may be moved
 * to a thread: they are not to be used afterwards.
 */
export class ParallelCompressor extends Duplex {
  /** Bytes of each block so far, after compression. */
  readonly lengths: number[] = [];
  /** CRC-32 of the output so far, taken of each block where it was made. */
  sum = 0;
  private crc = 0;
  private rawSize = 0;
  private compressedSize = 0;
  private pieces: Buffer[] = [];
  private pieceBytes = 0;
  /** The blocks under way, oldest first, each as the promise of its output. */
  private readonly blocks: Promise<Buffer>[] = [];
  private emitting = false;
  private isLast = false;
  /** Called when a block has left, for the writer who waits for room. */
  private onRoom: (() => void) | undefined;
  /** Called by the reader who has room again. */
  private onDemand: (() => void) | undefined;

  /** @param level 0 to 9 */
  constructor(
    private readonly method: Method,
    private readonly level: number,
    private readonly threads: BlockThreads,
  ) {
    super({ writableHighWaterMark: BLOCK_BYTES, readableHighWaterMark: 4 * BLOCK_BYTES });
  }

  /** CRC-32 of the input so far, big-endian. */
  digest(): Buffer {
    const digest = Buffer.alloc(4);
    digest.writeUInt32BE(this.crc);
    return digest;
  }

  /** Bytes so far, of the input or of the output. */
  size(compressed = false): number {
    return compressed ? this.compressedSize : this.rawSize;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.crc = crc32(chunk, this.crc);
    this.rawSize += chunk.length;
    this.pieces.push(chunk);
    this.pieceBytes += chunk.length;
    // The last block is only known at the end, so a full one waits for what comes after it.
    while (this.pieceBytes > BLOCK_BYTES) this.start(this.cut(BLOCK_BYTES), false);
    if (this.blocks.length <= this.threads.most) done();
    else this.onRoom = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    this.start(this.cut(this.pieceBytes), true);
    done();
  }

  override _read(): void {
    const demand = this.onDemand;
    this.onDemand = undefined;
    demand?.();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this._read();
    done(error);
  }

  private cut(bytes: number): Buffer {
    const taken: Buffer[] = [];
    for (let left = bytes; left > 0;) {
      const piece = this.pieces.shift() as Buffer;
      const part = piece.subarray(0, left);
      if (part.length < piece.length) this.pieces.unshift(piece.subarray(part.length));
      taken.push(part);
      left -= part.length;
    }
    this.pieceBytes -= bytes;
    return taken.length === 1 && taken[0] ? taken[0] : Buffer.concat(taken);
  }

  private start(block: Buffer, last: boolean): void {
    const { method, level } = this;
    const work = this.threads.run({ kind: 'compress', method, bytes: block, level, last });
    work.catch(() => undefined);
    this.blocks.push(work);
    this.isLast = last;
    if (!this.emitting) void this.emitBlocks();
  }

  private async emitBlocks(): Promise<void> {
    this.emitting = true;
    try {
      for (let block = this.blocks[0]; block !== undefined; block = this.blocks[0]) {
        const bytes = await block;
        this.blocks.shift();
        if (this.destroyed) return;
        this.compressedSize += bytes.length;
        this.lengths.push(bytes.length);
        this.sum = crc32(bytes, this.sum);
        const hasRoom = this.push(bytes);
        const room = this.onRoom;
        this.onRoom = undefined;
        room?.();
        if (!hasRoom) await new Promise<void>((resolve) => (this.onDemand = resolve));
      }
      if (this.isLast) this.push(null);
    } catch (error) {
      this.destroy(error as Error);
    } finally {
      this.emitting = false;
    }
  }
}

/**
 * The bytes of blocks that `ParallelCompressor` made, expanded on all cores, in their order. Where they lie is what the archive
 * says: the caller compares size and checksum of what comes out. Each piece is valid until the next one is asked for.
 * @param reader stands at the first of them
 * @param lengths as `ParallelCompressor.lengths`
 * @throws what the reader throws; an error of zlib
 */
export async function* expandBlocks(
  reader: RangeReader,
  method: Method,
  lengths: readonly number[],
  threads: BlockThreads,
): AsyncGenerator<Buffer> {
  const blocks: Promise<Buffer>[] = [];
  for (const length of lengths) {
    if (blocks.length > threads.most) {
      const done = (await blocks.shift()) as Buffer;
      yield done;
      threads.reuse(done);
    }
    const block = threads.run({ kind: 'expand', method, bytes: await reader.take(length) });
    block.catch(() => undefined);
    blocks.push(block);
  }
  for (const block of blocks) yield await block;
}

/** True if these can be the blocks of an entry, by their number and their sum. */
export function areBlocksOf(lengths: readonly number[], entry: { size: number; compressedSize: number }): boolean {
  return (
    lengths.length === Math.ceil(entry.size / BLOCK_BYTES) &&
    lengths.every((length) => length > 0 && length <= MAX_BLOCK) &&
    lengths.reduce((sum, length) => sum + length, 0) === entry.compressedSize
  );
}

/** What does not compress becomes a little longer. */
const MAX_BLOCK = BLOCK_BYTES + BLOCK_BYTES / 16;

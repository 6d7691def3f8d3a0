import zlib, { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { AppError } from '../errors.js';

/** How bytes are compressed: ZIP method 8 or 93. */
export type Method = 'DEFLATE' | 'ZSTD';

/** Bytes before compression that are compressed as one piece. */
export const BLOCK_BYTES = 1024 * 1024;

/** The least that zlib takes as `chunkSize`, in bytes. One chunk for a block is faster than many of 16 KiB. */
const MIN_CHUNK = 64;

/** A block to compress, or to expand: `into` memory of `BLOCK_BYTES` that is there already, if any. */
export type BlockTask = { method: Method; bytes: Uint8Array } & (
  { kind: 'compress'; level: number; last: boolean } | { kind: 'expand'; into?: ArrayBuffer }
);

interface Zstd {
  zstdCompressSync?(bytes: Uint8Array, options: object): Buffer;
  zstdDecompressSync?(bytes: Uint8Array, options: object): Buffer;
}

/** ZSTD is in Node 22.15 and newer. */
const { zstdCompressSync, zstdDecompressSync } = zlib as unknown as Zstd;

/** True if this runtime can compress and expand by ZSTD. */
export const hasZstd = zstdCompressSync !== undefined && zstdDecompressSync !== undefined;

/** ZSTD_c_compressionLevel of zstd.h. */
const LEVEL = 100;
/**
 * How a reader expands ZSTD: by ZSTD_d_windowLogMax of zstd.h it takes 8 MiB for what an archive asks it to remember, which
 * is as much as our own levels and those of common tools need, and not the 128 MiB that zstd would give.
 */
export const ZSTD_READING = { params: { 100: 23 } };

/**
 * Does the task on the calling thread. A compressed block ends at a byte and needs nothing before it; it is expanded again
 * and compared.
 * @returns null if a compressed block does not expand to what it was
 * @throws an error of zlib
 */
export function workBlock(task: BlockTask): Buffer | null {
  const { method, bytes } = task;
  if (task.kind === 'expand') return expanded(method, bytes, BLOCK_BYTES, BLOCK_BYTES);
  const compressed = method === 'ZSTD' ? zstd(bytes, task.level) : deflated(bytes, task.level, task.last);
  // One byte more than there must be, so that a longer result is seen.
  const again = expanded(method, compressed, bytes.length + 1, Math.max(bytes.length, MIN_CHUNK));
  return again.equals(bytes) ? compressed : null;
}

function deflated(bytes: Uint8Array, level: number, last: boolean): Buffer {
  const finishFlush = last ? constants.Z_FINISH : constants.Z_SYNC_FLUSH;
  return deflateRawSync(bytes, { level, finishFlush, chunkSize: Math.max(bytes.length, MIN_CHUNK), ...tables(bytes) });
}

/**
 * Most of the time that a small file takes is spent on making zlib's tables ready, which need not be larger than the file.
 * For whole blocks the largest tables are the fastest.
 */
function tables({ length }: Uint8Array): { windowBits: number; memLevel: number } {
  const windowBits = Math.min(15, Math.max(9, Math.ceil(Math.log2(length + 1))));
  return { windowBits, memLevel: windowBits - 6 };
}

/** A frame of its own; frames that follow each other are one stream. Its lowest level is 1. */
function zstd(bytes: Uint8Array, level: number): Buffer {
  const chunkSize = Math.max(bytes.length, MIN_CHUNK);
  return (zstdCompressSync ?? missingZstd)(bytes, { params: { [LEVEL]: Math.max(1, level) }, chunkSize });
}

function expanded(method: Method, bytes: Uint8Array, maxOutputLength: number, chunkSize: number): Buffer {
  if (method === 'ZSTD')
    return (zstdDecompressSync ?? missingZstd)(bytes, { ...ZSTD_READING, maxOutputLength, chunkSize });
  return inflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength, chunkSize });
}

/** @throws AppError ARCHIVE_TOO_NEW */
export function missingZstd(): never {
  throw new AppError('ARCHIVE_TOO_NEW', `ZSTD needs Node 22.15 or newer; this is Node ${process.versions.node}.`, {
    hint: 'Start db-manager with a newer Node.',
  });
}

import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';

/** Bytes before compression that are compressed as one piece. */
export const BLOCK_BYTES = 1024 * 1024;

/** The least that zlib takes as `chunkSize`, in bytes. One chunk for a block is faster than many of 16 KiB. */
const MIN_CHUNK = 64;

/** A block to deflate or to inflate. */
export type BlockTask =
  { kind: 'deflate'; bytes: Uint8Array; level: number; last: boolean } | { kind: 'inflate'; bytes: Uint8Array };

/**
 * Does the task on the calling thread.
 * @returns null if a deflated block does not inflate to what it was
 * @throws an error of zlib
 */
export function workBlock(task: BlockTask): Buffer | null {
  if (task.kind === 'deflate') return deflated(task.bytes, task.level, task.last);
  return inflateRawSync(task.bytes, {
    finishFlush: constants.Z_SYNC_FLUSH,
    maxOutputLength: BLOCK_BYTES,
    chunkSize: BLOCK_BYTES,
  });
}

/** Deflates a block so that it ends at a byte and needs nothing before it, inflates it again and compares. */
function deflated(block: Uint8Array, level: number, last: boolean): Buffer | null {
  const chunkSize = Math.max(block.length, MIN_CHUNK);
  const finishFlush = last ? constants.Z_FINISH : constants.Z_SYNC_FLUSH;
  const bytes = deflateRawSync(block, { level, finishFlush, chunkSize });
  const finished = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: block.length + 1, chunkSize };
  return inflateRawSync(bytes, finished).equals(block) ? bytes : null;
}

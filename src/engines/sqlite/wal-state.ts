import { fstatSync, readSync } from 'node:fs';
import { readFully } from '../../archive/page-hashes.js';

/*
 * Which bytes of a database and its write-ahead log are the state that a reader sees, as SQLite's own reader finds them:
 * https://www.sqlite.org/walformat.html and https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
 */

/** Bytes of the index header, which the shared file holds twice, and of what follows about checkpoints. */
const INDEX_HEADER = 48;
const WAL_HEADER = 32;
const FRAME_HEADER = 24;
/** The version of the index's format that is read here. */
const INDEX_VERSION = 3_007_000;

/** What the index says of the newest committed state. */
export interface WalIndex {
  /** All of the header: two that are equal are of the same state. */
  header: Uint8Array;
  /** How many frames of the log belong to the state. */
  frames: number;
  /** Pages of the database in that state. */
  pageCount: number;
  /** How many frames a checkpoint has written into the database already. */
  written: number;
}

/** Reads the index of a write-ahead log. @param fd of the `-shm` file @returns null where a writer is at it, or it is of another format */
export function readWalIndex(fd: number): WalIndex | null {
  const buffer = Buffer.alloc(2 * INDEX_HEADER + 4);
  if (readFully(fd, buffer, 0) < buffer.length) return null;
  const header = buffer.subarray(0, INDEX_HEADER);
  if (!header.equals(buffer.subarray(INDEX_HEADER, 2 * INDEX_HEADER))) return null;
  const read = native(buffer);
  const isValid = read.u32(0) === INDEX_VERSION && header[12] === 1;
  if (!isValid) return null;
  return { header, frames: read.u32(16), pageCount: read.u32(20), written: read.u32(2 * INDEX_HEADER) };
}

/**
 * Finds the newest version of each page among the frames of a state.
 * @param fd of the `-wal` file
 * @returns where each page's bytes begin, by its number; null where the log is not that of the index
 */
export function readFrames(fd: number, index: WalIndex, pageSize: number): Map<number, number> | null {
  const { frames } = index;
  // Another thread gets it as plain bytes.
  const header = Buffer.from(index.header);
  const start = Buffer.alloc(WAL_HEADER);
  if (readFully(fd, start, 0) < WAL_HEADER) return null;
  const salt = header.subarray(32, 40);
  if (start.readUInt32BE(8) !== pageSize || !start.subarray(16, 24).equals(salt)) return null;
  if (fstatSync(fd).size < WAL_HEADER + frames * (FRAME_HEADER + pageSize)) return null;
  const found = new Map<number, number>();
  const frame = Buffer.alloc(FRAME_HEADER);
  for (let number = 0, at = WAL_HEADER; number < frames; number++, at += FRAME_HEADER + pageSize) {
    if (readSync(fd, frame, 0, FRAME_HEADER, at) < FRAME_HEADER || !frame.subarray(8, 16).equals(salt)) return null;
    found.set(frame.readUInt32BE(0), at + FRAME_HEADER);
  }
  // The last frame is the commit whose checksum the index names.
  const read = native(header);
  const isCommit =
    frame.readUInt32BE(4) === read.u32(20) &&
    frame.readUInt32BE(16) === read.u32(24) &&
    frame.readUInt32BE(20) === read.u32(28);
  return isCommit ? found : null;
}

/** SQLite keeps the index in the byte order of the machine. */
function native(buffer: Buffer): { u32(at: number): number } {
  const isLittle = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
  return { u32: (at) => (isLittle ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at)) };
}

import { hash } from 'node:crypto';
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { type Method, workBlock } from './block.js';
import { isCompressed, WORTH_COMPRESSING } from './compressed.js';
import { SMALL_BYTES, TINY_BYTES } from './format.js';
import { rawName, systemPath } from './raw-names.js';

/** A file to read: where it lies, and its path in the archive. */
export interface SmallFileTask {
  file: string;
  path: string;
}

/** How small files are compressed. */
export interface SmallFileOptions {
  /** Null: all are stored as they are. */
  method: Method | null;
  level: number;
}

/** A file that was read whole, as it goes into the archive. */
export interface SmallFile {
  /** As they lie in the archive. */
  bytes: Uint8Array;
  stored: boolean;
  /** Of the file, before compression. */
  size: number;
  crc: number;
  /** Hex. */
  sha256: string;
  /** CRC-32 of `bytes`. */
  sum: number;
  mtimeMs: number;
  mode: number;
  /** True if it changed while it was read. */
  changed: boolean;
}

/** Files for a thread to read. */
export interface FilesTask extends SmallFileOptions {
  kind: 'files';
  files: SmallFileTask[];
}

/** What a thread has read: the bytes of all, and of each where its own end. */
export interface PackedFiles {
  bytes: Uint8Array;
  files: ((Omit<SmallFile, 'bytes'> & { end: number }) | null)[];
}

/** Each file with its own part of the bytes. */
export function unpacked({ bytes, files }: PackedFiles): (SmallFile | null)[] {
  let at = 0;
  return files.map((file) => {
    if (file === null) return null;
    const { end, ...about } = file;
    const own = bytes.subarray(at, end);
    at = end;
    return { ...about, bytes: own };
  });
}

/**
 * Reads and compresses a small file on the calling thread, and blocks it: for a thread that does nothing else.
 * @returns null for what is not small, not a regular file that lies where it should, or cannot be read: the one who asks
 * looks at it with more care
 */
export function readSmallFile({ file, path }: SmallFileTask, { method, level }: SmallFileOptions): SmallFile | null {
  let handle: number | undefined;
  try {
    const before = lstatSync(systemPath(file));
    if (!before.isFile() || before.size > SMALL_BYTES) return null;
    const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
    handle = openSync(systemPath(file), flags);
    const stats = fstatSync(handle);
    if (!stats.isFile() || stats.ino !== before.ino || stats.dev !== before.dev || !liesAt(handle, file)) return null;
    if (stats.size > SMALL_BYTES) return null;
    const bytes = Buffer.allocUnsafe(stats.size);
    let size = 0;
    for (let read = -1; read !== 0 && size < bytes.length; size += read) {
      read = readSync(handle, bytes, size, bytes.length - size, size);
    }
    const after = fstatSync(handle);
    const changed = after.mtimeMs !== stats.mtimeMs || after.size !== stats.size || size !== stats.size;
    const { mtimeMs, mode } = stats;
    return { ...packed(bytes.subarray(0, size), path, { method, level }), mtimeMs, mode, changed };
  } catch {
    return null;
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

function packed(bytes: Buffer, path: string, { method, level }: SmallFileOptions) {
  const crc = crc32(bytes);
  const about = { size: bytes.length, crc, sha256: hash('sha256', bytes, 'hex') };
  const isWorth = method !== null && bytes.length > TINY_BYTES && !isCompressed(path);
  const compressed = isWorth ? workBlock({ kind: 'compress', method, bytes, level, last: true }) : bytes;
  if (compressed === null) throw new Error('a block that does not expand to what was compressed');
  if (compressed.length > bytes.length * WORTH_COMPRESSING) return { ...about, bytes, stored: true, sum: crc };
  return { ...about, bytes: compressed, stored: false, sum: crc32(compressed) };
}

/** False if a folder on the way to the file was swapped for a link. Known only on Linux. */
function liesAt(handle: number, file: string): boolean {
  try {
    return rawName(readlinkSync(`/proc/self/fd/${handle}`, 'buffer')) === file;
  } catch {
    return process.platform !== 'linux';
  }
}

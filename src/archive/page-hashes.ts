import { createHash, hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { startThread } from '../threads.js';

/** Bytes of a page's hash: the first half of its SHA-256. */
export const PAGE_HASH_BYTES = 16;
/** Read at once; a multiple of every page size. */
const READ_BYTES = 1024 * 1024;

/** Files up to so many bytes are hashed on the calling thread. */
const SMALL_BYTES = 8 * 1024 * 1024;

/** The hashes of a database file. */
export interface PageHashes {
  pageSize: number;
  pageCount: number;
  /** SHA-256 of the whole file, hex. */
  sha256: string;
  /** `PAGE_HASH_BYTES` for each page, in order. */
  pages: Uint8Array;
}

/** What `hashPages` is to hash. */
export interface PageHashTask {
  file: string;
  pageSize: number;
}

/**
 * Hashes every page of a file and the whole of it, in a thread if it is large.
 * @returns null if the file is not made of whole pages
 * @throws an error of the file system; the signal's reason
 */
export async function hashPages(task: PageHashTask, signal: AbortSignal): Promise<PageHashes | null> {
  signal.throwIfAborted();
  // A thread takes longer to start than a small database to be hashed.
  if ((await stat(task.file)).size <= SMALL_BYTES) return hashPagesSync(task);
  const thread = startThread(new URL('./page-hash-worker', import.meta.url), task);
  const abort = () => void thread.terminate();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await new Promise<PageHashes | null>((resolve, reject) => {
      thread.on('message', resolve);
      thread.on('error', reject);
      thread.on('exit', () => {
        const why: unknown = signal.aborted ? signal.reason : new Error('The thread that hashes pages ended early.');
        reject(why as Error);
      });
    });
  } finally {
    signal.removeEventListener('abort', abort);
    await thread.terminate();
  }
}

/** As `hashPages`, on the calling thread. */
export function hashPagesSync({ file, pageSize }: PageHashTask): PageHashes | null {
  const fd = openSync(file, 'r');
  try {
    const whole = createHash('sha256');
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    let digests = Buffer.alloc(READ_BYTES);
    let pageCount = 0;
    for (;;) {
      const length = readFully(fd, buffer);
      if (length === 0) break;
      if (length % pageSize !== 0) return null;
      whole.update(buffer.subarray(0, length));
      for (let at = 0; at < length; at += pageSize) {
        if ((pageCount + 1) * PAGE_HASH_BYTES > digests.length) {
          digests = Buffer.concat([digests, Buffer.alloc(digests.length)]);
        }
        const digest = hash('sha256', buffer.subarray(at, at + pageSize), 'buffer');
        digest.copy(digests, pageCount * PAGE_HASH_BYTES, 0, PAGE_HASH_BYTES);
        pageCount += 1;
      }
    }
    const pages = new Uint8Array(digests.subarray(0, pageCount * PAGE_HASH_BYTES));
    return { pageSize, pageCount, sha256: whole.digest('hex'), pages };
  } finally {
    closeSync(fd);
  }
}

function readFully(fd: number, buffer: Buffer): number {
  let length = 0;
  while (length < buffer.length) {
    const read = readSync(fd, buffer, length, buffer.length - length, null);
    if (read === 0) break;
    length += read;
  }
  return length;
}

/** The pages that differ or were added, ascending from 1. Both must have the same page size. */
export function* changedPages(before: Pick<PageHashes, 'pages'>, after: Pick<PageHashes, 'pages'>): Generator<number> {
  const old = Buffer.from(before.pages.buffer, before.pages.byteOffset, before.pages.length);
  const now = Buffer.from(after.pages.buffer, after.pages.byteOffset, after.pages.length);
  for (let at = 0, page = 1; at < now.length; at += PAGE_HASH_BYTES, page++) {
    const end = at + PAGE_HASH_BYTES;
    if (end > old.length || now.compare(old, at, end, at, end) !== 0) yield page;
  }
}

import { createHash, hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { answerOfThread } from '../threads.js';

/** Bytes of a page's hash: the first half of its SHA-256. */
export const PAGE_HASH_BYTES = 16;
/** Read at once; a multiple of every page size. */
const READ_BYTES = 1024 * 1024;

/** Files up to so many bytes are hashed on the calling thread: another one takes longer to start. */
export const SMALL_BYTES = 8 * 1024 * 1024;

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
  if ((await stat(task.file)).size <= SMALL_BYTES) return hashPagesSync(task);
  return answerOfThread<PageHashes | null>(new URL('./page-hash-worker', import.meta.url), task, signal);
}

/** As `hashPages`, on the calling thread. */
export function hashPagesSync({ file, pageSize }: PageHashTask): PageHashes | null {
  const fd = openSync(file, 'r');
  try {
    const hasher = new PageHasher(pageSize);
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (;;) {
      const length = readFully(fd, buffer);
      if (length === 0) return hasher.end();
      if (length % pageSize !== 0) return null;
      hasher.add(buffer.subarray(0, length));
    }
  } finally {
    closeSync(fd);
  }
}

/** Hashes the pages of a database as they come. */
export class PageHasher {
  private readonly whole = createHash('sha256');
  private digests = Buffer.alloc(READ_BYTES);
  private pageCount = 0;

  /** @param pageSize bytes */
  constructor(private readonly pageSize: number) {}

  /** @param pages the next ones, whole */
  add(pages: Buffer): void {
    this.whole.update(pages);
    for (let at = 0; at < pages.length; at += this.pageSize) {
      if ((this.pageCount + 1) * PAGE_HASH_BYTES > this.digests.length) {
        this.digests = Buffer.concat([this.digests, Buffer.alloc(this.digests.length)]);
      }
      const digest = hash('sha256', pages.subarray(at, at + this.pageSize), 'buffer');
      digest.copy(this.digests, this.pageCount * PAGE_HASH_BYTES, 0, PAGE_HASH_BYTES);
      this.pageCount += 1;
    }
  }

  /** True if a page that was added is the same in a former state. @param page from 1 */
  isSame(page: number, before: Buffer): boolean {
    const [start, end] = [(page - 1) * PAGE_HASH_BYTES, page * PAGE_HASH_BYTES];
    return end <= before.length && this.digests.compare(before, start, end, start, end) === 0;
  }

  end(): PageHashes {
    const { pageSize, pageCount } = this;
    const pages = new Uint8Array(this.digests.subarray(0, pageCount * PAGE_HASH_BYTES));
    return { pageSize, pageCount, sha256: this.whole.digest('hex'), pages };
  }
}

/** Fills a buffer, from a position or on from where the last read ended. @returns the bytes there were, fewer at the end */
export function readFully(fd: number, buffer: Buffer, position: number | null = null): number {
  let length = 0;
  while (length < buffer.length) {
    const at = position === null ? null : position + length;
    const read = readSync(fd, buffer, length, buffer.length - length, at);
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

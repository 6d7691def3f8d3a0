import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { PageHasher, type PageHashes, readFully, SMALL_BYTES } from '../../archive/page-hashes.js';
import type { OnProgress } from '../../core/ports.js';
import { realFile } from '../../disk.js';
import { errnoOf } from '../../errors.js';
import { type FileBeside, openBeside } from '../../file-locks.js';
import { answerOfThread } from '../../threads.js';
import type { SqliteConnection } from './connection.js';
import { readFrames, readWalIndex, type WalIndex } from './wal-state.js';

/** How often the beginning of a transaction is tried while others write. */
const ATTEMPTS = 50;
/**
 * Without a write-ahead log writers wait until all is read and checked. Of a database of more bytes that takes longer than to
 * copy it.
 */
const MOST_WITHOUT_WAL = 256 * 1024 * 1024;
/** Read at once; a multiple of every page size. */
const READ_BYTES = 1024 * 1024;

/** A state of the database that its file and its log hold, and that stays as long as the transaction that reads it. */
interface HeldState {
  database: FileBeside;
  wal: FileBeside | null;
  /** Null where the file alone is the state. */
  index: WalIndex | null;
  pageSize: number;
  pageCount: number;
  /** The version of this SQLite, as it writes it into a file: 3052000 for 3.52.0. */
  version: number;
}

/** What the thread does. */
export interface ChangesTask {
  database: number;
  wal: number | null;
  index: WalIndex | null;
  pageSize: number;
  pageCount: number;
  version: number;
  /** The hashes of the former state. */
  before: Uint8Array;
  /** Where the pages that differ are laid, each at its place; what lies between takes no room. */
  file: string;
  /** As in `FormerState`. */
  mostChanged: number;
}

/** What is compared with, and where the difference goes. */
export interface Laying {
  before: PageHashes;
  file: string;
  mostChanged: number;
}

/**
 * Reads all pages of the state that a transaction sees, past SQLite, and lays those that differ from a former one. Nothing
 * else is copied.
 * @param path of the database
 * @param work is given the connection, with the transaction open, while the pages are read
 * @returns null where the state cannot be told from outside, or where more pages differ than may
 * @throws what `work` throws; the signal's reason
 */
export async function withChanges<T>(
  connection: SqliteConnection,
  path: string,
  laying: Laying,
  { signal, onProgress }: { signal: AbortSignal; onProgress: OnProgress },
  work: () => Promise<T>,
): Promise<{ hashes: PageHashes; result: T } | null> {
  const opened: FileBeside[] = [];
  try {
    const state = await holdState(connection, await realFile(path), opened);
    if (state?.pageSize !== laying.before.pageSize) return null;
    const [hashes, result] = await Promise.allSettled([layChanges(state, laying, signal, onProgress), work()]);
    if (result.status === 'rejected') throw result.reason;
    if (hashes.status === 'rejected') throw hashes.reason;
    if (hashes.value === null || hashes.value.pageCount !== state.pageCount) return null;
    return { hashes: hashes.value, result: result.value };
  } finally {
    await connection.run('ROLLBACK').catch(() => undefined);
    for (const file of opened) file.close();
  }
}

/** Begins a transaction whose state can be read from outside; null if there is none. @param opened gets the files to close */
async function holdState(connection: SqliteConnection, path: string, opened: FileBeside[]): Promise<HeldState | null> {
  const begin = async () => {
    await connection.run('BEGIN');
    // A transaction begins with its first read.
    return connection.value<number>('PRAGMA page_count');
  };
  const file = async (name: string, of?: FileBeside) => {
    const found = await openBeside(name, of);
    opened.push(found);
    return found;
  };
  const database = await file(path);
  const pageSize = await connection.value<number>('PRAGMA page_size');
  const version = versionNumber(await connection.value<string>('SELECT sqlite_version()'));
  const pageCount = await begin();
  // A file that was put in the place of another one while it was opened.
  if ((await stat(path, { bigint: true })).ino !== fstatSync(database.fd, { bigint: true }).ino) return null;
  const mode = await connection.value<string>('PRAGMA journal_mode');
  if (['delete', 'truncate', 'persist'].includes(mode)) {
    if (pageCount * pageSize > MOST_WITHOUT_WAL) return null;
    return isInWalMode(database.fd) ? null : { database, wal: null, index: null, pageSize, pageCount, version };
  }
  if (mode !== 'wal') return null;
  const [wal, shared] = await Promise.all([file(`${path}-wal`, database), file(`${path}-shm`, database)]).catch(none);
  if (wal === undefined || shared === undefined) return null;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    await connection.run('ROLLBACK');
    const before = readWalIndex(shared.fd);
    const pages = await begin();
    const index = readWalIndex(shared.fd);
    // Nothing was committed while the transaction began: it sees what the index says.
    if (before === null || index === null || Buffer.compare(before.header, index.header) !== 0) continue;
    if (index.frames > 0 && index.pageCount !== pages) return null;
    // What was checkpointed may be written over in the log, and is in the file, where nothing newer can come before the
    // transaction ends. As long as it was not, the transaction keeps the log as it is.
    const isInFile = index.written >= index.frames;
    return { database, wal, index: isInFile ? null : index, pageSize, pageCount: pages, version };
  }
  return null;
}

/** A database in WAL mode that a connection does not know to be: https://www.sqlite.org/fileformat2.html, offset 18. */
function isInWalMode(fd: number): boolean {
  const start = Buffer.alloc(20);
  return readFully(fd, start, 0) < start.length || start.subarray(18).includes(2);
}

const versionNumber = (version: string) => version.split('.').reduce((number, part) => number * 1000 + Number(part), 0);

/**
 * Sets what counts the changes of a file as SQLite's online backup sets it in a new one, so that a state has the same bytes
 * however it was read: https://www.sqlite.org/fileformat2.html#the_database_header.
 */
function likeCopy(firstPage: Buffer, version: number): void {
  const [changes, schemaCookie, validFor, writtenBy] = [24, 40, 92, 96];
  for (const at of [changes, schemaCookie, validFor]) firstPage.writeUInt32BE(1, at);
  firstPage.writeUInt32BE(version, writtenBy);
}

function none(error: unknown): [] {
  if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EACCES') return [];
  throw error;
}

async function layChanges(
  { database, wal, ...state }: HeldState,
  { before, file, mostChanged }: Laying,
  signal: AbortSignal,
  onProgress: OnProgress,
): Promise<PageHashes | null> {
  signal.throwIfAborted();
  const { pageSize, pageCount } = state;
  const task: ChangesTask = {
    ...state,
    database: database.fd,
    wal: wal?.fd ?? null,
    before: before.pages,
    file,
    mostChanged,
  };
  // A log that was never checkpointed can be much larger than its database.
  const isSmall = (pageCount + (state.index?.frames ?? 0)) * pageSize <= SMALL_BYTES;
  const laid = isSmall
    ? layChangesSync(task, () => undefined)
    : await layInThread(task, signal, (pages) => onProgress(pages * pageSize, pageCount * pageSize));
  if (laid === null) await rm(file, { force: true });
  return laid;
}

function layInThread(
  task: ChangesTask,
  signal: AbortSignal,
  onPages: (pages: number) => void,
): Promise<PageHashes | null> {
  const module = new URL('./changes-worker', import.meta.url);
  // Numbers of pages, and at its end what it has laid.
  return answerOfThread(module, task, signal, (message: number | { laid: PageHashes | null }, answer) => {
    if (typeof message === 'number') onPages(message);
    else answer(message.laid);
  });
}

/** As `layChanges`, on the calling thread. @param onPages called with the number of pages that are read */
export function layChangesSync(task: ChangesTask, onPages: (pages: number) => void): PageHashes | null {
  const { database, wal, index, pageSize, pageCount, version, mostChanged } = task;
  const frames = wal === null || index === null ? new Map<number, number>() : readFrames(wal, index, pageSize);
  if (frames === null) return null;
  const before = Buffer.from(task.before.buffer, task.before.byteOffset, task.before.length);
  // A database of a few pages changes all of them with its first row.
  const most = Math.max(1, mostChanged * pageCount);
  const hasher = new PageHasher(pageSize);
  const buffer = Buffer.alloc(READ_BYTES);
  const out = openSync(task.file, 'wx', 0o600);
  try {
    let changed = 0;
    for (let first = 1; first <= pageCount;) {
      const pages = Math.min(READ_BYTES / pageSize, pageCount - first + 1);
      const chunk = buffer.subarray(0, pages * pageSize);
      const length = readFully(database, chunk, (first - 1) * pageSize);
      for (let page = first, at = 0; page < first + pages; page++, at += pageSize) {
        const frame = frames.get(page);
        const own = chunk.subarray(at, at + pageSize);
        if (frame === undefined ? length < at + pageSize : readFully(wal as number, own, frame) < pageSize) return null;
      }
      if (first === 1) likeCopy(chunk, version);
      hasher.add(chunk);
      for (let page = first, at = 0; page < first + pages; page++, at += pageSize) {
        if (hasher.isSame(page, before)) continue;
        changed += 1;
        if (changed > most) return null;
        writeSync(out, chunk, at, pageSize, (page - 1) * pageSize);
      }
      first += pages;
      onPages(first - 1);
    }
    ftruncateSync(out, pageCount * pageSize);
    return hasher.end();
  } finally {
    closeSync(out);
  }
}

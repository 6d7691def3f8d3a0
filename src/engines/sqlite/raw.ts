import { createReadStream } from 'node:fs';
import { chmod, copyFile, mkdir, open, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeFolder } from '../../archive/make-folder.js';
import type { LoadOptions, SourceFile } from '../../core/ports.js';
import { flush, flushFolder, giveOwner, isLacking } from '../../disk.js';
import { AppError, errnoOf, fromErrno } from '../../errors.js';
import { SqliteConnection } from './connection.js';
import { holders } from './file.js';
import { makeDatabaseFile } from './rights.js';
import { copyParts, isSame, PARTS, settledState, wouldLeaveFiles } from './source.js';

/** The archive's entry that holds the database. */
export const ENTRY = 'database.sqlite3';
/** The entries of what lay beside a damaged database: in a folder, so that nothing replays them over an unpacked one. */
const BESIDE = /^raw\/database\.sqlite3-(?:wal|journal)$/;

/** True for an entry that is the database, or a file that lay beside a damaged one. */
export const ownsEntry = (path: string) => path === ENTRY || BESIDE.test(path);

const entryOf = (part: string) => (part === '' ? ENTRY : `raw/${ENTRY}${part}`);

/**
 * Copies a damaged database byte by byte, with its WAL and journal, into `folder`.
 * @returns the files under their names in the archive
 */
export async function copyRaw(path: string, folder: string, signal: AbortSignal): Promise<SourceFile[]> {
  const copy = join(folder, 'raw', ENTRY);
  await mkdir(dirname(copy), { recursive: true, mode: 0o700 });
  const parts = await steady(path, signal, () => copyParts(path, copy));
  const files: SourceFile[] = [];
  for (const part of parts) {
    const { size } = await stat(copy + part);
    const { mtime } = await stat(path + part).catch(() => stat(copy + part));
    const open = async () => createReadStream(copy + part, { highWaterMark: 1 << 20 });
    files.push({ path: entryOf(part), size, mtime, mode: 0o600, open });
  }
  return files;
}

/** Copies while no program can write; where the damage keeps SQLite from locking, until nothing has changed meanwhile. */
async function steady<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const lock = await readLock(path);
  // Closing any handle of the file gives up this process's locks on it, so one stays open until the end.
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw fromErrno(error, `read the database ${path}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  });
  try {
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const before = await settledState(path);
      const done = await work();
      if (await isSame(path, before)) return done;
      if (attempt < 5) continue;
      // A program in WAL mode may append what the lock holder does not see: the copy is one state all the same.
      if (lock !== null) return done;
      throw new AppError('DATABASE_IN_USE', `${path} is damaged, and changed each time it was copied.`);
    }
  } finally {
    await lock?.close();
    await handle.close();
  }
}

/** A connection that holds the state it reads; null if the damage does not let SQLite have one. */
async function readLock(path: string): Promise<SqliteConnection | null> {
  if (await wouldLeaveFiles(path)) return null;
  const connection = await SqliteConnection.open(path, 'readonly', 5_000).catch(() => null);
  try {
    await connection?.run('BEGIN');
    await connection?.all('SELECT 1 FROM sqlite_schema LIMIT 1');
    return connection;
  } catch {
    await connection?.close();
    return null;
  }
}

/** What takes the place of a database. */
interface Replacement {
  /** The new file, in a folder of any disk. */
  file: string;
  /** What belongs beside it, by suffix. */
  beside: Map<string, string>;
  /** Names the run: see `Engine.load`. Null if the file holds its stamp itself. */
  stamp: string | null;
}

/**
 * Puts the files of a damaged backup in the place of the database, byte by byte.
 * @param folder holds its entries
 * @returns warnings
 */
export async function loadRaw(
  folder: string,
  target: string,
  { source, madeHere, stamp }: Pick<LoadOptions, 'source' | 'madeHere' | 'stamp'>,
): Promise<string[]> {
  const beside = new Map<string, string>();
  for (const part of PARTS) {
    const file = join(folder, entryOf(part));
    if (part !== '' && (await exists(file))) beside.set(part, file);
  }
  await makeFolder(dirname(target));
  // A database that is there already keeps its own permissions.
  const { warnings, undo } = await makeDatabaseFile(target, source, madeHere);
  try {
    await replaceFiles(target, { file: join(folder, ENTRY), beside, stamp });
    return warnings;
  } catch (error) {
    await undo();
    throw error;
  }
}

/**
 * Replaces a database that SQLite cannot write through, by a rename. What lay beside it goes first: it belongs to the old
 * bytes, and SQLite would replay it over the new ones.
 * @throws AppError DATABASE_IN_USE if a program has it open: that one would go on with the old file
 */
export async function replaceFiles(target: string, { file, beside, stamp }: Replacement): Promise<void> {
  const open = await holders(target);
  if (open.length > 0) {
    const names = open.map(({ pid, command }) => `${command} (${pid})`).join(', ');
    throw new AppError('DATABASE_IN_USE', `${target} must be replaced as a file, and is open in ${names}.`, {
      hint: 'Stop the application and restore again.',
    });
  }
  const fresh = join(dirname(target), `.${basename(target)}.db-manager-new`);
  try {
    await placeCopy(file, fresh, target);
    if (stamp !== null) {
      const { ino } = await stat(fresh, { bigint: true });
      await writeFile(markOf(target), JSON.stringify({ stamp, file: String(ino) }), { mode: 0o600 });
    }
    for (const suffix of ['-shm', '-wal', '-journal']) await rm(target + suffix, { force: true });
    await rename(fresh, target);
    for (const [suffix, source] of beside) await placeCopy(source, target + suffix, target);
    await flushFolder(dirname(target));
  } catch (error) {
    throw fromErrno(error, `write the database ${target}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  } finally {
    await rm(fresh, { force: true }).catch(() => undefined);
  }
}

/** Copies durably, with the owner and mode of `like` as far as this process may give them. */
async function placeCopy(source: string, to: string, like: string): Promise<void> {
  const old = await stat(like).catch(() => null);
  await rm(to, { force: true });
  await copyFile(source, to);
  const kept = (error: unknown) => {
    // A disk or a user that cannot have it: the bytes count.
    if (!isLacking(error)) throw error;
  };
  if (old !== null) await giveOwner(to, old).catch(kept);
  await chmod(to, old === null ? 0o600 : old.mode & 0o777).catch(kept);
  const handle = await open(to, 'r');
  await flush(handle).finally(() => handle.close());
}

/** Beside a database that was replaced as a file: which run has done it. */
const markOf = (target: string) => `${target}.db-manager-restore`;

/** The stamp of a load by `replaceFiles`, if the file that it laid there is still in place; or null. */
export async function rawStampOf(target: string): Promise<string | null> {
  const text = await readFile(markOf(target), 'utf8').catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return null;
    throw fromErrno(error, `read ${markOf(target)}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  });
  if (text === null) return null;
  const { stamp, file } = parsed(text);
  const now = await stat(target, { bigint: true }).catch(() => null);
  return now !== null && String(now.ino) === file ? (stamp ?? null) : null;
}

function parsed(text: string): { stamp?: string; file?: string } {
  try {
    return JSON.parse(text) as { stamp?: string; file?: string };
  } catch {
    // Cut off by a crash before the switch.
    return {};
  }
}

/** Removes that stamp. @returns false if there was none */
export async function clearRawStamp(target: string): Promise<boolean> {
  try {
    await unlink(markOf(target));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw fromErrno(error, `remove ${markOf(target)}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  }
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

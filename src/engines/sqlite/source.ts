import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, chown, copyFile, mkdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Finding } from '../../core/ports.js';
import { AppError, errnoOf, fromErrno } from '../../errors.js';
import { readStart } from '../../file-locks.js';
import { type Patience, type SqliteConnection, sqliteCode, withConnection } from './connection.js';

/** The files that together are the state of a database: what SQLite replays lies beside it. */
export const PARTS = ['', '-journal', '-wal'] as const;

/** How to read a database that belongs to another user. */
export interface SourceOptions {
  /** How long to wait for locks: milliseconds, or a wait with a signal. */
  wait: number | Patience;
  signal?: AbortSignal | undefined;
  /** Where a private copy may be made, if one is needed. */
  scratch?: string | undefined;
}

/**
 * `direct`: through SQLite, which creates nothing. `immutable`: the file alone, without locks, because no process has it open.
 * `copy`: SQLite would have to write beside the file (to recover from a crash), so it does that with a private copy.
 */
type Way = 'direct' | 'immutable' | 'copy';

/** How often a file that changes while it is read without locks is read again. */
const ATTEMPTS = 5;
/** A change within the clock tick of the one before leaves no trace in a file's times, in milliseconds. */
const CLOCK_TICK = 50;

/**
 * Reads a live database without writing to it and without leaving anything beside it: SQLite itself would create the files
 * of its WAL mode, and the application of another user could then no longer write.
 * @param work may be called again if the database changed under it
 */
export async function readSource<T>(
  path: string,
  options: SourceOptions,
  work: (connection: SqliteConnection) => Promise<T>,
): Promise<T> {
  let refused = false;
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    let before = await stateOf(path);
    const way = wayToRead(before, refused, attempt > ATTEMPTS);
    if (way !== 'direct') before = await settledState(path);
    try {
      const result = await readBy(way, path, options, work);
      if (way === 'direct' || (await isSame(path, before))) return result;
    } catch (error) {
      const unlocked = way !== 'direct';
      if (unlocked ? await isSame(path, before) : refused || !wantsToWrite(error)) throw error;
      refused ||= !unlocked;
    }
    if (attempt > ATTEMPTS) throw restless(path);
  }
}

/** Fails with the reason unless the database can be read; copies nothing for it. */
export async function assertReadable(path: string, options: SourceOptions): Promise<void> {
  const state = await stateOf(path);
  const way = wayToRead(state, false, false);
  const look = (connection: SqliteConnection) => connection.value('PRAGMA schema_version');
  try {
    if (way !== 'copy') return void (await readBy(way, path, options, look));
  } catch (error) {
    if (!wantsToWrite(error)) throw error;
  }
  try {
    for (const part of PARTS) if (state.parts.has(part)) await access(path + part, constants.R_OK);
  } catch (error) {
    throw fromErrno(error, `read the database ${path}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  }
}

/** What a user should know of the rights on a live database; empty if there is nothing to say. */
export async function accessFindings(path: string): Promise<Finding[]> {
  const { wal, foreign } = await stateOf(path);
  if (!wal || !foreign || process.geteuid?.() === 0) return [];
  const message =
    `${path} is in WAL mode and belongs to another user. It is read without creating its -wal and -shm files, which the ` +
    'application could not write. Restore into it as its own user.';
  return [{ kind: 'access', table: null, message }];
}

/** Lets the owner of a database write what a connection of this user has left beside it, for others that have it open. */
export async function shareCompanions(path: string): Promise<void> {
  const euid = process.geteuid?.();
  const owner = await stat(path).catch(() => null);
  if (owner === null || euid === undefined || owner.uid === euid) return;
  for (const companion of [`${path}-wal`, `${path}-shm`, `${path}-journal`]) {
    const found = await stat(companion).catch(() => null);
    if (found?.uid !== euid) continue;
    // Root gives the file away; others can only hand it to the database's group, if they are in it.
    await chown(companion, euid === 0 ? owner.uid : euid, owner.gid).catch(() => undefined);
    await chmod(companion, (owner.mode & 0o777) | 0o060).catch(() => undefined);
  }
}

/** True if a plain connection would create files beside a database of another user. */
export async function wouldLeaveFiles(path: string): Promise<boolean> {
  return wayToRead(await stateOf(path), false, false) !== 'direct';
}

async function readBy<T>(
  way: Way,
  path: string,
  options: SourceOptions,
  work: (connection: SqliteConnection) => Promise<T>,
): Promise<T> {
  if (way === 'direct') return withConnection(path, 'readonly', options.signal, work, options.wait);
  if (way === 'immutable') return withConnection(path, 'immutable', options.signal, work);
  const folder = join(options.scratch ?? tmpdir(), `read_${randomUUID()}`);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const copy = join(folder, 'database');
    await copyParts(path, copy);
    return await withConnection(copy, 'readwrite', options.signal, work, 0, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Copies the files as they are. @returns the parts that there were */
export async function copyParts(path: string, copy: string): Promise<string[]> {
  const copied: string[] = [];
  for (const part of PARTS) {
    try {
      await copyFile(path + part, copy + part, constants.COPYFILE_FICLONE);
      await chmod(copy + part, 0o600);
      copied.push(part);
    } catch (error) {
      if (part !== '' && errnoOf(error) === 'ENOENT') continue;
      throw fromErrno(error, `read the database ${path}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
    }
  }
  return copied;
}

/** SQLite refuses to read what it must first recover, and where it cannot create the files of its WAL mode. */
const wantsToWrite = (error: unknown) => ['SQLITE_READONLY', 'SQLITE_CANTOPEN'].includes(sqliteCode(error));

/** What the files of a database look like from outside. */
export interface SourceState {
  /** True if it is in WAL mode, or was when it was left. */
  wal: boolean;
  /** True if it belongs to another user than this process. */
  foreign: boolean;
  /** True if a connection in WAL mode would find all its files. */
  complete: boolean;
  /** By part that is not empty: identity, size and times. An empty WAL comes and goes with every reader. */
  parts: Map<string, string>;
}

/** @param refused a plain connection has failed before @param restless reading without locks has failed again and again */
function wayToRead({ wal, foreign, complete, parts }: SourceState, refused: boolean, restless: boolean): Way {
  // Files that root creates get the database's own owner from SQLite.
  const mayCreate = !foreign || (restless && process.geteuid?.() === 0);
  if (!refused && (!wal || complete || mayCreate)) return 'direct';
  return parts.has('-wal') || parts.has('-journal') ? 'copy' : 'immutable';
}

/** Looks at the files of a database. @throws AppError if there is none */
export async function stateOf(path: string): Promise<SourceState> {
  try {
    const { uid } = await stat(path);
    const parts = new Map<string, string>();
    for (const part of PARTS) {
      const found = await present(path + part);
      if (found === null || found.size === 0n) continue;
      const { ino, size, mtimeNs, ctimeNs } = found;
      parts.set(part, [ino, size, mtimeNs, ctimeNs].join(' '));
    }
    const [hasWal, hasIndex] = [await present(`${path}-wal`), await present(`${path}-shm`)];
    const euid = process.geteuid?.();
    return {
      wal: hasWal !== null || (await saysWal(path)),
      foreign: euid !== undefined && euid !== uid,
      complete: hasWal !== null && hasIndex !== null,
      parts,
    };
  } catch (error) {
    throw fromErrno(error, `read the database ${path}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  }
}

/** As `CLOCK_TICK`, on the coarsest of the file systems that keep whole seconds. */
const COARSE_TICK = 2_000;
const SECOND = 1_000_000_000n;

/**
 * The files of a database as `stateOf` sees them, in one text; null if one of them changed just now, or in the future. As
 * root SQLite sets the owner of a WAL whenever it opens it, which changes the time of its inode: what stands at its beginning
 * changes each time it is begun anew.
 */
export async function fingerprintOf(path: string): Promise<string | null> {
  const { parts } = await stateOf(path);
  const facts = [...parts].map(([part, text]) => [part, ...text.split(' ').slice(0, part === '' ? 4 : 3)]);
  const now = Date.now();
  const isSettled = (time: bigint) =>
    time < BigInt(now - (time % SECOND === 0n ? COARSE_TICK : CLOCK_TICK)) * 1_000_000n;
  if (!facts.every((fact) => fact.slice(3).every((time) => isSettled(BigInt(time))))) return null;
  const start = parts.has('-wal') ? (await readStart(`${path}-wal`, WAL_HEADER)).toString('hex') : '';
  return JSON.stringify([path, start, ...facts]);
}

/** Bytes: https://sqlite.org/fileformat2.html#walformat. */
const WAL_HEADER = 32;

/** As `stateOf`, at a moment from which on whatever is written gets another time than the state that is looked at. */
export async function settledState(path: string): Promise<SourceState> {
  const age = Date.now() - (await stat(path).catch(() => ({ mtimeMs: 0 }))).mtimeMs;
  if (age >= 0 && age < CLOCK_TICK) await sleep(CLOCK_TICK - age);
  return stateOf(path);
}

/** True if nothing has changed since: what was read without locks is one state. */
export async function isSame(path: string, before: SourceState): Promise<boolean> {
  const { parts } = await stateOf(path);
  return PARTS.every((part) => parts.get(part) === before.parts.get(part));
}

const present = (path: string) =>
  stat(path, { bigint: true }).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  });

async function saysWal(path: string): Promise<boolean> {
  return (await readStart(path, 20)).subarray(18).includes(2);
}

function restless(path: string): AppError {
  return new AppError('DATABASE_IN_USE', `${path} changed each time it was read, and is of another user.`, {
    hint: 'Keep the application connected to it, or run db-manager as the user that owns the database.',
  });
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { close, closeSync, constants, fsync, fsyncSync, open as openCallback, openSync, write, writev } from 'node:fs';
import { chown, open, readdir, readlink, realpath, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errnoOf } from './errors.js';

/** What a file system says of a call that it does not have: shares, FUSE and FAT differ in which word they choose. */
const LACKING = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'ENOTTY', 'EPERM', 'EACCES']);

/**
 * True if a finishing touch (flush, owner, permissions, times) failed because the file system or the user cannot have it.
 * A disk that is full, broken or gone says something else.
 */
export const isLacking = (error: unknown): boolean => LACKING.has(errnoOf(error) ?? '');

/**
 * Options of `createWriteStream` that flush the file to the disk at its end. A file system without fsync is taken as it
 * is: the bytes were written, and there is no way to ask for more.
 */
export const flushed = {
  flush: true,
  fs: {
    open: openCallback,
    write,
    writev,
    close,
    fsync: (file: number, done: (error: NodeJS.ErrnoException | null) => void) =>
      fsync(file, (error) => done(error !== null && isLacking(error) ? null : error)),
  },
};

/** Flushes an open file. @returns false where the file system has no such thing */
export async function flush(handle: FileHandle): Promise<boolean> {
  try {
    await handle.sync();
    return true;
  } catch (error) {
    if (isLacking(error)) return false;
    throw error;
  }
}

/** Flushes the content of a file. @returns false where the file system has no such thing */
export async function flushFile(path: string): Promise<boolean> {
  const handle = await open(path, constants.O_RDWR);
  return flush(handle).finally(() => handle.close());
}

/** Flushes the names in a folder. @returns false where the file system has no such thing */
export async function flushFolder(folder: string): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(folder, constants.O_RDONLY);
  } catch (error) {
    // Windows opens no folder.
    if (isLacking(error) || errnoOf(error) === 'EISDIR') return false;
    throw error;
  }
  try {
    return await flush(handle);
  } finally {
    await handle.close();
  }
}

/**
 * Flushes all files and folders below a folder that this process made: by one call for its whole file system where the
 * system has such a thing, otherwise one by one.
 */
export async function flushBelow(folder: string, signal: AbortSignal): Promise<void> {
  if (await flushFileSystem(folder, signal)) return;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    signal.throwIfAborted();
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await flushBelow(path, signal);
    else if (entry.isFile()) await flushFolder(path);
  }
  await flushFolder(folder);
}

/** Node has no syncfs(2); `sync -f` of Linux has. @returns false if that failed, or is not there */
async function flushFileSystem(folder: string, signal: AbortSignal): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const handle = await open(folder, constants.O_RDONLY);
  try {
    // By the opened folder: its path may be good in this process only.
    const child = spawn('sync', ['-f', '/proc/self/fd/0'], { stdio: [handle.fd, 'ignore', 'ignore'], signal });
    const [code] = (await once(child, 'exit')) as [number | null];
    return code === 0;
  } catch {
    signal.throwIfAborted();
    return false;
  } finally {
    await handle.close();
  }
}

/**
 * Gives a file or folder to an owner. Only root can give it to another user; others can give it to a group that they belong
 * to, which is done where the user cannot be changed.
 * @throws the error of the system call, EPERM where only the group could be given: `isLacking` is true for both
 */
export async function giveOwner(path: string | Buffer, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  const own = await stat(path);
  if (own.uid === uid && own.gid === gid) return;
  if (process.geteuid?.() === 0 || own.uid === uid) return chown(path, uid, gid);
  await chown(path, own.uid, gid);
  throw Object.assign(new Error('only root gives files to another user'), { code: 'EPERM' });
}

/** Flushes a file, as far as the file system has such a thing. */
export function flushSync(path: string): void {
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } catch (error) {
    if (!isLacking(error)) throw error;
  } finally {
    closeSync(file);
  }
}

/** Where a file or folder lies, or would lie when it is made through links that lead nowhere yet. @param file absolute */
export async function realFile(file: string, links = 0): Promise<string> {
  const real = await realpath(file).catch(() => null);
  if (real !== null || dirname(file) === file) return real ?? file;
  const folder = await realFile(dirname(file), links);
  const target = links < MAX_LINKS ? await readlink(join(folder, basename(file))).catch(() => null) : null;
  return target === null ? join(folder, basename(file)) : realFile(resolve(folder, target), links + 1);
}

/** As many as Linux follows. */
const MAX_LINKS = 40;

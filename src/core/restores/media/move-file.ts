import { constants, type Stats } from 'node:fs';
import {
  type FileHandle,
  lchown,
  link,
  lstat,
  lutimes,
  open,
  readlink,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { dirname } from 'node:path';
import { unreadable } from '../../../archive/media.js';
import { systemPath } from '../../../archive/raw-names.js';
import { errnoOf } from '../../../errors.js';
import { Finishing } from './finishing.js';

// Each `partial` here is a free name beside the place that a file goes to: on the same disk, so that a rename from it
// always works. A crash may leave something there.

/**
 * Gives a file or link another place, on another disk too: its content is there, and on the disk, before it goes here.
 * Permissions, times and owner are kept, as far as the disk can have them. May be repeated after a crash.
 * @throws the error of the system call: EXDEV for a folder that would have to go to another disk
 */
export async function moveFile(from: string, to: string, partial: string, finishing = new Finishing()): Promise<void> {
  if (!(await isOnAnotherDisk(rename(systemPath(from), systemPath(to))))) return;
  await copyWhole(from, partial, finishing);
  await rename(systemPath(partial), systemPath(to));
  await finishing.flushFolder(dirname(to));
  await rm(systemPath(from));
}

/** As `moveFile`, but the file goes here before it is there: a reader who misses it here knows that it may be there. */
export async function releaseFile(from: string, to: string, partial: string, finishing: Finishing): Promise<void> {
  if (!(await isOnAnotherDisk(rename(systemPath(from), systemPath(to))))) return;
  await copyWhole(from, partial, finishing);
  await rm(systemPath(from));
  await rename(systemPath(partial), systemPath(to));
}

/** A second name for a file. Where it cannot have one (FAT, another disk, another owner's file), a copy. */
export async function keepFile(from: string, to: string, partial: string, finishing: Finishing): Promise<void> {
  try {
    await link(systemPath(from), systemPath(to));
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return;
    await copyWhole(from, partial, finishing);
    await rename(systemPath(partial), systemPath(to));
  }
}

/** What lies there, itself and not what a link leads to; null if nothing does. */
export async function lstatOf(path: string): Promise<Stats | null> {
  return lstat(systemPath(path)).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw error;
  });
}

/** True if a folder lies there, be it behind a link; false if nothing does. @throws AppError MEDIA_UNREADABLE */
export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(systemPath(path))).isDirectory();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw unreadable(path, error);
  }
}

async function isOnAnotherDisk(renaming: Promise<void>): Promise<boolean> {
  return renaming.then(
    () => false,
    (error: unknown) => {
      // Also between two mounts of one disk, which share its number.
      if (errnoOf(error) === 'EXDEV') return true;
      throw error;
    },
  );
}

async function copyWhole(from: string, partialName: string, finishing: Finishing): Promise<void> {
  const [path, partial] = [systemPath(from), systemPath(partialName)];
  const stats = await lstat(path);
  const isRoot = process.getuid?.() === 0;
  await rm(partial, { force: true });
  if (stats.isSymbolicLink()) {
    await symlink(await readlink(path, 'buffer'), partial);
    if (isRoot) await finishing.give('owner', () => lchown(partial, stats.uid, stats.gid));
    await finishing.give('times', () => lutimes(partial, stats.atime, stats.mtime));
    return;
  }
  if (!stats.isFile()) throw Object.assign(new Error(`${from} is no file`), { code: 'EXDEV' });
  // All by the opened files: what lies at the paths may be another program's link by now.
  const source = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  try {
    const copy = await open(partial, 'wx', 0o600);
    try {
      await copyBytes(source, copy);
      if (isRoot) await finishing.give('owner', () => copy.chown(stats.uid, stats.gid));
      await finishing.give('permissions', () => copy.chmod(stats.mode & 0o7777));
      await finishing.give('times', () => copy.utimes(stats.atime, stats.mtime));
      await finishing.flush(copy);
    } finally {
      await copy.close();
    }
  } finally {
    await source.close();
  }
}

async function copyBytes(source: FileHandle, copy: FileHandle): Promise<void> {
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  for (;;) {
    const { bytesRead } = await source.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) return;
    for (let at = 0; at < bytesRead;) at += (await copy.write(buffer, at, bytesRead - at)).bytesWritten;
  }
}

import { constants, type Stats } from 'node:fs';
import {
  chmod,
  chown,
  copyFile,
  lchown,
  link,
  lstat,
  lutimes,
  open,
  readlink,
  rename,
  rm,
  symlink,
  utimes,
} from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../errors.js';

// Each `partial` here is a free name beside the place that a file goes to: on the same disk, so that a rename from it
// always works. A crash may leave something there.

/**
 * Gives a file or link another place, on another disk too: its content is there, and on the disk, before it goes here.
 * Rights, times and owner are kept. May be repeated after a crash.
 * @throws the error of the system call: EXDEV for a folder that would have to go to another disk
 */
export async function moveFile(from: string, to: string, partial: string): Promise<void> {
  if (!(await isOnAnotherDisk(rename(from, to)))) return;
  await copyWhole(from, partial);
  await rename(partial, to);
  await syncFolder(dirname(to));
  await rm(from);
}

/** As `moveFile`, but the file goes here before it is there: whoever misses it here knows that it may be there. */
export async function releaseFile(from: string, to: string, partial: string): Promise<void> {
  if (!(await isOnAnotherDisk(rename(from, to)))) return;
  await copyWhole(from, partial);
  await rm(from);
  await rename(partial, to);
}

/** A second name for a file. Where it cannot have one (FAT, another disk, another owner's file), a copy. */
export async function keepFile(from: string, to: string, partial: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return;
    await copyWhole(from, partial);
    await rename(partial, to);
  }
}

/** What lies there, itself and not what a link leads to; null if nothing does. */
export async function lstatOf(path: string): Promise<Stats | null> {
  return lstat(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw error;
  });
}

/** Brings the names in a folder to the disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  await handle.sync().finally(() => handle.close());
}

async function isOnAnotherDisk(renaming: Promise<void>): Promise<boolean> {
  return renaming.then(
    () => false,
    (error: unknown) => {
      // Also between two mounts of one disk, which its number does not tell.
      if (errnoOf(error) === 'EXDEV') return true;
      throw error;
    },
  );
}

async function copyWhole(from: string, partial: string): Promise<void> {
  const stats = await lstat(from);
  const isRoot = process.getuid?.() === 0;
  await rm(partial, { force: true });
  if (stats.isSymbolicLink()) {
    await symlink(await readlink(from), partial);
    if (isRoot) await lchown(partial, stats.uid, stats.gid);
    await lutimes(partial, stats.atime, stats.mtime);
    return;
  }
  if (!stats.isFile()) throw Object.assign(new Error(`${from} is no file`), { code: 'EXDEV' });
  await copyFile(from, partial, constants.COPYFILE_EXCL);
  // A file that its owner may not write could not be opened for that.
  await chmod(partial, 0o600);
  const handle = await open(partial, 'r+');
  await handle.sync().finally(() => handle.close());
  if (isRoot) await chown(partial, stats.uid, stats.gid);
  await chmod(partial, stats.mode & 0o7777);
  await utimes(partial, stats.atime, stats.mtime);
}

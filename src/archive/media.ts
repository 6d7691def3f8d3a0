import { constants, type Dirent, type Stats } from 'node:fs';
import { lstat, open, opendir, readlink, realpath, stat, type FileHandle } from 'node:fs/promises';
import { basename, join, resolve, sep } from 'node:path';
import { AppError, errnoOf } from '../errors.js';
import type { SkipReason } from './metadata.js';
import { nameProblem, shown } from './names.js';

/** Names that begin so are db-manager's own, such as files laid ready by a restore: they are never archived. */
export const RESERVED_PREFIX = '.db-manager-';

/** A media folder and where it goes in the archive. */
export interface MediaRoot {
  /** As configured. */
  path: string;
  /** Without symbolic links. */
  real: string;
  /** Archive prefix, ending in '/'. */
  prefix: string;
}

/** What the walk meets, in the order of the archive. `path` is the archive's, `file` the machine's. */
export type MediaItem =
  | { kind: 'file'; path: string; file: string }
  /** A folder that no stored file implies. */
  | { kind: 'empty'; path: string; stats: Stats }
  | { kind: 'symlink'; path: string; target: string }
  | { kind: 'skipped'; path: string; reason: SkipReason };

/** True for a file or folder that is no media, wherever it lies. */
export type Excluded = (path: string) => boolean;

const ATTEMPTS = 3;

/**
 * Finds the media folders and gives each its prefix: `media/` for a single one, `media/<name>/` for several.
 * @throws AppError MEDIA_NOT_FOUND naming the path that is missing or not a folder; MEDIA_UNREADABLE
 */
export async function mediaRoots(paths: string[]): Promise<MediaRoot[]> {
  const taken = new Set<string>();
  const roots: MediaRoot[] = [];
  for (const path of paths) {
    const real = await folderAt(path);
    const name = basename(resolve(path)) || 'root';
    let unique = name;
    for (let number = 2; taken.has(unique.normalize('NFC').toLowerCase()); number++) unique = `${name}-${number}`;
    taken.add(unique.normalize('NFC').toLowerCase());
    const prefix = paths.length === 1 ? 'media/' : `media/${unique}/`;
    refuseName(prefix, path);
    roots.push({ path, real, prefix });
  }
  return roots;
}

async function folderAt(path: string): Promise<string> {
  try {
    const real = await realpath(resolve(path));
    if (!(await stat(real)).isDirectory()) {
      throw new AppError('MEDIA_NOT_FOUND', `The media path ${path} is not a folder.`, {
        hint: 'Name the folder that holds the media files in mediaPaths.',
      });
    }
    return real;
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (gone(error) || errnoOf(error) === 'ELOOP') {
      throw new AppError('MEDIA_NOT_FOUND', `The media path ${path} is not there.`, { cause: error });
    }
    throw unreadable(path, error);
  }
}

/**
 * Walks a media folder, folder by folder, names in the order of their bytes. Holds the names of one folder per level, and
 * no open folder while its items are handed out. Symbolic links are never followed.
 * @param excluded tells, by its real path, what is passed over without a trace
 * @throws AppError MEDIA_UNREADABLE naming the folder or file
 */
export async function* walkMedia(root: MediaRoot, excluded: Excluded): AsyncGenerator<MediaItem> {
  // Not by calling itself: what is found deep down would be handed through every folder above it.
  const entered: Entered[] = [];
  const enter = async (folder: string, prefix: string) => {
    const top = entered.length === 0;
    const listed = await list(folder, top);
    if (listed !== undefined) entered.push({ folder, prefix, ...listed, next: 0, seen: new Set(), kept: top });
    return listed !== undefined;
  };
  if (!(await enter(root.real, root.prefix))) yield { kind: 'skipped', path: root.prefix, reason: 'vanished' };
  for (let at = entered.at(-1); at !== undefined; at = entered.at(-1)) {
    const { folder, prefix, names, seen } = at;
    const listed = names[at.next++];
    if (listed === undefined) {
      entered.pop();
      const above = entered.at(-1);
      if (!at.kept) yield { kind: 'empty', path: prefix, stats: at.stats };
      if (above !== undefined) above.kept = true;
      continue;
    }
    const { file, path, name } = checkedName(folder, prefix, listed.bytes);
    if (excluded(file) || name.startsWith(RESERVED_PREFIX)) continue;
    const normal = name.normalize('NFC');
    if (seen.has(normal)) throw nameRefused(file, 'differs from its neighbour only in the form of its accents');
    seen.add(normal);
    if (listed.entry.isDirectory()) {
      if (!(await enter(file, `${path}/`))) yield { kind: 'skipped', path: `${path}/`, reason: 'vanished' };
      continue;
    }
    if (listed.entry.isFile()) at.kept = true;
    yield await item(file, path, listed.entry);
  }
}

/** A folder in which the walk is. */
interface Entered {
  folder: string;
  prefix: string;
  stats: Stats;
  names: Listed[];
  /** Which of its names comes next. */
  next: number;
  seen: Set<string>;
  /** True if something in it is handed out that implies the folder. */
  kept: boolean;
}

async function item(file: string, path: string, entry: Dirent): Promise<MediaItem> {
  if (entry.isFile()) return { kind: 'file', path, file };
  if (entry.isSymbolicLink()) return link(file, path);
  return { kind: 'skipped', path, reason: 'special' };
}

async function link(file: string, path: string): Promise<MediaItem> {
  try {
    return { kind: 'symlink', path, target: await readlink(file) };
  } catch (error) {
    if (gone(error)) return { kind: 'skipped', path, reason: 'vanished' };
    if (errnoOf(error) === 'EINVAL') return { kind: 'skipped', path, reason: 'replaced' };
    throw unreadable(file, error);
  }
}

interface Listed {
  bytes: Buffer;
  entry: Dirent;
}

/** A folder's names; undefined if it vanished, or if a link on the way now leads elsewhere. */
async function list(folder: string, top: boolean): Promise<{ names: Listed[]; stats: Stats } | undefined> {
  try {
    const stats = await lstat(folder);
    const names: Listed[] = [];
    // Names come as bytes, because a name that is not UTF-8 would be changed silently by decoding.
    for await (const entry of await opendir(folder, { encoding: 'buffer' as BufferEncoding })) {
      names.push({ bytes: Buffer.from(entry.name), entry });
    }
    if (!stats.isDirectory() || !(await leadsThroughNoLink(folder))) return undefined;
    return { names: names.sort((a, b) => Buffer.compare(a.bytes, b.bytes)), stats };
  } catch (error) {
    if (gone(error) && !top) return undefined;
    throw unreadable(folder, error);
  }
}

/** Asked of the opened folder where the system tells: resolving the path looks at each folder on the way. */
async function leadsThroughNoLink(folder: string): Promise<boolean> {
  const handle = await open(folder, constants.O_RDONLY | (constants.O_DIRECTORY ?? 0)).catch((error: unknown) => {
    // Windows opens no folder.
    if (errnoOf(error) === 'EISDIR' || errnoOf(error) === 'EPERM') return null;
    throw error;
  });
  try {
    const opened = handle === null ? null : await readlink(`/proc/self/fd/${handle.fd}`).catch(() => null);
    return (opened ?? (await realpath(folder))) === folder;
  } finally {
    await handle?.close();
  }
}

function checkedName(folder: string, prefix: string, bytes: Buffer): { file: string; path: string; name: string } {
  const name = bytes.toString('utf8');
  const file = join(folder, name);
  if (!Buffer.from(name).equals(bytes)) throw nameRefused(file, 'is not valid UTF-8');
  refuseName(prefix + name, file);
  return { file, path: prefix + name, name };
}

function refuseName(path: string, file: string): void {
  const problem = nameProblem(path);
  if (problem !== undefined) throw nameRefused(file, problem);
}

function nameRefused(file: string, problem: string): AppError {
  return new AppError(
    'MEDIA_UNREADABLE',
    `A ZIP cannot hold the file ${shown(file)} faithfully: its name ${problem}.`,
    {
      hint: 'Rename the file, or move it out of the media path.',
    },
  );
}

/** A media file, open for reading, and what it was at that moment. */
export interface OpenedFile {
  handle: FileHandle;
  stats: Stats;
}

/**
 * Opens a regular file without following a link in its last segment, and only if it is the file that lies there.
 * @returns the reason if it cannot be stored, which is no error
 * @throws AppError MEDIA_UNREADABLE naming the file
 */
export async function openMedia(file: string): Promise<OpenedFile | SkipReason> {
  // NONBLOCK: a pipe that took the file's place would otherwise block for ever.
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    let handle: FileHandle | undefined;
    try {
      const before = await lstat(file);
      if (!before.isFile()) return 'replaced';
      handle = await open(file, flags);
      const stats = await handle.stat();
      const same = stats.isFile() && stats.ino === before.ino && stats.dev === before.dev;
      if (same && (await isAt(handle, file))) {
        const opened = { handle, stats };
        handle = undefined;
        return opened;
      }
    } catch (error) {
      if (gone(error)) return 'vanished';
      if (errnoOf(error) === 'ELOOP') return 'replaced';
      throw unreadable(file, error);
    } finally {
      await handle?.close();
    }
  }
  return 'replaced';
}

/**
 * True unless the opened file is known to lie elsewhere: a folder on the way was swapped for a link, and what it leads to
 * must not get into a backup. Only Linux tells.
 * @param file real path
 */
async function isAt(handle: FileHandle, file: string): Promise<boolean> {
  const opened = await readlink(`/proc/self/fd/${handle.fd}`).catch(() => null);
  // Deleted since: it was there when it was opened.
  return opened === null || opened === file || opened === `${file} (deleted)`;
}

/** The error for a media file or folder that cannot be read. */
export function unreadable(file: string, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const code = errnoOf(error) ?? 'unknown error';
  if (code === 'ENAMETOOLONG') {
    return new AppError(
      'MEDIA_UNREADABLE',
      `The media file ${shown(file)} cannot be read: its path has ${Buffer.byteLength(file)} bytes, more than the system allows.`,
      { hint: 'Shorten the names of the folders above it, or nest them less deeply.', cause: error },
    );
  }
  return new AppError('MEDIA_UNREADABLE', `The media file ${shown(file)} cannot be read (${code}).`, { cause: error });
}

/** The real form of paths that are to be passed over; one that does not exist is kept as it is. */
export async function realPaths(paths: string[]): Promise<Set<string>> {
  const all = new Set<string>();
  for (const path of paths) {
    all.add(resolve(path).replace(/(.)[/\\]+$/, `$1`));
    await realpath(path).then(
      (real) => all.add(real),
      (error: unknown) => {
        if (!gone(error)) throw unreadable(path, error);
      },
    );
  }
  all.delete(sep);
  return all;
}

function gone(error: unknown): boolean {
  return errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR';
}

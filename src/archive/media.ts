import { constants, type Dirent, type Stats } from 'node:fs';
import { lstat, open, opendir, readlink, realpath, stat, type FileHandle } from 'node:fs/promises';
import { basename, join, resolve, sep } from 'node:path';
import { AppError, errnoOf } from '../errors.js';
import { RESERVED_PREFIX, type SkipReason } from './metadata.js';
import { nameProblem, shown } from './names.js';
import { escapedName, isPlainName, rawName, systemPath } from './raw-names.js';

/** A media folder and where it goes in the archive. */
export interface MediaRoot {
  /** As configured. */
  path: string;
  /** Without symbolic links. */
  real: string;
  /** Archive prefix, ending in '/'. */
  prefix: string;
}

/**
 * What the walk meets, in the order of the archive. `path` is the archive's, `file` the machine's, `inside` relative to the
 * media folder and, unlike `path`, in the names that the machine has.
 */
export type MediaItem =
  | { kind: 'file'; path: string; file: string; inside: string }
  /** A folder, before what lies in it. */
  | { kind: 'folder'; path: string; stats: Stats }
  /** The file, folder or link that comes next has another name in the archive than on the machine. */
  | { kind: 'renamed'; path: string; name: string }
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
    const own = basename(resolve(path)) || 'root';
    const name = isPlainName(own) ? own : escapedName(own, false);
    let unique = name;
    for (let number = 2; taken.has(unique.normalize('NFC').toLowerCase()); number++) unique = `${name}-${number}`;
    taken.add(unique.normalize('NFC').toLowerCase());
    roots.push({ path, real, prefix: paths.length === 1 ? 'media/' : `media/${unique}/` });
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
 * no open folder while its items are handed out. Symbolic links are never followed. A name that an archive cannot hold is
 * escaped, and the item comes after one that says so.
 * @param excluded true for the real paths that are silently left out
 * @throws AppError MEDIA_UNREADABLE naming the folder or file
 */
export async function* walkMedia(root: MediaRoot, excluded: Excluded): AsyncGenerator<MediaItem> {
  // Not by calling itself: what is found deep down would be handed through every folder above it.
  const entered: Entered[] = [];
  const enter = async (folder: string, inside: string, prefix: string) => {
    const listed = await list(folder, entered.length === 0);
    if (listed !== undefined) entered.push({ folder, inside, prefix, ...listed, next: 0 });
    return listed;
  };
  const top = await enter(root.real, '', root.prefix);
  yield top === undefined
    ? { kind: 'skipped', path: root.prefix, reason: 'vanished' }
    : { kind: 'folder', path: root.prefix, stats: top.stats };
  for (let at = entered.at(-1); at !== undefined; at = entered.at(-1)) {
    const listed = at.names[at.next++];
    if (listed === undefined) {
      entered.pop();
      continue;
    }
    const { name, stored, entry } = listed;
    const file = join(at.folder, name);
    if (excluded(file) || name.startsWith(RESERVED_PREFIX)) continue;
    const [inside, path] = [at.inside + name, at.prefix + stored];
    if (nameProblem(path) !== undefined) {
      yield { kind: 'skipped', path: at.prefix, reason: 'name' };
      continue;
    }
    if (stored !== name) yield { kind: 'renamed', path, name };
    if (!entry.isDirectory()) {
      yield await item(file, path, inside, entry);
      continue;
    }
    const folder = await enter(file, `${inside}/`, `${path}/`);
    yield folder === undefined
      ? { kind: 'skipped', path: `${path}/`, reason: 'vanished' }
      : { kind: 'folder', path: `${path}/`, stats: folder.stats };
  }
}

/** A folder in which the walk is. */
interface Entered {
  folder: string;
  /** Relative to the media folder: '' or ending in '/'. */
  inside: string;
  prefix: string;
  names: Listed[];
  /** Which of its names comes next. */
  next: number;
}

async function item(file: string, path: string, inside: string, entry: Dirent): Promise<MediaItem> {
  if (entry.isFile()) return { kind: 'file', path, file, inside };
  if (entry.isSymbolicLink()) return link(file, path);
  return { kind: 'skipped', path, reason: 'special' };
}

async function link(file: string, path: string): Promise<MediaItem> {
  try {
    return { kind: 'symlink', path, target: await readlink(systemPath(file), 'utf8') };
  } catch (error) {
    if (gone(error)) return { kind: 'skipped', path, reason: 'vanished' };
    if (errnoOf(error) === 'EINVAL') return { kind: 'skipped', path, reason: 'replaced' };
    throw unreadable(file, error);
  }
}

interface Listed {
  bytes: Buffer;
  /** As `rawName` gives it. */
  name: string;
  /** The name in the archive. */
  stored: string;
  entry: Dirent;
}

/** A folder's names; undefined if it vanished, or if a link on the way now leads elsewhere. */
async function list(folder: string, top: boolean): Promise<{ names: Listed[]; stats: Stats } | undefined> {
  try {
    const path = systemPath(folder);
    const stats = await lstat(path);
    const names: Listed[] = [];
    // Names come as bytes, because a name that is not UTF-8 would be changed silently by decoding.
    for await (const entry of await opendir(path as string, { encoding: 'buffer' as BufferEncoding })) {
      const bytes = Buffer.from(entry.name);
      names.push({ bytes, name: rawName(bytes), stored: '', entry });
    }
    if (!stats.isDirectory() || !(await leadsThroughNoLink(folder))) return undefined;
    names.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
    giveStoredNames(names);
    return { names, stats };
  } catch (error) {
    if (gone(error) && !top) return undefined;
    throw unreadable(folder, error);
  }
}

/** Read from the opened folder where the system shows it: resolving the path looks at each folder on the way. */
async function leadsThroughNoLink(folder: string): Promise<boolean> {
  const flags = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0);
  const handle = await open(systemPath(folder), flags).catch((error: unknown) => {
    // Windows opens no folder.
    if (errnoOf(error) === 'EISDIR' || errnoOf(error) === 'EPERM') return null;
    throw error;
  });
  try {
    const opened = handle === null ? null : await pathOf(handle);
    return (opened ?? (await realpath(folder))) === folder;
  } finally {
    await handle?.close();
  }
}

/** A ZIP's names are the same in all forms of their accents: of neighbours that differ in it, the first keeps its name. */
function giveStoredNames(names: Listed[]): void {
  const taken = new Set<string>();
  const take = (stored: string) => {
    const normal = stored.normalize('NFC');
    if (taken.has(normal)) return false;
    taken.add(normal);
    return true;
  };
  for (const listed of names) {
    if (isPlainName(listed.name) && take(listed.name)) listed.stored = listed.name;
  }
  for (const listed of names) {
    if (listed.stored !== '') continue;
    const escaped = escapedName(listed.name, isPlainName(listed.name));
    listed.stored = escaped;
    for (let number = 2; !take(listed.stored); number++) listed.stored = `${escaped}%~${number}`;
  }
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
      const before = await lstat(systemPath(file));
      if (!before.isFile()) return 'replaced';
      handle = await open(systemPath(file), flags);
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
 * must not get into a backup. Known only on Linux.
 * @param file real path
 */
async function isAt(handle: FileHandle, file: string): Promise<boolean> {
  const opened = await pathOf(handle);
  // Deleted since: it was there when it was opened.
  return opened === null || opened === file || opened === `${file} (deleted)`;
}

/** Where an opened file or folder lies now; null where the system does not show it. */
async function pathOf(handle: FileHandle): Promise<string | null> {
  const bytes = await readlink(`/proc/self/fd/${handle.fd}`, 'buffer').catch(() => null);
  return bytes === null ? null : rawName(bytes);
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

import type { Stats } from 'node:fs';
import { lstat, readFile, realpath } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { contained } from '../archive/names.js';
import type { ArchiveEntry } from '../archive/read.js';
import { AppError } from '../errors.js';
import type { MediaTarget } from './media.js';

/** What the entries of an archive meet in the folder that they go to. All paths are relative to it. */
export interface Survey {
  /** Files of the archive. */
  files: string[];
  /** What is in the way: a file or link where a folder must be, a folder or link where a file must be. */
  obstacles: string[];
  /** Folders that are not there yet, outermost first. */
  newFolders: string[];
}

/**
 * Looks at what is in the way of an archive's media, and which folders are missing: the same for a plan and for the run.
 * @param entries files and folders of the archive, all below the target's prefix
 * @throws AppError PATH_NOT_ALLOWED for what is in the way and cannot be moved aside
 */
export async function surveyMedia({ root, prefix }: MediaTarget, entries: readonly ArchiveEntry[]): Promise<Survey> {
  const inside = ({ path }: ArchiveEntry) => path.slice(prefix.length).replace(/\/$/, '');
  const files = entries.filter(({ directory }) => !directory).map(inside);
  const obstacles = new Map<string, Stats>();
  const newFolders = new Set<string>();
  const seen = new Set<string>();
  const look = async (folder: string): Promise<void> => {
    // Archives of other tools have an entry for the media folder itself: it is there, be it by a link.
    if (folder === '' || folder === '.' || seen.has(folder)) return;
    seen.add(folder);
    await look(dirname(folder));
    const found = newFolders.has(dirname(folder)) ? null : await lstat(join(root, folder)).catch(() => null);
    if (found?.isDirectory()) return;
    if (found !== null) obstacles.set(folder, found);
    newFolders.add(folder);
  };
  for (const entry of entries) if (entry.directory) await look(inside(entry));
  for (const file of files) {
    await look(dirname(file));
    if (newFolders.has(dirname(file))) continue;
    const found = await lstat(join(root, file)).catch(() => null);
    if (found !== null && !found.isFile()) obstacles.set(file, found);
  }
  const mounts = await mountsBelow(root);
  const fixed = [...obstacles].find(([path, stats]) => isFixed(path, stats, mounts))?.[0];
  const mounted = fixed ?? files.find((file) => mounts.has(file));
  if (mounted !== undefined) throw mountRefused(join(root, mounted));
  return { files, obstacles: [...obstacles.keys()], newFolders: [...newFolders] };
}

/** The refusal of what would have to be moved aside and is on a disk of its own. */
export function mountRefused(path: string, cause?: unknown): AppError {
  return new AppError(
    'PATH_NOT_ALLOWED',
    `${path} is in the way of the backup's files and cannot be moved aside: a disk of its own is mounted there.`,
    { hint: 'Move it away by hand, or restore the media to another place with targetMediaPath.', cause },
  );
}

/** Files and links can be copied to another disk; a folder cannot be, as one step, nor can a mount itself be moved. */
function isFixed(path: string, stats: Stats, mounts: ReadonlySet<string>): boolean {
  if (mounts.has(path)) return true;
  if (stats.isFile() || stats.isSymbolicLink()) return false;
  return [...mounts].some((mount) => mount.startsWith(`${path}/`) || path.startsWith(`${mount}/`));
}

/** What is mounted below the folder, relative to it. Only Linux tells; elsewhere the run is refused by its first rename. */
async function mountsBelow(root: string): Promise<ReadonlySet<string>> {
  const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  const real = await realpath(root).catch(() => root);
  const points = table.split('\n').map((line) => line.split(' ')[4]?.replace(/\\([0-7]{3})/g, character) ?? '');
  return new Set(
    points
      .filter((point) => point.startsWith('/') && point !== real && contained(real, point))
      .map((point) => relative(real, point)),
  );
}

const character = (_all: string, octal: string) => String.fromCharCode(parseInt(octal, 8));

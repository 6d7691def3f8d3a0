import type { Stats } from 'node:fs';
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { unreadable } from '../../../archive/media.js';
import { contained, shown } from '../../../archive/names.js';
import { rawName, systemPath } from '../../../archive/raw-names.js';
import type { ArchiveEntry } from '../../../archive/read.js';
import { AppError } from '../../../errors.js';
import { isFolder, lstatOf } from './move-file.js';
import { firstOf } from '../../text/format.js';

/** What happens to media files (of the chosen ones) that the backup does not have: kept, or moved away. */
export type MediaMode = 'MERGE' | 'MIRROR';

/** A part of the archive's media and the folder that it goes to. */
export interface MediaTarget {
  /** Archive prefix, ending in '/'. */
  prefix: string;
  /** Absolute folder. */
  root: string;
  /** Where it was when the restore was requested, without links; it must still be there when it runs. */
  real?: string;
}

/** What the entries of an archive meet in the folder that they go to. All paths are relative to it. */
export interface Survey {
  /** Files of the archive. */
  files: string[];
  /** What is in the way: a file or link where a folder must be, a folder or link where a file must be. */
  obstacles: string[];
  /** Folders that are not there yet, outermost first. */
  newFolders: string[];
  /** Where other disks are mounted below the folder. */
  mounts: ReadonlySet<string>;
  /** Sentences about what is in the way and would be replaced. */
  warnings: string[];
}

interface Link {
  path: string;
  leadsTo: string;
  /** True if it leads to a folder or is in a folder's place: then media may lie behind it that no backup has. */
  ofFolder: boolean;
}

/**
 * Looks at what is in the way of an archive's media, and which folders are missing: the same for a plan and for the run.
 * @param entries files and folders of the archive, all below the target's prefix
 * @throws AppError PATH_NOT_ALLOWED for what is in the way and cannot be moved aside or brought back; MEDIA_UNREADABLE
 */
export async function surveyMedia({ root, prefix }: MediaTarget, entries: readonly ArchiveEntry[]): Promise<Survey> {
  const inside = ({ original }: ArchiveEntry) => original.slice(prefix.length).replace(/\/$/, '');
  const files = entries.filter(({ directory }) => !directory).map(inside);
  const obstacles = new Map<string, Stats>();
  const newFolders = new Set<string>();
  const seen = new Set<string>();
  const enter = async (folder: string): Promise<void> => {
    // Archives of other tools have an entry for the media folder itself: it is there, be it by a link.
    if (folder === '' || folder === '.' || seen.has(folder)) return;
    seen.add(folder);
    await enter(dirname(folder));
    const found = newFolders.has(dirname(folder)) ? null : await look(join(root, folder));
    if (found?.isDirectory()) return;
    if (found !== null) obstacles.set(folder, found);
    newFolders.add(folder);
  };
  for (const entry of entries) if (entry.directory) await enter(inside(entry));
  for (const file of files) {
    await enter(dirname(file));
    if (newFolders.has(dirname(file))) continue;
    const found = await look(join(root, file));
    if (found !== null && !found.isFile()) obstacles.set(file, found);
  }
  const mounts = await mountsBelow(root);
  const fixed = [...obstacles].find(([path, stats]) => isFixed(path, stats, mounts))?.[0];
  const mounted = fixed ?? files.find((file) => mounts.has(file));
  if (mounted !== undefined) throw mountRefused(join(root, mounted));
  const links = await linksAmong(root, obstacles, newFolders);
  const refused = links.find(({ ofFolder }) => ofFolder);
  if (refused !== undefined) throw linkRefused(refused);
  const warnings = [...replacedWarning(root, obstacles), ...linksWarning(links)];
  return { files, obstacles: [...obstacles.keys()], newFolders: [...newFolders], mounts, warnings };
}

/** What lies at a media path; null if nothing does. An error is not taken for that: what cannot be seen could not be kept. */
export function look(path: string): Promise<Stats | null> {
  return lstatOf(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
}

/** The links that are in the way, and those in folders that are. */
async function linksAmong(root: string, obstacles: Map<string, Stats>, newFolders: Set<string>): Promise<Link[]> {
  const links: Link[] = [];
  for (const [path, stats] of obstacles) {
    const file = join(root, path);
    if (stats.isSymbolicLink()) links.push(await linkAt(file, newFolders.has(path)));
    if (!stats.isDirectory()) continue;
    for (const link of await linksBelow(file)) links.push(await linkAt(link, false));
  }
  return links;
}

/** The paths of the links in a folder and in those below it. */
async function linksBelow(top: string): Promise<string[]> {
  const links: string[] = [];
  const folders = [top];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const options = { withFileTypes: true, encoding: 'buffer' } as const;
    const entries = await readdir(systemPath(folder), options).catch((error: unknown) => {
      throw unreadable(folder ?? top, error);
    });
    for (const entry of entries) {
      const path = join(folder, rawName(entry.name));
      if (entry.isSymbolicLink()) links.push(path);
      else if (entry.isDirectory()) folders.push(path);
    }
  }
  return links;
}

async function linkAt(path: string, inFoldersPlace: boolean): Promise<Link> {
  const leadsToFolder = await isFolder(path).catch(() => true);
  const leadsTo = await readlink(systemPath(path), 'utf8').catch((error: unknown) => {
    throw unreadable(path, error);
  });
  return { path, leadsTo, ofFolder: inFoldersPlace || leadsToFolder };
}

function linkRefused({ path, leadsTo }: Link): AppError {
  return new AppError(
    'PATH_NOT_ALLOWED',
    `The symbolic link ${shown(path)}, which leads to ${shown(leadsTo)}, is in the way of the backup's files: no backup could bring it back.`,
    { hint: 'Restore the media to another place with targetMediaPath, or remove the link first.' },
  );
}

function replacedWarning(root: string, obstacles: Map<string, Stats>): string[] {
  const items = [...obstacles]
    .filter(([, stats]) => !stats.isSymbolicLink())
    .map(([path, stats]) => `the ${stats.isDirectory() ? 'folder' : 'file'} ${shown(join(root, path))}`);
  if (items.length === 0) return [];
  return [
    `In the way of the backup's files, and replaced by them: ${firstOf(items)}. The safety backup keeps the files.`,
  ];
}

function linksWarning(links: Link[]): string[] {
  if (links.length === 0) return [];
  const items = links.map(({ path, leadsTo }) => `${shown(path)} (leads to ${shown(leadsTo)})`);
  return [`Symbolic links are in the way of the backup's files and are lost, also after an undo: ${firstOf(items)}.`];
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

/** What is mounted below the folder, relative to it. Known only on Linux; elsewhere the first rename refuses the run. */
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

/** True if a restore would give the file the rights that it has. */
export function hasRightsOf({ mode }: Pick<ArchiveEntry, 'mode'>, found: Stats): boolean {
  return mode === undefined || (found.mode & 0o7777) === (mode & 0o777);
}

import { lstat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ArchiveEntry } from '../archive/read.js';
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
 */
export async function surveyMedia({ root, prefix }: MediaTarget, entries: readonly ArchiveEntry[]): Promise<Survey> {
  const inside = ({ path }: ArchiveEntry) => path.slice(prefix.length).replace(/\/$/, '');
  const files = entries.filter(({ directory }) => !directory).map(inside);
  const obstacles = new Set<string>();
  const newFolders = new Set<string>();
  const seen = new Set<string>();
  const look = async (folder: string): Promise<void> => {
    // Archives of other tools have an entry for the media folder itself: it is there, be it by a link.
    if (folder === '' || folder === '.' || seen.has(folder)) return;
    seen.add(folder);
    await look(dirname(folder));
    const found = newFolders.has(dirname(folder)) ? null : await lstat(join(root, folder)).catch(() => null);
    if (found?.isDirectory()) return;
    if (found !== null) obstacles.add(folder);
    newFolders.add(folder);
  };
  for (const entry of entries) if (entry.directory) await look(inside(entry));
  for (const file of files) {
    await look(dirname(file));
    if (newFolders.has(dirname(file))) continue;
    const found = await lstat(join(root, file)).catch(() => null);
    if (found !== null && !found.isFile()) obstacles.add(file);
  }
  return { files, obstacles: [...obstacles], newFolders: [...newFolders] };
}

import type { StorageAddress, Storages } from '../ports.js';
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Archive } from '../../archive/read.js';
import { AppError, errnoOf } from '../../errors.js';
import { archivedBytes, type MediaWork, type Need } from './media/plan.js';
import { isFolder } from './media/move-file.js';
import { humanSize } from '../text/format.js';
import type { DatabaseInfo } from '../ports.js';
import { SNAPSHOT_MARGIN } from '../backups/run-backup.js';
import { realFile } from '../../disk.js';
import type { Scope } from './scope.js';

/** What a restore needs at most on one disk, in bytes. */
export interface SpacePlan {
  /** The folder that takes the most of it. */
  path: string;
  /** All folders on this disk that take some. */
  paths: string[];
  needed: number;
  free: number;
}

/** Names, journals and the records of the run: a little on each disk. */
const SMALL_CHANGE = 1024 * 1024;

/**
 * What a restore takes at the worst moment, for each disk: while the safety backup is made, its snapshot and its archive
 * come to the extracted dump; when the switch is made, the snapshot is gone, and the media and the database's journal come.
 * The rehearsal of single tables loads them into a copy of the database in the work folder.
 * How well the archive compresses is not known before, so it counts in full.
 */
export async function planSpace(
  { workFolder, storages }: { workFolder: string; storages: Storages },
  scope: Scope,
  archive: Archive,
  live: DatabaseInfo | null,
  { staged, archived, safetyIn }: Pick<MediaWork, 'staged' | 'archived'> & { safetyIn: StorageAddress },
): Promise<SpacePlan[]> {
  const { engine, targetUrl, tables, restoreDatabase } = scope;
  const files = restoreDatabase ? archive.entries.filter(({ path }) => engine.ownsEntry(path)) : [];
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const present = await engine.check(targetUrl).then(
    (found) => found.bytes,
    () => 0,
  );
  const archives = storages.open(safetyIn).folder();
  const dump: Need = { path: workFolder, bytes };
  const safety: Need[] = [];
  if (present > 0 || (await somePresent(scope))) {
    const size = archived + (present > 0 ? archivedBytes('database', present) : 0);
    if (archives !== null) safety.push({ path: archives, bytes: size });
  }
  const snapshot = engine.capabilities.snapshotOnDisk ? present * SNAPSHOT_MARGIN : 0;
  const during = [dump, { path: workFolder, bytes: snapshot }, ...safety];
  const after = [dump, ...safety, ...staged];
  const rehearsal: Need[] = [];
  if (restoreDatabase) {
    const size = { bytes, source: archive.metadata.source, tables: archive.metadata.tables.length };
    const load = await engine.loadSpace(size, targetUrl, live, tables);
    const [file] = await engine.files(targetUrl);
    after.push({ path: workFolder, bytes: load.beside });
    if (tables !== null) rehearsal.push(dump, { path: workFolder, bytes: load.beside + load.target + present });
    if (file !== undefined) after.push({ path: dirname(await realFile(file)), bytes: load.target });
  }
  return perDisk([during, after, rehearsal]);
}

async function somePresent({ mediaTargets }: Scope): Promise<boolean> {
  for (const { root } of mediaTargets) if (await isFolder(root)) return true;
  return false;
}

/** The most of any moment, for each disk. */
async function perDisk(moments: Need[][]): Promise<SpacePlan[]> {
  const disks = new Map<number, { free: number; sums: number[]; paths: Map<string, number> }>();
  for (const [moment, needs] of moments.entries()) {
    for (const { path, bytes } of needs) {
      if (bytes <= 0) continue;
      const { device, free } = await diskOf(path);
      const disk = disks.get(device) ?? { free, sums: moments.map(() => 0), paths: new Map<string, number>() };
      disks.set(device, disk);
      disk.sums[moment] = (disk.sums[moment] ?? 0) + bytes;
      disk.paths.set(path, Math.max(disk.paths.get(path) ?? 0, bytes));
    }
  }
  return [...disks.values()].map(({ free, sums, paths }) => {
    const sorted = [...paths].sort(([, one], [, other]) => other - one).map(([path]) => path);
    const needed = Math.ceil(Math.max(...sums) + SMALL_CHANGE);
    return { path: sorted[0] ?? '', paths: sorted, needed, free };
  });
}

/** The disk of the path, or of the nearest folder above it that exists. */
async function diskOf(path: string): Promise<{ device: number; free: number }> {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      const [{ dev }, { bavail, bsize }] = await Promise.all([stat(folder), statfs(folder)]);
      return { device: dev, free: bavail * bsize };
    } catch (error) {
      const missing = errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR';
      if (!missing || folder === dirname(folder)) throw error;
    }
  }
}

/** The refusal for a disk that has less than is needed. */
export function tooFull({ paths, needed, free }: SpacePlan): AppError {
  const disk = `the disk of ${paths.join(', ')}`;
  return new AppError('STORAGE_FULL', `${humanSize(needed)} are needed on ${disk}, ${humanSize(free)} are free.`, {
    hint: `Free at least ${humanSize(needed - free)} on ${disk}. The safety backup's copy of what is there now counts too.`,
  });
}

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { type Excluded, mediaRoots, walkMedia } from '../../archive/media.js';
import type { Archive } from '../../archive/read.js';
import { MEDIA } from '../archives/contents.js';

/** A media file that differs. */
export interface MediaSample {
  /** In the archive, such as `media/uploads/a.jpg`. */
  path: string;
  /** Bytes before and after; null where it is not there. */
  before: number | null;
  after: number | null;
}

/** How the media of two states differ. */
export interface MediaComparison {
  added: number;
  removed: number;
  changed: number;
  unchanged: number;
  /** By path. */
  samples: MediaSample[];
}

/** A media file, and whether it has the content of another. */
interface Found {
  path: string;
  size: number;
  isSame(before: { size: number; sha256: string | undefined; mtime: Date | null }): Promise<boolean>;
}

/**
 * Compares the media of a backup with later ones. Keeps one path for each file of the backup in memory.
 * @param samples the most files that are named for each kind of difference
 */
export async function compareMedia(
  before: Archive,
  after: AsyncIterable<Found>,
  samples: number,
): Promise<MediaComparison> {
  const left = new Map(filesOf(before).map((entry) => [entry.path, entry]));
  const shown: Record<'removed' | 'changed' | 'added', MediaSample[]> = { removed: [], changed: [], added: [] };
  const counts = { added: 0, removed: 0, changed: 0, unchanged: 0 };
  const note = (kind: keyof typeof shown, sample: MediaSample) => {
    counts[kind] += 1;
    if (shown[kind].length < samples) shown[kind].push(sample);
  };
  for await (const found of after) {
    const { path, size } = found;
    const old = left.get(path);
    left.delete(path);
    if (old === undefined) note('added', { path, before: null, after: size });
    else if (await found.isSame(old)) counts.unchanged += 1;
    else note('changed', { path, before: old.size, after: size });
  }
  for (const { path, size } of left.values()) note('removed', { path, before: size, after: null });
  return { ...counts, samples: [...shown.removed, ...shown.changed, ...shown.added] };
}

/** The entries of media files. */
export const filesOf = ({ entries }: Archive) =>
  entries.filter(({ path, directory }) => !directory && path.startsWith(MEDIA));

/** The media files of an archive. */
export async function* archivedMedia(archive: Archive): AsyncGenerator<Found> {
  for (const { path, size, sha256 } of filesOf(archive)) {
    yield { path, size, isSame: async (before) => before.size === size && before.sha256 === sha256 };
  }
}

/**
 * The media files that lie in folders now. One of the same size and time counts as the same; one of another time is read.
 * @param paths of the folders, as the config names them
 * @throws AppError MEDIA_NOT_FOUND, MEDIA_UNREADABLE
 */
export async function* presentMedia(paths: string[], excluded: Excluded, signal: AbortSignal): AsyncGenerator<Found> {
  for (const root of await mediaRoots(paths)) {
    for await (const item of walkMedia(root, excluded)) {
      signal.throwIfAborted();
      if (item.kind !== 'file') continue;
      const stats = await lstat(item.file).catch(() => null);
      if (stats === null) continue;
      const { size, mtime } = stats;
      const isSame: Found['isSame'] = async (before) =>
        before.size === size &&
        (before.mtime?.getTime() === mtime.getTime() || (await hashOf(item.file, signal)) === before.sha256);
      yield { path: item.path, size, isSame };
    }
  }
}

/** SHA-256, hex; null for a file that is gone or cannot be read. */
async function hashOf(file: string, signal: AbortSignal): Promise<string | null> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(file), hash, { signal });
    return hash.digest('hex');
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

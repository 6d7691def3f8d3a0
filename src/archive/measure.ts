import { lstat } from 'node:fs/promises';
import { type Excluded, mediaRoots, walkMedia } from './media.js';
import { systemPath } from './raw-names.js';

/**
 * Counts what an archive of these media folders would hold, before it is written: for the progress and the space check.
 * @param excluded as of `walkMedia`
 * @param found counted up during the walk, so that it is right also when the signal ends the walk
 * @returns files, and bytes before compression
 * @throws AppError MEDIA_NOT_FOUND, MEDIA_UNREADABLE, or the signal's reason
 */
export async function measureMedia(
  paths: string[],
  excluded: Excluded,
  signal: AbortSignal,
  found = { files: 0, bytes: 0 },
): Promise<{ files: number; bytes: number }> {
  for (const root of await mediaRoots(paths)) {
    for await (const item of walkMedia(root, excluded)) {
      signal.throwIfAborted();
      if (item.kind !== 'file') continue;
      found.files += 1;
      found.bytes += await lstat(systemPath(item.file)).then(
        ({ size }) => size,
        () => 0,
      );
    }
  }
  return found;
}

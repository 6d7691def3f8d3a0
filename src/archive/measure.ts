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
    let sizes: Promise<number>[] = [];
    const count = async () => {
      for (const size of await Promise.all(sizes)) found.bytes += size;
      found.files += sizes.length;
      sizes = [];
    };
    for await (const item of walkMedia(root, excluded)) {
      if (item.kind !== 'file') continue;
      if (sizes.length === AT_ONCE) await count();
      signal.throwIfAborted();
      sizes.push(sizeOf(item.file));
    }
    await count();
  }
  return found;
}

/** How many files are looked at together. */
const AT_ONCE = 64;

const sizeOf = (file: string) =>
  lstat(systemPath(file)).then(
    ({ size }) => size,
    () => 0,
  );

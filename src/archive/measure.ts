import { lstat } from 'node:fs/promises';
import { mediaRoots, realPaths, walkMedia } from './media.js';

/**
 * Counts what an archive of these media folders would hold, before it is written: for the progress and the space check.
 * @param exclude absolute paths that are passed over
 * @returns files, and bytes before compression
 * @throws AppError MEDIA_NOT_FOUND, MEDIA_UNREADABLE, or the signal's reason
 */
export async function measureMedia(
  paths: string[],
  exclude: string[],
  signal: AbortSignal,
): Promise<{ files: number; bytes: number }> {
  const excluded = await realPaths(exclude);
  let files = 0;
  let bytes = 0;
  for (const root of await mediaRoots(paths)) {
    for await (const item of walkMedia(root, excluded)) {
      signal.throwIfAborted();
      if (item.kind !== 'file') continue;
      files += 1;
      bytes += await lstat(item.file).then(
        (found) => found.size,
        () => 0,
      );
    }
  }
  return { files, bytes };
}

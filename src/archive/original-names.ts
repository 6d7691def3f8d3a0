import { rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, errnoOf } from '../errors.js';
import type { RenamedMetadata } from './metadata.js';
import { shown } from './names.js';
import { systemPath } from './raw-names.js';

/**
 * Gives extracted files and folders the names that they had on their machine. What was not extracted is passed over.
 * @param folder where the archive's folder `prefix` (ending in '/', or '' for all of it) was extracted
 * @throws AppError MEDIA_UNREADABLE where the disk does not take such a name
 */
export async function giveOriginalNames(folder: string, prefix: string, renamed: RenamedMetadata[]): Promise<void> {
  const depth = ({ path }: RenamedMetadata) => path.split('/').length;
  // What lies deeper first: it is found by the names that the folders above it have in the archive.
  const here = renamed.filter(({ path }) => path.startsWith(prefix)).sort((one, other) => depth(other) - depth(one));
  for (const { path, name } of here) {
    const stored = join(folder, path.slice(prefix.length));
    try {
      await rename(stored, systemPath(join(dirname(stored), name)));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') continue;
      throw new AppError(
        'MEDIA_UNREADABLE',
        `This disk does not take the name ${shown(name)} of a media file (${errnoOf(error)}).`,
        { hint: 'Restore to a disk of the kind that the file came from, or leave the file out.', cause: error },
      );
    }
  }
}

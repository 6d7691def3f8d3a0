import { type ArchiveMetadata, METADATA_ENTRY, type SourceFile } from './metadata.js';
import type { Archive } from './read.js';
import { writeArchive, type WriteOptions, type WrittenArchive } from './write.js';

/**
 * Writes what an opened archive stands for as one full archive, such as a chain of incremental backups: streamed, without a
 * copy of the whole, and with the same bytes each time. Every file is compared with its checksum on the way; the stream
 * fails if one differs.
 * @param options `threads`: how many compress. `about`: the metadata, but for `entries`; by default those of the archive
 * @throws as `writeArchive`, through the stream
 */
export function writeFull(
  archive: Archive,
  {
    about = async () => archive.metadata,
    onProgress = () => undefined,
    ...options
  }: Pick<WriteOptions, 'signal' | 'threads' | 'compression'> & {
    about?: () => Promise<ArchiveMetadata>;
    onProgress?: WriteOptions['onProgress'];
  },
): WrittenArchive {
  const { signal } = options;
  const isDatabase = (path: string) => path !== METADATA_ENTRY && !path.startsWith('media/');
  const files = archive.entries
    .filter(({ path, directory }) => !directory && isDatabase(path))
    .map(({ path, size, mtime, mode }): SourceFile => {
      const about = { ...(mtime !== null && { mtime }), ...(mode !== undefined && { mode }) };
      return { path, size, ...about, open: () => archive.read(path, { signal }) };
    });
  return writeArchive({
    ...options,
    files,
    mediaPaths: [],
    copied: archive,
    describe: async ({ entries }) => ({ ...(await about()), entries }),
    onProgress,
  });
}

import { PassThrough, type Readable } from 'node:stream';
import { METADATA_ENTRY } from './metadata.js';
import type { Archive } from './read.js';
import { corrupt } from './refuse.js';
import type { ArchiveSource } from './source.js';

/** unzipper keeps a heavy object for each entry: beyond so many, the comparison would take more memory than it is worth. */
const MOST_ENTRIES = 50_000;

/**
 * Opens an archive with unzipper, which shares no code with our reader, and compares what both see: an archive that only we
 * could read would be of no use on the day this product is gone. Only for archives that our reader has verified: unzipper
 * trusts what it reads. Archives with more than 50,000 entries are left out.
 * @throws AppError ARCHIVE_CORRUPT if the two differ; the source's errors
 */
export async function compareWithUnzipper(source: ArchiveSource, archive: Archive, signal: AbortSignal): Promise<void> {
  if (archive.entries.length > MOST_ENTRIES) return;
  // unzipper waits for ever for a source that fails.
  const broken = new AbortController();
  const stream = (start: number, length?: number): Readable => {
    const out = new PassThrough();
    const end = length === undefined ? source.size - 1 : Math.min(source.size, start + length) - 1;
    source.read(start, end).then(
      (bytes) => bytes.on('error', (error) => broken.abort(error)).pipe(out),
      (error: unknown) => broken.abort(error),
    );
    return out;
  };
  const failed = new Promise<never>((_resolve, reject) => {
    const either = AbortSignal.any([signal, broken.signal]);
    const refuse = () => reject(either.reason as Error);
    if (either.aborted) refuse();
    else either.addEventListener('abort', refuse, { once: true });
  });
  await Promise.race([failed, compare(stream, source.size, archive)]);
}

async function compare(
  stream: (start: number, length?: number) => Readable,
  size: number,
  archive: Archive,
): Promise<void> {
  // Loaded where it is needed: it is slow to load.
  const { default: unzipper } = await import('unzipper');
  const { files } = await unzipper.Open.custom({ size: async () => size, stream });
  const ignored = new Set(archive.ignored);
  const bytes = files.filter(({ path }) => !ignored.has(path)).reduce((sum, file) => sum + file.uncompressedSize, 0);
  if (bytes !== archive.totalBytes) {
    throw corrupt(`Another ZIP reader sees ${bytes} bytes in the archive instead of ${archive.totalBytes}.`);
  }
  // An archive that was packed again may have it inside a folder.
  const metadata = files.find(({ path }) => path === METADATA_ENTRY || path.endsWith(`/${METADATA_ENTRY}`));
  const text = metadata === undefined ? '' : (await metadata.buffer()).toString();
  if (!text.includes(archive.metadata.backup_version)) throw corrupt('Another ZIP reader cannot read the metadata.');
}

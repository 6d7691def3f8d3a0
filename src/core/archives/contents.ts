import type { Archive } from '../../archive/read.js';
import type { Engine } from '../ports.js';
import { dosTime } from '../../archive/directory.js';
import { badInput } from '../../errors.js';
import type { Listed, StoredArchive } from './stored-archive.js';
import { assertPageSize, type Page } from '../lists/page.js';
import type { PageRequest } from '../lists/lists.js';

/** Every media file of an archive lies below this. */
export const MEDIA = 'media/';
/** How long reading a directory may take, in milliseconds. */
const DEADLINE = 60_000;

/** A media file of a backup. */
export interface MediaFile {
  /** In the archive, such as `media/uploads/a.jpg`. */
  path: string;
  /** Bytes before compression. */
  size: number;
  /** To two seconds; null where the archive does not say. */
  modifiedAt: Date | null;
}

/**
 * A page of the media files of a stored archive, in the order of the archive. Reads only the archive's directory, and keeps
 * none of it.
 * @param search part of the path, in any case
 * @throws AppError ARCHIVE_…, STORAGE_…; BAD_USER_INPUT naming `first` or `after`
 */
export async function listMedia(
  stored: StoredArchive,
  { search, first, after }: PageRequest & { search?: string | null | undefined },
  signal: AbortSignal,
): Promise<Page<MediaFile>> {
  assertPageSize(first);
  const start = after ? decodePosition(after) + 1 : 0;
  const records = await stored.directory(AbortSignal.any([signal, AbortSignal.timeout(DEADLINE)]));
  const wanted = folded(search?.trim() ?? '');
  let total = 0;
  let more = false;
  const page: { position: number; file: MediaFile }[] = [];
  records.forEach((record, position) => {
    if (record.directory || !record.path.startsWith(MEDIA)) return;
    if (wanted !== '' && !folded(record.path).includes(wanted)) return;
    total += 1;
    if (position < start) return;
    if (page.length === first) more = true;
    else page.push({ position, file: { path: record.path, size: record.size, modifiedAt: modifiedAt(record) } });
  });
  return {
    nodes: page.map(({ file }) => file),
    cursors: page.map(({ position }) => encodePosition(position)),
    hasNextPage: more,
    hasPreviousPage: start > 0,
    totalCount: async () => total,
  };
}

const modifiedAt = (record: Listed) => ('mtime' in record ? record.mtime : dosTime(record.dosTime));

/** One form for upper and lower case, and for accents however they were written. */
const folded = (text: string) => text.normalize('NFC').toLowerCase();

const encodePosition = (position: number) => Buffer.from(`media ${position}`).toString('base64url');

function decodePosition(cursor: string): number {
  const position = /^media (\d{1,9})$/.exec(Buffer.from(cursor, 'base64url').toString())?.[1];
  if (position !== undefined) return Number(position);
  throw badInput('after', 'is not a cursor of this list.', 'Use pageInfo.endCursor of the page before.');
}

/** What there is to restore in an archive. Its metadata says nothing of media in version 1.0. */
export function contentOf(archive: Archive, engine: Engine): { database: boolean; media: boolean } {
  return {
    database: archive.entries.some((entry) => engine.ownsEntry(entry.path)),
    media: archive.metadata.media.length > 0 || archive.entries.some((entry) => entry.path.startsWith(MEDIA)),
  };
}

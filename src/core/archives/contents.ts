import { dosTime, readDirectory } from '../../archive/directory.js';
import { badInput } from '../../errors.js';
import type { Backups } from '../backups/backups.js';
import { assertPageSize, type Page } from '../lists/page.js';
import type { PageRequest } from '../lists/lists.js';

/** Every media file of an archive lies below this. */
const MEDIA = 'media/';
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
 * A page of the media files of a COMPLETED backup, in the order of the archive. Only the stored archive's directory is
 * read: no content, and none of it is kept.
 * @param search part of the path, in any case
 * @throws AppError as `Backups.open`; ARCHIVE_…; BAD_USER_INPUT naming `first` or `after`
 */
export async function listMedia(
  backups: Backups,
  id: string,
  { search, first, after }: PageRequest & { search?: string | null | undefined },
  signal: AbortSignal,
): Promise<Page<MediaFile>> {
  assertPageSize(first);
  const start = after ? decodePosition(after) + 1 : 0;
  const { row, storage, size } = await backups.open(id);
  const source = { size, read: (from: number, to: number) => storage.get(row.fileName, { start: from, end: to }) };
  const records = await readDirectory(source, AbortSignal.any([signal, AbortSignal.timeout(DEADLINE)]));
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
    else page.push({ position, file: { path: record.path, size: record.size, modifiedAt: dosTime(record.dosTime) } });
  });
  return {
    nodes: page.map(({ file }) => file),
    cursors: page.map(({ position }) => encodePosition(position)),
    hasNextPage: more,
    hasPreviousPage: start > 0,
    totalCount: async () => total,
  };
}

/** One form for upper and lower case, and for accents however they were written. */
const folded = (text: string) => text.normalize('NFC').toLowerCase();

const encodePosition = (position: number) => Buffer.from(`media ${position}`).toString('base64url');

function decodePosition(cursor: string): number {
  const position = /^media (\d{1,9})$/.exec(Buffer.from(cursor, 'base64url').toString())?.[1];
  if (position !== undefined) return Number(position);
  throw badInput('after', 'is not a cursor of this list.', 'Use pageInfo.endCursor of the page before.');
}

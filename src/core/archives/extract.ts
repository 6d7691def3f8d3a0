import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../../archive/make-folder.js';
import { giveOriginalNames } from '../../archive/original-names.js';
import type { Archive } from '../../archive/read.js';
import { AppError, errnoOf, fromErrno } from '../../errors.js';
import type { BackupRow } from '../../models/index.js';
import type { Audit } from '../audit.js';
import type { StepContext } from '../ports.js';
import type { StoredArchive } from './stored-archive.js';

/** A backup and the stored bytes of one copy. @param without ids of copies that are not wanted */
export type OpenCopy = (without: readonly number[]) => Promise<{ row: BackupRow; stored: StoredArchive }>;

/**
 * Lays the files of a backup's archive below `folder`, which must be empty or not there yet. The stored bytes and
 * every file are compared with their hashes on the way. Where a copy cannot be read to its end or is damaged, the next one
 * is read from its beginning. After an error nothing is left.
 * @param folder absolute
 * @throws AppError ARCHIVE_…, BAD_USER_INPUT if the folder holds something, STORAGE_…
 */
export async function extractBackup(
  audit: Audit,
  open: OpenCopy,
  folder: string,
  actor: string,
  step: StepContext,
): Promise<{ files: number; bytes: number }> {
  const made = await makeEmptyFolder(folder);
  const tried: number[] = [];
  let first: unknown;
  try {
    for (;;) {
      const { row, stored } = await open(tried).catch((error: unknown) => {
        throw first ?? error;
      });
      try {
        const archive = await extractCopy({ row, stored }, folder, step);
        await audit.record(actor, 'backup.extract', row.id, { folder });
        const files = archive.entries.filter((entry) => !entry.directory);
        return { files: files.length, bytes: files.reduce((sum, { size }) => sum + size, 0) };
      } catch (error) {
        step.signal.throwIfAborted();
        if (stored.copy === null || !mayBeOfTheCopy(error)) throw error;
        first ??= error;
        tried.push(stored.copy.id);
        await empty(folder);
      }
    }
  } catch (error) {
    if (made) await rm(folder, { recursive: true, force: true });
    else await empty(folder);
    throw error;
  }
}

async function extractCopy(
  { row, stored }: { row: BackupRow; stored: StoredArchive },
  folder: string,
  { signal, onProgress }: StepContext,
): Promise<Archive> {
  const archive = await stored.whole(row.checksum, signal, (opened, onBytes) => {
    const onRead = (done: number) => onProgress(done, opened.totalBytes);
    return opened.extract(folder, { signal, onProgress: onRead, onBytes, whole: true });
  });
  await giveOriginalNames(folder, '', archive.metadata.renamed);
  return archive;
}

/** What another copy may be free of: nothing that is wrong with the folder. */
const mayBeOfTheCopy = (error: unknown) =>
  error instanceof AppError &&
  (error.code.startsWith('ARCHIVE_') || error.code === 'STORAGE_UNAVAILABLE' || error.code === 'STORAGE_REFUSED');

async function empty(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
}

/** @returns true if the folder was made, false if it was there and empty */
async function makeEmptyFolder(folder: string): Promise<boolean> {
  try {
    const names = await readdir(folder);
    if (names.length === 0) return false;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') {
      await makeFolder(folder, 0o700).catch((cause: unknown) => refuse(folder, cause));
      return true;
    }
    if (errnoOf(error) !== 'ENOTDIR') refuse(folder, error);
  }
  throw new AppError('BAD_USER_INPUT', `to: ${folder} is a file or already holds files.`, {
    field: 'to',
    hint: 'Name an empty folder, or one that does not exist yet.',
  });
}

function refuse(folder: string, cause: unknown): never {
  throw fromErrno(cause, `write ${folder}`, 'STORAGE_NOT_WRITABLE', 'STORAGE_NOT_WRITABLE') ?? cause;
}

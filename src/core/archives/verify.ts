import { mkdir, rm, statfs } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import type { Archive } from '../../archive/read.js';
import { readHeader } from '../../archive/seal-header.js';
import { AppError } from '../../errors.js';
import type { BackupRow, VerificationLevel } from '../../models/index.js';
import { humanSize } from '../text/format.js';
import { strangeEntries } from './origin.js';
import type { DatabaseInfo, Engine, StepContext, Storage } from '../ports.js';
import { within } from '../runs/progress.js';
import { findStored, otherChecksum, type StoredArchive } from './stored-archive.js';

/** How thoroughly stored bytes are verified, and against what. */
export interface VerifyOptions {
  level: Exclude<VerificationLevel, 'DRILL'>;
  engine: Engine;
  /** SHA-256 noted when the archive was stored, in hex; null if none was. */
  checksum: string | null;
  /** The database that the backup was made of, for a CONTENT that needs its server; null if that is not known for sure. */
  databaseUrl: string | null;
  /** A folder that CONTENT makes and removes again. */
  scratch: string;
  /** Called with the folder of the extracted database once that was found good, at level CONTENT. */
  inspect?: (folder: string) => Promise<void>;
  /** True if the database is known to be damaged: then CONTENT verifies no more than ARCHIVE. */
  damaged: boolean;
}

/** True if the error says that a database's bytes are damaged, so that it can be kept or replaced only as it is. */
export const isDamage = (error: unknown): error is AppError =>
  error instanceof AppError && (error.code === 'DATABASE_CORRUPT' || error.code === 'DATABASE_WRONG_KIND');

/**
 * Verifies a stored archive by reading it back, each level in one pass over the stored bytes.
 * CHECKSUM: the stored bytes have the noted SHA-256. ARCHIVE: also every entry reads and has its hash. CONTENT: also an
 * independent ZIP reader sees the same, and the database is extracted, passes its own integrity check, and holds the tables
 * and row counts that the metadata lists.
 * @throws AppError ARCHIVE_MISSING, ARCHIVE_CORRUPT, DATABASE_CORRUPT or another ARCHIVE_… code
 */
export async function verifyStored(stored: StoredArchive, options: VerifyOptions, step: StepContext): Promise<void> {
  const { level, engine, checksum, scratch, damaged, databaseUrl, inspect } = options;
  if (level === 'CHECKSUM') return verifyBytes(stored, checksum, step);
  if (level === 'ARCHIVE' || damaged) {
    await readWhole(stored, { checksum, engine }, step);
    if (level === 'CONTENT') await stored.compareReaders(step.signal);
    return;
  }
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  try {
    const archive = await readWhole(stored, { checksum, engine, databaseTo: scratch }, within(step, 0, 0.6));
    await stored.compareReaders(step.signal);
    assertSameCounts(archive, await engine.inspectContent(scratch, within(step, 0.6, 1), databaseUrl));
    await inspect?.(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What a pass over the stored bytes compares, and what it lays down. */
interface WholeOptions {
  /** SHA-256 noted when the archive was stored, in hex; null if none was. */
  checksum: string | null;
  engine: Engine;
  /** A folder for the database's entries, of no use after a crash; if left out, nothing is written. */
  databaseTo?: string;
}

/**
 * Reads the stored bytes once, from the first to the last: compares their SHA-256 and every entry, and lays the database
 * below a folder on the way. What was laid counts only once this has returned.
 * @throws as `verifyStored`
 */
export async function readWhole(
  stored: StoredArchive,
  { checksum, engine, databaseTo }: WholeOptions,
  step: StepContext,
): Promise<Archive> {
  return stored.whole(checksum, step.signal, async (archive, onBytes) => {
    strangeEntries(archive.entries, engine);
    const total = archive.totalBytes;
    const options = { signal: step.signal, onBytes, onProgress: (done: number) => step.onProgress(done, total) };
    if (databaseTo === undefined) return archive.verify(options);
    await assertRoomFor(archive, engine, databaseTo);
    await archive.extract(databaseTo, { ...options, filter: engine.ownsEntry, whole: true, flush: false });
  });
}

/**
 * Reads back an archive that was just written: its SHA-256, and every entry, are those of what was written. Each block was
 * inflated and compared where it was made, so together this proves as much as `verifyStored` at level ARCHIVE.
 * @param made `WrittenArchive.sums`
 * @throws as `verifyStored`
 */
export async function verifyWritten(
  stored: StoredArchive,
  { checksum, made }: { checksum: string; made: readonly number[] },
  step: StepContext,
): Promise<void> {
  await stored.whole(checksum, step.signal, (archive, onBytes) =>
    archive.verifyWritten(made, {
      signal: step.signal,
      onBytes,
      onProgress: (done) => step.onProgress(done, stored.size),
    }),
  );
}

/** Compares the stored bytes with the noted SHA-256. @throws AppError ARCHIVE_MISSING, ARCHIVE_CORRUPT */
export async function verifyBytes(stored: StoredArchive, noted: string | null, step: StepContext): Promise<void> {
  const checksum = await stored.hash(step.signal, (done) => step.onProgress(done, stored.size));
  if (noted !== null && checksum !== noted) throw otherChecksum(stored);
}

/** Lays the archive's database entries below `folder`, which is of no use after a crash. @throws AppError ARCHIVE_FOREIGN if there are none */
export async function extractDatabase(
  archive: Archive,
  engine: Engine,
  folder: string,
  step: StepContext,
): Promise<void> {
  const bytes = await assertRoomFor(archive, engine, folder);
  await archive.extract(folder, {
    signal: step.signal,
    filter: engine.ownsEntry,
    flush: false,
    onProgress: (done) => step.onProgress(done, bytes),
  });
}

/**
 * What an archive declares may be absurd: nothing is written that could not fit.
 * @returns the bytes of its database
 * @throws AppError STORAGE_FULL; ARCHIVE_FOREIGN if there is no database
 */
async function assertRoomFor(archive: Archive, engine: Engine, folder: string): Promise<number> {
  const own = archive.entries.filter((entry) => engine.ownsEntry(entry.path));
  if (own.length === 0) {
    throw new AppError('ARCHIVE_FOREIGN', `The archive holds no ${engine.kind} database.`);
  }
  const bytes = own.reduce((sum, entry) => sum + entry.size, 0);
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= bytes) return bytes;
  throw new AppError(
    'STORAGE_FULL',
    `The database in the archive has ${humanSize(bytes)}, and only ${humanSize(bavail * bsize)} are free in ${folder}.`,
  );
}

/** @throws AppError ARCHIVE_CORRUPT if tables or row counts differ from the metadata (which versions before 2 lack) */
export function assertSameCounts(archive: Archive, info: DatabaseInfo): void {
  if (archive.metadata.tables.length === 0) return;
  const counted = new Map(info.tables.map((table) => [table.name, table.rows]));
  for (const { name, row_count: expected } of archive.metadata.tables) {
    const rows = counted.get(name);
    // What could not be counted on one side says nothing, as long as the table is there.
    if (rows === null || (rows !== undefined && expected === null)) continue;
    if (rows !== expected) {
      throw new AppError(
        'ARCHIVE_CORRUPT',
        `Table ${name} holds ${rows ?? 'no'} rows instead of the ${expected ?? 'unknown number'} that the backup noted.`,
      );
    }
  }
}

/**
 * True if the stored object was written by this backup's own run: only then may recovery remove it. A sealed one is known by
 * its header, without a key.
 */
export async function isOwnObject(storage: Storage, row: BackupRow, signal: AbortSignal): Promise<boolean> {
  try {
    const stored = await findStored(storage, row.fileName);
    if (row.checksum !== null) return (await stored.hash(signal)) === row.checksum;
    if (stored.isSealed) return sealHeaderOf(await readHeader(stored.stored, signal)) === row.sealHeader;
    return (await stored.archive(signal)).metadata.backup_id === row.id;
  } catch (error) {
    if (error instanceof AppError && error.code.startsWith('ARCHIVE_')) return false;
    throw error;
  }
}

/** What `BackupRow.sealHeader` notes of a header. */
export const sealHeaderOf = (header: Buffer): string => createHash('sha256').update(header).digest('hex');

import { mkdir, rm, statfs } from 'node:fs/promises';
import type { Archive } from '../../archive/read.js';
import { AppError } from '../../errors.js';
import type { BackupRow, VerificationLevel } from '../../models/index.js';
import { humanSize } from '../text/format.js';
import { strangeEntries } from './origin.js';
import type { DatabaseInfo, Engine, StepContext, Storage } from '../ports.js';
import { within } from '../runs/progress.js';
import { findStored, type StoredArchive } from './stored-archive.js';

/** How thoroughly stored bytes are verified, and against what. */
export interface VerifyOptions {
  level: VerificationLevel;
  engine: Engine;
  /** SHA-256 noted when the archive was stored, in hex; null if none was. */
  checksum: string | null;
  /** A folder that DRILL makes and removes again. */
  scratch: string;
  /** True if the database is known to be damaged: then DRILL verifies no more than ARCHIVE. */
  damaged: boolean;
}

/** True if the error says that a database's bytes are damaged, so that it can be kept or replaced only as it is. */
export const isDamage = (error: unknown): error is AppError =>
  error instanceof AppError && (error.code === 'DATABASE_CORRUPT' || error.code === 'DATABASE_WRONG_KIND');

/** How often each level reads the stored bytes: progress is counted in those. */
const PASSES: Record<VerificationLevel, number> = { CHECKSUM: 1, ARCHIVE: 2, DRILL: 3 };

/**
 * Verifies a stored archive by reading it back.
 * CHECKSUM: the stored bytes have the noted SHA-256. ARCHIVE: also every entry reads and has its hash. DRILL: also an
 * independent ZIP reader sees the same, and the database is extracted, passes its own integrity check, and holds the tables
 * and row counts that the metadata lists.
 * @param next enters a phase of its own for the second pass, whose speed differs; not for DRILL
 * @throws AppError ARCHIVE_MISSING, ARCHIVE_CORRUPT, DATABASE_CORRUPT or another ARCHIVE_… code
 */
export async function verifyStored(
  stored: StoredArchive,
  options: VerifyOptions,
  step: StepContext,
  next?: () => Promise<StepContext>,
): Promise<void> {
  const { size } = stored;
  const { level, engine, checksum, damaged } = options;
  const pass = (number: number) => within(step, number * size, (number + 1) * size, PASSES[level] * size);
  await verifyBytes(stored, checksum, next === undefined ? pass(0) : step);
  if (level === 'CHECKSUM') return;
  const archive = await stored.archive(step.signal);
  strangeEntries(archive.entries, engine);
  const { onProgress } = next === undefined ? pass(1) : await next();
  await archive.verify({ signal: step.signal, onProgress: (done) => onProgress(done, archive.totalBytes) });
  if (level !== 'DRILL') return;
  await stored.compareReaders(step.signal);
  if (!damaged) await drill(archive, options, pass(2));
}

/** Compares the stored bytes with the noted SHA-256. @throws AppError ARCHIVE_MISSING, ARCHIVE_CORRUPT */
export async function verifyBytes(stored: StoredArchive, noted: string | null, step: StepContext): Promise<void> {
  const checksum = await stored.hash(step.signal, (done) => step.onProgress(done, stored.size));
  if (noted === null || checksum === noted) return;
  throw new AppError('ARCHIVE_CORRUPT', `${stored.name} does not have the SHA-256 that was noted when it was stored.`);
}

async function drill(archive: Archive, { engine, scratch }: VerifyOptions, step: StepContext): Promise<void> {
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  try {
    await extractDatabase(archive, engine, scratch, within(step, 0, 0.6));
    const info = await engine.drill(scratch, within(step, 0.6, 1));
    assertSameCounts(archive, info);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Lays the archive's database entries below `folder`. @throws AppError ARCHIVE_FOREIGN if there are none */
export async function extractDatabase(
  archive: Archive,
  engine: Engine,
  folder: string,
  step: StepContext,
): Promise<void> {
  const own = archive.entries.filter((entry) => engine.ownsEntry(entry.path));
  if (own.length === 0) {
    throw new AppError('ARCHIVE_FOREIGN', `The archive holds no ${engine.kind} database.`);
  }
  const bytes = own.reduce((sum, entry) => sum + entry.size, 0);
  await assertRoom(folder, bytes);
  await archive.extract(folder, {
    signal: step.signal,
    filter: (path) => engine.ownsEntry(path),
    onProgress: (done) => step.onProgress(done, bytes),
  });
}

/** What an archive declares may be absurd: nothing is written that could not fit. @throws AppError STORAGE_FULL */
async function assertRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= bytes) return;
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

/** True if the stored object was written by this backup's own run: only then may recovery remove it. */
export async function isOwnObject(storage: Storage, row: BackupRow, signal: AbortSignal): Promise<boolean> {
  try {
    const stored = await findStored(storage, row.fileName);
    if (row.checksum !== null) return (await stored.hash(signal)) === row.checksum;
    return (await stored.archive(signal)).metadata.backup_id === row.id;
  } catch (error) {
    if (error instanceof AppError && error.code.startsWith('ARCHIVE_')) return false;
    throw error;
  }
}

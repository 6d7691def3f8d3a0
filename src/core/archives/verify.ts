import { createHash } from 'node:crypto';
import { mkdir, rm, statfs } from 'node:fs/promises';
import { type Archive, openArchive } from '../../archive/read.js';
import { AppError, fromErrno } from '../../errors.js';
import type { BackupRow, VerificationLevel } from '../../models/index.js';
import { humanSize } from '../text/names.js';
import { strangeEntries } from './origin.js';
import type { DatabaseInfo, Engine, StepContext, Storage } from '../ports.js';
import { within } from '../runs/progress.js';

/** What is proven, and of what. */
export interface Proof {
  storage: Storage;
  fileName: string;
  /** What the row says was stored; null where it was never noted. */
  fileSize: number | null;
  checksum: string | null;
  level: VerificationLevel;
  engine: Engine;
  /** A folder that may be made and is removed again; used by DRILL only. */
  scratch: string;
  /** True if its database is known to be damaged: only the bytes are proven then. */
  damaged?: boolean;
}

/** True if the error says that a database's bytes are damaged, so that it can be kept or replaced only as it is. */
export const isDamage = (error: unknown): error is AppError =>
  error instanceof AppError && (error.code === 'DATABASE_CORRUPT' || error.code === 'DATABASE_NOT_SQLITE');

/** How often each level reads the stored bytes: progress is told in those. */
const PASSES: Record<VerificationLevel, number> = { CHECKSUM: 1, ARCHIVE: 2, DRILL: 3 };

/**
 * Proves a stored archive by reading it back.
 * CHECKSUM: the stored bytes have the noted SHA-256. ARCHIVE: also every entry reads and has its hash. DRILL: also the
 * database is extracted, passes its own integrity check, and holds the tables and row counts that the metadata says.
 * @param next enters a phase of its own for all but the first pass, which goes at another speed; not for DRILL
 * @returns the opened archive, for what the caller wants to know of it; null for CHECKSUM
 * @throws AppError ARCHIVE_MISSING, ARCHIVE_CORRUPT, DATABASE_CORRUPT or another ARCHIVE_… code
 */
export async function prove(
  proof: Proof,
  step: StepContext,
  next?: () => Promise<StepContext>,
): Promise<Archive | null> {
  const size = await storedSize(proof.storage, proof.fileName);
  const pass = (number: number) => within(step, number * size, (number + 1) * size, PASSES[proof.level] * size);
  await proveBytes(proof, size, next === undefined ? pass(0) : step);
  if (proof.level === 'CHECKSUM') return null;
  const archive = await openStored(proof.storage, proof.fileName, size, step.signal);
  strangeEntries(archive.entries, proof.engine);
  const { onProgress } = next === undefined ? pass(1) : await next();
  await archive.verify({ signal: step.signal, onProgress: (done) => onProgress(done, archive.totalBytes) });
  if (proof.level === 'DRILL' && proof.damaged !== true) await drill(archive, proof, pass(2));
  return archive;
}

/** Opens a stored archive for reading at any position. */
export function openStored(storage: Storage, fileName: string, size: number, signal: AbortSignal): Promise<Archive> {
  return openArchive({ size, read: (start, end) => storage.get(fileName, { start, end }) }, { signal });
}

/** The stored object's size, or ARCHIVE_MISSING. */
export async function storedSize(storage: Storage, fileName: string): Promise<number> {
  const stored = await storage.stat(fileName);
  if (stored === null) throw new AppError('ARCHIVE_MISSING', `${storage.locate(fileName)} is not there.`);
  return stored.size;
}

/**
 * Compares the stored bytes with what was noted.
 * @param size of the stored object
 * @throws AppError ARCHIVE_MISSING, ARCHIVE_CORRUPT
 */
export async function proveBytes(
  proof: Pick<Proof, 'storage' | 'fileName' | 'fileSize' | 'checksum'>,
  size: number,
  step: StepContext,
): Promise<void> {
  const { storage, fileName } = proof;
  if (proof.fileSize !== null && proof.fileSize !== size) {
    throw new AppError('ARCHIVE_CORRUPT', `${fileName} has ${size} bytes instead of ${proof.fileSize}.`);
  }
  const checksum = await hashStored(storage, fileName, step.signal, (done) => step.onProgress(done, size));
  if (proof.checksum !== null && checksum !== proof.checksum) {
    throw new AppError('ARCHIVE_CORRUPT', `${fileName} does not have the SHA-256 that was noted when it was stored.`);
  }
}

/** SHA-256 of the stored object, hex. `onBytes` hears how many were read. */
export async function hashStored(
  storage: Storage,
  fileName: string,
  signal: AbortSignal,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<string> {
  const hash = createHash('sha256');
  let done = 0;
  try {
    for await (const chunk of await storage.get(fileName)) {
      signal.throwIfAborted();
      hash.update(chunk as Buffer);
      onBytes((done += (chunk as Buffer).length));
    }
  } catch (error) {
    throw fromErrno(error, `read ${fileName}`, 'STORAGE_UNAVAILABLE', 'ARCHIVE_MISSING') ?? error;
  }
  return hash.digest('hex');
}

async function drill(archive: Archive, proof: Proof, step: StepContext): Promise<void> {
  await mkdir(proof.scratch, { recursive: true, mode: 0o700 });
  try {
    await extractDatabase(archive, proof.engine, proof.scratch, within(step, 0, 0.6));
    const info = await proof.engine.inspect(proof.scratch, within(step, 0.6, 1));
    assertSameCounts(archive, info);
  } finally {
    await rm(proof.scratch, { recursive: true, force: true });
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

/** True if the stored file was written by this backup's own run: only then may a clean-up touch it. */
export async function isOwnFile(storage: Storage, row: BackupRow, signal: AbortSignal): Promise<boolean> {
  const stored = await storage.stat(row.fileName);
  if (stored === null) return false;
  try {
    if (row.checksum !== null) return (await hashStored(storage, row.fileName, signal)) === row.checksum;
    const archive = await openStored(storage, row.fileName, stored.size, signal);
    return archive.metadata.backup_id === row.id;
  } catch (error) {
    if (error instanceof AppError && error.code.startsWith('ARCHIVE_')) return false;
    throw error;
  }
}

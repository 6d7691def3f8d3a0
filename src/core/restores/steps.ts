import { mkdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { Archive } from '../../archive/read.js';
import { AppError } from '../../errors.js';
import { type BackupRow, isRegular } from '../../models/index.js';
import { noteDamaged } from '../archives/copies.js';
import { openStored, type Reading, type StoredArchive } from '../archives/stored-archive.js';
import { assertSameCounts, readWhole } from '../archives/verify.js';
import type { Protection } from '../configs/protection.js';
import type { CoreEnvironment } from '../environment.js';
import type { Engine, Finding, LoadOptions, StepContext } from '../ports.js';
import { within } from '../runs/progress.js';
import type { Run } from '../runs/run.js';
import { type MediaPart, mediaPart } from './media/part.js';
import type { MediaMode, MediaTarget } from './media/survey.js';
import { MediaSwap } from './media/swap.js';

/** What a restore and a drill read from. */
export interface Extracted {
  backup: BackupRow;
  archive: Archive;
  stored: StoredArchive;
  folder: string;
}

/** How a backup is read for a restore or a drill. */
interface CopyReading extends Pick<Extracted, 'backup' | 'folder'> {
  /** True if the database of the archive is laid in the folder. */
  holdsDatabase(archive: Archive): boolean;
  reading(): Promise<Reading>;
  /** Called with each copy that was opened, before it is read. */
  opened(archive: Archive): Promise<void>;
}

/**
 * Reads the archive once: compares every byte and every hash, and lays the database in the folder on the way. Where a copy
 * cannot be read or is damaged, the next one is read.
 * @throws AppError as `readWhole`, of the last copy
 */
export async function readGoodCopy(
  env: Pick<CoreEnvironment, 'engines' | 'storages' | 'models' | 'log' | 'now'>,
  run: Run,
  { backup, folder, holdsDatabase, reading, opened }: CopyReading,
): Promise<Pick<Extracted, 'archive' | 'stored'>> {
  const engine = env.engines.of(backup.engine);
  const { without, ...how } = await reading();
  const tried = [...(without ?? [])];
  for (;;) {
    const stored = await openStored(env.storages, backup, { without: tried, ...how });
    const from = { run: run.id, backup: backup.id, from: stored.location };
    env.log.info(from, 'reads a copy');
    for (const { message } of stored.passedOver) run.warn(`${message} ${stored.location} was read instead.`);
    try {
      const listed = await stored.archive(run.signal);
      await opened(listed);
      const databaseTo = holdsDatabase(listed) ? { databaseTo: folder } : {};
      const options = { checksum: backup.checksum, engine, ...databaseTo };
      const archive = await readWhole(stored, options, await run.phase('verify'));
      return { archive, stored };
    } catch (error) {
      run.signal.throwIfAborted();
      const { copy } = stored;
      const mayBeOfTheCopy = error instanceof AppError && /^(ARCHIVE|STORAGE)_/.test(error.code);
      if (!mayBeOfTheCopy || copy === null || !hasAnother(backup, [...tried, copy.id])) throw error;
      if (error.code.startsWith('ARCHIVE_')) await noteDamaged(env, backup, copy, error);
      env.log.warn({ ...from, err: error }, 'a copy could not be read, another one is');
      run.warn(`${error.message} Another copy was read instead.`);
      tried.push(copy.id);
      await rm(folder, { recursive: true });
      await mkdir(folder, { mode: 0o700 });
    }
  }
}

const hasAnother = ({ copies }: BackupRow, tried: number[]) =>
  copies.some(({ id, status }) => status === 'COMPLETED' && !tried.includes(id));

/**
 * True if the run that made the backup has looked for all damage in these very bytes: a restore need not do so again. Of a
 * safety backup, only the pages were looked at.
 */
export const isCheckedHere = ({ backupType, checksum, damaged }: BackupRow): boolean =>
  isRegular(backupType) && checksum !== null && !damaged;

/**
 * Looks for what could do harm in the database that was laid, and for damage where nobody here has done so before.
 * @returns what is wrong with it @throws AppError as `Engine.inspect`
 */
export async function checkedDump(
  engine: Engine,
  { backup, archive, folder }: Omit<Extracted, 'stored'>,
  step: StepContext,
): Promise<Finding[]> {
  const known = isCheckedHere(backup);
  const info = await (known ? engine.describeDump(folder, step) : engine.inspect(folder, step));
  assertSameCounts(archive, info);
  return known ? archive.metadata.findings : info.findings;
}

/** What of the archive's media goes to each of these folders. @throws AppError as `mediaPart` */
export async function mediaParts(
  chosen: { media: string[] | null },
  archive: Archive,
  targets: MediaTarget[],
  protection: Protection,
): Promise<MediaPart[]> {
  const parts: MediaPart[] = [];
  for (const target of targets) parts.push(await mediaPart(chosen, archive, target, protection));
  return parts;
}

/** Lays the new files of each folder beside the present ones. @param swaps gets what then takes their places */
export async function layMedia(
  swaps: MediaSwap[],
  archive: Archive,
  parts: MediaPart[],
  { runId, mode, protection }: { runId: string; mode: MediaMode; protection: Protection },
  step: StepContext,
): Promise<void> {
  const bytesOf = ({ files }: MediaPart) => files.reduce((sum, { size }) => sum + size, 0);
  const total = parts.reduce((sum, part) => sum + bytesOf(part), 0);
  let laid = 0;
  for (const part of parts) {
    const { target, wanted } = part;
    const bytes = bytesOf(part);
    const options = { runId, mode, wanted, excluded: protection.covers };
    swaps.push(await MediaSwap.prepare(archive, target, options, within(step, laid, laid + bytes, total)));
    laid += bytes;
  }
}

/** What a load has to know of the dump that it loads. */
export const loadedFrom = (
  { metadata }: Archive,
  { damaged }: BackupRow,
): Pick<LoadOptions, 'source' | 'madeHere' | 'damaged' | 'expected'> => ({
  source: metadata.source,
  madeHere: metadata.origin?.host === hostname(),
  damaged,
  expected: metadata.tables.map(({ name, row_count: rows }) => ({ name, rows })),
});

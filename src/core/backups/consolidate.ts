import { metadataHash } from '../../archive/chain.js';
import type { ArchiveMetadata } from '../../archive/metadata.js';
import type { Archive } from '../../archive/read.js';
import { AppError, badInput } from '../../errors.js';
import { type BackupRow, isGood, type StoredObjectRow } from '../../models/index.js';
import { equalsOf, parentsOf } from '../archives/chains.js';
import { noteDamaged, updateCopies } from '../archives/copies.js';
import { uploadNames } from '../archives/names.js';
import { assertCompleted, openCopy, type StoredArchive } from '../archives/stored-archive.js';
import { verifyBytes } from '../archives/verify.js';
import type { Storage, StepContext } from '../ports.js';
import { Run } from '../runs/run.js';
import { auditHead, layArchive, mostBytes, type Seal, sealFor, statedKeys, verifyLaid } from './lay-archive.js';
import { insertBackup } from './new-backup.js';
import {
  assertSpace,
  type BackupsEnvironment,
  databaseWarnings,
  endBadly,
  mediaWarnings,
  READ_BACK,
} from './run-backup.js';

/*
 * A consolidation makes a full backup of the state of an incremental one, of stored archives alone. It adds a backup and
 * changes no other: whatever ends it early, the chain is as it was. What builds on the incremental one builds on the full one
 * as well, so that afterwards nothing needs the older members of the chain. The clean-up deletes them.
 */

/** Opens a COMPLETED backup together with what it builds on. */
type Open = (row: BackupRow, signal: AbortSignal) => Promise<StoredArchive>;

/**
 * Makes the PENDING row of a consolidation. Called while the incremental backup is held.
 * @param member the incremental backup
 * @throws AppError BAD_USER_INPUT, BACKUP_NOT_COMPLETED, BACKUP_DELETED, BUSY; CHAIN_BROKEN, ENCRYPTION_KEY_MISSING, …
 * where what it builds on cannot be read
 */
export async function insertConsolidation(
  env: BackupsEnvironment,
  member: BackupRow,
  { open, actor, signal }: { open: Open; actor: string; signal: AbortSignal },
): Promise<BackupRow> {
  const { id, configId, archiveId = null, note } = member;
  assertCompleted(member);
  if ((member.parentArchiveId ?? null) === null || archiveId === null) {
    throw badInput('id', `${id} is a full backup.`, 'Choose an incremental backup.');
  }
  await assertNotYet(env, member, archiveId);
  await open(member, signal).catch((error: unknown) => {
    throw withoutKey(error);
  });
  const keys = await (configId === null ? env.keys.ofBackup(id) : env.keys.ofConfig(configId));
  const { engine, databaseName, applicationId = null, origin = null, createdAt } = member;
  return insertBackup(env, {
    configId,
    // What was uploaded stays so: no policy deletes it.
    backupType: member.backupType === 'UPLOADED' ? 'UPLOADED' : 'MANUAL',
    address: firstPlace(member),
    engine,
    databaseName,
    applicationId,
    origin,
    createdAt,
    names: uploadNames(member.fileName, env.prefix, createdAt, keys.length > 0),
    note: [note, `Consolidated from ${id}.`].filter(Boolean).join(' '),
    keyIds: keys.map((key) => key.id),
    consolidates: archiveId,
    chainArchiveId: member.chainArchiveId ?? null,
    chainPosition: member.chainPosition,
    actor,
  });
}

/** @throws AppError BUSY, BAD_USER_INPUT if a full backup was made of it already, or is being made */
async function assertNotYet({ models }: BackupsEnvironment, member: BackupRow, consolidates: string): Promise<void> {
  const waits = await models.Backup.findOne({ where: { consolidates, status: ['PENDING', 'RUNNING'] } });
  if (waits !== null) {
    throw new AppError('BUSY', `Backup ${member.id} is being consolidated: ${waits.id}.`);
  }
  const made = (await equalsOf(models, member)).find((row) => row.mode === 'FULL' && row.verifiedAt !== null);
  if (made !== undefined) {
    throw badInput('id', `${member.id} was consolidated: ${made.id} is the same as a full backup.`, `Use ${made.id}.`);
  }
}

/** A key that is given would have to be kept for the run. */
function withoutKey(error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== 'ENCRYPTION_KEY_MISSING') return error;
  return new AppError(error.code, error.message, {
    hint: 'Encrypt the backups of the chain for a key that is held here first: `rewrapBackup`, `db-manager rewrap`.',
    cause: error,
  });
}

/** Where its first copy lies. */
function firstPlace({ copies, address }: BackupRow): BackupRow['address'] {
  const copy = copies.find(isGood) ?? copies.find(({ status }) => status === 'COMPLETED');
  if (copy === undefined) return address;
  const { storageType, storagePath } = copy.destination;
  return { storageType, storagePath };
}

/** Does a PENDING consolidation: see `Backups.run`. */
export async function runConsolidation(
  env: BackupsEnvironment,
  id: string,
  stop: AbortSignal,
  open: Open,
): Promise<'done' | 'busy'> {
  const run = await Run.claim(env, 'Backup', id, [], stop);
  if (!(run instanceof Run)) return run === 'busy' ? 'busy' : 'done';
  let stored: string | null = null;
  let storage: Storage | null = null;
  try {
    const row = await env.models.Backup.findByPk(id, { rejectOnEmpty: true });
    storage = env.storages.open(row.address);
    const member = await memberOf(env, row);
    const chain = [...(await parentsOf(env.models, member)), member];
    await storage.prepare();
    const space = await storage.space();
    const pieces = chain.reduce((sum, { fileSize }) => sum + (fileSize ?? 0), 0);
    if (space !== null) assertSpace(space.free, pieces, `for the archive in ${storage.place}`);
    await compareStored(env, run, chain);
    const state = await stateOf(await open(member, run.signal), run.signal);
    const seal = await sealFor(env, run, row);
    const archive = await lay(env, run, row, { storage, seal, state, onStored: (name) => (stored = name) });
    await verifyLaid(env, run, row, storage, { ...archive, seal });
    assertSame(archive.metadata, state);
    run.warn(...databaseWarnings(archive.metadata), ...mediaWarnings(archive.metadata));
    if (!(await run.complete(await outcome(env, member, archive)))) {
      throw new AppError('INTERRUPTED', 'This process lost its hold of the run.');
    }
    env.log.info({ backup: id, size: archive.size, of: member.id }, 'consolidation completed');
  } catch (thrown) {
    if (storage === null) await run.fail(run.explain(thrown));
    else await endBadly(env, run, { storage, stored, thrown });
  } finally {
    run.abandon(new AppError('INTERRUPTED', 'The run has ended.'));
    await run.close();
  }
  return 'done';
}

/** @throws AppError BACKUP_DELETED if the incremental backup is not here any more */
async function memberOf({ models }: BackupsEnvironment, { consolidates }: BackupRow): Promise<BackupRow> {
  const where = { archiveId: consolidates, mode: 'INCREMENTAL', status: 'COMPLETED' };
  const member = await models.Backup.findOne({ where });
  if (member !== null) return member;
  throw new AppError('BACKUP_DELETED', `Backup ${consolidates} was deleted before it was consolidated.`);
}

/**
 * Compares the stored bytes of the whole chain with their checksums, and notes the copies that are damaged, so that another
 * one is read.
 * @throws AppError ARCHIVE_…, STORAGE_… if no copy of a member is good
 */
async function compareStored(env: BackupsEnvironment, run: Run, chain: BackupRow[]): Promise<void> {
  const total = chain.reduce((sum, { fileSize }) => sum + (fileSize ?? 0), 0);
  run.expect({ check: total / READ_BACK, archive: total, verify: total / READ_BACK });
  const step = await run.phase('check');
  let before = 0;
  for (const row of chain) {
    const at = before;
    const part = { signal: step.signal, onProgress: (done: number) => step.onProgress(at + done, total) };
    await compareCopies(env, row, part);
    before += row.fileSize ?? 0;
  }
}

/** Reads copies, the good ones first, until one is as it was stored. */
async function compareCopies(env: BackupsEnvironment, row: BackupRow, step: StepContext): Promise<void> {
  const copies = row.copies.filter(({ status }) => status === 'COMPLETED');
  const failures: unknown[] = [];
  for (const copy of copies.sort((one, other) => Number(isGood(other)) - Number(isGood(one)))) {
    try {
      return await compareCopy(env, row, copy, step);
    } catch (error) {
      step.signal.throwIfAborted();
      if (!(error instanceof AppError)) throw error;
      if (error.code.startsWith('ARCHIVE_')) await noteDamaged(env, row, copy, error);
      env.log.warn({ backup: row.id, copy: copy.location, err: error }, 'a copy of a chain cannot be read');
      failures.push(error);
    }
  }
  throw failures[0] ?? new AppError('ARCHIVE_MISSING', `No copy of ${row.id} is there.`);
}

async function compareCopy(
  { storages }: BackupsEnvironment,
  row: BackupRow,
  copy: StoredObjectRow,
  step: StepContext,
): Promise<void> {
  await verifyBytes(await openCopy(storages, row, copy, { alone: true }), row.checksum, step);
}

/** The state that is to be stored as a full backup. */
interface State {
  /** All of it, put together. */
  archive: Archive;
  /** The metadata of the incremental archive, and the SHA-256 of that entry, hex. */
  own: ArchiveMetadata;
  sha256: string;
}

async function stateOf(stored: StoredArchive, signal: AbortSignal): Promise<State> {
  const piece = await stored.piece(signal);
  return { archive: await stored.archive(signal), own: piece.metadata, sha256: await metadataHash(piece, signal) };
}

/** Streams the state into one archive and stores it. */
async function lay(
  env: BackupsEnvironment,
  run: Run,
  row: BackupRow,
  {
    storage,
    seal,
    state,
    onStored,
  }: { storage: Storage; seal: Seal | null; state: State; onStored: (name: string) => void },
) {
  const { archive } = state;
  const total = archive.entries.reduce((sum, { size }) => sum + size, 0);
  run.expect({ archive: total, verify: total / READ_BACK });
  const step = await run.phase('archive');
  await updateCopies(env.models, row.id, { status: 'RUNNING' });
  const config = row.configId === null ? null : await env.models.BackupConfig.findByPk(row.configId);
  // What writes archives is slow to load.
  const { writeFull } = await import('../../archive/full.js');
  const make = () =>
    writeFull(archive, {
      signal: run.signal,
      ...(env.compressionThreads !== null && { threads: env.compressionThreads }),
      compression: { method: config?.compression ?? 'DEFLATE', level: config?.compressionLevel ?? 1 },
      about: async () => ({ ...describe(env, row, seal, state), ...(await auditHead(env)) }),
      onProgress: (done) => step.onProgress(done, total),
    });
  return layArchive(env, run, row, { storage, seal, size: mostBytes(total, archive.entries.length), make, onStored });
}

/** The metadata of the state, with its data's date, but of the run that stores it. */
function describe(
  { version }: BackupsEnvironment,
  row: BackupRow,
  seal: Seal | null,
  { archive, own, sha256 }: State,
): ArchiveMetadata {
  const { encryption: _encryption, ...about } = archive.metadata;
  if (own.chain === undefined || own.backup_id === null || own.backup_id !== row.consolidates) {
    throw new AppError('ARCHIVE_CORRUPT', `The archive of ${row.consolidates} says that it is of another backup.`);
  }
  return {
    ...about,
    backup_id: row.id,
    backup_type: row.backupType,
    app_version: version,
    node_version: process.version,
    ...(seal === null ? {} : { encryption: statedKeys(seal) }),
    consolidated: { backup_id: own.backup_id, metadata_sha256: sha256, chain: own.chain },
  };
}

/** @throws AppError ARCHIVE_CORRUPT if the database that was stored is not the one that was backed up */
function assertSame({ entries }: ArchiveMetadata, { own }: State): void {
  const wanted = own.reproduces?.database;
  const found = entries.find(({ path }) => path === wanted?.path);
  if (wanted !== undefined && found?.sha256 === wanted.sha256 && found.size === wanted.size) return;
  throw new AppError('ARCHIVE_CORRUPT', `The database of the chain is not the one that ${own.backup_id} is of.`);
}

/** What the row of a consolidation says at its end. A pin is of the state, and so is what is suspicious about it. */
async function outcome(
  { now }: BackupsEnvironment,
  member: BackupRow,
  { size: fileSize, checksum }: { size: number; checksum: string },
): Promise<Partial<BackupRow>> {
  const { tables, excluded = null, mediaFileCount, damaged, pinned, pinnedBy = null } = await member.reload();
  const { facts, invariants, anomalies, suspicious, anomaliesAcknowledgedAt } = member;
  const unlike = { facts, invariants, anomalies, suspicious, anomaliesAcknowledgedAt };
  const verified = damaged ? {} : { verifiedAt: now(), verificationLevel: 'ARCHIVE' as const };
  const state = { tables, excluded, mediaFileCount, damaged, ...unlike };
  return { fileSize, checksum, ...state, ...(pinned ? { pinned, pinnedBy } : {}), ...verified };
}

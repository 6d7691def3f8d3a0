import {
  readPlain,
  REGULAR_TYPES,
  type BackupConfigRow,
  type BackupMode,
  type BackupRow,
  type BackupType,
  type StoredObjectRow,
} from '../../models/index.js';
import {
  baseIdOf,
  chainLengthOf,
  descendantsOf,
  equalsOf,
  findBase,
  isPlanned,
  type Member,
  NOT_PLANNED,
  parentsOf,
} from '../archives/chains.js';
import { acknowledgeAnomalies } from '../anomalies/acknowledge.js';
import { deleteCopy } from './copies.js';
import { insertBackup, type NewBackup } from './new-backup.js';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { Op, type Transaction } from 'sequelize';
import { AppError, badInput, type ErrorCode, toAppError } from '../../errors.js';
import { type BackupsEnvironment, runBackup, type RunOptions } from './run-backup.js';
import { CONTROL_LEASE, copyLease, Hold, isHeld, runLease, verificationLease } from '../runs/hold.js';
import { insertConsolidation, runConsolidation } from './consolidate.js';
import { readingOf } from './reading.js';
import { rewrap } from './rewrap.js';
import { adoptStored, takeIn } from './upload.js';
import { firstOf } from '../text/format.js';
import { originOf } from '../archives/origin.js';
import type { StorageAddress, StorageType } from '../ports.js';
import { deadRuns, endPending, endRun, failure, pendingRuns } from '../runs/run.js';
import { judgeStorage } from '../configs/settings.js';
import { openReadable, openStored, type StoredArchive } from '../archives/stored-archive.js';
import { isOwnObject } from '../archives/verify.js';

export type { BackupsEnvironment, RunOptions };

/** A request for a backup. */
export interface BackupRequest {
  configId?: number | undefined;
  backupType: BackupType;
  storageType?: StorageType | undefined;
  /** Another folder than the config's. */
  customPath?: string | undefined;
  note?: string | undefined;
  /** Keeps a database with damaged pages as it is; without it such a backup fails. */
  allowDamaged?: boolean | undefined;
  /** INCREMENTAL: only what changed since the one before, where that is possible. By default as the config says. */
  mode?: BackupMode | undefined;
}

/** Who wants a backup deleted, and why. `planned` is null for what has waited already. */
interface Removal {
  actor: string;
  reason: string;
  planned: { byPolicy: boolean } | null;
}

/**
 * Backups: a row with a state machine, and an archive once it is COMPLETED.
 *
 * A run: claim the row and hold the database → snapshot → archive → store → read back and verify → COMPLETED. When any
 * step fails, what was stored is removed and the row is FAILED with code, message and hint. The archive becomes visible
 * in its storage only whole, and the row becomes COMPLETED only after the stored bytes were verified.
 */
export class Backups {
  constructor(private readonly env: BackupsEnvironment) {}

  /** Makes a PENDING row and hands it to the queue. @throws AppError for an invalid request; then nothing is made */
  async request(request: BackupRequest, actor: string): Promise<BackupRow> {
    const row = await this.create(request, actor);
    await this.env.queue.add({ name: 'run-backup', backupId: row.id });
    return row;
  }

  /** Makes a PENDING row only: for a caller that runs it itself, as the command line and a restore do. */
  async create(request: BackupRequest, actor: string): Promise<BackupRow> {
    const config = await this.env.configs.get(request.configId);
    const row = await insertBackup(this.env, {
      configId: config.id,
      backupType: request.backupType,
      address: await this.addressFor(config, request),
      ...this.sourceOf(config),
      keyIds: await this.keysOf(config.id),
      note: request.note ?? null,
      allowDamaged: request.allowDamaged ?? false,
      mode: request.mode ?? modeOf(config),
      actor,
    });
    const { backupType: type, allowDamaged } = row;
    const details = { type, config: config.name, ...(allowDamaged ? { allowDamaged } : {}) };
    await this.env.audit.record(actor, 'backup.create', row.id, details);
    return row;
  }

  /**
   * Requests a full backup of the state of an incremental one, which is made of the stored archives: the database is not read.
   * The chain stays as it is; what builds on the incremental backup no longer needs it, nor what that builds on.
   * @throws AppError as `createConsolidation`
   */
  async consolidate(id: string, actor: string, stop: AbortSignal): Promise<BackupRow> {
    const row = await this.createConsolidation(id, actor, stop);
    await this.env.queue.add({ name: 'run-backup', backupId: row.id });
    return row;
  }

  /**
   * Makes the PENDING row of a consolidation only: for a caller that runs it itself.
   * @throws AppError NOT_FOUND, BAD_USER_INPUT, BACKUP_NOT_COMPLETED, BACKUP_DELETED, BUSY; CHAIN_BROKEN, ARCHIVE_…,
   * ENCRYPTION_KEY_MISSING, STORAGE_…
   */
  async createConsolidation(id: string, actor: string, stop: AbortSignal): Promise<BackupRow> {
    const work = async (hold: Hold) => {
      const signal = AbortSignal.any([stop, hold.lost]);
      const open = (row: BackupRow) => this.openChain(row, signal);
      const row = await insertConsolidation(this.env, await this.get(id), { open, actor, signal });
      await this.env.audit.record(actor, 'backup.consolidate', row.id, { of: id });
      return row;
    };
    return Hold.during(this.env, [runLease(id)], work, () => {
      throw new AppError('BUSY', `Backup ${id} is in use.`);
    });
  }

  /**
   * Makes a full backup of an incremental one for a policy, in this process.
   * @returns the full one, COMPLETED
   * @throws AppError as `createConsolidation`; why the run failed
   */
  async consolidateByPolicy(id: string, actor: string, stop: AbortSignal): Promise<BackupRow> {
    const row = await this.createConsolidation(id, actor, stop);
    await this.run(row.id, stop);
    const { status, errorCode, errorMessage, errorHint } = await row.reload();
    if (status === 'COMPLETED') return row;
    if (status !== 'FAILED') throw new AppError('BUSY', `Another process makes ${row.id} of ${id}.`);
    throw new AppError((errorCode ?? 'INTERNAL_ERROR') as ErrorCode, errorMessage ?? 'The run failed.', {
      ...(errorHint && { hint: errorHint }),
    });
  }

  /** A backup with what it builds on, opened by the keys that are held here. */
  private openChain(row: BackupRow, signal: AbortSignal): Promise<StoredArchive> {
    return openReadable(this.env.storages, row, signal, readingOf(this.env, row, undefined));
  }

  /** Makes the PENDING row of an automatic backup in the transaction that takes its due time. */
  async createDue(
    config: BackupConfigRow,
    due: { dueAt: Date | null; attempt: number },
    transaction: Transaction,
  ): Promise<BackupRow> {
    const { id: configId, storageType, storagePath } = config;
    const keyIds = await this.keysOf(configId, transaction);
    const address = { storageType, storagePath };
    const request = { configId, backupType: 'AUTO' as const, address, note: null, keyIds, mode: modeOf(config) };
    return insertBackup(this.env, { ...request, ...this.sourceOf(config), ...due, actor: 'system' }, transaction);
  }

  /** Makes the PENDING, pinned row of a restore's safety backup; the restore runs it with its own source. */
  async createSafety(values: Omit<NewBackup, 'backupType'>): Promise<BackupRow> {
    const row = await insertBackup(this.env, { ...values, backupType: 'SAFETY' });
    await this.env.audit.record(values.actor, 'backup.create', row.id, { type: 'SAFETY' });
    return row;
  }

  /**
   * Does a PENDING backup. All failures end on the row; only a broken control database throws.
   * @returns 'busy' if another run holds the database: try again later
   */
  async run(id: string, stop: AbortSignal, options: RunOptions = {}): Promise<'done' | 'busy'> {
    const row = await this.env.models.Backup.findByPk(id);
    if (row === null || row.status !== 'PENDING') return 'done';
    if ((row.consolidates ?? null) === null) return runBackup(this.env, row, stop, options);
    return runConsolidation(this.env, id, stop, (member, signal) => this.openChain(member, signal));
  }

  /**
   * Takes in an archive that was made elsewhere or downloaded before: streamed to disk, verified like any other, stored
   * and listed as UPLOADED. Anything but an intact archive of ours is refused, and nothing of it is kept.
   * @param fileName as the client says it; only its form is used
   * @param identity opens an encrypted one; left out, the keys that are held here do
   * @throws AppError PAYLOAD_TOO_LARGE, ARCHIVE_…, BAD_USER_INPUT, STORAGE_…
   */
  async upload(
    body: Readable,
    fileName: string,
    configId: number | undefined,
    actor: string,
    stop: AbortSignal,
    identity?: string,
  ): Promise<BackupRow> {
    const config = configId === undefined ? null : await this.env.configs.get(configId);
    const place = async (owner: BackupConfigRow | null) => {
      const first = owner ?? (await this.env.models.BackupConfig.findOne({ order: [['id', 'ASC']] }));
      if (first !== null) return this.addressFor(first, {});
      return this.env.storages.resolve({ storageType: 'LOCAL', storagePath: '.' }, 'storagePath');
    };
    const insert = (values: Omit<NewBackup, 'backupType' | 'actor'>) =>
      insertBackup(this.env, { ...values, backupType: 'UPLOADED', actor });
    const row = await takeIn(this.env, { body, fileName, identity, config, place, insert }, stop);
    await this.env.audit
      .record(actor, 'backup.upload', row.id, { file: row.filePath, bytes: row.fileSize })
      // It is stored: an error now would make the client send it again.
      .catch((error: unknown) => this.env.log.error({ err: error, backup: row.id }, 'the upload was not audited'));
    return row;
  }

  /**
   * Makes a record for an archive that lies in a storage without one, such as after the loss of DATA_DIR. It is read through
   * first, and stays where it is.
   * @param options.sameApplication the caller's word that it is of the application of the config that is named
   * @param options.identity opens an encrypted one; left out, the keys that are held here do
   * @throws AppError as `upload`; NAME_TAKEN if it has a record
   */
  async adopt(
    stored: { address: StorageAddress; fileName: string },
    options: { configId?: number | undefined; sameApplication: boolean; identity?: string | undefined },
    actor: string,
    stop: AbortSignal,
  ): Promise<BackupRow> {
    const config = options.configId === undefined ? null : await this.env.configs.get(options.configId);
    const row = await adoptStored(this.env, stored, { ...options, config, actor }, stop);
    await this.env.audit.record(actor, 'backup.adopt', row.id, { file: row.filePath });
    return row;
  }

  /**
   * Files a backup under another config, or under none. What it was made of stays as it is: under the config of another
   * application it is foreign.
   * @param sameApplication the caller's word that both are one application: the backup is the config's own from
   * now on
   * @throws AppError NOT_FOUND, BACKUP_DELETED, BAD_USER_INPUT for another kind of database or a safety backup, BUSY
   */
  async assign(id: string, configId: number | null, actor: string, sameApplication = false): Promise<BackupRow> {
    const config = configId === null ? null : await this.env.configs.get(configId);
    const work = async () => {
      const row = await this.get(id);
      if (row.status === 'DELETED') throw new AppError('BACKUP_DELETED', `Backup ${id} was deleted.`);
      if (row.status === 'PENDING' || row.status === 'RUNNING') {
        throw new AppError('BUSY', `Backup ${id} is ${row.status}.`);
      }
      if (row.backupType === 'SAFETY') {
        throw badInput('id', `${id} is the safety backup of a restore and stays with its config.`);
      }
      if (config !== null && config.engine !== row.engine) {
        throw badInput(
          'configId',
          `"${config.name}" is a ${config.engine} database, but the backup is of ${row.engine}.`,
        );
      }
      await this.assertNotRestoring(row);
      await row.update({
        configId,
        ...(config !== null && sameApplication && { applicationId: config.applicationId }),
      });
      await this.env.audit.record(actor, 'backup.assign', id, { config: config?.name ?? null, sameApplication });
      return row;
    };
    return Hold.during(this.env, [runLease(id)], work, () => {
      throw new AppError('BUSY', `Backup ${id} is in use.`);
    });
  }

  /** The keys that backups of a config are sealed for. */
  private async keysOf(configId: number, transaction?: Transaction): Promise<number[]> {
    return (await this.env.keys.ofConfig(configId, transaction)).map(({ id }) => id);
  }

  /** What a backup of this config is of, and how its archive is named. */
  private sourceOf(config: BackupConfigRow) {
    const { engine, databaseUrl, applicationId, archivePrefix } = config;
    return {
      engine,
      databaseName: this.env.engines.of(engine).resolve(databaseUrl).name,
      applicationId,
      archivePrefix,
      origin: originOf(this.env.engines, config),
    };
  }

  /** The row, or null. */
  find(id: string): Promise<BackupRow | null> {
    return this.env.models.Backup.findByPk(id);
  }

  /** @throws AppError NOT_FOUND */
  async get(id: string): Promise<BackupRow> {
    const row = await this.find(id);
    if (row === null) throw new AppError('NOT_FOUND', `There is no backup "${id}".`);
    return row;
  }

  /** The backup that an incremental one builds on; null for a full one, or if that is not here. */
  async parentOf({ parentArchiveId }: BackupRow): Promise<BackupRow | null> {
    return parentArchiveId ? findBase(this.env.models, parentArchiveId) : null;
  }

  /** Bytes of the full archive that the chain of an incremental backup began with; null for a full one, or if it is not known. */
  async chainFullSize({ mode, chainArchiveId = null }: BackupRow): Promise<number | null> {
    if (mode === 'FULL' || chainArchiveId === null) return null;
    const [full] = await readPlain(this.env.models.Backup, ['fileSize'], {
      where: { archiveId: chainArchiveId },
      limit: 1,
    });
    return full?.fileSize ?? null;
  }

  /** The backups that build directly on it. */
  async childrenOf(row: BackupRow): Promise<BackupRow[]> {
    const parentArchiveId = baseIdOf(row);
    if (parentArchiveId === null) return [];
    const where = { parentArchiveId, status: ['COMPLETED', 'RUNNING'] };
    const children = await this.env.models.Backup.findAll({ where, order: [['createdAt', 'ASC']] });
    if (children.length === 0) return [];
    return (await findBase(this.env.models, parentArchiveId))?.id === row.id ? children : [];
  }

  /** How many archives a restore of it reads. */
  chainLength(row: BackupRow): Promise<number> {
    return chainLengthOf(this.env.models, row);
  }

  /**
   * A COMPLETED backup and its stored bytes.
   * @param identity what opens a sealed one, as `readGiven` takes it; left out, the keys that are held here do
   * @param without ids of copies that are not wanted
   * @throws AppError NOT_FOUND; as `openStored`
   */
  async open(
    id: string,
    identity?: string,
    without: readonly number[] = [],
  ): Promise<{ row: BackupRow; stored: StoredArchive }> {
    const row = await this.get(id);
    const stored = await openStored(this.env.storages, row, { without, ...readingOf(this.env, row, identity) });
    if (row.copies.length > 1) this.env.log.info({ backup: id, from: stored.location }, 'reads a copy');
    return { row, stored };
  }

  /**
   * As `open`, with the archive opened: a copy that cannot be is passed over.
   * @throws AppError as `openReadable`
   */
  async openReadable(
    id: string,
    signal: AbortSignal,
    identity?: string,
  ): Promise<{ row: BackupRow; stored: StoredArchive }> {
    const row = await this.get(id);
    return { row, stored: await openReadable(this.env.storages, row, signal, readingOf(this.env, row, identity)) };
  }

  /**
   * Encrypts a backup for other keys, without compressing it again: see `rewrap`. Someone who kept a copy of the archive can
   * still open that with the former keys.
   * @param identity as for `open`
   * @throws AppError as `rewrap`; NOT_FOUND, BACKUP_NOT_COMPLETED, BACKUP_DELETED, BUSY
   */
  async rewrap(
    id: string,
    keyIds: readonly number[],
    actor: string,
    stop: AbortSignal,
    identity?: string,
  ): Promise<BackupRow> {
    const keys = await this.env.keys.chosen(keyIds);
    if (keys.length === 0) throw badInput('encryptionKeyIds', 'is empty.', 'Name at least one key.');
    const inUse = () => {
      throw new AppError('BUSY', `Backup ${id} is in use.`);
    };
    const work = async (hold: Hold) => {
      const { row, stored } = await this.open(id, identity);
      await this.assertNotRestoring(row);
      const write = async (copies: Hold) => {
        await rewrap(this.env, row, stored, keys, AbortSignal.any([stop, hold.lost, copies.lost]));
        await this.env.audit.record(actor, 'backup.rewrap', id, { keys: keyIds, file: row.filePath });
        return row;
      };
      const leases = row.copies.map((copy) => copyLease(copy.id));
      return Hold.during(this.env, leases, write, inUse);
    };
    return Hold.during(this.env, [runLease(id), verificationLease(id)], work, inUse);
  }

  /**
   * A pinned backup is never deleted by a policy, nor by hand before it is unpinned.
   * @throws AppError NOT_FOUND, BACKUP_DELETED, BUSY while it is being deleted
   */
  async pin(id: string, pinned: boolean, actor: string): Promise<BackupRow> {
    const work = async () => {
      const row = await this.get(id);
      if (row.status === 'DELETED') throw new AppError('BACKUP_DELETED', `Backup ${id} was deleted.`);
      await row.update({ pinned, pinnedBy: pinned ? actor : null });
      if (pinned) await this.takeBack(row, actor);
      await this.env.audit.record(actor, pinned ? 'backup.pin' : 'backup.unpin', id);
      return row;
    };
    // A run or a deletion holds the backup. A run does not mind a pin; a deletion must see it, or be over.
    if ((await this.get(id)).status !== 'COMPLETED') return work();
    return Hold.during(this.env, [runLease(id)], work, () => {
      throw new AppError('BUSY', `Backup ${id} is in use.`);
    });
  }

  /**
   * Takes back a deletion that waits, with those of what the backup builds on.
   * @throws AppError NOT_FOUND, BACKUP_DELETED, BUSY while it is being deleted; BAD_USER_INPUT if no deletion of it waits
   */
  async keep(id: string, actor: string): Promise<BackupRow> {
    const work = async () => {
      const row = await this.get(id);
      if (row.status === 'DELETED') throw new AppError('BACKUP_DELETED', `Backup ${id} was deleted.`);
      if (!isPlanned(row)) throw badInput('id', `no deletion of ${id} is waiting.`, 'To keep it forever, pin it.');
      await this.takeBack(row, actor);
      return row;
    };
    return Hold.during(this.env, [runLease(id)], work, () => {
      throw new AppError('BUSY', `Backup ${id} is in use.`);
    });
  }

  private async takeBack(row: BackupRow, actor: string): Promise<void> {
    if (!isPlanned(row)) return;
    // One that builds on something that is missing is kept all the same: that may be put back.
    const parents = await parentsOf(this.env.models, row).catch((error: unknown) => {
      if (toAppError(error).code === 'CHAIN_BROKEN') return [];
      throw error;
    });
    for (const one of [row, ...parents].filter(isPlanned)) {
      await one.update(NOT_PLANNED);
      await this.env.audit.record(actor, 'backup.keep', one.id);
    }
  }

  /** See `acknowledgeAnomalies`. @throws AppError NOT_FOUND, BACKUP_DELETED, BAD_USER_INPUT */
  async acknowledge(id: string, actor: string): Promise<BackupRow> {
    return acknowledgeAnomalies(this.env, await this.get(id), actor);
  }

  /**
   * Ends the pin that a safety backup was made with, or one that another backup of the same state has, too. Any other that a
   * person has set stays.
   */
  async endPin(id: string, actor: string): Promise<void> {
    const row = await this.get(id);
    const isOver =
      row.backupType === 'SAFETY'
        ? (row.pinnedBy ?? null) === null
        : (await equalsOf(this.env.models, row)).some(({ pinned }) => pinned);
    if (!isOver) return;
    const where = { id, pinned: true, pinnedBy: row.pinnedBy ?? null };
    const [ended] = await this.env.models.Backup.update({ pinned: false, pinnedBy: null }, { where });
    if (ended > 0) await this.env.audit.record(actor, 'backup.unpin', id);
  }

  /** Ends a run that waits or is under way; it becomes FAILED with code CANCELLED. A run that has ended stays as it is. */
  async cancel(id: string, actor: string): Promise<BackupRow> {
    const row = await this.get(id);
    if (row.status !== 'PENDING' && row.status !== 'RUNNING') {
      throw new AppError('BUSY', `Backup ${id} is ${row.status}: there is no run to cancel.`, {
        hint: 'Only PENDING and RUNNING backups can be cancelled.',
      });
    }
    await row.update({ cancelRequested: true });
    await endPending(this.env, 'Backup', id, new AppError('CANCELLED', `The run was cancelled by ${actor}.`));
    await this.env.audit.record(actor, 'backup.cancel', id);
    return row.reload();
  }

  /**
   * Deletes archives, in every destination, and marks their rows DELETED; with DELETION_DELAY_HOURS, only plans that. All are
   * checked before the first is touched; where a storage then refuses one, those before it are gone, and the error says which.
   * @param cascade also what builds on them
   * @throws AppError NOT_FOUND, BACKUP_NEEDED, BACKUP_PINNED, BUSY, STORAGE_…
   */
  async remove(ids: string[], actor: string, reason = 'deleted by hand', cascade = false): Promise<BackupRow[]> {
    if (ids.length === 0) throw badInput('ids', 'is empty.', 'Name at least one backup.');
    const unique = await this.withChildren(new Set(ids), cascade);
    for (const id of unique) {
      await this.assertRemovable(await this.get(id));
      if (await isHeld(this.env.models, verificationLease(id))) throw isVerified(id);
    }
    const removed: BackupRow[] = [];
    for (const id of unique) {
      try {
        const row = await this.removeOne(id, { actor, reason, planned: { byPolicy: false } }, async () => true);
        if (row !== null) removed.push(row);
      } catch (error) {
        if (!(error instanceof AppError) || removed.length === 0) throw error;
        const gone = removed.map((row) => row.id).join(', ');
        throw new AppError(error.code, `${error.message} Deleted before it: ${gone}.`, {
          hint: error.hint,
          cause: error,
        });
      }
    }
    const planned = removed.filter(isPlanned);
    if (planned.length > 0) await this.env.onDeletionPlanned(planned);
    return removed;
  }

  /**
   * Deletes one backup for a policy, if under its lock it still may go; with DELETION_DELAY_HOURS, only plans that.
   * @param stillDue asked under the lock: the plan of this very moment
   * @returns null if it is not to go any more
   * @throws AppError as `remove`
   */
  removeByPolicy(
    id: string,
    actor: string,
    reason: string,
    stillDue: () => Promise<boolean>,
  ): Promise<BackupRow | null> {
    return this.removeOne(id, { actor, reason, planned: { byPolicy: true } }, stillDue);
  }

  /**
   * Deletes a backup whose deletion has waited for long enough. One is taken back on which something builds that stays: that was
   * made or taken back meanwhile, and would have it refused again and again.
   * @param stillDue as for `removeByPolicy`
   * @returns null if it is not to go any more
   * @throws AppError as `remove`
   */
  async removePlanned(row: BackupRow, stillDue: () => Promise<boolean>): Promise<BackupRow | null> {
    const { id, deletedBy, deleteReason } = row;
    const isDue = async () => {
      const { deleteAfter = null } = await this.get(id);
      return deleteAfter !== null && deleteAfter <= this.env.now() && (await stillDue());
    };
    try {
      return await this.removeOne(
        id,
        { actor: deletedBy ?? 'system', reason: deleteReason ?? '', planned: null },
        isDue,
      );
    } catch (error) {
      if (toAppError(error).code !== 'BACKUP_NEEDED') throw error;
      const staying = (await descendantsOf(this.env.models, row)).filter((child) => !isPlanned(child));
      if (staying.length > 0) await this.keep(id, 'system');
      throw error;
    }
  }

  /**
   * Puts right what processes that died have left: their runs become FAILED, their files go, and what still waits is
   * handed to the queue again. Runs at start and from time to time; several processes may do it at once.
   */
  async recover(): Promise<void> {
    for (const id of await deadRuns(this.env.models, 'Backup')) await this.recoverOne(id);
    await this.endAbandoned();
    await this.sweepWorkFolder();
  }

  /** Hands every waiting backup to the queue: the queue itself may have lost it. */
  async requeue(): Promise<void> {
    const where = { [Op.or]: [{ backupType: REGULAR_TYPES }, { consolidates: { [Op.ne]: null } }] };
    for (const id of await pendingRuns(this.env.models, 'Backup', where)) {
      await this.env.queue.add({ name: 'run-backup', backupId: id });
    }
  }

  private async addressFor(
    config: BackupConfigRow,
    { storageType, customPath }: Pick<BackupRequest, 'storageType' | 'customPath'>,
  ): Promise<StorageAddress> {
    const own = { storageType: config.storageType, storagePath: config.storagePath };
    if (storageType === undefined && customPath === undefined) return this.env.storages.resolve(own, 'storagePath');
    const type = storageType ?? own.storageType;
    if (customPath !== undefined) {
      const address = this.env.storages.resolve({ storageType: type, storagePath: customPath }, 'customPath');
      await judgeStorage(this.env, address, 'customPath', config.id);
      return address;
    }
    if (type === own.storageType) return this.env.storages.resolve(own, 'storagePath');
    if (type === 'LOCAL') return this.env.storages.resolve({ storageType: type, storagePath: '.' }, 'storageType');
    throw badInput('customPath', `is needed with storageType ${type}, which is not the config's own.`);
  }

  private async assertRemovable(row: BackupRow): Promise<void> {
    if (row.pinned) throw new AppError('BACKUP_PINNED', `Backup ${row.id} is pinned.`);
    if (row.status === 'PENDING' || row.status === 'RUNNING') {
      throw new AppError('BUSY', `Backup ${row.id} is ${row.status}.`, { hint: 'Cancel it first: cancelBackup(id).' });
    }
    await this.assertNotRestoring(row);
  }

  private async assertNotRestoring({ id: backupId }: BackupRow): Promise<void> {
    const restoring = await this.env.models.Restore.count({ where: { backupId, status: ['PENDING', 'RUNNING'] } });
    if (restoring > 0) throw new AppError('BUSY', `Backup ${backupId} is being restored.`);
  }

  /** What is to be deleted, in an order in which nothing is deleted before what builds on it. */
  private async withChildren(ids: ReadonlySet<string>, cascade: boolean): Promise<string[]> {
    const all = new Map<string, Member>();
    for (const id of ids) {
      const row = await this.get(id);
      all.set(id, row);
      const children = await descendantsOf(this.env.models, row, ids);
      // Where deletions wait, what waits already goes before this.
      const needing = this.env.deletionDelayMs > 0 ? children.filter((child) => !isPlanned(child)) : children;
      if (!cascade && needing.some((child) => !ids.has(child.id))) throw isNeeded(row, needing);
      for (const child of needing) all.set(child.id, child);
    }
    return [...all.values()].sort((one, other) => other.chainPosition - one.chainPosition).map(({ id }) => id);
  }

  /** Holds the row and its copies while it works, so that a pin, a restore or a copy that came in between is seen. */
  private removeOne(
    id: string,
    { actor, reason, planned }: Removal,
    stillDue: () => Promise<boolean>,
  ): Promise<BackupRow | null> {
    const inUse = (what: string) => () => {
      throw new AppError('BUSY', `Backup ${id} is ${what}.`);
    };
    const work = async () => {
      const row = await this.get(id);
      if (row.status === 'DELETED') return row;
      await this.assertRemovable(row);
      if (!(await stillDue())) return null;
      if (planned !== null && row.status === 'COMPLETED' && this.env.deletionDelayMs > 0) {
        return this.planRemoval(row, { actor, reason, ...planned });
      }
      const copies = row.copies.map((copy) => copyLease(copy.id));
      const remove = () => this.removeHeld(row, actor, reason);
      const unless = async () => {
        await this.assertNotNeeded(row);
        return Hold.during(this.env, copies, remove, inUse('being copied'));
      };
      // Two of the same state must not go at the same time, each because the other one is there.
      const equals = (await equalsOf(this.env.models, row)).map((other) => runLease(other.id));
      return Hold.during(this.env, equals, unless, inUse('the same as another one, which is in use'));
    };
    const busy = (name: string) => {
      if (name === verificationLease(id)) throw isVerified(id);
      return inUse('in use')();
    };
    return Hold.during(this.env, [runLease(id), verificationLease(id)], work, busy);
  }

  /** Has a deletion wait. One that waits already is not put off. @throws AppError BACKUP_NEEDED */
  private async planRemoval(
    row: BackupRow,
    { actor, reason, byPolicy }: { actor: string; reason: string; byPolicy: boolean },
  ): Promise<BackupRow> {
    if (isPlanned(row)) {
      // A person wants it gone, whatever the policy comes to want.
      if (!byPolicy && row.deleteByPolicy === true) {
        await row.update({ deleteByPolicy: false, deletedBy: actor, deleteReason: reason });
      }
      return row;
    }
    const equals = (await equalsOf(this.env.models, row)).filter(isPlanned).map(({ id }) => id);
    const needing = (await descendantsOf(this.env.models, row, new Set(equals))).filter((child) => !isPlanned(child));
    if (needing.length > 0) throw isNeeded(row, needing);
    const deleteAfter = new Date(this.env.now().getTime() + this.env.deletionDelayMs);
    await row.update({ deleteAfter, deleteByPolicy: byPolicy, deletedBy: actor, deleteReason: reason });
    await this.env.audit.record(actor, 'backup.delete-later', row.id, { until: deleteAfter.toISOString(), reason });
    return row;
  }

  /** @throws AppError BACKUP_NEEDED; BUSY while something is restored that may be read through it */
  private async assertNotNeeded(row: BackupRow): Promise<void> {
    const { models } = this.env;
    const needing = await descendantsOf(models, row);
    if (needing.length > 0) throw isNeeded(row, needing);
    const equals = new Set((await equalsOf(models, row)).map(({ id }) => id));
    if (equals.size === 0) return;
    const readers = (await descendantsOf(models, row, equals)).map(({ id }) => id);
    const restoring = await models.Restore.count({ where: { backupId: readers, status: ['PENDING', 'RUNNING'] } });
    if (restoring > 0) throw new AppError('BUSY', `A backup that builds on ${row.id} is being restored.`);
  }

  /**
   * Deletes every copy of a backup, then marks its row. A copy whose destination does not answer keeps its row and is
   * deleted later, as long as another one is gone: if none is, nothing changes.
   */
  private async removeHeld(row: BackupRow, actor: string, reason: string): Promise<BackupRow> {
    const { id } = row;
    const living = row.copies.filter(({ status }) => status !== 'DELETED');
    const left = row.status === 'COMPLETED' ? await this.deleteCopies(row, living) : [];
    const gone = living.filter((copy) => !left.some((failed) => failed.copy.id === copy.id));
    const [first] = left;
    if (first !== undefined && !gone.some(({ size }) => (size ?? null) !== null)) throw first.error;
    await this.env.models.sequelize.transaction(async (transaction) => {
      const deleted = { deletedAt: this.env.now(), deletedBy: actor, deleteReason: reason };
      await row.update({ status: 'DELETED', ...NOT_PLANNED, ...deleted }, { transaction });
      const past = { status: 'DELETED' as const, nextTryAt: null, gaveUpAt: null };
      for (const copy of gone) await copy.update(past, { transaction });
      for (const { copy, error } of left) {
        const { errorCode, errorMessage, errorHint } = failure(error);
        const later = { attempts: 1, nextTryAt: this.env.now(), gaveUpAt: null };
        await copy.update({ errorCode, errorMessage, errorHint, ...later }, { transaction });
      }
    });
    const later = left.map(({ copy }) => copy.location);
    const details = { file: row.filePath, reason, ...(later.length > 0 ? { later } : {}) };
    await this.env.audit.record(actor, 'backup.delete', id, details);
    return row;
  }

  /** @returns the copies that could not be deleted now, and why */
  private async deleteCopies(
    row: BackupRow,
    copies: StoredObjectRow[],
  ): Promise<{ copy: StoredObjectRow; error: AppError }[]> {
    const left: { copy: StoredObjectRow; error: AppError }[] = [];
    const remove = async (copy: StoredObjectRow) => {
      try {
        await deleteCopy(this.env, row, copy);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        this.env.log.warn({ backup: row.id, copy: copy.location, err: error }, 'a copy could not be deleted');
        left.push({ copy, error });
      }
    };
    await Promise.all(copies.map(remove));
    return left;
  }

  private recoverOne(id: string): Promise<void> {
    const work = async () => {
      const row = await this.get(id);
      if (row.status !== 'RUNNING') return;
      const phase = row.phase ?? 'start';
      let message = `The process that did this backup stopped in the phase "${phase}". Nothing of it was kept.`;
      const storage = this.env.storages.open(row.address);
      try {
        await storage.discard(id, row.fileName);
        if (await isOwnObject(storage, row, AbortSignal.timeout(60_000))) await storage.remove(row.fileName);
      } catch (error) {
        this.env.log.error({ backup: id, err: error }, 'the remains of a dead run could not be removed');
        message = `The process that did this backup stopped in the phase "${phase}". Remains may lie at ${row.filePath}.`;
      }
      const error = new AppError('INTERRUPTED', message);
      await endRun(this.env, 'Backup', { id, status: 'RUNNING' }, error);
      this.env.log.warn({ backup: id, phase }, 'a dead run was cleaned up');
    };
    return Hold.during(this.env, [runLease(id)], work, () => undefined);
  }

  /** Safety backups and uploads are run right after they are made: one that still waits has lost the process that made it. */
  private async endAbandoned(): Promise<void> {
    const before = new Date(this.env.now().getTime() - this.env.leaseMs);
    const where = { backupType: ['SAFETY', 'UPLOADED'], createdAt: { [Op.lt]: before }, consolidates: null };
    for (const id of await pendingRuns(this.env.models, 'Backup', where)) {
      const error = new AppError('INTERRUPTED', 'The process that wanted this backup stopped before it began.');
      await endPending(this.env, 'Backup', id, error);
    }
  }

  /** Removes work folders of runs that are over; each is named after its run. */
  private async sweepWorkFolder(): Promise<void> {
    await mkdir(this.env.workFolder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.env.workFolder)) {
      if (await isOldCopy(join(this.env.workFolder, name))) {
        await rm(join(this.env.workFolder, name), { recursive: true, force: true });
        continue;
      }
      const isOfControl = /^control-[0-9a-f]{12}$/.test(name);
      if (!isOfControl && !/^(backup|restore|verify|upload|plan|look)_\d{8}_\d{6}_[0-9a-f]{8}$/.test(name)) continue;
      if (await isHeld(this.env.models, isOfControl ? CONTROL_LEASE : runLease(name))) continue;
      await rm(join(this.env.workFolder, name), { recursive: true, force: true });
    }
  }
}

const isNeeded = ({ id }: BackupRow, needing: Member[]) =>
  new AppError('BACKUP_NEEDED', `Backup ${id} cannot be deleted: ${firstOf(needing.map((one) => one.id))} need it.`);

const isVerified = (id: string) =>
  new AppError('BUSY', `Backup ${id} is being verified.`, {
    hint: 'Wait until that has ended, or cancel it: cancelVerification(id).',
  });

const modeOf = ({ incremental }: BackupConfigRow): BackupMode => (incremental ? 'INCREMENTAL' : 'FULL');

/** How long a private copy of a database may be read before its process is taken for dead, in milliseconds. */
const COPY_LIFE = 86_400_000;

/** True for a private copy that an engine made to look at a database, and left. */
async function isOldCopy(path: string): Promise<boolean> {
  if (!/^read_[0-9a-f-]{36}$/.test(basename(path))) return false;
  const found = await stat(path).catch(() => null);
  return found !== null && Date.now() - found.mtimeMs > COPY_LIFE;
}

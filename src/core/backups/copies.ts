import { createHash } from 'node:crypto';
import { pipeline, type Readable, Transform } from 'node:stream';
import { Op, UniqueConstraintError } from 'sequelize';
import { AppError, toAppError } from '../../errors.js';
import { type BackupRow, type DestinationRow, isGood, type Models, type StoredObjectRow } from '../../models/index.js';
import { addWaitingCopy, noteDamaged, tryAgain } from '../archives/copies.js';
import { seriesOf } from '../archives/names.js';
import { assertCompleted, assertSize, findStored, openStored, otherChecksum } from '../archives/stored-archive.js';
import { verifyBytes } from '../archives/verify.js';
import type { CoreEnvironment } from '../environment.js';
import type { Storage, StorageAddress } from '../ports.js';
import { copyLease, Hold, type HoldEnvironment, runLease } from '../runs/hold.js';
import { failure } from '../runs/run.js';
import { assertSpace } from './run-backup.js';

/** What copying needs of the process around it. */
export type CopiesEnvironment = HoldEnvironment & Pick<CoreEnvironment, 'storages' | 'audit' | 'now'>;

/** Minutes until a copy that failed is tried again; after the last one, about a week on, it is given up. */
const PAUSES = [1, 5, 15, 60, 240, 720, 1_440, 1_440, 1_440, 1_440, 1_440, 1_440];
/** How often an offline destination is looked for, in minutes. */
const LOOK_FOR = 5;
const MINUTE = 60_000;
/** How many copies one process works on at the same time. */
const AT_ONCE = 4;

/**
 * The copies of backups in further destinations. Each is a row that says when it is worked on next, and whoever holds its
 * lease works on it: it is stored, verified by reading it back, and repaired where it was found damaged. What fails is tried
 * again with growing pauses, and given up after about a week.
 */
export class Copies {
  private readonly running = new Map<number, Promise<unknown>>();
  private readonly stopping = new AbortController();
  private started = false;

  constructor(private readonly env: CopiesEnvironment) {}

  /** Lets `tick` work from now on. */
  start(): void {
    this.started = true;
  }

  /** Ends what `tick` began; another process, or the next start, goes on with it. */
  async stop(): Promise<void> {
    this.started = false;
    this.stopping.abort(new AppError('INTERRUPTED', 'The process was stopped before the copy was made.'));
    await Promise.all(this.running.values());
  }

  /** Begins to work on what is due, as far as this process has room for it, and does not wait for it. */
  async tick(): Promise<void> {
    if (!this.started) return;
    for (const id of await this.due()) {
      if (!this.started || this.running.size >= AT_ONCE) return;
      if (!this.running.has(id)) this.begin(id);
    }
  }

  /** Works on what is due, of one backup or of all, and waits for it. */
  async runDue(stop: AbortSignal, backupId?: string): Promise<void> {
    const next = (await this.due(backupId)).values();
    const work = async () => {
      for (const id of next) {
        stop.throwIfAborted();
        await this.run(id, stop);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  /**
   * Requests a copy of a backup in a destination; a failed one is tried again from the start. One that is good stays.
   * @throws AppError NOT_FOUND, BACKUP_NOT_COMPLETED, BACKUP_DELETED, BUSY
   */
  async request(backupId: string, destinationId: number, actor: string): Promise<StoredObjectRow> {
    const { models, now } = this.env;
    const work = async () => {
      const backup = await models.Backup.findByPk(backupId);
      if (backup === null) throw new AppError('NOT_FOUND', `There is no backup "${backupId}".`);
      assertCompleted(backup);
      const destination = await models.Destination.findOne({ where: { id: destinationId, deletedAt: null } });
      if (destination === null) {
        const message = `destinationId: there is no destination ${destinationId}.`;
        throw new AppError('NOT_FOUND', message, { field: 'destinationId' });
      }
      const there = backup.copies.find((copy) => copy.destinationId === destinationId && copy.status !== 'DELETED');
      if (there !== undefined && (isGood(there) || there.status === 'RUNNING')) return there;
      if (there === undefined) return addWaitingCopy(this.env, backup, destination);
      // Another copy must be good: otherwise this one is all there is.
      if (there.status !== 'COMPLETED') await tryAgain(there, now());
      else if (there.errorCode !== null) await this.assertRepairable(backup, there);
      return there;
    };
    const copy = await Hold.during(this.env, [runLease(backupId)], work, () => {
      throw new AppError('BUSY', `Backup ${backupId} is in use.`);
    });
    await this.env.audit.record(actor, 'backup.copy', backupId, { to: copy.location });
    void this.tick().catch((error: unknown) => this.env.log.error({ err: error }, 'copies could not be begun'));
    return copy;
  }

  /**
   * Works on one copy, if it still is to be worked on and no other process does. All failures end on its row.
   * @returns 'busy' if another process works on it
   */
  run(id: number, stop: AbortSignal): Promise<'done' | 'busy'> {
    const work = async (hold: Hold): Promise<'done' | 'busy'> => {
      const copy = await this.env.models.StoredObject.findByPk(id, { include: ['destination'] });
      const backup = copy === null ? null : await this.env.models.Backup.findByPk(copy.backupId);
      if (copy === null || backup === null || (copy.nextTryAt ?? null) === null) return 'done';
      const signal = AbortSignal.any([stop, hold.lost]);
      await this.attempt(copy, hold, stop, async () => {
        if (backup.status === 'DELETED') return this.finishDeletion(backup, copy);
        return this.store(backup, copy, signal);
      });
      return 'done';
    };
    return Hold.during(this.env, [copyLease(id)], work, () => 'busy');
  }

  /** The copies that there is something to do for, those that wait longest first. */
  private async due(backupId?: string): Promise<number[]> {
    const rows = await this.env.models.StoredObject.findAll({
      attributes: ['id'],
      where: { nextTryAt: { [Op.lte]: this.env.now() }, ...(backupId === undefined ? {} : { backupId }) },
      order: [['nextTryAt', 'ASC']],
    });
    return rows.map(({ id }) => id);
  }

  private begin(id: number): void {
    const work = this.run(id, this.stopping.signal)
      .then((outcome) => outcome === 'done')
      .catch((error: unknown) => {
        this.env.log.error({ err: error, copy: id }, 'a copy could not be worked on');
        return false;
      })
      .then((done) => {
        this.running.delete(id);
        // The room that it leaves is for the next.
        if (done) return this.tick();
      })
      .catch((error: unknown) => this.env.log.error({ err: error }, 'copies could not be begun'));
    this.running.set(id, work);
  }

  /** Does the work for a copy. The next attempt is noted first: a process that dies in it leaves nothing else. */
  private async attempt(
    copy: StoredObjectRow,
    hold: Hold,
    stop: AbortSignal,
    work: () => Promise<Partial<StoredObjectRow>>,
  ): Promise<void> {
    const before = copy.attempts ?? 0;
    const pause = PAUSES[before] ?? PAUSES.at(-1) ?? 0;
    await copy.update({ attempts: before + 1, nextTryAt: this.later(pause) });
    const settled = { nextTryAt: null, gaveUpAt: null, attempts: 0 };
    try {
      const done = await work();
      if (!(await hold.confirm())) return;
      await copy.update({ ...settled, errorCode: null, errorMessage: null, errorHint: null, ...done });
    } catch (thrown) {
      // Then another process works on it.
      if (hold.lost.aborted) return;
      const waits = copy.status === 'RUNNING' ? { status: 'PENDING' as const } : {};
      if (stop.aborted) return void (await copy.update({ ...waits, attempts: before, nextTryAt: this.env.now() }));
      const error = toAppError(thrown);
      this.env.log.warn({ copy: copy.id, backup: copy.backupId, err: error }, 'a copy failed');
      if (copy.destination.offline && error.code === 'STORAGE_UNAVAILABLE') {
        return void (await copy.update({ ...waits, attempts: before, nextTryAt: this.later(LOOK_FOR) }));
      }
      const givesUp = before + 1 > PAUSES.length;
      await copy.update({
        ...failureOf(copy, error),
        ...(givesUp ? { nextTryAt: null, gaveUpAt: this.env.now() } : {}),
      });
    }
  }

  private later(minutes: number): Date {
    return new Date(this.env.now().getTime() + minutes * MINUTE);
  }

  /** Stores a copy and reads it back. @returns what its row then says */
  private async store(backup: BackupRow, copy: StoredObjectRow, signal: AbortSignal) {
    const { destination } = copy;
    if ((destination.deletedAt ?? null) !== null) return { status: 'DELETED' as const };
    if (backup.status !== 'COMPLETED' || isGood(copy)) return {};
    const isNew = copy.attempts === 1 && copy.status === 'PENDING';
    await copy.update({ status: 'RUNNING' });
    const storage = this.env.storages.open(destination);
    await makeReady(this.env.models, storage, destination);
    if (!isNew) await storage.discard(backup.id, copy.name);
    if (!(await this.isStored(backup, copy, storage, signal))) await this.put(backup, copy, storage, signal);
    this.env.log.info({ backup: backup.id, to: copy.location }, 'copy completed');
    const verified = backup.damaged ? {} : { verifiedAt: this.env.now() };
    return { status: 'COMPLETED' as const, size: backup.fileSize, ...verified };
  }

  /**
   * True if the copy lies there whole, as after a crash right before that was noted. What was stored there and is damaged now
   * is deleted, but only once the copy to repair it from has been read; anything else that has the name keeps it.
   */
  private async isStored(
    backup: BackupRow,
    copy: StoredObjectRow,
    storage: Storage,
    signal: AbortSignal,
  ): Promise<boolean> {
    const found = await storage.stat(copy.name);
    if (found === null) return false;
    if (found.size === backup.fileSize && backup.checksum !== null) {
      const stored = await findStored(storage, copy.name);
      if ((await stored.hash(signal)) === backup.checksum) return true;
    }
    if ((copy.size ?? null) === null) {
      await this.takeNextName(backup, copy, storage);
      return false;
    }
    const source = await openStored(this.env.storages, backup, { without: [copy.id] });
    await verifyBytes(source, backup.checksum, { signal, onProgress: () => undefined });
    await storage.remove(copy.name);
    return false;
  }

  private async put(backup: BackupRow, copy: StoredObjectRow, storage: Storage, signal: AbortSignal): Promise<void> {
    const source = await openStored(this.env.storages, backup, { without: [copy.id] });
    const space = await storage.space();
    if (space !== null) assertSpace(space.free, source.size, `for the copy in ${storage.place}`);
    const hash = createHash('sha256');
    const body = hashed(await source.bytes(), hash);
    await storage.put(copy.name, body, { owner: backup.id, signal, size: source.size });
    const checksum = hash.digest('hex');
    if (backup.checksum !== null && checksum !== backup.checksum) {
      await storage.remove(copy.name);
      const error = otherChecksum(source);
      if (source.copy !== null) await noteDamaged(this.env, backup, source.copy, error);
      throw error;
    }
    const stored = await findStored(storage, copy.name);
    assertSize(stored, source.size);
    await verifyBytes(stored, checksum, { signal, onProgress: () => undefined });
  }

  /** A foreign object has the name of the copy in its destination. */
  private async takeNextName(backup: BackupRow, copy: StoredObjectRow, storage: Storage): Promise<void> {
    const nameAt = seriesOf(backup.fileName);
    for (let number = 2; number < 1_000; number++) {
      const name = nameAt(number);
      if ((await storage.stat(name)) !== null) continue;
      try {
        await copy.update({ name, location: storage.locate(name) });
        return;
      } catch (error) {
        if (!(error instanceof UniqueConstraintError)) throw error;
      }
    }
    throw new AppError('NAME_TAKEN', `No free name like ${backup.fileName} in ${storage.place}.`);
  }

  /** Deletes what could not be deleted together with its backup. @returns what its row then says */
  private async finishDeletion(backup: BackupRow, copy: StoredObjectRow) {
    await deleteCopy(this.env, backup, copy);
    await this.env.audit.record('system', 'backup.delete', backup.id, { file: copy.location });
    return { status: 'DELETED' as const };
  }

  /** Has the copy repaired. @throws AppError ARCHIVE_CORRUPT if no other copy is good */
  private async assertRepairable(backup: BackupRow, copy: StoredObjectRow): Promise<void> {
    if (!backup.copies.some((other) => other.id !== copy.id && isGood(other))) {
      throw new AppError('ARCHIVE_CORRUPT', `${copy.location} cannot be repaired: no other copy is good.`);
    }
    await copy.update({ status: 'FAILED', attempts: 0, nextTryAt: this.env.now(), gaveUpAt: null });
  }
}

/** A copy that is to be deleted stays where it is; any other has failed. */
function failureOf(copy: StoredObjectRow, error: AppError) {
  const { status, ...words } = failure(error);
  return copy.status === 'RUNNING' || copy.status === 'PENDING' ? { status, ...words } : words;
}

/**
 * Makes a destination ready to be written. A disk that is away most of the time is never made up for by a folder of its name.
 * @throws AppError STORAGE_…
 */
export async function makeReady(models: Models, storage: Storage, destination: DestinationRow): Promise<void> {
  const { made, undo } = await storage.prepare();
  if (!destination.offline) return;
  if (made.length > 0) {
    await undo();
    throw away(storage);
  }
  await assertThere(models, storage, destination);
}

/** A folder that a disk is mounted on is there, and empty, while the disk is not. @throws AppError STORAGE_UNAVAILABLE */
async function assertThere(models: Models, storage: Storage, { id, offline }: DestinationRow): Promise<void> {
  if (!offline || storage.folder() === null) return;
  const where = { destinationId: id, status: 'COMPLETED' };
  const known = await models.StoredObject.findAll({ attributes: ['name'], where, order: [['id', 'DESC']], limit: 20 });
  if (known.length === 0) return;
  for (const { name } of known) if ((await storage.stat(name)) !== null) return;
  throw away(storage);
}

const away = ({ place }: Storage) =>
  new AppError('STORAGE_UNAVAILABLE', `${place} is away: none of the archives that lie there is found.`);

/**
 * Deletes the object of a copy, and what an unfinished attempt left of it. Only what is the backup's own goes.
 * @throws AppError STORAGE_… if it is not sure that it is gone
 */
export async function deleteCopy(
  { models, storages }: Pick<CopiesEnvironment, 'models' | 'storages'>,
  backup: BackupRow,
  copy: StoredObjectRow,
): Promise<void> {
  const wasStored = (copy.size ?? null) !== null;
  if (!wasStored && (copy.attempts ?? 0) === 0) return;
  const storage = storages.open(copy.destination as StorageAddress);
  await assertThere(models, storage, copy.destination);
  if (!wasStored) {
    await storage.discard(backup.id, copy.name);
    const found = await storage.stat(copy.name);
    if (found === null || found.size !== backup.fileSize) return;
    const stored = await findStored(storage, copy.name);
    if ((await stored.hash(AbortSignal.timeout(MINUTE))) !== backup.checksum) return;
  }
  await storage.remove(copy.name);
}

function hashed(source: Readable, hash: ReturnType<typeof createHash>): Readable {
  const through = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      hash.update(chunk);
      callback(null, chunk);
    },
  });
  // An error of either end destroys the other, and comes out where the bytes are read.
  return pipeline(source, through, () => undefined);
}

import { setTimeout as sleep } from 'node:timers/promises';
import { Op, type Transaction } from 'sequelize';
import { AppError, type ErrorCode } from '../../errors.js';
import {
  type BackupConfigRow,
  type BackupRow,
  REGULAR_TYPES,
  type VerificationLevel,
  type VerificationRow,
} from '../../models/index.js';
import { assertCompleted } from '../archives/stored-archive.js';
import { assertDrillable, dropLeft } from '../drills/drill.js';
import { Hold, isHeld, runLease, waitLease } from '../runs/hold.js';
import { deadRuns, endPending, endRun, pendingRuns, SCHEDULE } from '../runs/run.js';
import { newId } from '../text/ids.js';
import { copiesToVerify, isFinding, runVerification, type VerificationsEnvironment } from './run-verification.js';

export type { VerificationsEnvironment };

/** How often a backup that is in use is asked for again, in milliseconds. */
const ASK_AGAIN = 500;

/** A request for a verification. */
export interface VerificationRequest {
  backupId: string;
  level: VerificationLevel;
  /** Where the one copy lies that is to be verified; undefined: every copy. */
  destinationId?: number | undefined;
}

/**
 * Verifications: a row with a state machine.
 *
 * A run: claim the row and hold the backup, so that nothing deletes or replaces its archive → read each copy → note the
 * outcome on the backup and its copies. A damaged copy is repaired from a good one; only without one does the backup lose its
 * mark. The run is COMPLETED if a copy is as it was stored, with warnings about any that is not, and FAILED if none is,
 * or if none could be read.
 */
export class Verifications {
  constructor(private readonly env: VerificationsEnvironment) {}

  /** Makes a PENDING row and hands it to the queue. @throws AppError as `create` */
  async request(request: VerificationRequest, actor: string): Promise<VerificationRow> {
    const row = await this.insert(request, actor, true);
    await this.env.queue.add({ name: 'run-verification', verificationId: row.id });
    return row;
  }

  /**
   * Makes a PENDING row only: for a caller that runs it itself.
   * @throws AppError NOT_FOUND, BACKUP_NOT_COMPLETED, BACKUP_DELETED; for a drill as `assertDrillable`
   */
  create(request: VerificationRequest, actor: string): Promise<VerificationRow> {
    return this.insert(request, actor, false);
  }

  /** As `Scheduler` wants drills that are due: of the newest backup that counts. `status` says what stays due. */
  async findDue(config: BackupConfigRow): Promise<BackupRow | null> {
    const { models, log } = this.env;
    const active = { configId: config.id, level: 'DRILL', status: ['PENDING', 'RUNNING'] };
    if ((await models.Verification.count({ where: active })) > 0) {
      log.debug({ config: config.id }, 'a drill is due while the one before has not ended');
      return null;
    }
    const newest = await models.Backup.findOne({
      where: {
        configId: config.id,
        backupType: [...REGULAR_TYPES],
        status: 'COMPLETED',
        damaged: false,
        suspicious: false,
        verifiedAt: { [Op.ne]: null },
      },
      order: [
        ['createdAt', 'DESC'],
        ['id', 'DESC'],
      ],
    });
    if (newest === null) log.debug({ config: config.id }, 'a drill is due, and there is no good backup to drill');
    return newest;
  }

  /** As `Scheduler` wants it. */
  createDue(backup: BackupRow, queued: boolean, transaction: Transaction): Promise<VerificationRow> {
    return this.add(backup, { backupId: backup.id, level: 'DRILL' }, { actor: SCHEDULE, queued }, transaction);
  }

  /**
   * Does a PENDING verification. All failures end on the row; only a broken control database throws.
   * @param identity opens an encrypted backup; left out, the keys that are held here do
   * @returns 'busy' if the backup is being verified, deleted or encrypted anew: try again later
   */
  run(id: string, stop: AbortSignal, identity?: string): Promise<'done' | 'busy'> {
    return runVerification(this.env, id, stop, identity);
  }

  /** Does a PENDING verification now, or ends it as BUSY: for what comes again by itself. @returns the row, ended */
  async runOrEnd(row: VerificationRow, stop: AbortSignal): Promise<VerificationRow> {
    if ((await this.run(row.id, stop)) === 'busy') {
      await endPending(this.env, 'Verification', row.id, new AppError('BUSY', `Backup ${row.backupId} is in use.`));
    }
    return row.reload();
  }

  /**
   * Verifies a backup in this process and waits for the end.
   * @returns the backup, on which and on whose copies the outcome is noted: verified, or the error that took that away
   * @throws AppError as `create`; STORAGE_…, ENCRYPTION_KEY_WRONG if no copy could be read; CANCELLED, INTERRUPTED
   */
  async verify(
    backupId: string,
    level: VerificationLevel,
    actor: string,
    stop: AbortSignal,
    { destinationId, identity }: { destinationId?: number | undefined; identity?: string | undefined } = {},
  ): Promise<BackupRow> {
    const row = await this.create({ backupId, level, destinationId }, actor);
    await this.runInTurn(row.id, unlessGone(stop), identity);
    await row.reload();
    if (row.status !== 'COMPLETED' && !isFinding(row.errorCode)) throw errorOf(row);
    const backup = await this.env.models.Backup.findByPk(backupId);
    if (backup === null) throw new AppError('NOT_FOUND', `There is no backup "${backupId}".`);
    return backup;
  }

  find(id: string): Promise<VerificationRow | null> {
    return this.env.models.Verification.findByPk(id);
  }

  /** @throws AppError NOT_FOUND */
  async get(id: string): Promise<VerificationRow> {
    const row = await this.find(id);
    if (row === null) throw new AppError('NOT_FOUND', `There is no verification "${id}".`);
    return row;
  }

  /** Ends a verification that waits or is under way. What was noted before stays. @throws AppError NOT_FOUND, BUSY */
  async cancel(id: string, actor: string): Promise<VerificationRow> {
    const row = await this.get(id);
    if (row.status !== 'PENDING' && row.status !== 'RUNNING') {
      throw new AppError('BUSY', `Verification ${id} is ${row.status}: there is no run to cancel.`, {
        hint: 'Only PENDING and RUNNING verifications can be cancelled.',
      });
    }
    await row.update({ cancelRequested: true });
    await endPending(this.env, 'Verification', id, new AppError('CANCELLED', `The run was cancelled by ${actor}.`));
    await this.env.audit.record(actor, 'verification.cancel', id);
    return row.reload();
  }

  /** Ends what processes that died have left. Nothing but their work folders is theirs: see `Backups.recover`. */
  async recover(): Promise<void> {
    const { models, log } = this.env;
    for (const id of await deadRuns(models, 'Verification')) {
      const work = async () => {
        const row = await this.get(id);
        const { phase, level, backupId } = row;
        if (level === 'DRILL') await dropLeft(this.env, row, await models.Backup.findByPk(backupId));
        const text = `The process that did this verification stopped in the phase "${phase ?? 'start'}".`;
        const ended = { id, status: 'RUNNING' as const };
        await endRun(this.env, 'Verification', ended, new AppError('INTERRUPTED', `${text} Nothing was changed.`));
        log.warn({ verification: id, phase }, 'a dead run was cleaned up');
      };
      await Hold.during(this.env, [runLease(id)], work, () => undefined);
    }
    await this.endAbandoned();
  }

  /** Hands every waiting verification to the queue that a worker is to do. */
  async requeue(): Promise<void> {
    for (const id of await pendingRuns(this.env.models, 'Verification', { queued: true })) {
      await this.env.queue.add({ name: 'run-verification', verificationId: id });
    }
  }

  private async insert(request: VerificationRequest, actor: string, queued: boolean): Promise<VerificationRow> {
    const { backupId, level } = request;
    const backup = await this.env.models.Backup.findByPk(backupId);
    if (backup === null) throw new AppError('NOT_FOUND', `There is no backup "${backupId}".`);
    assertCompleted(backup);
    if (level === 'DRILL') await assertDrillable(this.env, backup);
    return this.add(backup, request, { actor, queued });
  }

  private async add(
    backup: BackupRow,
    { level, ...request }: VerificationRequest,
    { actor, queued }: { actor: string; queued: boolean },
    transaction?: Transaction,
  ): Promise<VerificationRow> {
    const destinationId = request.destinationId ?? null;
    const copies = copiesToVerify(backup, destinationId);
    const createdAt = this.env.now();
    return this.env.models.Verification.create(
      {
        id: newId('verify', createdAt),
        backupId: backup.id,
        configId: backup.configId,
        level,
        destinationId,
        queued,
        bytes: copies.reduce((sum, { size }) => sum + (size ?? 0), 0),
        status: 'PENDING',
        createdBy: actor,
        createdAt,
      },
      transaction === undefined ? {} : { transaction },
    );
  }

  /** Runs it once nothing else holds the backup. */
  private async runInTurn(id: string, stop: AbortSignal, identity?: string): Promise<void> {
    if ((await this.run(id, stop, identity)) === 'done') return;
    const work = async () => {
      do await sleep(ASK_AGAIN, undefined, { signal: stop }).catch(() => undefined);
      while (!stop.aborted && (await this.run(id, stop, identity)) === 'busy');
    };
    // Shows all other processes that this one still waits for its turn.
    await Hold.during(this.env, [waitLease(id)], work, () => undefined);
    if (stop.aborted) await endPending(this.env, 'Verification', id, stop.reason as AppError);
  }

  /** A process that does its verification itself and is gone will never begin it. */
  private async endAbandoned(): Promise<void> {
    const before = new Date(this.env.now().getTime() - this.env.leaseMs);
    const where = { queued: false, createdAt: { [Op.lt]: before } };
    for (const id of await pendingRuns(this.env.models, 'Verification', where)) {
      if (await isHeld(this.env.models, waitLease(id))) continue;
      const error = new AppError('INTERRUPTED', 'The process that wanted this verification stopped before it began.');
      await endPending(this.env, 'Verification', id, error);
    }
  }
}

/** The same signal with a reason for the row: that of a caller who hung up is none. */
function unlessGone(stop: AbortSignal): AbortSignal {
  const controller = new AbortController();
  const abort = () => {
    const { reason } = stop as { reason: unknown };
    const gone = new AppError('CANCELLED', 'The caller was gone before the verification had ended.');
    controller.abort(reason instanceof AppError ? reason : gone);
  };
  if (stop.aborted) abort();
  else stop.addEventListener('abort', abort, { once: true });
  return controller.signal;
}

function errorOf({ errorCode, errorMessage, errorHint }: VerificationRow): AppError {
  return new AppError((errorCode ?? 'INTERNAL_ERROR') as ErrorCode, errorMessage ?? 'The verification failed.', {
    ...(errorHint && { hint: errorHint }),
  });
}

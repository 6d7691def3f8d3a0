import { Op } from 'sequelize';
import { AppError } from '../../errors.js';
import type { RestoreRow } from '../../models/index.js';
import { databaseLease, Hold, isHeld, runLease, waitLease } from '../runs/hold.js';
import { COMMAND_ACTOR, newId } from '../text/ids.js';
import { PATIENCE, planRestore, type RestorePlan } from './plan.js';
import { repair, type RestoresEnvironment, runRestore } from './run-restore.js';
import type { RestoreRequest, Scope } from './scope.js';
import type { StoredArchive } from '../archives/stored-archive.js';
import { deadRuns, endPending, endRun, pendingRuns } from '../runs/run.js';

export type { RestoreRequest, RestoresEnvironment };

/**
 * Restores: a row with a state machine.
 *
 * The steps of a run, and what is left when one fails:
 * 1. claim the row, hold the database — nothing
 * 2. verify the whole archive — nothing
 * 3. extract the database to the work folder and check it — nothing
 * 4. the hook before a restore — nothing; then a safety backup of database and media, verified and pinned — the safety backup
 * 5. lay the new media files beside the old ones — the safety backup; what was laid is removed
 * 6. switch: media by renames, then the database in one transaction — the old state, put back
 * 7. tidy up — the new state, with a warning
 * A process that is killed leaves the row RUNNING with a lapsed lease; `recover` then ends it as of step 6 or 7. A row that a
 * command made and never began ends then too.
 */
export class Restores {
  constructor(private readonly env: RestoresEnvironment) {}

  /** A dry run. See `planRestore`. */
  async plan(request: RestoreRequest): Promise<RestorePlan> {
    const opened = await this.open(request.backupId, request.identity);
    return (await planRestore(this.env, opened, request)).plan;
  }

  /** Makes a PENDING row and hands it to the queue. @throws AppError the first reason to refuse, naming all of them */
  async request(request: RestoreRequest, actor: string): Promise<RestoreRow> {
    const row = await this.create(request, actor);
    await this.env.queue.add({ name: 'run-restore', restoreId: row.id });
    return row;
  }

  /** Makes a PENDING row only: for a caller that runs it itself. */
  async create(request: RestoreRequest, actor: string): Promise<RestoreRow> {
    if (!request.confirm) {
      throw new AppError('CONFIRMATION_REQUIRED', 'confirm: a restore replaces data, and confirm is not true.', {
        field: 'confirm',
      });
    }
    const opened = await this.open(request.backupId, request.identity);
    return this.insert(allowed(await planRestore(this.env, opened, request)), opened.stored, actor, null);
  }

  /** Does a PENDING restore. @returns 'busy' if another run holds the database: try again later */
  run(id: string, stop: AbortSignal): Promise<'done' | 'busy'> {
    return runRestore(this.env, id, stop);
  }

  find(id: string): Promise<RestoreRow | null> {
    return this.env.models.Restore.findByPk(id);
  }

  /** @throws AppError NOT_FOUND */
  async get(id: string): Promise<RestoreRow> {
    const row = await this.find(id);
    if (row === null) throw new AppError('NOT_FOUND', `There is no restore "${id}".`);
    return row;
  }

  /** The database URL that the restore writes to, as it may be shown. */
  maskedTarget(row: RestoreRow): string {
    return this.env.engines.of(row.engine).resolve(row.targetUrl).display;
  }

  /**
   * Brings back the state before a restore, by a restore of its own.
   * @param identity opens the safety backup, as `RestoreRequest.identity` does the backup of a restore
   * @throws AppError BUSY, NOT_FOUND, and as `request`
   */
  async undo(id: string, actor: string, identity?: string): Promise<RestoreRow> {
    const row = await this.createUndo(id, actor, identity);
    await this.env.queue.add({ name: 'run-restore', restoreId: row.id });
    return row;
  }

  /** As `undo`, for a caller that runs it itself. */
  async createUndo(id: string, actor: string, identity?: string): Promise<RestoreRow> {
    const undone = await this.get(id);
    if (undone.status !== 'COMPLETED') {
      throw new AppError('BUSY', `Restore ${id} is ${undone.status}: only a COMPLETED restore can be undone.`, {
        hint: undone.status === 'FAILED' ? 'It changed nothing that was not put back.' : 'Wait until it has ended.',
      });
    }
    if (undone.safetyBackupId === null) {
      throw new AppError('NOT_FOUND', `Restore ${id} has no safety backup: its target held nothing before.`, {
        hint: 'To go back to nothing, remove the target.',
      });
    }
    const safety = await this.open(undone.safetyBackupId, identity);
    const request = { backupId: safety.row.id, confirm: true, overwrite: true };
    const scope = allowed(await planRestore(this.env, safety, request, undone));
    if (!scope.restoreDatabase && !scope.restoreMedia) {
      throw new AppError('NOT_FOUND', `Before restore ${id} there was no database: its safety backup cannot undo it.`, {
        hint: 'To go back to nothing, remove the target.',
      });
    }
    return this.insert(scope, safety.stored, actor, id);
  }

  /** Ends a restore that waits or has not reached the switch yet. @throws AppError BUSY */
  async cancel(id: string, actor: string): Promise<RestoreRow> {
    const row = await this.get(id);
    if (row.status !== 'PENDING' && row.status !== 'RUNNING') {
      throw new AppError('BUSY', `Restore ${id} is ${row.status}: there is no run to cancel.`);
    }
    await row.update({ cancelRequested: true });
    await endPending(this.env, 'Restore', id, new AppError('CANCELLED', `The run was cancelled by ${actor}.`));
    await this.env.audit.record(actor, 'restore.cancel', id);
    return row.reload();
  }

  /** Ends what processes that died have left, each as a whole: see `repair`. */
  async recover(): Promise<void> {
    for (const id of await deadRuns(this.env.models, 'Restore')) {
      const { targetKey } = await this.get(id);
      await Hold.during(
        this.env,
        [runLease(id), databaseLease(targetKey)],
        () => this.recoverOne(id),
        () => undefined,
      );
    }
    await this.endAbandoned();
  }

  /** Hands every waiting restore to the queue, but for those that a command made: it does them itself. */
  async requeue(): Promise<void> {
    const notOfCommands = { createdBy: { [Op.or]: [{ [Op.is]: null }, { [Op.notLike]: `${COMMAND_ACTOR}%` }] } };
    for (const id of await pendingRuns(this.env.models, 'Restore', notOfCommands)) {
      await this.env.queue.add({ name: 'run-restore', restoreId: id });
    }
  }

  private open(backupId: string, identity?: string) {
    return this.env.backups.openReadable(backupId, AbortSignal.timeout(PATIENCE), identity);
  }

  /** The identity of an encrypted backup ends here: what the run gets is the key of this one archive, sealed. */
  private async insert(scope: Scope, stored: StoredArchive, actor: string, undoOf: string | null): Promise<RestoreRow> {
    const createdAt = this.env.now();
    const fileKeys = await stored.fileKeys(AbortSignal.timeout(60_000));
    const row = await this.env.models.Restore.create({
      id: newId('restore', createdAt),
      backupId: scope.backup.id,
      configId: scope.config?.id ?? null,
      status: 'PENDING',
      engine: scope.engine.kind,
      targetUrl: scope.targetUrl,
      targetKey: scope.targetKey,
      restoreDatabase: scope.restoreDatabase,
      restoreMedia: scope.restoreMedia,
      tables: scope.tables,
      repair: scope.repair,
      media: scope.media,
      mediaMode: scope.mediaMode,
      mediaTargets: scope.mediaTargets,
      lockTimeout: scope.lockTimeout,
      rebuildIndexes: scope.rebuildIndexes,
      warnings: scope.leaves,
      sealedFileKey: fileKeys === null ? null : await this.env.keys.sealFileKey(fileKeys),
      undoOf,
      createdBy: actor,
      createdAt,
    });
    await this.env.audit.record(actor, undoOf === null ? 'restore.create' : 'restore.undo', row.id, {
      backup: scope.backup.id,
      target: this.maskedTarget(row),
      ...(scope.repair !== null && { rows: scope.repair.mode, tables: scope.repair.tables, where: scope.repair.where }),
    });
    return row;
  }

  /** Never start a restore whose command has exited: the data may have moved on. */
  private async endAbandoned(): Promise<void> {
    const before = new Date(this.env.now().getTime() - this.env.leaseMs);
    const where = { createdBy: { [Op.startsWith]: COMMAND_ACTOR }, createdAt: { [Op.lt]: before } };
    for (const id of await pendingRuns(this.env.models, 'Restore', where)) {
      if (await isHeld(this.env.models, waitLease(id))) continue;
      const error = new AppError('INTERRUPTED', 'The command that wanted this restore stopped before it began.');
      await endPending(this.env, 'Restore', id, error);
    }
  }

  private async recoverOne(id: string): Promise<void> {
    const row = await this.get(id);
    if (row.status !== 'RUNNING') return;
    const where = { id, status: 'RUNNING' as const };
    try {
      const { inForce, warnings } = await repair(this.env, row);
      if (inForce) {
        const text = 'The process that did this restore stopped after the switch; recovery completed it.';
        await endRun(this.env, 'Restore', where, null, { warnings: [...row.warnings, ...warnings, text] });
      } else {
        const phase = row.phase ?? 'start';
        const text = `The process that did this restore stopped in the phase "${phase}". The old state is in place.`;
        await endRun(this.env, 'Restore', where, new AppError('INTERRUPTED', text));
      }
    } catch (error) {
      this.env.log.error({ restore: id, err: error }, 'a dead restore could not be repaired');
      if (!(error instanceof AppError) || error.code !== 'RESTORE_ROLLBACK_FAILED') return;
      await endRun(this.env, 'Restore', where, error);
    }
    this.env.log.warn({ restore: id }, 'a dead run was cleaned up');
  }
}

/** @throws AppError the plan's reason to refuse; the first, naming all, where there are several */
function allowed({ plan, scope }: { plan: RestorePlan; scope: Scope }): Scope {
  const [first, ...more] = plan.refusals;
  if (first === undefined) return scope;
  if (more.length === 0) throw first;
  const all = plan.refusals.map((refusal) => refusal.message).join(' ');
  throw new AppError(first.code, all, { hint: first.hint, ...(first.field ? { field: first.field } : {}) });
}

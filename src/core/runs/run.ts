import type { CoreEnvironment, RunTable } from '../environment.js';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Transaction } from 'sequelize';
import { AppError, toAppError } from '../../errors.js';
import type { Models, PhaseEntry, RunStatus } from '../../models/index.js';
import { Hold, type HoldEnvironment, isHeld, runLease } from './hold.js';
import type { OnProgress, StepContext } from '../ports.js';
import { shareOf } from './progress.js';

/** How often the row shows progress, and how often cancellation is looked for, in milliseconds. */
const FLUSH_MS = 250;
const TICK_MS = 1_000;
/** What a process that must stop still gives to what ends a run, in milliseconds: less than the queue gives to the run. */
const LAST_MS = 1_500;

/** `createdBy` of a verification that comes by the schedule, again and again. */
export const SCHEDULE = 'system';

/** What a run needs of the process around it. */
export type RunEnvironment = HoldEnvironment & Pick<CoreEnvironment, 'now' | 'onEnded' | 'onStarted'>;

interface RunValues {
  status?: RunStatus;
  progress?: number;
  bytesDone?: number | null;
  bytesTotal?: number | null;
  phase?: string | null;
  phases?: PhaseEntry[];
  errorCode?: string | null;
  errorMessage?: string | null;
  errorHint?: string | null;
  warnings?: string[];
  startedAt?: Date;
  completedAt?: Date;
  leaseHolder?: string | null;
}

/**
 * One run under way in this process: it owns its row (conditional update), keeps its leases alive, shows its progress on
 * the row, and ends exactly once. `signal` aborts when the run is cancelled, when its lease is lost, or when the process
 * must stop; the reason is an AppError.
 */
export class Run {
  readonly signal: AbortSignal;
  private readonly abort = new AbortController();
  private readonly ticker: NodeJS.Timeout;
  private phases: PhaseEntry[] = [];
  private readonly warnings: string[] = [];
  private shown = { progress: 0, bytesDone: null as number | null, bytesTotal: null as number | null };
  private flushed = { at: -FLUSH_MS, values: this.shown };
  private writing: Promise<unknown> = Promise.resolve();
  private looking = false;
  /** Bytes of the phases to come, of the present one, and of those that are done. */
  private ahead = new Map<string, number>();
  private weight = 0;
  private past = 0;
  private watcher: OnProgress = () => undefined;

  private constructor(
    private readonly env: RunEnvironment,
    private readonly table: RunTable,
    readonly id: string,
    private readonly hold: Hold,
    private readonly stop: AbortSignal,
  ) {
    this.signal = AbortSignal.any([stop, hold.lost, this.abort.signal]);
    this.ticker = setInterval(() => void this.lookForCancel(), TICK_MS);
  }

  /**
   * Makes a PENDING row RUNNING and takes its leases.
   * @param holds further leases that the run needs, such as its database's
   * @param ready asked while all are held; if not, the run counts as busy
   * @returns 'busy' if one of `holds` is another's, 'taken' if the row is no longer PENDING
   */
  static async claim(
    env: RunEnvironment,
    table: RunTable,
    id: string,
    holds: string[],
    stop: AbortSignal,
    ready: () => Promise<boolean> = async () => true,
  ): Promise<Run | 'busy' | 'taken'> {
    const hold = await Hold.take(env, [runLease(id), ...holds]);
    if (!(hold instanceof Hold)) return hold.busy === runLease(id) ? 'taken' : 'busy';
    if (!(await ready())) {
      await hold.release();
      return 'busy';
    }
    const values: RunValues = { status: 'RUNNING', startedAt: env.now(), leaseHolder: hold.holder, progress: 0 };
    const claimed = await updateRun(env.models, table, values, { id, status: 'PENDING' });
    if (claimed === 1) {
      await env.onStarted({ table, id });
      return new Run(env, table, id, hold, stop);
    }
    await hold.release();
    return 'taken';
  }

  /**
   * Sets the bytes that the run has to work through, from which its progress follows. Call again when more is known.
   * @param work bytes of each phase that lies ahead
   * @param watcher called with the number of bytes done, of all phases
   */
  expect(work: Record<string, number>, watcher: OnProgress = this.watcher): void {
    this.ahead = new Map(Object.entries(work));
    this.watcher = watcher;
  }

  /**
   * Enters a phase. One that was not expected covers all that is left.
   * @param counts what the phase reports: bytes, which the row then shows, or steps of its own, which it does not
   */
  async phase(name: string, counts: 'bytes' | 'steps' = 'bytes'): Promise<StepContext> {
    this.signal.throwIfAborted();
    this.phases.push({ phase: name, at: this.env.now().toISOString() });
    this.past += this.weight;
    this.weight = this.ahead.get(name) ?? 1;
    this.ahead.delete(name);
    this.shown = { progress: this.reached(0), bytesDone: null, bytesTotal: null };
    await this.assertOwn({ phase: name, phases: this.phases, ...this.shown });
    return {
      signal: this.signal,
      onProgress: (done, total) => {
        // What grows while it is read, and what is read a second time, never shows more than all or less than before.
        const bytesTotal = Math.round(total);
        const bytesDone = Math.min(bytesTotal, Math.max(this.shown.bytesDone ?? 0, Math.round(done)));
        const bytes = counts === 'bytes' ? { bytesDone, bytesTotal } : {};
        this.shown = { ...this.shown, ...bytes, progress: this.reached(shareOf(done, total)) };
        this.flush();
      },
    };
  }

  /** The progress with this share of the present phase done: never less than before. */
  private reached(share: number): number {
    const done = this.past + share * this.weight;
    const total = [...this.ahead.values()].reduce((sum, bytes) => sum + bytes, this.past + this.weight);
    this.watcher(done, total);
    return Math.max(this.shown.progress, shareOf(done, total <= 0 ? 1 : total));
  }

  /**
   * Makes sure, in the control database, that the run is still this process's: before a step that cannot be taken back.
   * A process that slept may have lost it without having noticed yet.
   * @param values written to the row
   * @throws AppError INTERRUPTED
   */
  async assertOwn(values: object = this.shown): Promise<void> {
    this.signal.throwIfAborted();
    if ((await this.hold.confirm()) && (await this.update(values))) return;
    throw new AppError('INTERRUPTED', 'This process was silent for too long and lost its hold of the run.');
  }

  /** True once another process may have taken over: then it is that one's to tidy up. */
  get isLost(): boolean {
    return this.hold.lost.aborted;
  }

  /**
   * For what is still to be done once the run's own signal has aborted. Where that is because the process must stop, it leaves
   * as much time as the process has; a hold that is lost leaves none.
   */
  lastSignal(): AbortSignal {
    if (!this.signal.aborted) return this.signal;
    if (!this.stop.aborted) return AbortSignal.any([this.stop, this.hold.lost]);
    const late = new AbortController();
    const stopping = new AppError('INTERRUPTED', 'The process had to stop.');
    setTimeout(() => late.abort(stopping), LAST_MS).unref();
    return AbortSignal.any([late.signal, this.hold.lost]);
  }

  /** Ends all work of the run for this reason. */
  abandon(reason: AppError): void {
    this.abort.abort(reason);
  }

  /** Adds what the admin should know; it is written when the run ends, also if it fails. */
  warn(...texts: string[]): void {
    this.warnings.push(...texts);
  }

  /** Ends the run as COMPLETED. @returns false if the run was no longer this process's: then nothing it made may stay */
  async complete(values: object = {}): Promise<boolean> {
    const phases = [...this.phases, { phase: 'done', at: this.env.now().toISOString() }];
    const done = { ...values, phases, warnings: this.warnings };
    return this.persist(() => this.inOrder(() => endRun(this.env, this.table, this.own, null, done)));
  }

  /** Ends the run as FAILED, with the reason on the row. @returns false if the row was no longer this run's */
  async fail(error: AppError, values: object = {}): Promise<boolean> {
    const ended = { ...values, warnings: this.warnings };
    return this.persist(() => this.inOrder(() => endRun(this.env, this.table, this.own, error, ended)));
  }

  /** What a thrown value means for this run: if it was aborted, the reason of that. */
  explain(error: unknown): AppError {
    if (this.signal.aborted && this.signal.reason instanceof AppError) return this.signal.reason;
    return toAppError(error);
  }

  /** Stops the heartbeat and gives the leases back. Call it once, last. */
  async close(): Promise<void> {
    clearInterval(this.ticker);
    await this.writing;
    await this.hold.release();
  }

  /** Writes values to the row, if it is still this run's. Writes are kept in order. */
  async update(values: object): Promise<boolean> {
    return this.inOrder(async () => (await updateRun(this.env.models, this.table, values, this.own)) === 1);
  }

  /**
   * Writes how the run ended, however long the control database cannot be written: only this process knows the reason. Until then
   * no other run could begin either. Only the end of the process ends the trying.
   */
  private async persist(write: () => Promise<boolean>): Promise<boolean> {
    for (;;) {
      try {
        return await write();
      } catch (error) {
        if (toAppError(error).code !== 'CONTROL_DATABASE_FAILED' || this.stop.aborted) throw error;
        this.env.log.error({ err: error, run: this.id }, 'the end of a run could not be written; it is tried again');
        await sleep(TICK_MS, undefined, { signal: this.stop }).catch(() => undefined);
      }
    }
  }

  /** The row, as long as it is this run's. */
  private get own() {
    return { id: this.id, status: 'RUNNING' as const, leaseHolder: this.hold.holder };
  }

  private inOrder<T>(work: () => Promise<T>): Promise<T> {
    const write = this.writing.then(work);
    this.writing = write.catch(() => undefined);
    return write;
  }

  private flush(): void {
    const now = performance.now();
    const { shown, flushed } = this;
    const same = shown.progress === flushed.values.progress && shown.bytesDone === flushed.values.bytesDone;
    if (now - flushed.at < FLUSH_MS || same) return;
    this.flushed = { at: now, values: shown };
    this.update(shown).catch((error: unknown) => {
      this.env.log.warn({ err: error, run: this.id }, 'progress could not be written');
    });
  }

  private async lookForCancel(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    try {
      const wanted = await modelOf(this.env.models, this.table).count({
        where: { id: this.id, cancelRequested: true },
      });
      if (wanted > 0) this.abort.abort(new AppError('CANCELLED', 'The run was cancelled.'));
    } catch (error) {
      this.env.log.warn({ err: error, run: this.id }, 'cancellation could not be looked for');
    } finally {
      this.looking = false;
    }
  }
}

/** Removes a run's work folder. Logs what cannot be removed; the next sweep finds it again. */
export async function removeWork(env: RunEnvironment, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true }).catch((error: unknown) => {
    env.log.warn({ err: error, folder }, 'a work folder could not be removed');
  });
}

/**
 * False while a restore whose process died still waits for `recover` to decide what it has done: nothing else may work on
 * that database before. Only meaningful while the database's lease is held.
 */
export async function noDeadRestore(models: Models, databaseKey: string | null): Promise<boolean> {
  if (databaseKey === null) return true;
  return (await models.Restore.count({ where: { targetKey: databaseKey, status: 'RUNNING' } })) === 0;
}

/** The columns that make a row FAILED for this reason. */
export function failure(error: AppError) {
  return { status: 'FAILED' as const, errorCode: error.code, errorMessage: error.message, errorHint: error.hint };
}

/** What this file needs of the models that are runs; Sequelize's own types cannot name a union of models. */
interface RunModel {
  update(values: object, options: { where: object; transaction?: Transaction }): Promise<[number, ...unknown[]]>;
  count(options: { where: object }): Promise<number>;
  findAll(options: { attributes: ['id']; where: object; order: ['createdAt', 'ASC'][] }): Promise<{ id: string }[]>;
}

const modelOf = (models: Models, table: RunTable) => models[table] as unknown as RunModel;

/** Conditional update of a run's row. @returns how many rows met the condition */
export async function updateRun(models: Models, table: RunTable, values: object, where: object): Promise<number> {
  const [changed] = await modelOf(models, table).update(values, { where });
  return changed;
}

/**
 * Ends a run: the one way for a row to become COMPLETED or FAILED.
 * @param where the row, and the state in which it must still be
 * @param error why it failed; null if it is COMPLETED
 * @param values also written to the row
 * @returns false if the row was no longer in that state: then nothing was changed
 */
export function endRun(
  env: RunEnvironment,
  table: RunTable,
  where: { id: string; status: RunStatus; leaseHolder?: string },
  error: AppError | null,
  values: RunValues = {},
): Promise<boolean> {
  const outcome = error === null ? COMPLETED : failure(error);
  const ended = { ...outcome, ...values, completedAt: env.now(), leaseHolder: null };
  return env.models.sequelize.transaction(async (transaction) => {
    const [changed] = await modelOf(env.models, table).update(ended, { where, transaction });
    if (changed === 1) await env.onEnded({ table, id: where.id, error }, transaction);
    return changed === 1;
  });
}

const COMPLETED = {
  status: 'COMPLETED' as const,
  progress: 1,
  phase: null,
  bytesDone: null,
  bytesTotal: null,
  errorCode: null,
};

/** Ends a run that no one has begun yet. A run under way is left alone. */
export async function endPending(env: RunEnvironment, table: RunTable, id: string, error: AppError): Promise<void> {
  await endRun(env, table, { id, status: 'PENDING' }, error);
}

/** The ids of runs whose row says RUNNING although no process holds their lease any more. */
export async function deadRuns(models: Models, table: RunTable): Promise<string[]> {
  const dead: string[] = [];
  for (const id of await idsOf(models, table, { status: 'RUNNING' })) {
    if (!(await isHeld(models, runLease(id)))) dead.push(id);
  }
  return dead;
}

/** The ids of the runs that wait for a worker, oldest first. */
export function pendingRuns(models: Models, table: RunTable, where: object = {}): Promise<string[]> {
  return idsOf(models, table, { ...where, status: 'PENDING' });
}

async function idsOf(models: Models, table: RunTable, where: object): Promise<string[]> {
  const rows = await modelOf(models, table).findAll({
    attributes: ['id'],
    where,
    order: [['createdAt', 'ASC']],
  });
  return rows.map((row) => row.id);
}

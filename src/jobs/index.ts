import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agenda, type AgendaBackend, InMemoryNotificationChannel, type Job as HeldJob, toJobId } from 'agenda';
import type { JobContext, JobHandlers } from './handlers.js';
import type { Job, JobQueue } from '../core/ports.js';
import { AppError } from '../errors.js';
import type { Log } from '../log.js';
import { lastingLocks, type LockedRepository } from './locks.js';

export { createBackend, type JobStore } from './backends.js';
export { createHandlers } from './handlers.js';
export type { JobContext, JobHandlers, Workers } from './handlers.js';

/** The queue together with the worker in this process. */
export interface Jobs extends JobQueue {
  /** Begins to run jobs in this process. Adding works without. */
  start(): Promise<void>;
  /**
   * Takes no more jobs, waits up to `deadlineMs` for the running ones, then aborts their signals and gives them three
   * more seconds to tidy up. Nothing of the queue keeps the process alive afterwards for longer than `processEvery`.
   */
  stop(deadlineMs: number): Promise<void>;
}

export interface JobsOptions {
  /** A connected backend, from `createBackend`. It stays the caller's and is not closed here. */
  backend: AgendaBackend;
  handlers: JobHandlers;
  /** How many jobs run at the same time in this process. */
  concurrency: number;
  log: Log;
  /** How often other processes' jobs are looked for, in milliseconds. */
  processEvery?: number;
  /**
   * After how much silence a worker is taken for dead and its jobs are run again, in milliseconds. The sign of life
   * comes six times as often. Must exceed the clock skew between machines by far.
   */
  lockLifetime?: number;
}

/** The mark of a job that no worker has taken yet; a worker leaves its own name instead. */
const WAITING = 'queue';
const GRACE = 3_000;
/** A worker begins a job right after it has taken it; within this time at the latest, in milliseconds. */
const BEGUN_WITHIN = 10_000;
/** No job is put off for longer than this, in milliseconds. */
const LONGEST_DELAY = 60_000;

/** The queue and its worker over one of the job stores. See `JobQueue` for what is promised about `add`. */
export function createJobs(options: JobsOptions): Jobs {
  return new AgendaJobs(options);
}

class AgendaJobs implements Jobs {
  private readonly agenda: Agenda;
  private readonly repository: LockedRepository;
  /** Wakes the worker of this process; those of other processes look for themselves. */
  private readonly channel = new InMemoryNotificationChannel();
  private readonly running = new Map<HeldJob, AbortController>();
  private readonly names: Job['name'][];
  private readonly log: Log;
  private readonly worker = `${hostname()}-${process.pid}`;
  private readonly lockLifetime: number;

  constructor({ backend, handlers, concurrency, log, processEvery = 1_000, lockLifetime = 180_000 }: JobsOptions) {
    this.log = log;
    this.lockLifetime = lockLifetime;
    this.names = Object.keys(handlers) as Job['name'][];
    const failed = (err: unknown) => log.error({ err }, 'The job store answered with an error; it is asked again.');
    this.repository = lastingLocks(backend.repository, lockLifetime, failed);
    this.agenda = new Agenda({
      name: this.worker,
      backend: {
        name: backend.name,
        repository: this.repository,
        ownsConnection: false,
        connect: () => backend.connect(),
        disconnect: () => backend.disconnect(),
      },
      notificationChannel: this.channel,
      processEvery,
      maxConcurrency: concurrency,
      lockLimit: concurrency,
      defaultConcurrency: concurrency,
      defaultLockLifetime: processEvery,
    });
    this.agenda.on('error', failed);
    this.agenda.on('complete', (job) => this.ended(job as HeldJob));
    for (const name of this.names) {
      const handler = handlers[name] as (job: Job, context: JobContext) => Promise<void>; // its own job: same name
      this.agenda.define(name, (held: HeldJob<object>) => this.run(held, handler));
    }
  }

  async add({ name, ...payload }: Job, { delayMs = 0 }: { delayMs?: number } = {}): Promise<void> {
    await this.agenda.ready;
    const same = await this.repository.queryJobs({ name, data: payload });
    // One that was taken a while ago and not begun has lost its worker: it must not stand in the way of another.
    const isNear = (at: Date) => Math.abs(Date.now() - at.getTime()) < BEGUN_WITHIN;
    const waits = same.jobs.filter(({ lastRunAt, lockedAt }) => !lastRunAt && (!lockedAt || isNear(lockedAt)));
    // Of a time when the clock was ahead: it would wait until the clock gets there again.
    const ahead = Date.now() + delayMs + LONGEST_DELAY;
    const astray = waits.filter(({ nextRunAt, lockedAt }) => !lockedAt && nextRunAt && nextRunAt.getTime() > ahead);
    for (const { _id } of astray) if (_id) await this.repository.removeJobs({ id: _id });
    if (waits.length > astray.length) return;
    const unique = Object.fromEntries(Object.entries(payload).map(([key, value]) => [`data.${key}`, value]));
    await this.repository.saveJob(
      {
        name,
        type: 'normal',
        priority: 0,
        nextRunAt: new Date(Date.now() + delayMs),
        data: payload,
        unique: { ...unique, lastModifiedBy: WAITING },
        uniqueOpts: { insertOnly: true },
      },
      { lastModifiedBy: WAITING },
    );
    if (delayMs === 0) void this.wake([name]);
  }

  async start(): Promise<void> {
    await this.agenda.start();
  }

  async stop(deadlineMs: number): Promise<void> {
    await this.repository.close();
    await this.agenda.stop(false);
    if (await this.idle(deadlineMs)) return;
    for (const controller of this.running.values()) {
      controller.abort(new AppError('INTERRUPTED', 'The process was stopped before the run ended.'));
    }
    await this.idle(GRACE);
  }

  /** Runs one job that this worker holds. Whatever the handler throws ends here: the run's row shows it to the user. */
  private async run(held: HeldJob<object>, handler: (job: Job, context: JobContext) => Promise<void>): Promise<void> {
    const job = { name: held.attrs.name, ...held.attrs.data } as Job;
    const controller = new AbortController();
    const over = new AbortController();
    this.running.set(held as HeldJob, controller);
    const alive = this.keepAlive(held as HeldJob, over.signal, controller);
    try {
      await handler(job, { signal: controller.signal });
    } catch (err) {
      this.log.error({ err, job }, 'A job ended with an error.');
    }
    over.abort();
    await alive;
    if (held.attrs.type === 'normal') await this.repository.finish(held.attrs);
  }

  /** Gives signs of life until the job is over; aborts the run when none got through for so long that another may have it. */
  private async keepAlive(held: HeldJob, over: AbortSignal, run: AbortController): Promise<void> {
    let last = performance.now();
    while (!over.aborted) {
      await sleep(this.lockLifetime / 6, undefined, { signal: over, ref: false }).catch(() => {});
      if (over.aborted) return;
      try {
        await this.repository.saveJobState(held.attrs, { lastModifiedBy: this.worker });
        last = performance.now();
      } catch (err) {
        this.log.warn({ err, job: held.attrs.name }, 'A running job could not renew its lock.');
        if (performance.now() - last > this.lockLifetime)
          run.abort(new AppError('INTERRUPTED', 'The job lost its lock.'));
      }
    }
  }

  private ended(held: HeldJob): void {
    this.running.delete(held);
    // By then Agenda has given the slot back; it would fill it only at the next look.
    setImmediate(() => void this.wake(this.names));
  }

  private async wake(names: Job['name'][]): Promise<void> {
    for (const jobName of names) {
      if (this.channel.state !== 'connected') return;
      const now = new Date();
      await this.channel.publish({ jobId: toJobId(''), jobName, nextRunAt: null, priority: 0, timestamp: now });
    }
  }

  private async idle(withinMs: number): Promise<boolean> {
    const deadline = performance.now() + withinMs;
    while (this.running.size > 0 && performance.now() < deadline) await sleep(20);
    return this.running.size === 0;
  }
}

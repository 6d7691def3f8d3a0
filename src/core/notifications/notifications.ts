import { setTimeout as sleep } from 'node:timers/promises';
import { Op } from 'sequelize';
import { AppError } from '../../errors.js';
import { Outbox, type OutboxEnvironment } from './outbox.js';
import { look, type WatchEnvironment } from './watch.js';

/** What notifying needs of the process around it. */
export type NotificationsEnvironment = OutboxEnvironment & WatchEnvironment;

/** How often the outbox is looked into, and how often what `status` says is, in milliseconds. */
const DELIVER_EVERY = 2_000;
const LOOK_EVERY = 300_000;
/** How long `stop` waits for a look: one at a dead network disk may never end. In milliseconds. */
const LOOK_PATIENCE = 2_000;
/** How long a command waits for its messages to be delivered, in milliseconds. */
const COMMAND_PATIENCE = 15_000;

/** Tells people and services how the backups are doing: looks for what is to be told, and delivers it. */
export class Notifications {
  readonly outbox: Outbox;
  private readonly stopping = new AbortController();
  private working: Promise<void> | null = null;
  private looking: Promise<void> | null = null;
  private hasEnded = false;

  constructor(private readonly env: NotificationsEnvironment) {
    this.outbox = new Outbox(env);
  }

  /** Begins to look and to deliver, until `stop`. */
  start(): void {
    this.working ??= this.work();
  }

  /** Ends what is under way; what was not delivered waits for the next start. */
  async stop(): Promise<void> {
    this.stopping.abort(new AppError('INTERRUPTED', 'The process is stopping.'));
    await this.working;
    await endOrPause(this.looking, LOOK_PATIENCE);
  }

  /** Looks at once what is to be told, or waits for the look that is under way; see `look`. */
  look(): Promise<void> {
    this.looking ??= look(this.env).finally(() => {
      this.looking = null;
    });
    return this.looking;
  }

  /** Notes that this process has ended a run: `flush` then has something to deliver. */
  noteEnded(): void {
    this.hasEnded = true;
  }

  /**
   * Looks what is to be told and delivers it, for a process that has ended a run and ends then. What its channels do not take in time waits for the next one.
   * @returns how many messages wait; 0 if it had nothing to tell
   */
  async flush(stop: AbortSignal, patienceMs = COMMAND_PATIENCE): Promise<number> {
    if (!this.hasEnded) return 0;
    const { models, now, log } = this.env;
    const looked = new AbortController();
    const looking = this.look()
      .catch((error: unknown) => log.warn({ err: error }, 'what is to be told could not be looked for'))
      .finally(() => looked.abort());
    // A distant destination that does not answer must not keep the process.
    await Promise.race([looking, pause(patienceMs, AbortSignal.any([stop, looked.signal]))]);
    const until = new Date(now().getTime() + patienceMs);
    const signal = AbortSignal.any([stop, AbortSignal.timeout(patienceMs)]);
    for (;;) {
      const waiting = await this.outbox.deliverDue(signal);
      const soon = await models.Delivery.count({ where: { nextTryAt: { [Op.lte]: until } } });
      if (soon === 0 || signal.aborted) return waiting;
      await pause(DELIVER_EVERY, signal);
    }
  }

  private async work(): Promise<void> {
    const { signal } = this.stopping;
    let nextLook = 0;
    while (!signal.aborted) {
      try {
        if (performance.now() >= nextLook) {
          nextLook = performance.now() + LOOK_EVERY;
          if (this.looking !== null) this.env.log.warn('the last look what is to be told has not ended yet');
          else if (await this.isMine()) this.lookBeside();
        }
        await this.outbox.deliverDue(signal);
      } catch (error) {
        if (!signal.aborted) this.env.log.error({ err: error }, 'messages could not be looked for or delivered');
      }
      await pause(DELIVER_EVERY, signal);
    }
  }

  /** Messages do not wait for it: a destination that it asks may not answer. */
  private lookBeside(): void {
    this.look().catch((error: unknown) => {
      if (this.stopping.signal.aborted) return;
      this.env.log.error({ err: error }, 'what is to be told could not be looked for');
    });
  }

  /** One node looks. Its lease ends before the next look, so that another one does if it is gone. */
  private isMine(): Promise<boolean> {
    return this.env.models.leases.acquire(
      'due:alerts',
      `${Date.now()}-${Math.random()}`,
      LOOK_EVERY - 2 * DELIVER_EVERY,
    );
  }
}

/** Waits for the end of some work, or for a time. */
async function endOrPause(work: Promise<void> | null, ms: number): Promise<void> {
  const ended = new AbortController();
  const end = () => ended.abort();
  work?.then(end, end);
  if (work !== null) await pause(ms, ended.signal);
}

const pause = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }).catch(() => undefined);

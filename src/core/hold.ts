import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { AppError } from '../errors.js';
import type { Log } from '../log.js';
import type { Models } from '../models/index.js';

/** What holding needs of the process around it. */
export interface HoldEnvironment {
  models: Models;
  log: Log;
  /** How long a holder may be silent before others may take over, in milliseconds. */
  leaseMs: number;
}

/** The lease that a run holds while it is under way; without it the run counts as dead. */
export const runLease = (id: string) => `run:${id}`;
/** The lease that a command holds while the run that it made waits for its turn; without it such a run counts as forsaken. */
export const waitLease = (id: string) => `wait:${id}`;
/** The lease that keeps other runs off a database. */
export const databaseLease = (key: string) => `database:${key}`;

/** Leases that this process keeps alive until it releases them. `lost` aborts if it could not. */
export class Hold {
  readonly lost: AbortSignal;
  private readonly abort = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private renewed = Date.now();
  private renewing = false;

  private constructor(
    private readonly env: HoldEnvironment,
    readonly holder: string,
    private readonly names: string[],
  ) {
    this.lost = this.abort.signal;
    this.timer = setInterval(() => void this.renew(), Math.min(1_000, env.leaseMs / 4));
  }

  /** Takes all the leases or none. @returns the name of the first that is another's, if one is */
  static async take(env: HoldEnvironment, names: string[]): Promise<Hold | { busy: string }> {
    const holder = `${hostname()}:${process.pid}:${randomBytes(6).toString('hex')}`;
    const { leases } = env.models;
    for (const name of names) {
      if (await leases.acquire(name, holder, env.leaseMs)) continue;
      await leases.release(holder);
      return { busy: name };
    }
    return new Hold(env, holder, names);
  }

  /** Works while holding the leases; `busy` is called instead if one is another's. */
  static async during<T>(
    env: HoldEnvironment,
    names: string[],
    work: (hold: Hold) => Promise<T>,
    busy: (name: string) => T,
  ): Promise<T> {
    const hold = await Hold.take(env, names);
    if (!(hold instanceof Hold)) return busy(hold.busy);
    try {
      return await work(hold);
    } finally {
      await hold.release();
    }
  }

  /** Prolongs all leases now. @returns false if any was lost */
  async confirm(): Promise<boolean> {
    if (this.lost.aborted) return false;
    const renewed = await this.env.models.leases.renew(this.holder, this.env.leaseMs);
    if (renewed === this.names.length) {
      this.renewed = Date.now();
      return true;
    }
    this.lose();
    return false;
  }

  async release(): Promise<void> {
    clearInterval(this.timer);
    await this.env.models.leases.release(this.holder);
  }

  private async renew(): Promise<void> {
    if (this.renewing) return;
    this.renewing = true;
    try {
      await this.confirm();
    } catch (error) {
      this.env.log.warn({ err: error, holder: this.holder }, 'a lease could not be renewed');
      if (Date.now() - this.renewed > this.env.leaseMs) this.lose();
    } finally {
      this.renewing = false;
    }
  }

  private lose(): void {
    clearInterval(this.timer);
    this.abort.abort(new AppError('INTERRUPTED', 'This process was silent for too long and lost its hold of the run.'));
  }
}

import type { CoreEnvironment } from '../environment.js';
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { AppError, toAppError } from '../../errors.js';
import type { Models } from '../../models/index.js';

/** What holding needs of the process around it. */
export type HoldEnvironment = Pick<CoreEnvironment, 'models' | 'log' | 'leaseMs'>;

/** The lease of the process that backs up the control database. */
export const CONTROL_LEASE = 'control-backup';

/** The lease that a run holds while it is under way; without it the run counts as dead. */
export const runLease = (id: string) => `run:${id}`;
/** The lease that a command holds while the run that it made waits for its turn; without it such a run counts as abandoned. */
export const waitLease = (id: string) => `wait:${id}`;
/** The lease of whatever verifies a backup: while it is held, the archive is neither deleted nor replaced. */
export const verificationLease = (backupId: string) => `verification:${backupId}`;
/** The lease of whatever writes or deletes one copy of a backup: storing it, repairing it, deleting it. */
export const copyLease = (id: number) => `copy:${id}`;
/** The lease that keeps other runs off a database. */
export const databaseLease = (key: string) => `database:${key}`;

/** What this process holds itself, for each control database: no jump of the clock makes that anyone else's. */
const ownLeases = new WeakMap<Models['leases'], Set<string>>();

/** Leases that this process keeps alive until it releases them. `lost` aborts if it could not. */
export class Hold {
  readonly lost: AbortSignal;
  private readonly abort = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private renewed = performance.now();
  private renewing = false;

  private constructor(
    private readonly env: HoldEnvironment,
    readonly holder: string,
    private readonly names: string[],
  ) {
    this.lost = this.abort.signal;
    names.forEach((name) => ownNames(env).add(name));
    this.timer = setInterval(() => void this.renew(), Math.min(1_000, env.leaseMs / 4));
  }

  /** Takes all the leases or none. @returns the name of the first that is another's, if one is */
  static async take(env: HoldEnvironment, names: string[]): Promise<Hold | { busy: string }> {
    const holder = `${hostname()}:${process.pid}:${randomBytes(6).toString('hex')}`;
    const { leases } = env.models;
    for (const name of names) {
      const own = ownNames(env).has(name);
      if (!own && (await leases.acquire(name, holder, env.leaseMs))) continue;
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
      this.renewed = performance.now();
      return true;
    }
    this.lose();
    return false;
  }

  async release(): Promise<void> {
    this.end();
    await this.env.models.leases.release(this.holder).catch((error: unknown) => {
      this.env.log.warn(
        { err: error, holder: this.holder },
        'leases could not be given back; they run out by themselves',
      );
    });
  }

  private async renew(): Promise<void> {
    if (this.renewing) return;
    this.renewing = true;
    try {
      await this.confirm();
    } catch (error) {
      this.env.log.warn({ err: error, holder: this.holder }, 'a lease could not be renewed');
      if (performance.now() - this.renewed > this.env.leaseMs) this.lose(toAppError(error));
    } finally {
      this.renewing = false;
    }
  }

  /** @param reason why it could not renew; without one another process has taken over */
  private lose(reason?: AppError): void {
    this.end();
    const lost = 'This process was silent for too long and lost its hold of the run.';
    this.abort.abort(reason?.code === 'CONTROL_DATABASE_FAILED' ? reason : new AppError('INTERRUPTED', lost));
  }

  private end(): void {
    clearInterval(this.timer);
    this.names.forEach((name) => ownNames(this.env).delete(name));
  }
}

/** True while a process holds the lease. This one's own are asked first: a clock that jumps does not end them. */
export async function isHeld(models: Models, name: string): Promise<boolean> {
  return ownLeases.get(models.leases)?.has(name) === true || (await models.leases.holderOf(name)) !== null;
}

function ownNames({ models }: Pick<HoldEnvironment, 'models'>): Set<string> {
  const known = ownLeases.get(models.leases) ?? new Set();
  ownLeases.set(models.leases, known);
  return known;
}

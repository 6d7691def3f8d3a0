import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Preparation, Storage, StoredObject } from '../core/ports.js';
import { AppError } from '../errors.js';
import { StorageDecorator } from './decorator.js';
import { pulled } from './stream.js';

/** How persistently failed calls are repeated. All times are milliseconds. */
export interface RetryPolicy {
  /** How long waits may take together without anything that works in between. */
  budget: number;
  /** The first wait; each one after it is twice as long, up to `longest`, less a random part of up to a half. */
  first: number;
  longest: number;
}

/** For the transfer of an archive: starting it again would cost more than a wait. */
export const POLICY: RetryPolicy = { budget: 60_000, first: 250, longest: 15_000 };
/** For a single call, whose caller waits. */
const CALLS: RetryPolicy = { budget: 5_000, first: 250, longest: 2_000 };

/**
 * Repeats what a storage could not do for a reason that passes. A read that breaks goes on at its byte. A `put` is not
 * repeated, because its body can be read only once, and neither is a list, of which a part was given out: a storage repeats
 * the parts and the pages of them itself.
 */
export class RetryingStorage extends StorageDecorator {
  constructor(
    inner: Storage,
    private readonly policy: RetryPolicy = POLICY,
    private readonly calls: RetryPolicy = policy === POLICY ? CALLS : policy,
  ) {
    super(inner);
  }

  override prepare(): Promise<Preparation> {
    return this.repeat(() => this.inner.prepare());
  }

  override async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    const reading = { stream: await this.repeat(() => this.inner.get(name, range)), stop: new AbortController() };
    return pulled(this.resumed(name, reading, range), () => {
      reading.stop.abort();
      reading.stream.destroy();
    });
  }

  override stat(name: string): Promise<StoredObject | null> {
    return this.repeat(() => this.inner.stat(name));
  }

  override remove(name: string): Promise<void> {
    return this.repeat(() => this.inner.remove(name));
  }

  override discard(owner: string, name: string): Promise<void> {
    return this.repeat(() => this.inner.discard(owner, name));
  }

  private repeat<T>(work: () => Promise<T>): Promise<T> {
    return repeated(work, this.calls);
  }

  private async *resumed(
    name: string,
    reading: { stream: Readable; stop: AbortController },
    { start, end }: { start: number; end?: number } = { start: 0 },
  ): AsyncGenerator<Buffer> {
    let waits = new Waits(this.policy, reading.stop.signal);
    for (;;) {
      try {
        for await (const chunk of reading.stream as AsyncIterable<Buffer>) {
          start += chunk.length;
          waits = new Waits(this.policy, reading.stop.signal);
          yield chunk;
        }
        if (end === undefined || start > end) return;
      } catch (error) {
        await waits.after(error);
      }
      const last = Math.min(end ?? Infinity, (await this.size(name)) - 1);
      if (start > last) return;
      const rest = { start, end: (end = last) };
      reading.stream = await repeated(() => this.inner.get(name, rest), this.policy, reading.stop.signal);
      if (reading.stop.signal.aborted) reading.stream.destroy();
    }
  }

  private async size(name: string): Promise<number> {
    const found = await this.stat(name);
    if (found !== null) return found.size;
    throw new AppError('ARCHIVE_MISSING', `${this.locate(name)} vanished while it was read.`);
  }
}

/** Does the work, and again after each failure that may pass, until the budget is spent. @throws the last failure */
export async function repeated<T>(
  work: () => Promise<T>,
  policy: RetryPolicy = POLICY,
  signal?: AbortSignal,
): Promise<T> {
  const waits = new Waits(policy, signal);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await waits.after(error);
    }
  }
}

/** The waits between attempts at one thing. */
class Waits {
  private waited = 0;
  private attempts = 0;

  constructor(
    private readonly policy: RetryPolicy,
    private readonly signal?: AbortSignal,
  ) {}

  /** Waits until the next attempt. @throws the error itself if it does not pass, or lasts for too long */
  async after(error: unknown): Promise<void> {
    const { budget, first, longest } = this.policy;
    if (!(error instanceof AppError) || error.code !== 'STORAGE_UNAVAILABLE' || this.waited >= budget) throw error;
    const most = Math.min(longest, first * 2 ** this.attempts, budget - this.waited);
    const wait = most * (1 - Math.random() / 2);
    this.attempts += 1;
    // Counted whole, so that chance does not decide how often is tried.
    this.waited += most;
    await sleep(wait, undefined, this.signal && { signal: this.signal });
  }
}

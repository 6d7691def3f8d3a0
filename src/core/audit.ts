import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../log.js';
import type { Models } from '../models/index.js';

/** How long a record may hold up what it is about, in milliseconds. */
const WAIT_MS = 2_000;
/** How many records that could not be written are kept for later. */
const MAX_MISSED = 1_000;

interface Event {
  at: Date;
  actor: string;
  action: string;
  subject: string | null;
  details: Record<string, unknown>;
}

/** Writes down who did what. Every change of a record and every download goes through here. */
export class Audit {
  private missed: Event[] = [];
  private writing: Promise<void> = Promise.resolve();

  constructor(
    private readonly models: Models,
    private readonly now: () => Date,
    private readonly log: Log,
  ) {}

  /**
   * Never fails, and never holds up for long, what it records: a full disk under the control database must not keep anyone
   * from signing in or from a good archive. What cannot be written goes to the log at once, and into the trail later.
   * @param action noun and verb, such as `backup.delete`; @param details never secrets
   */
  async record(
    actor: string,
    action: string,
    subject: string | number | null,
    details: Record<string, unknown> = {},
  ): Promise<void> {
    const event = { at: this.now(), actor, action, subject: subject === null ? null : String(subject), details };
    const gaveUp = new AbortController();
    const late = sleep(WAIT_MS, undefined, { signal: gaveUp.signal }).catch(() => undefined);
    await Promise.race([this.write(event), late]);
    gaveUp.abort();
  }

  /** How many events still wait for being written. */
  get unwritten(): number {
    return this.missed.length;
  }

  /** Writes what could not be written before. Never fails. */
  makeUp(): Promise<void> {
    return this.inOrder(async () => {
      if (this.missed.length === 0) return;
      const events = this.missed;
      await this.models.AuditEvent.bulkCreate(events);
      this.missed = this.missed.filter((event) => !events.includes(event));
      this.log.warn({ events: events.length }, 'audit events that could not be written before are written now');
    }).catch(() => undefined);
  }

  private async write(event: Event): Promise<void> {
    try {
      await this.inOrder(() => this.models.AuditEvent.create({ ...event }));
      await this.makeUp();
    } catch (error) {
      this.log.error({ err: error, event }, 'an audit event could not be written; it is kept for later');
      this.missed = [...this.missed, event].slice(-MAX_MISSED);
    }
  }

  private inOrder(work: () => Promise<unknown>): Promise<void> {
    const write = this.writing.then(work).then(() => undefined);
    this.writing = write.catch(() => undefined);
    return write;
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import { UniqueConstraintError } from 'sequelize';
import type { Log } from '../log.js';
import { FIRST_LINK, type LinkedEvent, linkOf } from '../models/audit-chain.js';
import type { Models } from '../models/index.js';
import { trailHead } from './audit-trail.js';

/** The action of a recovery kit that was made. Its details say for which keys and destinations, and the SHA-256 of its list. */
export const KIT_MADE = 'recovery-kit.make';

/** How long a record may hold up what it is about, in milliseconds. */
const WAIT_MS = 2_000;
/** How many records that could not be written are kept for later. */
const MAX_MISSED = 1_000;

/** How often an event is linked anew because another process was faster. */
const MAX_TRIES = 100;

/**
 * Writes down who did what. Every change of a record and every download goes through here. Each event carries the hash of
 * the one before, so that a change of what was written shows: see `verifyTrail`.
 */
export class Audit {
  private missed: LinkedEvent[] = [];
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
    // As it will be read again: without what JSON leaves out.
    const kept = JSON.parse(JSON.stringify(details)) as Record<string, unknown>;
    const event = { at: this.now(), actor, action, subject: subject === null ? null : String(subject), details: kept };
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
      for (const event of events) {
        await this.append(event);
        this.missed = this.missed.filter((one) => one !== event);
      }
      this.log.warn({ events: events.length }, 'audit events that could not be written before are written now');
    }).catch(() => undefined);
  }

  private async write(event: LinkedEvent): Promise<void> {
    try {
      await this.inOrder(() => this.append(event));
      await this.makeUp();
    } catch (error) {
      this.log.error({ err: error, event }, 'an audit event could not be written; it is kept for later');
      this.missed = [...this.missed, event].slice(-MAX_MISSED);
    }
  }

  /** Two processes that link to the same event exclude each other by a unique index: one of them has to look again. */
  private async append(event: LinkedEvent): Promise<void> {
    for (let tries = 1; ; tries++) {
      const previous = (await trailHead(this.models))?.sha256 ?? FIRST_LINK;
      try {
        await this.models.AuditEvent.create({ ...event, previousHash: previous, hash: linkOf(previous, event) });
        return;
      } catch (error) {
        if (!(error instanceof UniqueConstraintError) || tries >= MAX_TRIES) throw error;
      }
    }
  }

  private inOrder(work: () => Promise<unknown>): Promise<void> {
    const write = this.writing.then(work).then(() => undefined);
    this.writing = write.catch(() => undefined);
    return write;
  }
}

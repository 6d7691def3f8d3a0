import { Op } from 'sequelize';
import { FIRST_LINK, linkOf } from '../models/audit-chain.js';
import { type Models, readPlain } from '../models/index.js';

/** The newest event of the trail that some record knew. */
export interface TrailHead {
  /** Id of the event. */
  event: number;
  /** Its link, hex: see `linkOf`. */
  sha256: string;
}

/** An event as it is exported. */
export interface TrailEvent {
  id: number;
  at: Date;
  actor: string;
  action: string;
  subject: string | null;
  details: Record<string, unknown>;
  previousHash: string | null;
  hash: string | null;
}

/** Where the trail is not what was written. */
export interface TrailBreak {
  event: number;
  message: string;
}

/** What a look through the whole trail came to. */
export interface TrailState {
  events: number;
  head: TrailHead | null;
  /** The first of a kind only: what follows a break is not told apart from it. */
  breaks: TrailBreak[];
}

const COLUMNS = ['id', 'at', 'actor', 'action', 'subject', 'details', 'previousHash', 'hash'] as const;
const AT_ONCE = 1_000;

/** All events, oldest first. */
export async function* trailEvents({ AuditEvent }: Models): AsyncGenerator<TrailEvent> {
  for (let after = -1; ;) {
    const rows = await readPlain(AuditEvent, COLUMNS, {
      where: { id: { [Op.gt]: after } },
      order: [['id', 'ASC']],
      limit: AT_ONCE,
    });
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.id;
  }
}

/** Follows the chain from the first event to the last. What was cut off at its end only a head from elsewhere can show. */
export async function verifyTrail(models: Models, signal: AbortSignal): Promise<TrailState> {
  const breaks: TrailBreak[] = [];
  let events = 0;
  let head: TrailHead | null = null;
  for await (const { previousHash, hash, ...event } of trailEvents(models)) {
    signal.throwIfAborted();
    events += 1;
    if (previousHash === null || hash === null) {
      breaks.push({ event: event.id, message: `Event ${event.id} was written past the trail: it has no link.` });
      continue;
    }
    if (previousHash !== (head?.sha256 ?? FIRST_LINK)) {
      const before = head === null ? 'the first one is' : `what followed event ${head.event} is`;
      breaks.push({
        event: event.id,
        message: `Before event ${event.id} something was removed or put in: ${before} another.`,
      });
    }
    if (linkOf(previousHash, event) !== hash) {
      breaks.push({ event: event.id, message: `Event ${event.id} was changed after it was written.` });
    }
    head = { event: event.id, sha256: hash };
  }
  return { events, head, breaks };
}

/** The newest link; null before the first event. */
export async function trailHead({ AuditEvent }: Models): Promise<TrailHead | null> {
  const [row] = await readPlain(AuditEvent, ['id', 'hash'], {
    where: { hash: { [Op.ne]: null } },
    order: [['id', 'DESC']],
    limit: 1,
  });
  return row === undefined ? null : { event: row.id, sha256: row.hash ?? '' };
}

/** Compares what an archive knew of the trail with the trail. @param what names the archive @returns null if it agrees */
export async function compareHead(
  models: Models,
  { event, sha256 }: TrailHead,
  what: string,
): Promise<TrailBreak | null> {
  const [row] = await readPlain(models.AuditEvent, ['hash'], { where: { id: event } });
  if (row === undefined) return { event, message: `Event ${event}, which ${what} knew, is gone.` };
  if (row.hash === sha256) return null;
  return { event, message: `Event ${event} is another than the one that ${what} knew: the trail was written anew.` };
}

import { createHash } from 'node:crypto';

/** What stands before the first event. */
export const FIRST_LINK = '0'.repeat(64);

/** What of an audit event its link covers. */
export interface LinkedEvent {
  at: Date;
  actor: string;
  action: string;
  subject: string | null;
  details: Record<string, unknown>;
}

/**
 * The link of an event in the chain of all: SHA-256, in hex, over the link before, a line feed, and the event as JSON of
 * `[at, actor, action, subject, details]` without spaces, the time as ISO 8601 with milliseconds in UTC, the members of
 * objects sorted by name. Whoever changes, removes or inserts an event has to compute every link after it anew.
 */
export function linkOf(previous: string, { at, actor, action, subject, details }: LinkedEvent): string {
  const text = JSON.stringify(sorted([at.toISOString(), actor, action, subject, details]));
  return createHash('sha256').update(`${previous}\n${text}`).digest('hex');
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(members.map(([name, member]) => [name, sorted(member)]));
}

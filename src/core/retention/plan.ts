import { isRegular, type BackupStatus, type BackupType } from '../../models/index.js';
import { createHash } from 'node:crypto';
import { assertPolicy, durationOf, type RetentionPolicy } from './policy.js';
import { momentOf, wallAt } from '../schedules/zones.js';

/*
 * Which backups of one config in one storage a policy keeps, and why. Pure: no clock, no database.
 *
 * Limits say what may go: backups older than `retentionDays`, those beyond the newest `maxFiles`, and those that do not
 * fit into `maxTotalSize`, counted from the newest on. Keep-rules protect: what one of them keeps stays whatever the limits
 * say. So a backup is deleted only if it is beyond a limit and no keep-rule keeps it. A policy of keep-rules alone deletes
 * what none of them keeps.
 *
 * Only eligible backups (COMPLETED, verified, with enough copies, not empty, regular, not pinned) take part in counts, sizes and periods.
 * Beside the rules stand, and use up no place in them:
 * - the newest verified backup, pinned ones, ones of the future and ones without a readable date: kept
 * - unverified and empty ones, and those with too few copies: kept while nothing newer is verified, then subject to the limits, never to a keep-rule
 * - all of them while one is suspicious and not acknowledged: kept, see `suspended`
 * - those that a kept one builds on, whatever else is said of them: kept, see `keepNeeded`
 * - incremental ones of which there is a full one: see `equalsIn`
 * - UPLOADED ones: a user put them there, so no policy deletes them
 * - SAFETY ones: unpinned after `safetyRetentionDays`, deleted by the next plan, never by a count
 */

/** A backup as far as retention goes. */
export interface RetentionBackup {
  id: string;
  createdAt: Date;
  status: BackupStatus;
  backupType: BackupType;
  pinned: boolean;
  /** Who pinned it: a person's pin never ends by itself. */
  pinnedBy?: string | null;
  verifiedAt: Date | null;
  /** Bytes. */
  fileSize: number | null;
  /** False if it has fewer copies than it needs to count. */
  copied?: boolean;
  /** True if it has anomalies that no one has acknowledged. */
  suspicious?: boolean;
}

export type RetentionCode =
  | 'PINNED'
  | 'NEWEST_VERIFIED'
  | 'FUTURE_DATE'
  | 'UNREADABLE_DATE'
  | 'NEWER_THAN_VERIFIED'
  | 'TOO_FEW_COPIES'
  | 'NEEDED'
  | 'ANOMALY'
  | 'CONSOLIDATE'
  | 'CONSOLIDATE_NO_KEY'
  | 'UPLOADED'
  | 'SAFETY_RECENT'
  | 'SAFETY_UNPIN'
  | 'WITHIN_LIMITS'
  | KeepCode
  | 'SAFETY_EXPIRED'
  | 'CONSOLIDATED'
  | 'NOT_KEPT'
  | 'TOO_OLD'
  | 'TOO_MANY'
  | 'TOO_LARGE';

type KeepCode =
  'KEEP_LAST' | 'KEEP_WITHIN' | 'KEEP_HOURLY' | 'KEEP_DAILY' | 'KEEP_WEEKLY' | 'KEEP_MONTHLY' | 'KEEP_YEARLY';

/** Why a backup is kept or deleted: a code for programs, a sentence for people. */
export interface RetentionReason {
  code: RetentionCode;
  text: string;
}

/** What becomes of one backup. */
export interface RetentionDecision {
  id: string;
  keep: boolean;
  /** True if its pin has done its time, that of a safety backup or one that a full backup has taken over: the next plan may delete it. */
  unpin: boolean;
  /** Never empty. */
  reasons: RetentionReason[];
}

export interface RetentionInput {
  /** Of one config and one storage, in any order. Only those with an archive (COMPLETED) get a decision. */
  backups: RetentionBackup[];
  policy: RetentionPolicy;
  timezone: string;
  now: Date;
}

const DAY = 86_400_000;
const HOUR = 3_600_000;

/**
 * Decides on each backup. The result depends on the backups' content alone, not on their order.
 * @returns decisions newest first
 * @throws AppError as `assertPolicy`
 */
export function planRetention(input: RetentionInput): RetentionDecision[] {
  assertPolicy(input.policy);
  const now = input.now.getTime();
  const stored = input.backups.filter((backup) => backup.status === 'COMPLETED').sort(newestFirst);
  const kept = suspended(stored);
  if (kept !== null) return kept;
  const past = stored.filter((backup) => backup.createdAt.getTime() <= now);
  const verified = past.filter((backup) => isVerified(backup) && backup.copied !== false);
  const regular = verified.filter(({ backupType }) => isRegular(backupType));
  const eligible = regular.filter((backup) => !backup.pinned);
  const newest = { verified: verified[0], regular: regular[0] };
  const ruled = keptByRule(eligible, input, regular[0]);
  const limits = new Limits(input, eligible);
  return stored.map((backup) => {
    const reasons = aside(backup, input, newest) ?? ruled.get(backup.id) ?? limits.reasons(backup);
    const keep = !reasons.some(({ code }) => DELETING.has(code));
    return { id: backup.id, keep, unpin: reasons[0]?.code === 'SAFETY_UNPIN', reasons };
  });
}

/**
 * Keeps everything as it is while a backup is suspicious: if the data was lost, the older backups are all that is left of it,
 * and the newer ones are no reason to delete them.
 * @returns null if none is suspicious
 */
export function suspended(
  backups: readonly Pick<RetentionBackup, 'id' | 'createdAt' | 'suspicious'>[],
): RetentionDecision[] | null {
  const newest = backups
    .filter(({ suspicious }) => suspicious)
    .reduce<(typeof backups)[number] | null>(
      (best, one) => (best !== null && newestFirst(best, one) < 0 ? best : one),
      null,
    );
  if (newest === null) return null;
  const text = `Nothing is deleted: ${newest.id} is suspicious, and no one has acknowledged it.`;
  return backups.map(({ id }) => ({ id, keep: true, unpin: false, reasons: [because('ANOMALY', text)] }));
}

/**
 * Keeps what a kept backup builds on.
 * @param parents for each incremental backup the one that it builds on, by their ids
 * @returns the decisions in their order
 */
export function keepNeeded<Decision extends Pick<RetentionDecision, 'id' | 'keep' | 'unpin' | 'reasons'>>(
  decisions: Decision[],
  parents: ReadonlyMap<string, string>,
): Decision[] {
  const neededBy = new Map<string, string>();
  for (const { id, keep } of decisions) {
    if (!keep) continue;
    for (let parent = parents.get(id); parent !== undefined && !neededBy.has(parent); parent = parents.get(parent)) {
      neededBy.set(parent, id);
    }
  }
  return decisions.map((decision) => {
    const child = neededBy.get(decision.id);
    if (child === undefined || decision.keep) return decision;
    return { ...decision, keep: true, reasons: [because('NEEDED', `The kept backup ${child} builds on it.`)] };
  });
}

const isVerified = ({ verifiedAt, fileSize }: RetentionBackup) => verifiedAt !== null && (fileSize ?? 0) > 0;

/** A fingerprint of what the decisions would change: the same for the same deletions, whatever else there is. */
export function planHash(decisions: (RetentionDecision & { consolidate?: boolean })[]): string {
  const changes = decisions.flatMap(({ id, keep, unpin, consolidate = false }) => [
    ...(keep ? (unpin ? [`unpin ${id}`] : []) : [`delete ${id}`]),
    ...(consolidate ? [`consolidate ${id}`] : []),
  ]);
  return createHash('sha256').update(changes.sort().join('\n')).digest('hex');
}

const DELETING = new Set<RetentionCode>(['SAFETY_EXPIRED', 'NOT_KEPT', 'TOO_OLD', 'TOO_MANY', 'TOO_LARGE']);

type Dated = Pick<RetentionBackup, 'id' | 'createdAt'>;

function newestFirst(one: Dated, other: Dated): number {
  const [first, second] = [one.createdAt.getTime(), other.createdAt.getTime()];
  if (Number.isNaN(first) !== Number.isNaN(second)) return Number.isNaN(first) ? -1 : 1;
  return second - first || (one.id < other.id ? 1 : -1);
}

const because = (code: RetentionCode, text: string): RetentionReason => ({ code, text });

/** The reasons of a backup that stands beside the rules; null if the rules decide. */
function aside(
  backup: RetentionBackup,
  { policy, timezone, now }: RetentionInput,
  newest: { verified: RetentionBackup | undefined; regular: RetentionBackup | undefined },
): RetentionReason[] | null {
  const { backupType, createdAt, id, pinned } = backup;
  if (Number.isNaN(createdAt.getTime())) return [because('UNREADABLE_DATE', 'Its date cannot be read.')];
  if (createdAt > now) return [because('FUTURE_DATE', 'Its date lies in the future: a clock was wrong.')];
  const isSafety = backupType === 'SAFETY';
  const days = policy.safetyRetentionDays ?? null;
  const expired = isSafety && days !== null && createdAt.getTime() < daysBefore(timezone, now, days);
  if (pinned && expired && (backup.pinnedBy ?? null) === null) {
    return [because('SAFETY_UNPIN', `It is a safety backup, unpinned after ${days} days.`)];
  }
  const reasons: RetentionReason[] = [];
  if (pinned) reasons.push(because('PINNED', 'It is pinned.'));
  if (id === newest.verified?.id || id === newest.regular?.id)
    reasons.push(because('NEWEST_VERIFIED', 'It is the newest verified backup.'));
  if (backupType === 'UPLOADED') reasons.push(because('UPLOADED', 'It was uploaded: no policy deletes it.'));
  if (isSafety && !expired) reasons.push(because('SAFETY_RECENT', 'It is a safety backup that may still be needed.'));
  if (reasons.length > 0) return reasons;
  const newestGood = isSafety ? newest.verified : newest.regular;
  if (newestGood === undefined || newestFirst(backup, newestGood) < 0) {
    return isVerified(backup) && backup.copied === false
      ? [because('TOO_FEW_COPIES', 'It has fewer copies than it needs, but no backup with enough is newer.')]
      : [because('NEWER_THAN_VERIFIED', 'It is not verified, but no verified backup is newer.')];
  }
  return isSafety ? [because('SAFETY_EXPIRED', `It is a safety backup older than ${days} days.`)] : null;
}

/** The reasons of all eligible backups that a keep-rule keeps. Of each period the newest backup counts. */
function keptByRule(
  eligible: RetentionBackup[],
  { policy, timezone }: RetentionInput,
  newest: RetentionBackup | undefined,
): Map<string, RetentionReason[]> {
  const kept = new Map<string, RetentionReason[]>();
  const keep = ({ id }: RetentionBackup, code: KeepCode, text: string) =>
    kept.set(id, [...(kept.get(id) ?? []), because(code, text)]);
  const { keepLast, keepWithin } = policy;
  for (const backup of eligible.slice(0, keepLast ?? 0))
    keep(backup, 'KEEP_LAST', `It is one of the last ${keepLast}.`);
  if (newest !== undefined && (keepWithin ?? null) !== null) {
    const from = before(timezone, newest.createdAt.getTime(), durationOf(keepWithin ?? ''));
    for (const backup of eligible.filter(({ createdAt }) => createdAt.getTime() >= from)) {
      keep(backup, 'KEEP_WITHIN', `It was made within ${keepWithin} before the newest backup.`);
    }
  }
  for (const { code, count, word, periodOf } of periods(policy, timezone)) {
    const seen = new Set<string | number>();
    for (const backup of eligible) {
      if (seen.size === count) break;
      const period = periodOf(backup.createdAt.getTime());
      if (seen.has(period)) continue;
      seen.add(period);
      keep(backup, code, `It is the newest of its ${word}; the last ${count} with a backup are kept.`);
    }
  }
  return kept;
}

interface Period {
  code: KeepCode;
  /** How many periods with a backup are kept. */
  count: number;
  word: string;
  periodOf(at: number): string | number;
}

/** The rules by hour, day, ISO week, month and year, on the clock of the zone. */
function periods(policy: RetentionPolicy, timezone: string): Period[] {
  const walls = new Map<number, number>();
  const wall = (at: number) => {
    const known = walls.get(at) ?? wallAt(timezone, at);
    walls.set(at, known);
    return known;
  };
  const day = (at: number) => Math.floor(wall(at) / DAY);
  const iso = (at: number, length: number) => new Date(wall(at)).toISOString().slice(0, length);
  const all: Period[] = [
    // An hour that the clock shows twice is two hours.
    {
      code: 'KEEP_HOURLY',
      count: policy.keepHourly ?? 0,
      word: 'hour',
      periodOf: (at) => `${iso(at, 13)} ${wall(at) - at}`,
    },
    { code: 'KEEP_DAILY', count: policy.keepDaily ?? 0, word: 'day', periodOf: day },
    // 1970 began on a Thursday: three days on, whole weeks from Monday to Sunday.
    {
      code: 'KEEP_WEEKLY',
      count: policy.keepWeekly ?? 0,
      word: 'week',
      periodOf: (at) => Math.floor((day(at) + 3) / 7),
    },
    { code: 'KEEP_MONTHLY', count: policy.keepMonthly ?? 0, word: 'month', periodOf: (at) => iso(at, 7) },
    { code: 'KEEP_YEARLY', count: policy.keepYearly ?? 0, word: 'year', periodOf: (at) => iso(at, 4) },
  ];
  return all.filter(({ count }) => count > 0);
}

/** What may go: worked out once for all backups. */
class Limits {
  private readonly policy: RetentionPolicy;
  private readonly oldest: number;
  /** For each position among the eligible backups: how many bytes the newer ones have together. */
  private readonly bytes: number[] = [0];

  constructor(
    { policy, timezone, now }: RetentionInput,
    private readonly eligible: RetentionBackup[],
  ) {
    this.policy = policy;
    this.oldest =
      (policy.retentionDays ?? null) === null ? -Infinity : daysBefore(timezone, now, policy.retentionDays ?? 0);
    for (const { fileSize } of eligible) this.bytes.push((this.bytes.at(-1) ?? 0) + (fileSize ?? 0));
  }

  /** Why the limits keep the backup or let it go. */
  reasons(backup: RetentionBackup): RetentionReason[] {
    const { retentionDays, maxFiles, maxTotalSize } = this.policy;
    if ([retentionDays, maxFiles, maxTotalSize].every((limit) => (limit ?? null) === null)) {
      return [because('NOT_KEPT', 'No rule keeps it.')];
    }
    const reasons: RetentionReason[] = [];
    const newer = this.newerThan(backup);
    const isEligible = this.eligible[newer]?.id === backup.id;
    if (backup.createdAt.getTime() < this.oldest) {
      reasons.push(because('TOO_OLD', `It is older than ${retentionDays} days.`));
    }
    if (newer >= (maxFiles ?? Infinity)) {
      reasons.push(because('TOO_MANY', `There are ${maxFiles} newer verified backups.`));
    }
    // One that is not eligible takes no room of those that are: it goes once they alone fill it.
    if ((this.bytes[isEligible ? newer + 1 : newer] ?? 0) > (maxTotalSize ?? Infinity)) {
      reasons.push(because('TOO_LARGE', `The backups up to this one have more than ${maxTotalSize} bytes.`));
    }
    return reasons.length > 0 ? reasons : [because('WITHIN_LIMITS', 'It is within the limits.')];
  }

  /** How many eligible backups are newer: its own position, if it is one. By bisection. */
  private newerThan(backup: RetentionBackup): number {
    let [low, high] = [0, this.eligible.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.eligible[middle];
      if (other !== undefined && other.id !== backup.id && newestFirst(other, backup) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const daysBefore = (timezone: string, now: Date, days: number) => before(timezone, now.getTime(), [0, 0, 0, days, 0]);

/** The moment a duration earlier, on the clock of the zone: a month before the 31st is the last day of the month before. */
function before(
  timezone: string,
  at: number,
  [years = 0, months = 0, weeks = 0, days = 0, hours = 0]: number[],
): number {
  const wall = new Date(wallAt(timezone, at));
  const day = wall.getUTCDate();
  wall.setUTCDate(1);
  wall.setUTCMonth(wall.getUTCMonth() - months - 12 * years);
  const lastDay = new Date(Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth() + 1, 0)).getUTCDate();
  wall.setUTCDate(Math.min(day, lastDay));
  wall.setUTCDate(wall.getUTCDate() - 7 * weeks - days);
  const from = wall.getTime();
  return (Number.isNaN(from) ? -Infinity : momentOf(timezone, from)) - hours * HOUR;
}

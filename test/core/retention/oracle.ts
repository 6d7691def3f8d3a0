import type { RetentionInput } from '../../../src/core/retention/plan.js';

/*
 * What a policy deletes, worked out a second time from its definition alone: by comparing each backup with every other,
 * with the calendar that Intl shows. Slow and without any of the code under test.
 */

type Backup = RetentionInput['backups'][number];

interface Calendar {
  hour: string;
  day: string;
  week: string;
  month: string;
  year: string;
}

const formats = new Map<string, Intl.DateTimeFormat>();

export function calendar(at: Date, timezone: string): Calendar {
  const format =
    formats.get(timezone) ??
    new Intl.DateTimeFormat('en-CA', {
      timeZone: timezone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      timeZoneName: 'shortOffset',
    });
  formats.set(timezone, format);
  const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
  const day = `${parts.year}-${parts.month}-${parts.day}`;
  return {
    hour: `${day} ${parts.hour} ${parts.timeZoneName}`,
    day,
    week: isoWeek(Number(parts.year), Number(parts.month), Number(parts.day)),
    month: day.slice(0, 7),
    year: String(parts.year),
  };
}

/** By the definition of ISO 8601: week 1 is the one with the year's first Thursday. */
export function isoWeek(year: number, month: number, day: number): string {
  const date = new Date(Date.UTC(year, month - 1, day));
  const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * 86_400_000);
  const first = Date.UTC(thursday.getUTCFullYear(), 0, 1);
  return `${thursday.getUTCFullYear()}-W${Math.floor((thursday.getTime() - first) / 86_400_000 / 7) + 1}`;
}

const given = <Value>(value: Value | null | undefined): value is Value => value !== null && value !== undefined;

/** True if `one` was made before `other`. */
const isBefore = (one: Backup, other: Backup) =>
  one.createdAt.getTime() === other.createdAt.getTime() ? one.id < other.id : one.createdAt < other.createdAt;

const UNITS = { y: 'year', m: 'month', w: 'week', d: 'day', h: 'hour' } as const;

/** Ids that may be deleted. */
export function deletedByDefinition({ backups, policy, timezone, now }: RetentionInput): string[] {
  const there = backups.filter(({ status }) => status === 'COMPLETED');
  const past = there.filter(({ createdAt }) => createdAt <= now);
  const good = past.filter(({ verifiedAt, fileSize }) => verifiedAt !== null && fileSize !== null && fileSize > 0);
  const regular = good.filter(({ backupType }) => ['MANUAL', 'AUTO'].includes(backupType));
  const counted = regular.filter(({ pinned }) => !pinned);
  const isNewestOf = (backup: Backup, all: Backup[]) =>
    all.includes(backup) && all.every((other) => other === backup || isBefore(other, backup));
  const dates = new Map(backups.map((backup) => [backup, calendar(backup.createdAt, timezone)]));
  const periodOf = (backup: Backup, unit: keyof Calendar) => dates.get(backup)?.[unit] ?? '';

  const keptByPeriod = (backup: Backup, unit: keyof Calendar, count: number | null | undefined) => {
    if (!count || !counted.includes(backup)) return false;
    const own = counted.filter((other) => periodOf(other, unit) === periodOf(backup, unit));
    if (!isNewestOf(backup, own)) return false;
    const later = counted.filter((other) => isBefore(backup, other)).map((other) => periodOf(other, unit));
    return new Set(later).size < count;
  };
  const newerThan = (backup: Backup) => counted.filter((other) => isBefore(backup, other));
  const latest = regular.find((backup) => isNewestOf(backup, regular));

  const keptByRule = (backup: Backup) =>
    (counted.includes(backup) && newerThan(backup).length < (policy.keepLast ?? 0)) ||
    keptByPeriod(backup, 'hour', policy.keepHourly) ||
    keptByPeriod(backup, 'day', policy.keepDaily) ||
    keptByPeriod(backup, 'week', policy.keepWeekly) ||
    keptByPeriod(backup, 'month', policy.keepMonthly) ||
    keptByPeriod(backup, 'year', policy.keepYearly) ||
    (given(policy.keepWithin) &&
      latest !== undefined &&
      counted.includes(backup) &&
      !olderThan(backup.createdAt, latest.createdAt, policy.keepWithin, timezone));

  const beyondLimits = (backup: Backup) => {
    const { retentionDays, maxFiles, maxTotalSize } = policy;
    if (![retentionDays, maxFiles, maxTotalSize].some(given)) return true;
    if (given(retentionDays) && olderThan(backup.createdAt, now, `${retentionDays}d`, timezone)) return true;
    if (given(maxFiles) && newerThan(backup).length >= maxFiles) return true;
    const own = counted.includes(backup) ? [backup] : [];
    const bytes = [...newerThan(backup), ...own].reduce((sum, { fileSize }) => sum + (fileSize ?? 0), 0);
    return given(maxTotalSize) && bytes > maxTotalSize;
  };

  const deletable = (backup: Backup) => {
    if (backup.pinned || backup.createdAt > now) return false;
    if (isNewestOf(backup, good) || isNewestOf(backup, regular)) return false;
    if (backup.backupType === 'UPLOADED') return false;
    if (backup.backupType === 'SAFETY') {
      const days = policy.safetyRetentionDays;
      if (!good.some((other) => isBefore(backup, other))) return false;
      return given(days) && olderThan(backup.createdAt, now, `${days}d`, timezone);
    }
    if (latest === undefined || (!good.includes(backup) && isBefore(latest, backup))) return false;
    return !keptByRule(backup) && beyondLimits(backup);
  };

  return there
    .filter(deletable)
    .map(({ id }) => id)
    .sort();
}

/** True if `at` is earlier than a duration before `than`, both read on the clock of the zone. */
export function olderThan(at: Date, than: Date, duration: string, timezone: string): boolean {
  let limit = wall(than, timezone);
  let hours = 0;
  for (const [, number, letter] of duration.matchAll(/(\d+)([ymwdh])/g)) {
    const amount = Number(number);
    const unit = UNITS[letter as keyof typeof UNITS];
    if (unit === 'hour') hours = amount;
    else if (unit === 'day' || unit === 'week')
      limit = new Date(limit.getTime() - amount * (unit === 'day' ? 1 : 7) * 864e5);
    else limit = monthsBefore(limit, amount * (unit === 'year' ? 12 : 1));
  }
  return wall(new Date(at.getTime() + hours * 36e5), timezone) < limit;
}

function monthsBefore(date: Date, months: number): Date {
  const result = new Date(date);
  const day = date.getUTCDate();
  result.setUTCMonth(date.getUTCMonth() - months, 1);
  for (let wanted = day; ; wanted--) {
    const tried = new Date(result);
    tried.setUTCDate(wanted);
    if (tried.getUTCMonth() === result.getUTCMonth()) return tried;
  }
}

/** What the clock on the wall shows, as if it were UTC. */
function wall(at: Date, timezone: string): Date {
  const shown = at.toLocaleString('sv-SE', { timeZone: timezone }).replace(' ', 'T');
  return new Date(Date.parse(`${shown}Z`) + at.getUTCMilliseconds());
}

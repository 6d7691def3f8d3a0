import { describe, expect, it } from '@jest/globals';
import { planRetention, type RetentionBackup } from '../../../src/core/retention/plan.js';
import { type RetentionPolicy } from '../../../src/core/retention/policy.js';
import { nextRuns } from '../../../src/core/schedules/cron.js';
import { calendar, deletedByDefinition, olderThan } from './oracle.js';

const START = new Date('2024-06-30T00:00:00Z');
const DAYS = 400;

/** The same "random" numbers on every run. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * sides);
  };
}

/** What the day's run came to: a third of the days something is wrong. */
function runOf(at: Date, roll: number): RetentionBackup {
  const good: RetentionBackup = {
    id: `b${at.toISOString()}`,
    createdAt: at,
    status: 'COMPLETED',
    backupType: 'AUTO',
    pinned: false,
    verifiedAt: at,
    fileSize: 1_000 + (at.getTime() % 977),
  };
  if (roll < 20) return good;
  if (roll < 25) return { ...good, status: 'FAILED', verifiedAt: null, fileSize: null };
  if (roll < 27) return { ...good, verifiedAt: null };
  if (roll < 28) return { ...good, fileSize: 0 };
  if (roll < 29) return { ...good, pinned: true };
  return { ...good, backupType: 'SAFETY', pinned: true };
}

interface Day {
  now: Date;
  /** All runs there have ever been. */
  ever: RetentionBackup[];
  /** What is left after this day's clean-up. */
  left: RetentionBackup[];
}

/** Lives through the days: the backup at its time, the clean-up an hour later, exactly as planned. */
function* live(policy: RetentionPolicy, timezone: string, seed: number): Generator<Day> {
  const roll = dice(seed);
  const ever: RetentionBackup[] = [];
  let left: RetentionBackup[] = [];
  for (const at of nextRuns('30 12 * * *', timezone, START, DAYS)) {
    const outage = at > new Date('2024-11-10') && at < new Date('2024-12-20');
    const made = runOf(at, outage ? 22 : roll(30));
    ever.push(made);
    left.push(made);
    const now = new Date(at.getTime() + 3_600_000);
    const input = { backups: left, policy, timezone, now };
    const decisions = planRetention(input);
    const gone = decisions.filter(({ keep }) => !keep).map(({ id }) => id);
    expect(gone.sort()).toEqual(deletedByDefinition(input));
    const unpinned = new Set(decisions.filter(({ unpin }) => unpin).map(({ id }) => id));
    left = left
      .filter(({ id }) => !gone.includes(id))
      .map((backup) => (unpinned.has(backup.id) ? { ...backup, pinned: false } : backup));
    yield { now, ever, left };
  }
}

const calendars = new Map<string, ReturnType<typeof calendar>>();

function calendarOf({ createdAt }: RetentionBackup, timezone: string): ReturnType<typeof calendar> {
  const key = `${createdAt.getTime()} ${timezone}`;
  const known = calendars.get(key) ?? calendar(createdAt, timezone);
  calendars.set(key, known);
  return known;
}

const isGood = ({ status, verifiedAt, fileSize, backupType, pinned }: RetentionBackup) =>
  status === 'COMPLETED' && verifiedAt !== null && (fileSize ?? 0) > 0 && backupType === 'AUTO' && !pinned;

/** The last backup of each of the last `count` periods that have one, from the whole history that ever was. */
function lastOfPeriods(
  ever: RetentionBackup[],
  count: number,
  periodOf: (backup: RetentionBackup) => string,
): string[] {
  const last = new Map<string, string>();
  for (const backup of ever.filter(isGood)) last.set(periodOf(backup), backup.id);
  return [...last.values()].slice(-count);
}

describe('A year, day by day, with failures and an outage of forty days', () => {
  it.each(['America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe'])(
    'days, weeks and months in %s: what is left is what the whole history says',
    (timezone) => {
      const policy = {
        retentionDays: 1,
        keepDaily: 7,
        keepWeekly: 4,
        keepMonthly: 6,
        keepYearly: 2,
        safetyRetentionDays: 7,
      };
      for (const { now, ever, left } of live(policy, timezone, 42)) {
        const on = (unit: 'day' | 'week' | 'month' | 'year') => (backup: RetentionBackup) =>
          calendarOf(backup, timezone)[unit];
        const wanted = new Set([
          ...lastOfPeriods(ever, 7, on('day')),
          ...lastOfPeriods(ever, 4, on('week')),
          ...lastOfPeriods(ever, 6, on('month')),
          ...lastOfPeriods(ever, 2, on('year')),
          ...ever
            .slice(-3)
            .filter((backup) => isGood(backup) && !olderThan(backup.createdAt, now, '1d', timezone))
            .map(({ id }) => id),
        ]);
        expect(left.filter(isGood).map(({ id }) => id)).toEqual([...wanted].sort());
        const safeties = left.filter(({ backupType }) => backupType === 'SAFETY');
        for (const { createdAt } of safeties) expect(olderThan(createdAt, now, '50d', timezone)).toBe(false);
        expect(left.filter(({ pinned, backupType }) => pinned && backupType === 'AUTO')).toEqual(
          ever.filter(({ pinned, backupType }) => pinned && backupType === 'AUTO'),
        );
      }
    },
    60_000,
  );

  it('days and files as the first system had them: within both limits, one good one always left', () => {
    const policy = { retentionDays: 30, maxFiles: 10, safetyRetentionDays: 7 };
    for (const { now, ever, left } of live(policy, 'Europe/Berlin', 7)) {
      const good = ever.filter(isGood);
      const wanted = good.slice(-10).filter(({ createdAt }) => !olderThan(createdAt, now, '30d', 'Europe/Berlin'));
      const verified = ever.filter(({ verifiedAt, fileSize }) => verifiedAt !== null && (fileSize ?? 0) > 0);
      expect(left.filter(isGood)).toEqual(expect.arrayContaining(wanted));
      expect(left.filter(isGood).length).toBeLessThanOrEqual(Math.max(1, wanted.length));
      if (verified.length > 0) expect(left.map(({ id }) => id)).toContain(verified.at(-1)?.id);
    }
  }, 60_000);
});

import { describe, expect, it } from '@jest/globals';
import { assertPolicy, type RetentionPolicy } from '../../../src/core/retention/policy.js';
import {
  keepNeeded,
  planHash,
  planRetention,
  type RetentionBackup,
  type RetentionDecision,
} from '../../../src/core/retention/plan.js';

const DAY = 86_400_000;
const NOW = new Date('2025-07-24T12:00:00Z');

const deleted = (decisions: RetentionDecision[]) =>
  decisions
    .filter(({ keep }) => !keep)
    .map(({ id }) => id)
    .sort();
const codes = (decisions: RetentionDecision[], id: string) =>
  decisions.find((decision) => decision.id === id)?.reasons.map(({ code }) => code) ?? [];

/** A history in words: one backup for each date; further traits by the date's position. */
function history(dates: string[], traits: Record<number, Partial<RetentionBackup>> = {}): RetentionBackup[] {
  return dates.map((date, index) => ({
    id: `${index}`,
    createdAt: new Date(date),
    status: 'COMPLETED',
    backupType: 'AUTO',
    pinned: false,
    verifiedAt: new Date(date),
    fileSize: 100,
    ...traits[index],
  }));
}

const plan = (backups: RetentionBackup[], policy: RetentionPolicy, timezone = 'UTC', now = NOW) =>
  planRetention({ backups, policy, timezone, now });
const daysAgo = (...days: number[]) => days.map((day) => new Date(NOW.getTime() - day * DAY).toISOString());

describe('A policy that could hurt is refused, naming the field', () => {
  it.each([
    ['days 0', { retentionDays: 0 }, 'backupRetentionDays'],
    ['days negative', { retentionDays: -1 }, 'backupRetentionDays'],
    ['days not whole', { retentionDays: 1.5 }, 'backupRetentionDays'],
    ['days not a number', { retentionDays: Number.NaN }, 'backupRetentionDays'],
    ['files 0', { maxFiles: 0 }, 'maxBackupFiles'],
    ['files without end', { maxFiles: Infinity }, 'maxBackupFiles'],
    ['all tiers zero', { keepDaily: 0, keepWeekly: 0 }, 'keepDaily'],
    ['keepLast 0 beside a good rule', { retentionDays: 30, keepLast: 0 }, 'keepLast'],
    ['size 0', { maxTotalSize: 0 }, 'maxTotalSize'],
    ['size negative', { maxTotalSize: -5 }, 'maxTotalSize'],
    ['within nothing', { keepWithin: '' }, 'keepWithin'],
    ['within 0 days', { keepWithin: '0d' }, 'keepWithin'],
    ['within words', { keepWithin: 'two weeks' }, 'keepWithin'],
    ['within in the wrong order', { keepWithin: '3d1y' }, 'keepWithin'],
    ['safety 0', { retentionDays: 30, safetyRetentionDays: 0 }, 'safetyRetentionDays'],
    ['all absent', {}, 'backupRetentionDays'],
    ['all null', { retentionDays: null, maxFiles: null, safetyRetentionDays: 7 }, 'backupRetentionDays'],
  ])('%s', (_name, policy, field) => {
    expect(() => assertPolicy(policy)).toThrow(expect.objectContaining({ code: 'BAD_USER_INPUT', field }));
    expect(() => plan(history(daysAgo(1, 2)), policy)).toThrow(expect.objectContaining({ field }));
  });

  it('a good one passes', () => {
    assertPolicy({ retentionDays: 30, maxFiles: 30, safetyRetentionDays: 7 });
    assertPolicy({ keepWithin: '1y6m2w3d12h' });
    assertPolicy({ maxTotalSize: 2 ** 40, keepYearly: null });
  });
});

describe('The corners that deleted everything elsewhere', () => {
  it('keeps the newest verified one, and the unverified, if only unusable ones are newer', () => {
    const backups = history(daysAgo(40, 3, 2, 1), {
      1: { status: 'FAILED', verifiedAt: null, fileSize: null },
      2: { fileSize: 0 },
      3: { verifiedAt: null },
    });
    expect(deleted(plan(backups, { retentionDays: 1, maxFiles: 1 }))).toEqual([]);
  });

  it('nothing was ever verified: nothing is deleted', () => {
    const backups = history(daysAgo(400, 300, 200)).map((backup) => ({ ...backup, verifiedAt: null }));
    const decisions = plan(backups, { retentionDays: 1, maxFiles: 1 });
    expect(deleted(decisions)).toEqual([]);
    expect(codes(decisions, '0')).toEqual(['NEWER_THAN_VERIFIED']);
  });

  it('failed and unverified ones use up no place', () => {
    const backups = history(daysAgo(1, 2, 3, 4, 5), {
      0: { status: 'FAILED' },
      1: { verifiedAt: null },
      3: { fileSize: 0 },
    });
    expect(deleted(plan(backups, { maxFiles: 2 }))).toEqual([]);
  });

  it('a days policy while backups fail: the last good one stays however old it gets', () => {
    const backups = history(daysAgo(900, 901, 902));
    expect(deleted(plan(backups, { retentionDays: 30 }))).toEqual(['1', '2']);
    expect(codes(plan(backups, { retentionDays: 30 }), '0')).toEqual(['NEWEST_VERIFIED']);
  });

  it('manual against automatic: they are one history, and the newest of both decides', () => {
    const backups = history(daysAgo(1, 2, 3, 4), { 0: { backupType: 'MANUAL' }, 3: { backupType: 'MANUAL' } });
    expect(deleted(plan(backups, { maxFiles: 2 }))).toEqual(['2', '3']);
    expect(deleted(plan(backups, { maxFiles: 2, keepLast: 4 }))).toEqual([]);
  });

  it('pinned in the oldest slot: no other one goes in its place', () => {
    const backups = history(daysAgo(1, 2, 3, 400), { 3: { pinned: true } });
    expect(deleted(plan(backups, { maxFiles: 3, retentionDays: 30 }))).toEqual([]);
    expect(deleted(plan(backups, { maxFiles: 2, retentionDays: 30 }))).toEqual(['2']);
  });

  it('pinned between plan and delete: the hash of the plan differs', () => {
    const backups = history(daysAgo(1, 2, 3));
    const before = plan(backups, { maxFiles: 1 });
    const after = plan([...backups.slice(0, 2), { ...(backups[2] as RetentionBackup), pinned: true }], { maxFiles: 1 });
    expect(planHash(before)).toMatch(/^[0-9a-f]{64}$/);
    expect(planHash(after)).not.toBe(planHash(before));
    expect(planHash([...before].reverse())).toBe(planHash(before));
    const grown = plan(
      [...backups, ...history(daysAgo(0)).map((backup) => ({ ...backup, id: 'failed', status: 'FAILED' as const }))],
      { maxFiles: 1 },
    );
    expect(planHash(grown)).toBe(planHash(before));
  });

  it('a date that cannot be read is kept like a pinned one', () => {
    const decisions = plan(history(['2020-01-01', '2025-07-01', 'not a date']), { maxFiles: 1 });
    expect(deleted(decisions)).toEqual(['0']);
    expect(codes(decisions, '2')).toEqual(['UNREADABLE_DATE']);
  });

  it('the 31st minus one month is the last day of the month before', () => {
    const now = new Date('2025-03-31T12:00:00Z');
    const backups = history(['2025-03-31T12:00Z', '2025-02-28T12:00Z', '2025-02-28T11:59Z', '2025-02-27T12:00Z']);
    expect(deleted(plan(backups, { keepWithin: '1m' }, 'UTC', now))).toEqual(['2', '3']);
    const leap = history(['2024-02-29T12:00Z', '2023-02-28T12:00Z', '2023-02-28T11:00Z']);
    expect(deleted(plan(leap, { keepWithin: '1y' }, 'UTC', new Date('2024-02-29T13:00Z')))).toEqual(['2']);
  });

  it('ISO week 1 may begin in December, and week 53 may end in January', () => {
    // 29 December 2025 is the Monday of week 1 of 2026; 1 to 3 January 2021 belong to week 53 of 2020.
    const backups = history(['2026-01-04T10:00Z', '2026-01-01T10:00Z', '2025-12-29T10:00Z', '2025-12-28T10:00Z']);
    expect(deleted(plan(backups, { keepWeekly: 9 }, 'UTC', new Date('2026-02-01')))).toEqual(['1', '2']);
    const long = history(['2021-01-04T10:00Z', '2021-01-03T10:00Z', '2020-12-28T10:00Z', '2020-12-27T10:00Z']);
    expect(deleted(plan(long, { keepWeekly: 9 }, 'UTC', new Date('2021-02-01')))).toEqual(['2']);
  });

  it('DST days: each day of the zone counts once, and the doubled hour is two hours', () => {
    const back = history(['2025-11-02T06:30Z', '2025-11-02T05:30Z', '2025-11-02T04:30Z', '2025-11-02T03:30Z']);
    const now = new Date('2025-11-20');
    // In New York: 01:30 EST, 01:30 EDT and 00:30 on the 2nd, 23:30 on the 1st.
    expect(deleted(plan(back, { keepDaily: 9 }, 'America/New_York', now))).toEqual(['1', '2']);
    expect(deleted(plan(back, { keepHourly: 9 }, 'America/New_York', now))).toEqual([]);
    // 02:30 a day after the clock was put forward: 24 hours by the clock are 23 hours.
    const forward = history(['2025-03-09T16:00Z', '2025-03-08T17:00Z', '2025-03-08T16:59Z']);
    expect(deleted(plan(forward, { retentionDays: 1 }, 'America/New_York', new Date('2025-03-09T16:00Z')))).toEqual([
      '2',
    ]);
  });

  it('two backups in one second: always the same one stays', () => {
    const backups = history([...daysAgo(1), ...daysAgo(1), ...daysAgo(1)]);
    const forwards = plan(backups, { maxFiles: 1 });
    expect(deleted(forwards)).toEqual(['0', '1']);
    expect(plan([...backups].reverse(), { maxFiles: 1 })).toEqual(forwards);
  });

  it('a clock set back, future dates: they are kept, told, and no reason to delete others', () => {
    const backups = history([...daysAgo(-300, -2), ...daysAgo(1, 2)]);
    const decisions = plan(backups, { maxFiles: 2, keepLast: 1 });
    expect(deleted(decisions)).toEqual([]);
    expect(codes(decisions, '0')).toEqual(['FUTURE_DATE']);
    expect(codes(decisions, '2')).toEqual(['NEWEST_VERIFIED']);
    expect(deleted(plan(history(daysAgo(1, 2, 3)), { maxFiles: 1 }, 'UTC', new Date('2001-01-01')))).toEqual([]);
  });

  it('one backup larger than the size cap stays if it is the newest verified one', () => {
    const backups = history(daysAgo(1, 2), { 0: { fileSize: 10_000 } });
    const decisions = plan(backups, { maxTotalSize: 500 });
    expect(codes(decisions, '0')).toEqual(['NEWEST_VERIFIED']);
    expect(codes(decisions, '1')).toEqual(['TOO_LARGE']);
  });

  it('a large unverified one does not push good ones out of the size cap', () => {
    const backups = history(daysAgo(1, 2, 3), { 1: { fileSize: 10_000, verifiedAt: null } });
    expect(deleted(plan(backups, { maxTotalSize: 250 }))).toEqual([]);
  });

  it('"daily" means days, not the last N', () => {
    const busy = history([
      '2025-07-24T11:00Z',
      '2025-07-24T10:00Z',
      '2025-07-24T09:00Z',
      '2025-07-23T10:00Z',
      '2025-07-10T10:00Z',
    ]);
    expect(deleted(plan(busy, { keepDaily: 3 }))).toEqual(['1', '2']);
    expect(codes(plan(busy, { keepDaily: 3 }), '4')).toEqual(['KEEP_DAILY']);
  });

  it('only periods with a backup count', () => {
    const sparse = history(['2025-07-01', '2024-03-01', '2019-01-01', '2018-01-01']);
    expect(deleted(plan(sparse, { keepMonthly: 3 }))).toEqual(['3']);
  });
});

describe('Limits and keep-rules together', () => {
  it('a backup goes only if beyond a limit and kept by no rule; its reasons name all rules', () => {
    const backups = history(daysAgo(1, 2, 20, 40, 41, 80));
    const policy = { retentionDays: 30, maxFiles: 30, keepMonthly: 2, keepLast: 1 };
    const decisions = plan(backups, policy);
    expect(deleted(decisions)).toEqual(['4', '5']);
    expect(codes(decisions, '0')).toEqual(['NEWEST_VERIFIED']);
    expect(codes(decisions, '2')).toEqual(['WITHIN_LIMITS']);
    expect(codes(decisions, '3')).toEqual(['KEEP_MONTHLY']);
    expect(codes(decisions, '5')).toEqual(['TOO_OLD']);
    expect(codes(plan(history(daysAgo(1, 2, 3)), { maxFiles: 1, keepLast: 3, keepDaily: 3 }), '1')).toEqual([
      'KEEP_LAST',
      'KEEP_DAILY',
    ]);
  });

  it('safety backups are unpinned when their days are over, then deleted; never by a count', () => {
    const safety = { backupType: 'SAFETY', pinned: true } as const;
    const backups = history(daysAgo(0, 6, 8, 8), { 1: safety, 2: safety, 3: { ...safety, pinned: false } });
    const decisions = plan(backups, { maxFiles: 1, safetyRetentionDays: 7 });
    expect(decisions.map(({ id, keep, unpin }) => ({ id, keep, unpin }))).toEqual([
      { id: '0', keep: true, unpin: false },
      { id: '1', keep: true, unpin: false },
      { id: '3', keep: false, unpin: false },
      { id: '2', keep: true, unpin: true },
    ]);
    expect(planHash(decisions)).not.toBe(planHash(decisions.map((decision) => ({ ...decision, unpin: false }))));
  });

  it('a safety backup stays while it is the newest verified one', () => {
    const backups = history(daysAgo(20, 40), { 0: { backupType: 'SAFETY' } });
    expect(deleted(plan(backups, { retentionDays: 30, safetyRetentionDays: 7 }))).toEqual([]);
  });

  it('uploaded ones are deleted only by hand', () => {
    const backups = history(daysAgo(1, 2000), { 1: { backupType: 'UPLOADED' } });
    expect(codes(plan(backups, { retentionDays: 1 }), '1')).toEqual(['UPLOADED']);
  });
});

describe('What a kept backup builds on', () => {
  const decision = (id: string, keep: boolean): RetentionDecision => ({
    id,
    keep,
    unpin: false,
    reasons: [{ code: keep ? 'KEEP_LAST' : 'TOO_OLD', text: '' }],
  });
  const chain = new Map([
    ['3', '2'],
    ['2', '1'],
    ['1', '0'],
  ]);

  it('is kept to the full backup, with a reason that names the one that needs it', () => {
    const decisions = keepNeeded(
      [decision('3', false), decision('2', true), decision('1', false), decision('0', false)],
      chain,
    );
    expect(deleted(decisions)).toEqual(['3']);
    expect(codes(decisions, '0')).toEqual(['NEEDED']);
    expect(decisions.find(({ id }) => id === '1')?.reasons[0]?.text).toContain('2 builds on it');
  });

  it('goes together with it when nothing else keeps the chain', () => {
    const decisions = keepNeeded(
      ['3', '2', '1', '0'].map((id) => decision(id, false)),
      chain,
    );
    expect(deleted(decisions)).toEqual(['0', '1', '2', '3']);
  });

  it('keeps its own reasons where a rule keeps it', () => {
    const decisions = keepNeeded([decision('1', true), decision('0', true)], chain);
    expect(codes(decisions, '0')).toEqual(['KEEP_LAST']);
  });

  it('ends where a chain leads back to itself', () => {
    const circle = new Map([
      ['1', '0'],
      ['0', '1'],
    ]);
    expect(deleted(keepNeeded([decision('1', true), decision('0', false)], circle))).toEqual([]);
  });
});

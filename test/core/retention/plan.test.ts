import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { assertPolicy, type RetentionPolicy } from '../../../src/core/retention/policy.js';
import {
  planHash,
  planRetention,
  type RetentionBackup,
  type RetentionDecision,
  type RetentionInput,
} from '../../../src/core/retention/plan.js';
import { deletedByDefinition } from './oracle.js';

const DAY = 86_400_000;
const ZONES = ['UTC', 'Asia/Kolkata', 'America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'Pacific/Apia'];
const NOW = new Date('2025-07-24T12:00:00Z');

const deleted = (decisions: RetentionDecision[]) =>
  decisions
    .filter(({ keep }) => !keep)
    .map(({ id }) => id)
    .sort();
const codes = (decisions: RetentionDecision[], id: string) =>
  decisions.find((decision) => decision.id === id)?.reasons.map(({ code }) => code) ?? [];
const isSound = ({ status, verifiedAt, fileSize, backupType }: RetentionBackup) =>
  status === 'COMPLETED' && verifiedAt !== null && (fileSize ?? 0) > 0 && ['MANUAL', 'AUTO'].includes(backupType);
const newest = (backups: RetentionBackup[]) =>
  [...backups].sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? 1 : -1))[0];

/** A backup from a few numbers: small ones are the usual case, so that a failing history shrinks to a plain one. */
function backupOf(index: number, time: number, traits: number, now: Date): RetentionBackup {
  const take = (states: number) => {
    const state = traits % states;
    traits = Math.floor(traits / states);
    return state;
  };
  const unit = [DAY, 3_600_000, 1_000, 7 * DAY, 30 * DAY][time % 5] ?? DAY;
  const ago = (Math.floor(time / 5) % 60) - 3; // a few lie in the future
  const verified = take(4) !== 3;
  return {
    id: `b${String(index).padStart(2, '0')}`,
    createdAt: new Date(now.getTime() - ago * unit),
    status:
      (['COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED', 'FAILED', 'RUNNING', 'DELETED'] as const)[
        take(8)
      ] ?? 'COMPLETED',
    backupType: (['AUTO', 'AUTO', 'MANUAL', 'SAFETY', 'UPLOADED'] as const)[take(5)] ?? 'AUTO',
    pinned: take(7) === 6,
    verifiedAt: verified ? now : null,
    fileSize: [10, 25, 100, 0, null][take(5)] ?? null,
  };
}

const count = fc.option(fc.integer({ min: 1, max: 8 }), { nil: null, freq: 2 });
const policies: fc.Arbitrary<RetentionPolicy> = fc
  .record({
    retentionDays: fc.option(fc.integer({ min: 1, max: 60 }), { nil: null }),
    maxFiles: fc.option(fc.integer({ min: 1, max: 8 }), { nil: null }),
    maxTotalSize: fc.option(fc.integer({ min: 1, max: 300 }), { nil: null, freq: 2 }),
    keepLast: count,
    keepHourly: count,
    keepDaily: count,
    keepWeekly: count,
    keepMonthly: count,
    keepYearly: count,
    keepWithin: fc.constantFrom(null, null, '12h', '10d', '2w', '1m', '1y', '1m3d12h'),
    safetyRetentionDays: fc.constantFrom(7, null, 1, 30),
  })
  .filter(({ safetyRetentionDays: _, ...rules }) => Object.values(rules).some((rule) => rule !== null));
const inputs: fc.Arbitrary<RetentionInput> = fc
  .tuple(
    fc.array(fc.tuple(fc.nat(299), fc.nat(2 ** 24)), { maxLength: 12 }),
    policies,
    fc.constantFrom(...ZONES),
    fc.integer({ min: Date.parse('2020-01-01'), max: Date.parse('2030-12-31') }),
  )
  .map(([history, policy, timezone, at]) => {
    // Half past each hour: no backup lies in the hour that a clock shows twice, where a wall time has no one meaning.
    const now = new Date(Math.floor(at / 1_800_000) * 1_800_000);
    return {
      backups: history.map(([time, traits], index) => backupOf(index, time, traits, now)),
      policy,
      timezone,
      now,
    };
  });

describe('Whatever the history, the policy, the zone and the date', () => {
  it('every principle holds', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const { backups, now, policy } = input;
        const decisions = planRetention(input);
        const byId = new Map(decisions.map((decision) => [decision.id, decision]));
        const stored = backups.filter(({ status }) => status === 'COMPLETED');
        if (decisions.length !== stored.length || byId.size !== stored.length)
          throw new Error('one decision for each file');
        const limited = [policy.retentionDays, policy.maxFiles, policy.maxTotalSize].some(
          (limit) => (limit ?? null) !== null,
        );
        for (const backup of stored) {
          const { keep, reasons, unpin } = byId.get(backup.id) as RetentionDecision;
          if (reasons.length === 0 || reasons.some(({ text }) => text === '')) throw new Error('no reason');
          if (unpin && !(keep && backup.pinned && backup.backupType === 'SAFETY')) throw new Error('wrongly unpinned');
          if (keep) continue;
          if (backup.pinned) throw new Error('a pinned one is deleted');
          if (backup.createdAt > now) throw new Error('one of the future is deleted');
          if (backup.backupType === 'UPLOADED') throw new Error('an uploaded one is deleted');
          if (backup.backupType === 'SAFETY') {
            const age = now.getTime() - backup.createdAt.getTime();
            if (age < ((policy.safetyRetentionDays ?? Infinity) - 0.1) * DAY)
              throw new Error('a safety one is deleted early');
            continue;
          }
          const why = reasons.map(({ code }) => code);
          if (why.includes('NOT_KEPT') === limited) throw new Error('deleted without being beyond a limit');
          if (!why.every((code) => ['TOO_OLD', 'TOO_MANY', 'TOO_LARGE', 'NOT_KEPT'].includes(code)))
            throw new Error('odd reason');
        }
        const past = stored.filter(({ createdAt }) => createdAt <= now);
        const verified = past.filter(({ verifiedAt, fileSize }) => verifiedAt !== null && (fileSize ?? 0) > 0);
        for (const safe of [newest(verified), newest(past.filter(isSound))]) {
          if (safe && !byId.get(safe.id)?.keep) throw new Error('the newest verified one is deleted');
        }
        if (stored.length > 0 && decisions.every(({ keep }) => !keep)) throw new Error('everything is deleted');
      }),
      { numRuns: 60_000 },
    );
  }, 60_000);

  it('what is deleted equals the definition, worked out independently', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        expect(deleted(planRetention(input))).toEqual(deletedByDefinition(input));
      }),
      { numRuns: 20_000 },
    );
  }, 60_000);

  it('neither the order nor failed, empty and unverified runs change what becomes of the good ones; doing it twice neither', () => {
    fc.assert(
      fc.property(inputs, fc.integer(), (input, salt) => {
        const decisions = planRetention(input);
        const scattered = [...input.backups].sort((a, b) => scatter(a.id, salt) - scatter(b.id, salt));
        expect(planRetention({ ...input, backups: scattered })).toEqual(decisions);

        const good = input.backups.filter(isSound);
        const alone = deleted(planRetention({ ...input, backups: good }));
        const among = deleted(decisions);
        const ids = new Set(good.map(({ id }) => id));
        expect(among.filter((id) => ids.has(id))).toEqual(alone);

        const left = input.backups.filter(({ id }) => !deleted(decisions).includes(id));
        expect(deleted(planRetention({ ...input, backups: left }))).toEqual([]);
      }),
      { numRuns: 22_000 },
    );
  }, 60_000);
});

const scatter = (id: string, salt: number) => ((Number(id.slice(1)) + 1) * 2654435761 + salt * 40503) % 4096;

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
  it('only failed, empty or unverified ones are newer: the newest verified one stays, and so do the unverified', () => {
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
  it('a backup goes only if it is beyond a limit and no rule keeps it; its reasons name all rules', () => {
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

  it('uploaded ones are nobody’s to delete but a person’s', () => {
    const backups = history(daysAgo(1, 2000), { 1: { backupType: 'UPLOADED' } });
    expect(codes(plan(backups, { retentionDays: 1 }), '1')).toEqual(['UPLOADED']);
  });
});

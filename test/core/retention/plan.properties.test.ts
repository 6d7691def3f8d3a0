import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { RetentionPolicy } from '../../../src/core/retention/policy.js';
import {
  planRetention,
  type RetentionBackup,
  type RetentionDecision,
  type RetentionInput,
} from '../../../src/core/retention/plan.js';
import { casesOf } from '../../support/cases.js';
import { deletedByDefinition } from './oracle.js';

const DAY = 86_400_000;
const ZONES = ['UTC', 'Asia/Kolkata', 'America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'Pacific/Apia'];

const deleted = (decisions: RetentionDecision[]) =>
  decisions
    .filter(({ keep }) => !keep)
    .map(({ id }) => id)
    .sort();
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
  it('nothing is deleted or unpinned while a stored backup is suspicious', () => {
    fc.assert(
      fc.property(inputs, fc.nat(11), (input, which) => {
        const backups = input.backups.map((backup, index) => ({ ...backup, suspicious: index === which }));
        const doubtful = backups.find(({ suspicious, status }) => suspicious && status === 'COMPLETED');
        const decisions = planRetention({ ...input, backups });
        // One that has no archive stops nothing.
        if (doubtful === undefined) return expect(decisions).toEqual(planRetention(input));
        for (const { keep, unpin, reasons } of decisions) {
          if (!keep || unpin) throw new Error('something is lost');
          if (reasons[0]?.code !== 'ANOMALY' || !reasons[0].text.includes(doubtful.id)) throw new Error('no reason');
        }
        expect(decisions).toHaveLength(backups.filter(({ status }) => status === 'COMPLETED').length);
      }),
      { numRuns: casesOf(2_000) },
    );
  });

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
      { numRuns: casesOf(60_000) },
    );
  }, 60_000);

  it('what is deleted equals the definition, worked out independently', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        expect(deleted(planRetention(input))).toEqual(deletedByDefinition(input));
      }),
      { numRuns: casesOf(20_000) },
    );
  }, 60_000);

  it('order, unusable runs and a second cleanup do not change which good backups go', () => {
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
      { numRuns: casesOf(22_000) },
    );
  }, 60_000);
});

const scatter = (id: string, salt: number) => ((Number(id.slice(1)) + 1) * 2654435761 + salt * 40503) % 4096;

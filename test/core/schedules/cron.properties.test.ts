import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { lastDue, nextRun, nextRuns } from '../../../src/core/schedules/cron.js';
import { casesOf } from '../../support/cases.js';

describe('The last due time', () => {
  const zones = [
    'UTC',
    'America/New_York',
    'Asia/Kolkata',
    'Australia/Lord_Howe',
    'America/Santiago',
    'Africa/Casablanca',
  ];
  const field = (max: number, from = 0) => fc.integer({ min: from, max });
  const schedule = fc.oneof(
    fc.tuple(field(59), field(23)).map(([minute, hour]) => `${minute} ${hour} * * *`),
    fc.tuple(field(59), field(23), field(6)).map(([minute, hour, day]) => `${minute} ${hour} * * ${day}`),
    fc.tuple(field(59), field(31, 1)).map(([minute, day]) => `${minute} 1-3 ${day} * *`),
    fc.constantFrom('*/20 * * * *', '*/30 0-3 * * *', '0 */2 * * *', 'hourly'),
  );
  const near = fc.date({ min: new Date('2024-01-01'), max: new Date('2026-12-31'), noInvalidDate: true });

  it('is the one before the next, in every zone and at every moment', () => {
    fc.assert(
      fc.property(schedule, fc.constantFrom(...zones), near, (cron, zone, at) => {
        const due = lastDue(cron, zone, at);
        const next = nextRun(cron, zone, at);
        expect(due.getTime()).toBeLessThanOrEqual(at.getTime());
        expect(next.getTime()).toBeGreaterThan(at.getTime());
        expect(nextRun(cron, zone, due)).toEqual(next);
        expect(lastDue(cron, zone, new Date(next.getTime() - 1))).toEqual(due);
        expect(lastDue(cron, zone, next)).toEqual(next);
      }),
      { numRuns: casesOf(2_000) },
    );
  });

  it('comes once for each day of a daily schedule, over years and changes of the clock', () => {
    fc.assert(
      fc.property(field(59), field(23), fc.constantFrom(...zones), (minute, hour, zone) => {
        const start = new Date('2024-06-15T00:00:00Z');
        const days = nextRuns(`${minute} ${hour} * * *`, zone, start, 730);
        const span = (days.at(-1) as Date).getTime() - (days[0] as Date).getTime();
        expect(Math.abs(span - 729 * 86_400_000)).toBeLessThanOrEqual(2 * 3_600_000);
        const names = days.map((day) => new Intl.DateTimeFormat('en-CA', { timeZone: zone }).format(day));
        expect(new Set(names).size).toBe(730);
      }),
      { numRuns: casesOf(5) },
    );
  });
});

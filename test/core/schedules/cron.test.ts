import { describe, expect, it } from '@jest/globals';
import {
  assertSchedule,
  describeSchedule,
  jitter,
  lastDue,
  nextRuns,
  normaliseSchedule,
} from '../../../src/core/schedules/cron.js';

const runs = (schedule: string, zone: string, after: string, count: number) =>
  nextRuns(schedule, zone, new Date(after), count).map((run) => run.toISOString().slice(0, 16));

describe('A schedule', () => {
  it('is five fields with names, ranges, lists and steps, or a preset', () => {
    for (const schedule of ['0 2 * * *', '*/15 8-18 * jan-mar MON-FRI', '0 0 1,15 * *', '0 0 L * *', '0 0 * * 7']) {
      expect(() => assertSchedule(schedule, 'Asia/Kolkata')).not.toThrow();
    }
    for (const preset of ['hourly', 'Daily', '@weekly', ' monthly ']) {
      expect(() => assertSchedule(preset, 'UTC')).not.toThrow();
      expect(normaliseSchedule(preset)).toMatch(/^0 \S+ \S+ \* \S+$/);
    }
    expect(runs('monthly', 'UTC', '2025-01-31T23:00Z', 2)).toEqual(['2025-02-01T02:00', '2025-03-01T02:00']);
  });

  it.each([
    ['0 2 * *', 'five fields'],
    ['0 0 2 * * *', 'five fields'],
    ['', 'five fields'],
    ['@yearly', 'five fields'],
    ['60 * * * *', 'not a cron expression'],
    ['0 24 * * *', 'not a cron expression'],
    ['*/0 * * * *', 'not a cron expression'],
    ['5-1 * * * *', 'not a cron expression'],
    ['0 0 30 2 *', 'not a cron expression'],
    ['abc * * * *', 'not a cron expression'],
    ['H 2 * * *', 'not fixed'],
  ])('is refused when it is %p, naming the field', (schedule, reason) => {
    expect(() => assertSchedule(schedule, 'UTC')).toThrow(
      expect.objectContaining({ code: 'BAD_USER_INPUT', field: 'schedule', message: expect.stringContaining(reason) }),
    );
  });

  it('is refused for a zone that does not exist', () => {
    expect(() => assertSchedule('0 2 * * *', 'Asia/Okpuja')).toThrow(expect.objectContaining({ field: 'timezone' }));
  });

  it('is read on the clock of its zone', () => {
    expect(runs('0 2 * * *', 'Asia/Kolkata', '2025-06-01T00:00Z', 2)).toEqual(['2025-06-01T20:30', '2025-06-02T20:30']);
    expect(runs('0 2 * * MON', 'Pacific/Auckland', '2025-06-01T00:00Z', 1)).toEqual(['2025-06-01T14:00']);
  });

  it('meets leap days and the ends of months', () => {
    expect(runs('0 0 29 2 *', 'Europe/Berlin', '2025-01-01T00:00Z', 2)).toEqual([
      '2028-02-28T23:00',
      '2032-02-28T23:00',
    ]);
    expect(runs('0 12 31 * *', 'UTC', '2025-01-31T12:00Z', 3)).toEqual([
      '2025-03-31T12:00',
      '2025-05-31T12:00',
      '2025-07-31T12:00',
    ]);
    expect(runs('0 12 L * *', 'UTC', '2024-02-01T00:00Z', 3)).toEqual([
      '2024-02-29T12:00',
      '2024-03-31T12:00',
      '2024-04-30T12:00',
    ]);
  });
});

describe('When the clock is put forward', () => {
  it.each([
    // New York skips 02:00–03:00 at 07:00 UTC, Berlin 02:00–03:00 at 01:00, Santiago 00:00–01:00 at 04:00, Lord Howe half an hour.
    ['America/New_York', '30 2 * * *', '2025-03-08T12:00Z', ['2025-03-09T07:00', '2025-03-10T06:30']],
    ['Europe/Berlin', '30 2 * * *', '2025-03-29T12:00Z', ['2025-03-30T01:00', '2025-03-31T00:30']],
    ['America/Santiago', '0 0 * * *', '2025-09-06T12:00Z', ['2025-09-07T04:00', '2025-09-08T03:00']],
    ['Australia/Lord_Howe', '15 2 * * *', '2025-10-04T00:00Z', ['2025-10-04T15:30', '2025-10-05T15:15']],
    ['Pacific/Apia', '0 2 30 12 *', '2011-12-01T00:00Z', ['2011-12-30T10:00', '2012-12-29T12:00']],
  ])('a time that %s skips runs once, right after the gap', (zone, schedule, after, expected) => {
    expect(runs(schedule, zone, after, 2)).toEqual(expected);
  });

  it('several skipped times are one run', () => {
    expect(runs('*/10 2 * * *', 'America/New_York', '2025-03-09T00:00Z', 2)).toEqual([
      '2025-03-09T07:00',
      '2025-03-10T06:00',
    ]);
  });

  it('an hourly schedule goes on in real time', () => {
    expect(runs('30 * * * *', 'America/New_York', '2025-03-09T05:45Z', 3)).toEqual([
      '2025-03-09T06:30',
      '2025-03-09T07:30',
      '2025-03-09T08:30',
    ]);
  });
});

describe('When the clock is put back', () => {
  it.each([
    ['America/New_York', '30 1 * * *', '2025-11-01T12:00Z', ['2025-11-02T05:30', '2025-11-03T06:30']],
    ['Europe/Berlin', '0 2 * * *', '2025-10-25T12:00Z', ['2025-10-26T00:00', '2025-10-27T01:00']],
    ['America/Havana', '0 0 * * *', '2025-11-01T12:00Z', ['2025-11-02T04:00', '2025-11-03T05:00']],
    ['Australia/Lord_Howe', '45 1 * * *', '2025-04-05T00:00Z', ['2025-04-05T14:45', '2025-04-06T15:15']],
  ])('a time that %s shows twice runs once, the first time', (zone, schedule, after, expected) => {
    expect(runs(schedule, zone, after, 2)).toEqual(expected);
  });

  it('does not run again for one who asks in the second of the two hours', () => {
    expect(runs('30 1 * * *', 'America/New_York', '2025-11-02T06:10Z', 1)).toEqual(['2025-11-03T06:30']);
    expect(lastDue('30 1 * * *', 'America/New_York', new Date('2025-11-02T06:45Z'))).toEqual(
      new Date('2025-11-02T05:30Z'),
    );
  });

  it('an hourly schedule goes on in real time', () => {
    expect(runs('0 * * * *', 'America/New_York', '2025-11-02T04:30Z', 3)).toEqual([
      '2025-11-02T05:00',
      '2025-11-02T06:00',
      '2025-11-02T07:00',
    ]);
  });
});

describe('The jitter', () => {
  it('is always the same for a config, within its bound, and differs between configs', () => {
    const delays = Array.from({ length: 500 }, (_, id) => jitter(id, 600));
    expect(delays).toEqual(Array.from({ length: 500 }, (_, id) => jitter(id, 600)));
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...delays)).toBeLessThan(600_000);
    expect(new Set(delays).size).toBeGreaterThan(450);
    expect(jitter(1, 0)).toBe(0);
  });
});

describe('In words', () => {
  it.each([
    ['daily', 'every day at 02:00'],
    ['hourly', 'every hour'],
    ['weekly', 'every Sunday at 02:00'],
    ['monthly', 'on day 1 of every month at 02:00'],
    ['* * * * *', 'every minute'],
    ['*/15 * * * *', 'every 15 minutes'],
    ['20 * * * *', 'every hour at minute 20'],
    ['0 */6 * * *', 'every 6 hours'],
    ['30 2,14 * * *', 'every day at 02:30 and 14:30'],
    ['5 3 * * MON,thu', 'every Monday and Thursday at 03:05'],
    ['0 9 * * 1-5', 'from Monday to Friday at 09:00'],
    ['0 0 * * 7', 'every Sunday at 00:00'],
    ['0 0 * * 0,7', 'every Sunday at 00:00'],
    ['0 0 * * mon-sun', 'every day at 00:00'],
    ['0 0 * * 1,1,3', 'every Monday and Wednesday at 00:00'],
    ['0 0 28 * *', 'on day 28 of every month at 00:00'],
    ['0 0 29 * *', 'on day 29 of every month that has one at 00:00'],
    ['0 0 31 * *', 'on day 31 of every month that has one at 00:00'],
    ['0 0 L * *', 'on the last day of every month at 00:00'],
    ['*/7 * * * *', '*/7 * * * *'],
    ['0 0 1 1 *', '0 0 1 1 *'],
    ['0 0 1 * MON', '0 0 1 * MON'],
    ['0 8-18 * * *', '0 8-18 * * *'],
    ['0 0 * * 5#2', '0 0 * * 5#2'],
  ])('%s is %p', (schedule, words) => {
    expect(describeSchedule(schedule)).toBe(words);
  });
});

describe('A schedule that cron allows in more than one form', () => {
  const runs = (schedule: string) =>
    nextRuns(schedule, 'UTC', new Date('2026-01-01T00:00:00Z'), 6).map((run) => run.toISOString());

  it.each([
    ['0 0 * * 0,7', '0 0 * * 0'],
    ['0 0 * * sun,7', '0 0 * * 0'],
    ['0 0 * * 5-7', '0 0 * * 0,5,6'],
    ['0 0 * * mon-sun', '0 0 * * *'],
    ['0 0 1,1,15 * *', '0 0 1,15 * *'],
    ['0,0 3 * * *', '0 3 * * *'],
    ['0 0 1 jan,1,7 *', '0 0 1 1,7 *'],
    ['0-10/5,5 3 * * *', '0,5,10 3 * * *'],
    ['*/60 * * * *', '0 * * * *'],
  ])('%s runs as %s does', (schedule, same) => {
    expect(() => assertSchedule(schedule, 'UTC')).not.toThrow();
    expect(runs(schedule)).toEqual(runs(same));
  });

  it.each([
    '*/90 * * * *',
    '5/90 * * * *',
    '0 */25 * * *',
    '10-20/15 * * * *',
    '0 0 */32 * *',
    '0 0 1 */13 *',
    '0 0 * * */8',
  ])('%s is refused: its step never takes place', (schedule) => {
    expect(() => assertSchedule(schedule, 'UTC')).toThrow(
      expect.objectContaining({
        code: 'BAD_USER_INPUT',
        field: 'schedule',
        message: expect.stringContaining('no second value'),
      }),
    );
  });

  it.each(['0 0 31 2 *', '0 0 31 4,6,9,11 *', '0 0 30 2 *'])('%s is refused: there is no such day', (schedule) => {
    expect(() => assertSchedule(schedule, 'UTC')).toThrow(expect.objectContaining({ field: 'schedule' }));
  });
});

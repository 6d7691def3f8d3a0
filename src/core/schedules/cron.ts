import { createHash } from 'node:crypto';
import { Cron } from 'croner';
import { badInput } from '../../errors.js';
import { FIELDS, wordsOf } from './shape.js';
import { assertZone, offsetAt } from './zones.js';

/*
 * Schedules are five-field cron expressions on the clock of a time zone. Croner says which times of a clock match;
 * here those times become moments, also on the days when the clock is put forward or back:
 * - times in a skipped hour: one run, at the moment when the clock goes on
 * - times in a doubled hour: one run each, the first time
 * - schedules that run in every hour count real time: no run more for a skipped hour, none less for a doubled one
 */

const PRESETS: Record<string, string> = {
  hourly: '0 * * * *',
  daily: '0 2 * * *',
  weekly: '0 2 * * 0',
  monthly: '0 2 1 * *',
};

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** How far apart offsets are looked at: changes of a zone's clock are further apart. */
const STRIDE = 7 * DAY;
/** The longest time that a clock was ever put forward or back by. */
const LONGEST_JUMP = 26 * HOUR;

/** The cron expression behind a preset (hourly, daily, weekly, monthly), or the expression itself with single blanks. */
export function normaliseSchedule(schedule: string): string {
  const text = schedule.trim().replace(/\s+/g, ' ');
  return PRESETS[text.toLowerCase().replace(/^@/, '')] ?? text;
}

/**
 * Checks a preset or a five-field cron expression, and a time zone.
 * @throws AppError BAD_USER_INPUT naming `schedule` or `timezone`
 */
export function assertSchedule(schedule: string, timezone: string): void {
  assertZone(timezone);
  const cron = normaliseSchedule(schedule);
  const parts = cron.split(' ');
  if (parts.length !== 5) {
    throw badInput(
      'schedule',
      `"${schedule}" does not have five fields.`,
      'Write minute, hour, day of month, month and day of week, such as `0 2 * * *` for 02:00 each day; or hourly, daily, weekly, monthly.',
    );
  }
  if (parts.some((part) => /(^|,)H/i.test(part))) {
    throw badInput('schedule', `"${schedule}" holds H, whose time is not fixed.`, 'Write the minute or hour itself.');
  }
  const step = impossibleStep(parts);
  if (step !== null) {
    throw badInput(
      'schedule',
      `"${schedule}" cannot mean what it says: ${step}.`,
      'Write the times one by one, such as `0,45 * * * *`, or a step of the field to its left or right, such as `0 */2 * * *`.',
    );
  }
  try {
    new Clock(cron).first(0);
  } catch (error) {
    const reason = (error as Error).message.replace(/^CronPattern: |\.$/g, '');
    throw badInput('schedule', `"${schedule}" is not a cron expression: ${reason}.`);
  }
}

/** A step that never takes place, as the end of a sentence: the field begins again before it is over. */
function impossibleStep(parts: string[]): string | null {
  for (const [index, { name, size }] of Object.values(FIELDS).entries()) {
    for (const part of (parts[index] ?? '').split(',')) {
      const [range = '', step] = part.split('/');
      const [from, to] = range.split('-').map(Number);
      const room = from !== undefined && to !== undefined && to >= from ? to - from + 1 : size;
      if (step !== undefined && Number(step) > room) return `in the field ${name}, ${part} has no second value`;
    }
  }
  return null;
}

/** The first run after `after`. */
export function nextRun(schedule: string, timezone: string, after: Date): Date {
  const clock = new Clock(normaliseSchedule(schedule));
  return new Date(nextAt(clock, timezone, after.getTime() + 1));
}

/** Checks the number of next runs that a caller asks for. @throws AppError BAD_USER_INPUT naming `count` */
export function assertRunCount(count: number): void {
  if (count < 1 || count > 50) throw badInput('count', `${count} is not a number from 1 to 50.`);
}

/** The next runs, in order. */
export function nextRuns(schedule: string, timezone: string, after: Date, count: number): Date[] {
  const clock = new Clock(normaliseSchedule(schedule));
  const runs: Date[] = [];
  for (let last = after.getTime(); runs.length < count; runs.push(new Date(last))) {
    last = nextAt(clock, timezone, last + 1);
  }
  return runs;
}

/** The first run at or after a moment. */
function nextAt(clock: Clock, timezone: string, at: number): number {
  for (let from = at; ;) {
    const offset = offsetAt(timezone, from);
    const start = clock.everyHour ? from : doubledUntil(timezone, from);
    const wall = clock.first(start + offset);
    const change = firstChange(timezone, from, wall - offset);
    if (change === null) return wall - offset;
    // The clock changes before it shows that time: either the time is skipped, or it comes later than it seemed.
    if (!clock.everyHour && wall < change + offsetAt(timezone, change)) return change;
    from = change;
  }
}

/** The last time at or before `before` when a run was due. */
export function lastDue(schedule: string, timezone: string, before: Date): Date {
  const clock = new Clock(normaliseSchedule(schedule));
  for (let to = before.getTime(); ;) {
    const offset = offsetAt(timezone, to);
    const due = clock.last(to + offset) - offset;
    const change = lastChange(timezone, due, to);
    if (change !== null) {
      if (!clock.everyHour && runsInGap(clock, timezone, change)) return new Date(change);
      to = change - 1;
    } else if (!clock.everyHour && doubledUntil(timezone, due) > due) {
      to = due - 1; // It ran the first time that the clock showed this.
    } else {
      return new Date(due);
    }
  }
}

/** True if the clock is put forward at this moment and a time of the schedule is among those skipped. */
function runsInGap(clock: Clock, timezone: string, change: number): boolean {
  return clock.first(change + offsetAt(timezone, change - 1)) < change + offsetAt(timezone, change);
}

/** A delay that is always the same for the same config: spreads configs that are due together. @returns milliseconds */
export function jitter(configId: number, maxSeconds: number): number {
  if (maxSeconds <= 0) return 0;
  const hash = createHash('sha256').update(`config ${configId}`).digest();
  return hash.readUInt32BE(0) % (maxSeconds * 1000);
}

/** The schedule in words, such as `every day at 02:00`; the expression itself where its shape is not a common one. */
export function describeSchedule(schedule: string): string {
  return wordsOf(normaliseSchedule(schedule));
}

/** The times that match, read on a clock without zone: wall times as if they were UTC, in milliseconds. */
class Clock {
  /** True if the schedule has runs in every hour of its days. */
  readonly everyHour: boolean;
  private readonly cron: Cron;

  constructor(cron: string) {
    this.cron = matcher(cron);
    const hour = cron.split(' ')[1] ?? '';
    this.everyHour = matcher(`0 ${hour} * * *`).nextRuns(24, new Date(-1)).at(-1)?.getTime() === 23 * HOUR;
  }

  /** The first at or after `wall`. */
  first(wall: number): number {
    return timeOf(this.cron.nextRun(new Date(wall - 1)));
  }

  /** The last at or before `wall`. */
  last(wall: number): number {
    return timeOf(this.cron.previousRuns(1, new Date(wall + 1))[0]);
  }
}

/** As croner reads it: `5/15` is from 5 on, on days of the week up to Sunday as 7. */
function matcher(cron: string): Cron {
  const upToSunday = cron.replace(/(?<=[ ,])(\w+)(?=\/\d+(,\S*)?$)/g, '$1-7');
  return new Cron(upToSunday, { mode: '5-part', utcOffset: 0, sloppyRanges: true });
}

function timeOf(run: Date | null | undefined): number {
  if (!run) throw new Error('no day has such a date');
  return run.getTime();
}

/** The first moment after `from`, up to `to`, from which the zone's clock has another offset; null if there is none. */
function firstChange(timezone: string, from: number, to: number): number | null {
  for (let low = from; low < to; low += STRIDE) {
    const change = changeBetween(timezone, low, Math.min(low + STRIDE, to));
    if (change !== null) return change;
  }
  return null;
}

/** As `firstChange`, but the last one. */
function lastChange(timezone: string, from: number, to: number): number | null {
  for (let high = to; high > from; high -= STRIDE) {
    const change = changeBetween(timezone, Math.max(high - STRIDE, from), high);
    if (change !== null) return change;
  }
  return null;
}

function changeBetween(timezone: string, low: number, high: number): number | null {
  const offset = offsetAt(timezone, low);
  if (offsetAt(timezone, high) === offset) return null;
  let [same, other] = [low, high];
  while (other - same > 1) {
    const middle = Math.floor((same + other) / 2);
    if (offsetAt(timezone, middle) === offset) same = middle;
    else other = middle;
  }
  return other;
}

/** If the clock was put back shortly before `at`: the moment until which it shows times for the second time. Else `at`. */
function doubledUntil(timezone: string, at: number): number {
  const change = firstChange(timezone, at - LONGEST_JUMP, at);
  if (change === null) return at;
  const back = offsetAt(timezone, change - 1) - offsetAt(timezone, change);
  return Math.max(at, change + back);
}

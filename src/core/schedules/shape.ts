/*
 * The schedules that people choose most, read from their cron expression: what the page offers as a choice, what timers
 * of the system can say, and what has words. The page is built with this file, so it imports nothing.
 */

/** A schedule of a common shape. */
export type ScheduleShape = { everyMinutes: number } | { minute: number; hours: Hours; days: Days };

/** Every so many hours from midnight on, or at some hours. */
export type Hours = { every: number } | { at: number[] };

/** Every day, some days of the week (0 is Sunday), some days of the month, or the last day of each month. */
export type Days =
  { kind: 'all' } | { kind: 'week'; days: number[] } | { kind: 'month'; days: number[] } | { kind: 'last' };

export const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
export const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

/** A field of a cron expression: its first and last value, and how many there are before they begin again. */
export interface Field {
  name: string;
  first: number;
  last: number;
  size: number;
}

/** The five fields, in their order. Sunday is 0 and 7. */
export const FIELDS = {
  minute: { name: 'minute', first: 0, last: 59, size: 60 },
  hour: { name: 'hour', first: 0, last: 23, size: 24 },
  day: { name: 'day of month', first: 1, last: 31, size: 31 },
  month: { name: 'month', first: 1, last: 12, size: 12 },
  weekday: { name: 'day of week', first: 0, last: 7, size: 7 },
} satisfies Record<string, Field>;

/** The shape of a five-field cron expression with single blanks; null if it is not a common one, or not valid. */
export function shapeOf(cron: string): ScheduleShape | null {
  const [minute = '', hour = '', day = '', month = '', weekday = '', more] = cron.split(' ');
  if (month !== '*' || more !== undefined) return null;
  const everyMinutes = stepOf(minute, FIELDS.minute);
  if (everyMinutes !== null) return `${hour} ${day} ${weekday}` === '* * *' ? { everyMinutes } : null;
  const [at, ...others] = valuesOf(minute, FIELDS.minute) ?? [];
  const [hours, days] = [hoursOf(hour), daysOf(day, weekday)];
  if (at === undefined || others.length > 0 || hours === null || days === null) return null;
  return { minute: at, hours, days };
}

function hoursOf(field: string): Hours | null {
  const every = stepOf(field, FIELDS.hour);
  if (every !== null) return { every };
  const at = valuesOf(field, FIELDS.hour);
  return at && { at };
}

function daysOf(day: string, weekday: string): Days | null {
  if (day !== '*') {
    if (weekday !== '*') return null;
    if (/^L$/i.test(day)) return { kind: 'last' };
    const days = valuesOf(day, FIELDS.day);
    return days && { kind: 'month', days };
  }
  if (weekday === '*') return { kind: 'all' };
  const values = valuesOf(numbered(weekday), FIELDS.weekday);
  if (values === null) return null;
  const days = sorted(values.map((value) => value % 7));
  return days.length === 7 ? { kind: 'all' } : { kind: 'week', days };
}

/** A day-of-week field with numbers in place of names; Sunday is 7 where a range ends with it. */
export function numbered(weekday: string): string {
  return weekday.replace(/-sun(?![a-z])/gi, '-7').replace(/[a-z]+/gi, (name) => {
    const day = DAYS.findIndex((each) => each.slice(0, 3).toLowerCase() === name.toLowerCase());
    return day === -1 ? name : String(day);
  });
}

/** The step of `*` (1) or of a step over the whole field that divides it evenly; else null. */
function stepOf(text: string, { size }: Field): number | null {
  const step = text === '*' ? 1 : Number(/^\*\/(\d+)$/.exec(text)?.[1] ?? 0);
  return step > 0 && size % step === 0 ? step : null;
}

/** The values of numbers and ranges between commas, such as `3`, `1-5` or `1,8-18/2`; null for anything else. */
function valuesOf(text: string, { first, last }: Field): number[] | null {
  const values: number[] = [];
  for (const part of text.split(',')) {
    const [, start, end, step = '1'] = /^(\d+)(?:-(\d+)(?:\/(\d+))?)?$/.exec(part) ?? [];
    const [from, to] = [Number(start), Number(end ?? start)];
    if (!(first <= from && from <= to && to <= last) || Number(step) === 0) return null;
    for (let value = from; value <= to; value += Number(step)) values.push(value);
  }
  return sorted(values);
}

const sorted = (values: number[]) => [...new Set(values)].sort((one, other) => one - other);

/** Times of a day, up to this many, are read at a glance. */
const MOST_TIMES = 6;
/** Days up to this one are in every month. */
const SHORTEST_MONTH = 28;

/** The words for a five-field cron expression, such as `every day at 02:00`; the expression itself if it has none. */
export function wordsOf(cron: string): string {
  const shape = shapeOf(cron);
  if (shape === null) return cron;
  if ('everyMinutes' in shape) return every(shape.everyMinutes, 'minute');
  const { minute, hours, days } = shape;
  if ('at' in hours) {
    const times = hours.at.length > MOST_TIMES ? null : hours.at.map((hour) => `${two(hour)}:${two(minute)}`);
    const on = wordsOfDays(days);
    return times === null || on === null ? cron : `${on} at ${times.join(' and ')}`;
  }
  if (days.kind !== 'all') return cron;
  if (minute === 0) return every(hours.every, 'hour');
  return hours.every === 1 ? `every hour at minute ${minute}` : cron;
}

const every = (count: number, unit: string) => (count === 1 ? `every ${unit}` : `every ${count} ${unit}s`);

function wordsOfDays(days: Days): string | null {
  switch (days.kind) {
    case 'all':
      return 'every day';
    case 'last':
      return 'on the last day of every month';
    case 'week':
      if (isWorkdays(days)) return 'from Monday to Friday';
      return `every ${days.days.map((day) => DAYS[day]).join(' and ')}`;
    case 'month': {
      const [day = 0, ...others] = days.days;
      if (others.length > 0) return null;
      return `on day ${day} of every month${day > SHORTEST_MONTH ? ' that has one' : ''}`;
    }
  }
}

/** True for Monday to Friday. */
export const isWorkdays = (days: Days) => days.kind === 'week' && days.days.join() === '1,2,3,4,5';

/** Two digits. */
export const two = (number: number) => String(number).padStart(2, '0');

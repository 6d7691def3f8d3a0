import { normaliseSchedule } from '../core/schedules/cron.js';
import { badInput } from '../errors.js';

/** A schedule of a common shape, as timers other than cron can say it. */
export type ScheduleShape = { everyMinutes: number } | { minute: number; hours: number[] | null; days: DayShape };

/** Every day, on days of the week (0 is Sunday), or on days of the month. */
export type DayShape = { kind: 'all' } | { kind: 'week'; days: number[] } | { kind: 'month'; days: number[] };

/** What a timer of the system has to start. All paths are absolute. */
export interface TimerTarget {
  /** Names this installation among others of the same machine. */
  name: string;
  node: string;
  cli: string;
  folder: string;
}

const NAMES = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

/**
 * Reads a cron expression or preset as one of the common shapes: every N minutes; or a minute in each hour, or in some
 * hours, on all days, on days of the week or on days of the month. Hours null: each.
 * @throws AppError BAD_USER_INPUT if it has another shape
 */
export function shapeOf(schedule: string): ScheduleShape {
  const cron = normaliseSchedule(schedule);
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = cron.split(' ');
  if (month !== '*') throw unusual(cron);
  const step = minute === '*' ? 1 : Number(/^\*\/(\d+)$/.exec(minute)?.[1] ?? 0);
  if (step > 0 && 60 % step === 0 && `${hour} ${day} ${weekday}` === '* * *') return { everyMinutes: step };
  if (!/^\d+$/.test(minute)) throw unusual(cron);
  return { minute: Number(minute), hours: hoursOf(hour, cron), days: daysOf(day, weekday, cron) };
}

function hoursOf(field: string, cron: string): number[] | null {
  if (field === '*' || field === '*/1') return null;
  const step = Number(/^\*\/(\d+)$/.exec(field)?.[1] ?? 0);
  if (step > 0 && 24 % step === 0) return Array.from({ length: 24 / step }, (_, index) => index * step);
  return numbers(field, cron);
}

function daysOf(day: string, weekday: string, cron: string): DayShape {
  if (day === '*' && weekday === '*') return { kind: 'all' };
  if (weekday === '*') return { kind: 'month', days: numbers(day, cron) };
  if (day !== '*') throw unusual(cron);
  const plain = withoutNames(weekday);
  const days = numbers(plain, cron).map((number) => number % 7);
  return { kind: 'week', days: sorted(days) };
}

/** The weekday field with numbers in place of names. */
export function withoutNames(weekday: string): string {
  return weekday.replace(/[A-Za-z]{3}/g, (name) => {
    const number = NAMES.indexOf(name.toUpperCase());
    return number === -1 ? name : String(number);
  });
}

/** Numbers and ranges between commas. */
function numbers(field: string, cron: string): number[] {
  const found = field.split(',').flatMap((part) => {
    const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    if (from === undefined) throw unusual(cron);
    const first = Number(from);
    return Array.from({ length: Number(to ?? from) - first + 1 }, (_, index) => first + index);
  });
  return sorted(found);
}

const sorted = (values: number[]) => [...new Set(values)].sort((one, other) => one - other);

function unusual(cron: string) {
  return badInput(
    'schedule',
    `"${cron}" is not a schedule that this kind of timer can say.`,
    'Use --cron; or a schedule such as hourly, daily, weekly, monthly, `*/15 * * * *`, `30 2 * * 1-5`, `0 2 1,15 * *`.',
  );
}

/** Two digits. */
export const two = (number: number) => String(number).padStart(2, '0');

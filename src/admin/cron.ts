import { DAYS, type Days, isWorkdays, shapeOf, two } from '../core/schedules/shape.js';

/** How often a schedule runs, for those who do not write cron. */
export type Rhythm = 'hourly' | 'sixHourly' | 'daily' | 'workdays' | 'weekly' | 'monthly' | 'custom';

/** A schedule as people choose it. */
export interface Choice {
  rhythm: Rhythm;
  /** `HH:MM`, where the rhythm has a time. */
  time: string;
  /** 0 is Sunday, where the rhythm has a day. */
  weekday: string;
}

export const RHYTHM: Record<Rhythm, string> = {
  hourly: 'Every hour',
  sixHourly: 'Every 6 hours',
  daily: 'Every day',
  workdays: 'Monday to Friday',
  weekly: 'Every week',
  monthly: 'The first of the month',
  custom: 'Custom (cron)',
};

/** From Monday on. */
export const WEEKDAYS = [1, 2, 3, 4, 5, 6, 0].map((day) => ({ value: String(day), label: DAYS[day] ?? '' }));

export const hasTime = (rhythm: Rhythm) => ['daily', 'workdays', 'weekly', 'monthly'].includes(rhythm);

/** What a five-field cron expression says, as far as it is one of the common rhythms. */
export function choiceOf(cron: string): Choice {
  const fixed = { time: '02:00', weekday: '1' };
  const shape = shapeOf(cron);
  if (shape === null || 'everyMinutes' in shape) return { ...fixed, rhythm: 'custom' };
  const { minute, hours, days } = shape;
  if ('every' in hours) {
    const rhythm = minute === 0 && days.kind === 'all' ? HOURLY[hours.every] : undefined;
    return { ...fixed, rhythm: rhythm ?? 'custom' };
  }
  const [hour = 0, ...others] = hours.at;
  const rhythm = others.length > 0 ? 'custom' : rhythmOf(days);
  if (rhythm === 'custom') return { ...fixed, rhythm };
  const weekday = days.kind === 'week' && rhythm === 'weekly' ? String(days.days[0]) : fixed.weekday;
  return { rhythm, time: `${two(hour)}:${two(minute)}`, weekday };
}

/** The rhythms by how many hours are between two runs. */
const HOURLY: Record<number, Rhythm> = { 1: 'hourly', 6: 'sixHourly' };

function rhythmOf(days: Days): Rhythm {
  if (days.kind === 'all') return 'daily';
  if (isWorkdays(days)) return 'workdays';
  if (days.kind === 'month' && days.days.join() === '1') return 'monthly';
  return days.kind === 'week' && days.days.length === 1 ? 'weekly' : 'custom';
}

/** The cron expression of a choice. */
export function cronOf({ rhythm, time, weekday }: Choice): string {
  const [hour, minute] = time.split(':').map(Number);
  const at = `${minute} ${hour}`;
  switch (rhythm) {
    case 'hourly':
      return '0 * * * *';
    case 'sixHourly':
      return '0 */6 * * *';
    case 'workdays':
      return `${at} * * 1-5`;
    case 'weekly':
      return `${at} * * ${weekday}`;
    case 'monthly':
      return `${at} 1 * *`;
    default:
      return `${at} * * *`;
  }
}

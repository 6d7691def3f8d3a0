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

export const WEEKDAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'].map(
  (label, index) => ({ value: String((index + 1) % 7), label }),
);

export const hasTime = (rhythm: Rhythm) => ['daily', 'workdays', 'weekly', 'monthly'].includes(rhythm);

/** What a five-field cron expression says, as far as it is one of the common rhythms. */
export function choiceOf(cron: string): Choice {
  const fixed = { time: '02:00', weekday: '1' };
  if (cron === '0 * * * *') return { ...fixed, rhythm: 'hourly' };
  if (cron === '0 */6 * * *') return { ...fixed, rhythm: 'sixHourly' };
  const [, minute = '', hour = '', days = ''] = /^(\d{1,2}) (\d{1,2}) (\S+ \* \S+)$/.exec(cron) ?? [];
  const time = `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`;
  const rhythm = rhythmOf(days);
  if (rhythm === 'custom' || time > '23:59' || Number(minute) > 59) return { ...fixed, rhythm: 'custom' };
  return { rhythm, time, weekday: rhythm === 'weekly' ? String(Number(days.slice(-1)) % 7) : fixed.weekday };
}

function rhythmOf(days: string): Rhythm {
  if (days === '* * *') return 'daily';
  if (days === '* * 1-5') return 'workdays';
  if (days === '1 * *') return 'monthly';
  return /^\* \* [0-7]$/.test(days) ? 'weekly' : 'custom';
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

import { Group, Text, Tooltip } from '@mantine/core';
import { Link } from 'wouter';
import { day as dayName, plural } from '../format.js';

/** A day with runs. */
export interface CalendarDay {
  date: string;
  completed: number;
  failed: number;
}

const DAY = 86_400_000;
const WEEKS = 53;
/** How many of the newest weeks a phone shows: all of them would be too small to touch. */
const PHONE_WEEKS = 20;

/** Twelve months of days, a column a week, as wide as its place; each day with runs links to them. */
export function RunCalendar({ days, today }: { days: CalendarDay[]; /** yyyy-mm-dd */ today: string }) {
  const known = new Map(days.map((found) => [found.date, found]));
  const end = Date.parse(today);
  // The first column begins on a Monday.
  const start = end - (WEEKS - 1) * 7 * DAY - ((new Date(end).getUTCDay() + 6) % 7) * DAY;
  const weeks = Array.from({ length: WEEKS }, (_, week) =>
    Array.from({ length: 7 }, (_, weekday) => start + (week * 7 + weekday) * DAY).filter((at) => at <= end),
  );
  return (
    <div>
      <div className="calendar" role="group" aria-label="Backups by day">
        {weeks.map((week, index) => (
          <div key={week[0]} className="calendar-week" data-old={index < WEEKS - PHONE_WEEKS || undefined}>
            <span className="calendar-month">{monthOf(week[0] ?? end)}</span>
            {week.map((at) => {
              const date = new Date(at).toISOString().slice(0, 10);
              return <Day key={date} date={date} found={known.get(date)} />;
            })}
          </div>
        ))}
      </div>
      <Group gap="md" mt="xs">
        <Legend kind="good">Completed</Legend>
        <Legend kind="mixed">Completed and failed</Legend>
        <Legend kind="bad">Failed</Legend>
        <Legend kind="none">None</Legend>
      </Group>
    </div>
  );
}

/** The name of the month, above the week in which it begins. */
const monthOf = (monday: number) => (new Date(monday).getUTCDate() <= 7 ? monthName.format(new Date(monday)) : '');

const monthName = new Intl.DateTimeFormat('en', { month: 'short', timeZone: 'UTC' });

function Day({ date, found }: { date: string; found: CalendarDay | undefined }) {
  if (found === undefined) return <span className="calendar-day" data-kind="none" />;
  const { completed, failed } = found;
  const label = `${dayName(date)}: ${plural(completed, 'completed', 'completed')}, ${plural(failed, 'failed', 'failed')}`;
  return (
    <Tooltip label={label} events={{ hover: true, focus: true, touch: true }}>
      <Link href={`/backups?day=${date}`} aria-label={label} className="calendar-day" data-kind={kindOf(found)} />
    </Tooltip>
  );
}

const kindOf = ({ completed, failed }: CalendarDay) => (failed === 0 ? 'good' : completed === 0 ? 'bad' : 'mixed');

function Legend({ kind, children }: { kind: string; children: string }) {
  return (
    <Group gap={6}>
      <span className="calendar-day calendar-key" data-kind={kind} />
      <Text size="xs" c="dimmed">
        {children}
      </Text>
    </Group>
  );
}

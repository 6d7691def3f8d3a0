import { CronExpressionParser } from 'cron-parser';
import { badInput } from '../errors.js';

/**
 * Checks a five-field cron expression and a time zone.
 * @throws AppError BAD_USER_INPUT naming `schedule` or `timezone`
 */
export function assertSchedule(schedule: string, timezone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone });
  } catch {
    throw badInput('timezone', `"${timezone}" is not a time zone.`, 'Use a name such as UTC or Asia/Kolkata.');
  }
  if (schedule.trim().split(/\s+/).length !== 5) {
    throw badInput(
      'schedule',
      `"${schedule}" does not have five fields.`,
      'Write minute, hour, day of month, month and day of week, such as `0 2 * * *` for 02:00 each day.',
    );
  }
  try {
    CronExpressionParser.parse(schedule, { tz: timezone }).next();
  } catch (error) {
    throw badInput('schedule', `"${schedule}" is not a cron expression: ${(error as Error).message}.`);
  }
}

/** The first run after `after`. */
export function nextRun(schedule: string, timezone: string, after: Date): Date {
  return CronExpressionParser.parse(schedule, { tz: timezone, currentDate: after }).next().toDate();
}

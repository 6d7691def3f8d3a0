import { badInput } from '../../errors.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const formats = new Map<string, Intl.DateTimeFormat>();

/** True if this system knows a time zone of this name. */
export function isZone(timezone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone });
    return true;
  } catch {
    return false;
  }
}

/** @throws AppError BAD_USER_INPUT naming `timezone` */
export function assertZone(timezone: string): void {
  if (isZone(timezone)) return;
  throw badInput('timezone', `"${timezone}" is not a time zone.`, 'Use a name such as UTC or Asia/Kolkata.');
}

/** By how much the zone's clock is ahead of UTC at a moment, in milliseconds. */
export function offsetAt(timezone: string, at: number): number {
  if (timezone === 'UTC') return 0;
  let format = formats.get(timezone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', { timeZone: timezone, timeZoneName: 'longOffset' });
    formats.set(timezone, format);
  }
  const match = /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(format.format(at));
  if (match === null) return 0; // "GMT"
  const [, sign, hours, minutes, seconds = '0'] = match;
  const ahead = Number(hours) * HOUR + Number(minutes) * MINUTE + Number(seconds) * SECOND;
  return sign === '-' ? -ahead : ahead;
}

/** What the zone's clock shows at a moment, as if it were UTC, in milliseconds. */
export function wallAt(timezone: string, at: number): number {
  return at + offsetAt(timezone, at);
}

/** The moment when the zone's clock shows this; the first one if it does so twice, the one an hour on if it never does. */
export function momentOf(timezone: string, wall: number): number {
  const before = wall - offsetAt(timezone, wall - 24 * HOUR);
  const after = wall - offsetAt(timezone, wall + 24 * HOUR);
  if (wallAt(timezone, before) === wall) return before;
  return wallAt(timezone, after) === wall ? after : before;
}

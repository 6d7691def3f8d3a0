/** Bytes for people, such as `12.5 MiB`: in the same words as the server's. */
export { humanSize as size } from '../core/text/format.js';

/** The exact number, such as `13,107,200 bytes`. */
export const exactSize = (bytes: number) => `${count(bytes)} ${bytes === 1 ? 'byte' : 'bytes'}`;

export const count = (value: number) => value.toLocaleString('en');

/** `1 table`, `2 tables`. */
export const plural = (value: number, one: string, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** With a capital letter. */
export const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 365 * 86_400],
  ['month', 30 * 86_400],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'always' });

/** A moment seen from another, such as `3 hours ago` or `in 2 days`. */
export function age(at: string, now: number): string {
  const seconds = (Date.parse(at) - now) / 1000;
  for (const [unit, length] of STEPS) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return seconds > 5 ? 'in a moment' : 'just now';
}

const exactFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** A moment in this device's time zone, with its UTC. */
export const exactTime = (at: string) => `${exactFormat.format(new Date(at))} (${at.replace(/\.\d+Z$/, 'Z')})`;

const dayFormat = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
});
const clockFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** A day, such as `Mon, 24 Jul 2025`, of `2025-07-24`. */
export const day = (date: string) => dayFormat.format(new Date(`${date}T12:00:00`));

/** A moment to the minute, in this device's time zone. */
export const moment = (at: string) => clockFormat.format(new Date(at));

/** A length of time, such as `1 min 20 s`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`;
}

/** This device's time zone, such as `Asia/Kolkata`. */
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The folder that a file of the server lies in. */
export const folderOf = (path: string) => path.slice(0, Math.max(1, path.lastIndexOf('/')));

/** The last part of a path of the server. */
export const nameOf = (path: string) => path.split('/').findLast((part) => part !== '') ?? path;

/** Browsers still list some zones under their old names. */
const RENAMED: Record<string, string> = {
  'America/Godthab': 'America/Nuuk',
  'Asia/Calcutta': 'Asia/Kolkata',
  'Asia/Katmandu': 'Asia/Kathmandu',
  'Asia/Rangoon': 'Asia/Yangon',
  'Asia/Saigon': 'Asia/Ho_Chi_Minh',
  'Europe/Kiev': 'Europe/Kyiv',
};

const present = (name: string) => RENAMED[name] ?? name;

/** This device's. */
export const ownZone = present(zone);

/** All time zones, such as `Asia/Kolkata`. */
export const ZONES = [...new Set(['UTC', ...Intl.supportedValuesOf('timeZone').map(present)])];

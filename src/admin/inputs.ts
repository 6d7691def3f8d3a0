/** The units that a size is written in, in bytes. */
export const UNIT = { MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };
export type Unit = keyof typeof UNIT;

/** A size in bytes; '' for none; any other text is input that is no size. */
export type Typed = number | string;

/** What people write behind a number: with the i 1024 of the smaller one, without it 1000, as disks are sold. */
const WRITTEN: Record<string, number> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/**
 * The bytes of a text such as `10`, `1,5` or `10 GB`.
 * @param unit of a number alone
 * @returns the text itself where it means no size that can be a limit
 */
export function bytesOf(text: string, unit: Unit): Typed {
  if (text.trim() === '') return '';
  const [, digits = '', written = ''] = /^\s*(\d+(?:[.,]\d*)?|[.,]\d+)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = written === '' ? UNIT[unit] : WRITTEN[written.toLowerCase()];
  const bytes = digits === '' || factor === undefined ? 0 : Math.round(Number(digits.replace(',', '.')) * factor);
  return bytes > 0 ? bytes : text;
}

/** Whether a text brings its unit along, such as `10 GB`. */
export const hasUnit = (text: string) => /[a-z]\s*$/i.test(text);

/** The largest unit that a size fills. */
export function unitOf(size: Typed): Unit {
  if (typeof size !== 'number') return 'GiB';
  return size >= UNIT.TiB ? 'TiB' : size >= UNIT.GiB ? 'GiB' : 'MiB';
}

/** The number that people write for it. */
export const amountOf = (size: Typed, unit: Unit) =>
  typeof size === 'number' ? String(Number((size / UNIT[unit]).toFixed(3))) : size;

/** What to do about a text that means no size; null where all is well. */
export const sizeProblem = (size: Typed): string | null =>
  typeof size === 'number' || size === ''
    ? null
    : 'Write a number above 0, alone or with its unit, such as 10 GB. Empty: no limit.';

/** A whole number that a person types; '' where nothing is typed. */
export type Whole = number | '';

/** The number that an input holds, which tells `00` and what is longer than numbers are exact as texts. */
export const wholeOf = (value: number | string): Whole =>
  typeof value === 'number' ? value : /^\d+$/.test(value) ? Number(value) : '';

/** The last day that inputs and the API take. */
export const LAST_DAY = '9999-12-31';

/** Whether a text is a day with a year of four digits, such as `2025-07-24`. */
export const isDay = (text: string | null): text is string =>
  text !== null && /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(`${text}T00:00:00`));

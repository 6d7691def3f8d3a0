/** The units that a size is written in, in bytes. */
export const UNIT = { MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };
export type Unit = keyof typeof UNIT;

/** A size in bytes; '' for none; any other text is what somebody has typed and what means no size. */
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

/** A round size that is not less than the given one: the top of an axis. */
export function ceiling(bytes: number): number {
  const unit = 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const step = [1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 800, 1_024].find((each) => each * unit >= bytes);
  return (step ?? 1_024) * unit;
}

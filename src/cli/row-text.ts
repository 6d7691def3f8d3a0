import type { RowSample } from '../core/ports.js';

/** As diff marks lines: `-` what is gone, `+` what is new, `~` what changed. */
export const sign = (before: unknown, after: unknown) => (after === null ? '-' : before === null ? '+' : '~');

/** A row that differs, on one line. */
export function rowText({ key, before, after }: RowSample): string {
  const which = Object.keys(key).length > 0 ? `${JSON.stringify(key)} ` : '';
  if (before === null || after === null) return `${sign(before, after)} ${JSON.stringify(before ?? after)}`;
  return `~ ${which}${JSON.stringify(before)} → ${JSON.stringify(after)}`;
}

/** A whole number that a person types; '' where nothing is typed. */
export type Whole = number | '';

/** The number that an input holds, which tells `00` and what is longer than numbers are exact as texts. */
export const wholeOf = (value: number | string): Whole =>
  typeof value === 'number' ? value : /^\d+$/.test(value) ? Number(value) : '';

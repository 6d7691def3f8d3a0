/** The last day that inputs and the API take. */
export const LAST_DAY = '9999-12-31';

/** Whether a text is a day with a year of four digits, such as `2025-07-24`. */
export const isDay = (text: string | null): text is string =>
  text !== null && /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(`${text}T00:00:00`));

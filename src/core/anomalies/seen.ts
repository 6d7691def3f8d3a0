import type { FallSize, SeenFalls, SeenNumber } from '../../models/index.js';

/*
 * What the history of a number teaches: rows of a table, bytes of a database, files of its media. A number that fell before
 * may fall again as much, at about the time at which that is usual: sessions are removed every night, a log is rotated every
 * month. Any other fall is unusual.
 */

/** A fall: how large it is, and what is lost. */
export interface Fall {
  size: FallSize;
  /** Which part of it is lost, 0 to 1. */
  share: number;
  lost: number;
}

/** Sizes of falls, the largest first: from which share on, and how much must be lost at least. Of little tables one row is no fall. */
const SIZES: { size: FallSize; share: number; lost: number }[] = [
  { size: 'all', share: 0.9, lost: 10 },
  { size: 'much', share: 0.5, lost: 20 },
  { size: 'some', share: 0.2, lost: 50 },
  { size: 'few', share: 0.05, lost: 100 },
];

/** A number is young, and only its greatest losses count, until it was seen so often and for so many days. */
const YOUNG_SEEN = 7;
const YOUNG_DAYS = 31;
/** One fall alone teaches no rhythm: it explains another one for twice the days before it, and no longer than this. */
const FIRST_DAYS = 100;
/** What falls at all may fall again within so many days, however often it did so before. */
const LEAST_DAYS = 14;
/** What never fell twice within so many days is not expected before half of the shortest time is over. */
const RARE_DAYS = 30;
/** What fell so often, and at least every so many days, may fall by the next size as well. */
const OFTEN_TIMES = 2;
const OFTEN_DAYS = 14;
/** A rhythm is the longest time between two falls, which counts this much less with each shorter one. */
const FADING = 0.95;

/** Days since 1970, to a hundredth. */
export const dayOf = (at: Date): number => Math.round(at.getTime() / 864_000) / 100;

/** The fall from one number to another; null where there is none worth the name. @param unit what counts as one: 1 row, or bytes */
export function fallOf(before: number, after: number, unit = 1): Fall | null {
  const lost = before - after;
  if (lost <= 0) return null;
  const share = lost / before;
  const found = SIZES.find((one) => share >= one.share && lost >= one.lost * unit);
  return found === undefined ? null : { size: found.size, share, lost };
}

/** A number that is seen for the first time. */
export const firstSeen = (day: number): SeenNumber => ({ since: day, seen: 0 });

/** Whether too little is known of it to call a fall unusual. */
export const isYoung = ({ since, seen }: SeenNumber, day: number): boolean =>
  seen < YOUNG_SEEN || day - since < YOUNG_DAYS;

/** Whether the history explains a fall of this size now. */
export function explains({ falls = {} }: SeenNumber, size: FallSize, day: number): boolean {
  if (isDue(falls[size], day)) return true;
  const smaller = falls[SIZES[SIZES.findIndex((one) => one.size === size) + 1]?.size ?? size];
  return isDue(smaller, day) && isFrequent(smaller);
}

const isFrequent = (known: SeenFalls | undefined) =>
  known !== undefined && known.times >= OFTEN_TIMES && known.gap <= OFTEN_DAYS;

function isDue(known: SeenFalls | undefined, day: number): boolean {
  if (known === undefined) return false;
  const { times, last, gap, least } = known;
  const passed = day - last;
  if (times === 1) return passed <= Math.min(2 * gap, FIRST_DAYS);
  if (least > RARE_DAYS && passed < least / 2) return false;
  return passed <= Math.max(LEAST_DAYS, (times === 2 ? 2 : 3) * gap);
}

/** What is known of a number after it was seen once more. */
export function seenAgain(number: SeenNumber, day: number, fall: Fall | null): SeenNumber {
  const seen = Math.min(number.seen + 1, YOUNG_SEEN);
  if (fall === null) return { ...number, seen };
  const falls = { ...number.falls };
  // A great fall is one of each smaller size as well.
  for (const { size } of SIZES.slice(SIZES.findIndex((one) => one.size === fall.size))) {
    falls[size] = fallenAgain(falls[size], number.since, day);
  }
  return { ...number, seen, falls };
}

function fallenAgain(known: SeenFalls | undefined, since: number, day: number): SeenFalls {
  const passed = Math.round(Math.max(1, day - (known?.last ?? since)) * 100) / 100;
  if (known === undefined) return { times: 1, last: day, gap: passed, least: passed };
  const { times, gap, least } = known;
  // Before the second one there is only the time for which the number was known.
  if (times === 1) return { times: 2, last: day, gap: passed, least: passed };
  const faded = Math.round(Math.max(passed, gap * FADING) * 100) / 100;
  return { times: times + 1, last: day, gap: faded, least: Math.min(passed, least) };
}

import { type AppError, toAppError } from '../../errors.js';

/** Something that was not taken in, and why. */
export interface Refused<Item> {
  item: Item;
  error: AppError;
}

/**
 * Takes in archives one after the other: one that is refused does not keep the others from it. An incremental backup can
 * come before those that it builds on, wherever they lie, so what lacks them is tried again once others were taken in.
 * @throws the signal's reason
 */
export async function takeInAll<Item>(
  items: readonly Item[],
  take: (item: Item) => Promise<void>,
  signal: AbortSignal,
): Promise<Refused<Item>[]> {
  const refused: Refused<Item>[] = [];
  for (let left = items; ;) {
    const early: Refused<Item>[] = [];
    for (const item of left) {
      signal.throwIfAborted();
      try {
        await take(item);
      } catch (thrown) {
        signal.throwIfAborted();
        const error = toAppError(thrown);
        (error.code === 'CHAIN_BROKEN' ? early : refused).push({ item, error });
      }
    }
    if (early.length === 0 || early.length === left.length) return [...refused, ...early];
    left = early.map(({ item }) => item);
  }
}

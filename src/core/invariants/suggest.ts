import type { TableCount } from '../../models/index.js';

/** How many backups are learned from, and how many tables are suggested at most. */
export const LEARNED_FROM = 60;
const MOST = 10;
/** Tables whose rows come and go by their nature, whatever the backups so far show. */
const PASSING = /session|cache|token|log|queue|job|task|celery|lock|temp|tmp|migrations/i;

/**
 * Tables that have not lost a row from one backup to the next, those with the most rows first.
 * @param history the tables of each backup, oldest first
 */
export function growingTables(history: readonly (readonly TableCount[])[]): string[] {
  const counts = history.map((tables) => new Map(tables.map(({ name, rows }) => [name, rows ?? 0])));
  const newest = history.at(-1) ?? [];
  const grows = (name: string) =>
    counts.every((now, index) => (counts[index - 1]?.get(name) ?? 0) <= (now.get(name) ?? 0));
  return newest
    .filter(({ name, rows }) => rows !== null && rows > 0 && !PASSING.test(name) && grows(name))
    .sort((one, other) => (other.rows ?? 0) - (one.rows ?? 0))
    .slice(0, MOST)
    .map(({ name }) => name);
}

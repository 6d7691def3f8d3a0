import type { ExcludedTable, Exclusions, ExclusionMatches } from '../core/ports.js';
import { matcher } from '../core/text/patterns.js';
import { badInput } from '../errors.js';

/** What can be left out of a dump. */
export interface Excludable {
  /** As lists name it. */
  name: string;
  /** Its name in other forms, and names of what it is a part of: a pattern that fits one of them fits it, too. */
  also?: readonly string[];
  /** False for what holds no rows of its own, such as a view: only the whole of it can be left out. */
  hasRows: boolean;
}

/** Nothing is left out. */
export const NOTHING: Exclusions = { excludeTables: [], excludeTableData: [] };

/** True if nothing is to be left out. */
export const isNothing = ({ excludeTables, excludeTableData }: Exclusions): boolean =>
  excludeTables.length + excludeTableData.length === 0;

/** What of all this patterns leave out. */
export function matchesOf(all: readonly Excludable[], { excludeTables, excludeTableData }: Exclusions) {
  const [isOut, isEmptied] = [matcher(excludeTables), matcher(excludeTableData)];
  const excluded = all.flatMap(({ name, also = [], hasRows }): ExcludedTable[] => {
    const names = [name, ...also];
    if (names.some(isOut)) return [{ table: name, what: 'TABLE' }];
    return hasRows && names.some(isEmptied) ? [{ table: name, what: 'ROWS' }] : [];
  });
  const fitting = (patterns: readonly string[], some: readonly Excludable[]) => {
    const names = some.flatMap(({ name, also = [] }) => [name, ...also]);
    return patterns.filter((pattern) => !names.some(matcher([pattern])));
  };
  const rows = all.filter(({ hasRows }) => hasRows);
  const unmatched = [...fitting(excludeTables, all), ...fitting(excludeTableData, rows)];
  return { excluded, unmatched: [...new Set(unmatched)] } satisfies ExclusionMatches;
}

/** The names of what is left out in this way. */
export const namesOf = ({ excluded }: ExclusionMatches, what: ExcludedTable['what']): string[] =>
  excluded.filter((each) => each.what === what).map(({ table }) => table);

/** The error for something that stays and needs a table that is left out. @param what it is, such as `The view "a"` */
export const neededTable = (what: string, table: string) =>
  badInput(
    'excludeTables',
    `${what} needs ${table}, which would be left out: the backup could not be restored.`,
    'Leave both out, or only the rows: excludeTableData.',
  );

/** The error for rows that stay and refer to rows that are left out. */
export const neededRows = (table: string, referred: string) =>
  badInput(
    'excludeTableData',
    `rows of ${table} refer to ${referred}, whose rows would be left out: the backup could not be restored.`,
    `Leave out the rows of ${table} as well, or of neither.`,
  );

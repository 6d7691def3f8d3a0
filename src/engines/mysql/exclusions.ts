import type { ExclusionMatches, Exclusions } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { type Excludable, isNothing, matchesOf, namesOf, neededRows, neededTable } from '../exclusions.js';
import type { Connection } from './connection.js';
import { holdsRows, listTables } from './facts.js';
import { qualified } from './names.js';

/** What exclusions come to in a database. */
export interface LeftOut {
  matches: ExclusionMatches;
  /** Tables and views of which nothing is dumped, and tables of which only the definition is. */
  gone: string[];
  emptied: string[];
  /** The tables whose rows must be in the dump. */
  kept: string[];
}

/** Nothing is left out, and nothing is looked at. */
export const ALL: LeftOut = { matches: { excluded: [], unmatched: [] }, gone: [], emptied: [], kept: [] };

/**
 * Finds what the patterns fit: the program gets exact names.
 * @throws AppError BAD_USER_INPUT if something that stays needs what is left out, or if the program could mistake one name
 * for another
 */
export async function leftOut(connection: Connection, database: string, exclusions: Exclusions): Promise<LeftOut> {
  if (isNothing(exclusions)) return ALL;
  const listed = await listTables(connection, database);
  const excludable = listed
    .filter((each) => holdsRows(each) || each.type === 'VIEW')
    .map((each): Excludable => ({ name: each.name, hasRows: holdsRows(each) }));
  const matches = matchesOf(excludable, exclusions);
  const [gone, emptied] = [namesOf(matches, 'TABLE'), namesOf(matches, 'ROWS')];
  const left = new Set([...gone, ...emptied]);
  const kept = listed.filter((each) => holdsRows(each) && !left.has(each.name)).map(({ name }) => name);
  assertDistinct(
    listed.map(({ name }) => name),
    { gone, emptied },
  );
  await assertUnneeded(connection, database, gone);
  await assertUnreferred(connection, database, { gone, emptied });
  return { matches, gone, emptied, kept };
}

/** To the programs, names that differ in case or in accents can be the same. */
function assertDistinct(all: string[], { gone, emptied }: Pick<LeftOut, 'gone' | 'emptied'>): void {
  const fold = (name: string) => name.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  const isGone = new Set(gone);
  for (const name of [...gone, ...emptied]) {
    const other = all.find(
      (each) => each !== name && fold(each) === fold(name) && !(isGone.has(each) && isGone.has(name)),
    );
    if (other === undefined) continue;
    throw badInput(
      isGone.has(name) ? 'excludeTables' : 'excludeTableData',
      `to mysqldump, the names ${name} and ${other} can be the same, so it cannot leave out one of them.`,
      'Leave out neither, or both as a whole: excludeTables.',
    );
  }
}

/** Views are made of tables, and foreign keys lead to them. */
async function assertUnneeded(connection: Connection, database: string, gone: string[]): Promise<void> {
  if (gone.length === 0) return;
  const isGone = new Set(gone);
  const views = await connection.rows<{ name: string; text: string }>(
    'SELECT TABLE_NAME AS name, VIEW_DEFINITION AS text FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ?',
    [database],
  );
  for (const { name, text } of views) {
    // The server names each table of a definition with its database.
    const needed = isGone.has(name) ? undefined : gone.find((each) => text.includes(qualified(database, each)));
    if (needed !== undefined) throw neededTable(name, needed);
  }
  for (const { name, other } of await referencesIn(connection, database)) {
    if (isGone.has(other) && !isGone.has(name)) throw neededTable(name, other);
  }
}

async function assertUnreferred(
  connection: Connection,
  database: string,
  { gone, emptied }: Pick<LeftOut, 'gone' | 'emptied'>,
): Promise<void> {
  if (emptied.length === 0) return;
  const [isEmptied, isLeft] = [new Set(emptied), new Set([...gone, ...emptied])];
  for (const { name, other } of await referencesIn(connection, database)) {
    if (isEmptied.has(other) && !isLeft.has(name)) throw neededRows(name, other);
  }
}

const referencesIn = (connection: Connection, database: string) =>
  connection.rows<{ name: string; other: string }>(
    `SELECT DISTINCT TABLE_NAME AS name, REFERENCED_TABLE_NAME AS other FROM information_schema.REFERENTIAL_CONSTRAINTS
     WHERE CONSTRAINT_SCHEMA = ? AND UNIQUE_CONSTRAINT_SCHEMA = ?`,
    [database, database],
  );

import type { SuggestedInvariant } from '../../core/ports.js';
import { readTables, type ReadTable, tableCalled } from './columns.js';
import type { Connection } from './connection.js';
import { qualified, quoted } from './names.js';
import { whileWanted } from './query.js';
import type { Place } from './url.js';

/**
 * Invariants that the database keeps now, from its schema.
 * @param growing tables of which no row is expected to go, in order of importance
 */
export async function suggestAt(
  place: Place,
  growing: readonly string[],
  signal: AbortSignal,
): Promise<SuggestedInvariant[]> {
  return whileWanted(place, signal, async (connection) => {
    await connection.run('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const tables = await readTables(connection);
    return [
      ...(await administrators(connection, tables)),
      ...(await foreignKeys(connection)),
      ...growing.flatMap((name) => {
        const table = tableCalled(tables, name);
        return table === undefined ? [] : [neverLess(name, table)];
      }),
    ];
  });
}

/** As a query names it: `public` is looked through. */
const inQuery = (table: ReadTable) => (table.schema === 'public' ? quoted(table.name) : qualified(table));

const neverLess = (name: string, table: ReadTable): SuggestedInvariant => ({
  name: `No row of ${name} is lost`,
  sql: `SELECT count(*) FROM ${inQuery(table)}`,
  expect: 'NOT_LESS_THAN_BEFORE',
  value: null,
});

const BOOLEAN = 16;

/** Of Django's users, whatever their table is called: without a super-user nobody can repair anything. */
async function administrators(connection: Connection, tables: readonly ReadTable[]): Promise<SuggestedInvariant[]> {
  const found: SuggestedInvariant[] = [];
  for (const table of tables) {
    const flags = table.columns.filter(({ name, type }) => /^is_(superuser|active)$/.test(name) && type === BOOLEAN);
    if (flags.length < 2) continue;
    const condition = 'WHERE is_superuser AND is_active';
    const [row] = await connection.rows(`SELECT FROM ${qualified(table)} ${condition} LIMIT 1`);
    if (row === undefined) continue;
    const sql = `SELECT count(*) FROM ${inQuery(table)} ${condition}`;
    found.push({ name: `There is a super-user in ${table.name}`, sql, expect: 'AT_LEAST', value: '1' });
  }
  return found;
}

const UNCHECKED = `SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated`;

/** Where the schema has foreign keys and all of them hold: one that is NOT VALID may refer to rows that are not there. */
async function foreignKeys(connection: Connection): Promise<SuggestedInvariant[]> {
  const declared = await connection.rows("SELECT FROM pg_constraint WHERE contype = 'f' LIMIT 1");
  if (declared.length === 0 || (await connection.rows(`${UNCHECKED} LIMIT 1`)).length > 0) return [];
  return [{ name: 'Every foreign key refers to a row', sql: UNCHECKED, expect: 'EMPTY', value: null }];
}

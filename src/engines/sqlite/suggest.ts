import type { SuggestedInvariant } from '../../core/ports.js';
import type { SqliteConnection } from './connection.js';
import { quoted } from './info.js';
import { type Objects, readObjects } from './objects.js';
import { openPrivate } from './query.js';
import { folded } from './schema.js';

/**
 * Invariants that a private copy keeps now, from its schema.
 * @param task.growing tables of which no row is expected to go, in order of importance
 */
export async function suggestIn(task: { path: string; growing: string[] }): Promise<SuggestedInvariant[]> {
  const connection = await openPrivate(task.path);
  try {
    const objects = await readObjects(connection, 'main');
    return [
      ...(await administrators(connection, objects)),
      ...(await foreignKeys(connection)),
      ...task.growing.flatMap((name) => {
        const table = objects.get(folded(name));
        return table?.kind === 'table' ? [neverLess(table.name)] : [];
      }),
    ];
  } finally {
    await connection.close();
  }
}

const neverLess = (table: string): SuggestedInvariant => ({
  name: `No row of ${table} is lost`,
  sql: `SELECT count(*) FROM ${quoted(table)}`,
  expect: 'NOT_LESS_THAN_BEFORE',
  value: null,
});

/** Of Django's users, whatever their table is called: without a super-user nobody can repair anything. */
async function administrators(connection: SqliteConnection, objects: Objects): Promise<SuggestedInvariant[]> {
  const found: SuggestedInvariant[] = [];
  for (const { name, kind } of objects.values()) {
    if (kind !== 'table') continue;
    const flags = await connection.all<{ name: string }>(
      `SELECT name FROM pragma_table_info(?, 'main') WHERE name IN ('is_superuser', 'is_active')`,
      name,
    );
    if (flags.length < 2) continue;
    const sql = `SELECT count(*) FROM ${quoted(name)} WHERE is_superuser AND is_active`;
    if ((await connection.value<number>(sql)) === 0) continue;
    found.push({ name: `There is a super-user in ${name}`, sql, expect: 'AT_LEAST', value: '1' });
  }
  return found;
}

const BROKEN = 'SELECT "table", rowid, parent FROM pragma_foreign_key_check';

/** Where the schema has foreign keys that hold: applications on SQLite often do not have them enforced. */
async function foreignKeys(connection: SqliteConnection): Promise<SuggestedInvariant[]> {
  const declared = await connection.all(
    `SELECT 1 FROM pragma_table_list AS t, pragma_foreign_key_list(t.name) WHERE t.schema = 'main' LIMIT 1`,
  );
  if (declared.length === 0 || (await connection.all(`${BROKEN} LIMIT 1`)).length > 0) return [];
  return [{ name: 'Every foreign key refers to a row', sql: BROKEN, expect: 'EMPTY', value: null }];
}

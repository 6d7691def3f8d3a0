import { sqliteWords } from './connection.js';
import { AppError } from '../../errors.js';
import type { SqliteConnection } from './connection.js';
import { whatIsMissing } from './missing.js';
import type { SchemaName } from './objects.js';
import { restorable } from './replace.js';
import { folded } from './schema.js';

/** The foreign keys from and to some tables. */
export interface ForeignKeys {
  /** For each pair of child and parent, as shown: how many rows refer to nothing. */
  broken: Map<string, number>;
  /** Tables, by folded names, with a foreign key whose columns do not fit its parent: SQLite cannot check them. */
  unfit: Set<string>;
}

const MISMATCH = /^foreign key mismatch/;

/**
 * Checks the foreign keys of these tables and those that refer to them.
 * Tables that cannot be checked without the application's own parts are left out, unless they are replaced themselves.
 */
export async function foreignKeysOf(
  connection: SqliteConnection,
  schema: SchemaName,
  keys: Set<string>,
): Promise<ForeignKeys> {
  const links = await connection.all<{ child: string; parent: string }>(
    `SELECT DISTINCT m.name AS child, f."table" AS parent
     FROM ${schema}.sqlite_schema AS m JOIN pragma_foreign_key_list(m.name, '${schema}') AS f WHERE m.type = 'table'`,
  );
  const bound = links.filter(({ child, parent }) => keys.has(folded(child)) || keys.has(folded(parent)));
  const found: ForeignKeys = { broken: new Map(), unfit: new Set() };
  for (const child of new Set(bound.map((link) => link.child))) {
    const work = () => check(connection, schema, child, found);
    // A key of own collation that a table which stays refers to stays as well: such a table cannot be chosen.
    if (schema === 'main' && keys.has(folded(child))) await restorable(child, work);
    else await whatIsMissing(work);
  }
  return found;
}

async function check(
  connection: SqliteConnection,
  schema: SchemaName,
  child: string,
  { broken, unfit }: ForeignKeys,
): Promise<void> {
  try {
    const rows = await connection.all<{ parent: string; n: number }>(
      `SELECT parent, count(*) AS n FROM pragma_foreign_key_check(?, '${schema}') GROUP BY 1`,
      child,
    );
    for (const { parent, n } of rows) broken.set(linkOf(child, parent), n);
  } catch (error) {
    if (!MISMATCH.test(sqliteWords(error))) throw error;
    unfit.add(folded(child));
  }
}

/** Names a pair of child and parent. */
export const linkOf = (child: string, parent: string) => `${folded(child)} → ${folded(parent)}`;

/**
 * Fails if a load has left foreign keys worse than they were in the target before and than they are in the dump.
 * @throws AppError DATABASE_FAILED
 */
export function assertNoWorse(after: ForeignKeys, before: ForeignKeys, dump: ForeignKeys): void {
  const worse: string[] = [];
  for (const [link, n] of after.broken) {
    const child = link.slice(0, link.indexOf(' → '));
    const known = before.unfit.has(child) || dump.unfit.has(child);
    const most = Math.max(before.broken.get(link) ?? 0, dump.broken.get(link) ?? 0);
    if (!known && n > most) worse.push(`${link} (${n} rows)`);
  }
  for (const child of after.unfit) {
    if (!before.unfit.has(child) && !dump.unfit.has(child)) worse.push(`${child} (no longer fits its parent)`);
  }
  if (worse.length === 0) return;
  throw new AppError('DATABASE_FAILED', `These tables alone would break foreign keys: ${worse.join(', ')}.`, {
    field: 'tables',
    hint: 'Restore the tables that they refer to as well: the plan lists them (includeRelated: true).',
  });
}

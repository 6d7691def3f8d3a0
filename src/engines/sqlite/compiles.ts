import { sqliteWords } from './connection.js';
import { AppError } from '../../errors.js';
import type { SqliteConnection } from './connection.js';
import { quoted } from './info.js';
import { missingPart } from './missing.js';
import type { Objects, SchemaName, SchemaObject } from './objects.js';
import { WHOLE } from './selection.js';

/** For each table that cannot be written and each view that cannot be read because of what its text names: SQLite's reason. */
export type Broken = Map<string, string>;

/**
 * Finds tables whose triggers, and views whose queries, name what is not there, by compiling statements without running
 * them. What only the application's own functions are missing for counts as usable.
 */
export async function brokenObjects(
  connection: SqliteConnection,
  schema: SchemaName,
  objects: Objects,
): Promise<Broken> {
  const broken: Broken = new Map();
  for (const [key, object] of objects) {
    for (const statement of await statementsOf(connection, schema, object)) {
      const reason = await connection.all(`EXPLAIN ${statement}`).then(() => null, reasonOf);
      if (reason !== null) broken.set(key, reason);
    }
  }
  return broken;
}

async function statementsOf(
  connection: SqliteConnection,
  schema: SchemaName,
  { name, kind, triggers }: SchemaObject,
): Promise<string[]> {
  const table = `${schema}.${quoted(name)}`;
  const read = kind === 'view' ? [`SELECT * FROM ${table}`] : [];
  if (triggers.length === 0 || kind === 'virtual') return read;
  const columns = await connection
    .all<{ name: string }>(`SELECT name FROM pragma_table_xinfo(?, '${schema}') WHERE hidden = 0`, name)
    .catch(() => []);
  const [first] = columns;
  if (first === undefined) return read;
  const same = columns.map((column) => `${quoted(column.name)} = NULL`).join(', ');
  return [
    ...read,
    ...written(triggers, 'INSERT', `INSERT INTO ${table} (${quoted(first.name)}) VALUES (NULL)`),
    ...written(triggers, 'UPDATE', `UPDATE ${table} SET ${same}`),
    ...written(triggers, 'DELETE', `DELETE FROM ${table}`),
  ];
}

/** A view takes only the statements that it has a trigger for. */
const written = (triggers: SchemaObject['triggers'], event: string, statement: string) =>
  triggers.some(({ sql }) => new RegExp(`\\b${event}\\b`, 'i').test(sql ?? '')) ? [statement] : [];

function reasonOf(error: unknown): string | null {
  if (missingPart(error) !== null) return null;
  const reason = sqliteWords(error);
  // Whatever a view has no trigger for is the same before and after.
  return !/^(no such|table|cannot)/.test(reason) || /because it is a view$/.test(reason) ? null : reason;
}

/**
 * Judges what a load has broken that was usable in the target before, or for replaced tables in the dump.
 * @returns a warning for each view @throws AppError DATABASE_FAILED for a table that could no longer be written
 */
export function judgeBroken(
  { after, before, dump }: { after: Broken; before: Broken; dump: Broken },
  objects: Objects,
  keys: Set<string>,
): string[] {
  const warnings: string[] = [];
  for (const [key, reason] of after) {
    const object = objects.get(key);
    if (object === undefined || dump.has(key) || (before.has(key) && !keys.has(key))) continue;
    if (object.kind !== 'view') throw unwritable(object.name, reason);
    warnings.push(`The view ${object.name} cannot be used after this restore: ${reason}.`);
  }
  return warnings;
}

const unwritable = (table: string, reason: string) =>
  new AppError('DATABASE_FAILED', `tables: triggers of ${table} would fail after this restore: ${reason}.`, {
    field: 'tables',
    hint: `Choose what they use as well, or set includeRelated: true. ${WHOLE}`,
  });

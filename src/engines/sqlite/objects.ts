import type { SqliteConnection } from './connection.js';
import { folded, type SchemaItem } from './schema.js';
import { STAMP_CONDITION } from './stamp.js';

/** A database of a connection: the main one, the attached dump of a load, or the later one of two that are compared. */
export type SchemaName = 'main' | 'dump' | 'later';

/** A table or view with everything that SQLite drops together with it. */
export interface SchemaObject {
  name: string;
  /** `shadow`: it stores the content of a virtual table. */
  kind: 'table' | 'virtual' | 'shadow' | 'view';
  definition: SchemaItem;
  /** Its indexes that have a definition, and its triggers. */
  indexes: SchemaItem[];
  triggers: SchemaItem[];
}

/** The tables and views of a database by their folded names. SQLite's own tables and a restore's stamp are left out. */
export type Objects = Map<string, SchemaObject>;

/** Reads the schema. A trigger keeps the spelling of its table that its author used, so names are compared folded. */
export async function readObjects(connection: SqliteConnection, schema: SchemaName): Promise<Objects> {
  const items = await connection.all<SchemaItem>(
    `SELECT type, name, tbl_name, sql FROM ${schema}.sqlite_schema
     WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND NOT (${STAMP_CONDITION})
     ORDER BY type, name`,
  );
  const listed = await connection.all<{ name: string; type: SchemaObject['kind'] }>(
    `SELECT name, type FROM pragma_table_list WHERE schema = ?`,
    schema,
  );
  const kinds = new Map(listed.map(({ name, type }) => [folded(name), type]));
  const objects: Objects = new Map();
  for (const item of items) {
    if (item.type !== 'table' && item.type !== 'view') continue;
    const kind = item.type === 'view' ? 'view' : (kinds.get(folded(item.name)) ?? 'table');
    objects.set(folded(item.name), { name: item.name, kind, definition: item, indexes: [], triggers: [] });
  }
  for (const item of items) {
    const owner = objects.get(folded(item.tbl_name));
    if (item.type === 'index') owner?.indexes.push(item);
    if (item.type === 'trigger') owner?.triggers.push(item);
  }
  return objects;
}

/** The virtual table that a shadow table belongs to: SQLite derives it from the name in the same way. */
export const ownerOf = (shadow: string) => shadow.slice(0, shadow.lastIndexOf('_'));

/** The name with those of the virtual table and the shadow tables that exist only together with it. */
export function familyOf(key: string, objects: Objects): string[] {
  const kind = objects.get(key)?.kind;
  if (kind !== 'virtual' && kind !== 'shadow') return [key];
  const owner = kind === 'virtual' ? key : ownerOf(key);
  const shadows = [...objects].filter(([name, object]) => object.kind === 'shadow' && ownerOf(name) === owner);
  return [owner, ...shadows.map(([name]) => name)];
}

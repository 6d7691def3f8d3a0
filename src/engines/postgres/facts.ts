import { createHash } from 'node:crypto';
import type { AppVersion, ExcludedTable, Finding, TableInfo } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { type Connection, serverOf } from './connection.js';
import { literal, qualified, quoted, type TableName, tableName } from './names.js';
import type { Place } from './url.js';

/** Schemas of the server's own, and what extensions make: `CREATE EXTENSION` brings that back. */
export const OWN = `n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`;

/** A table that holds rows. Of a partitioned one these are its partitions. */
export interface Table extends TableName {
  oid: string;
}

/** What a database holds, without what is wrong with it. */
export interface Facts {
  tables: TableInfo[];
  apps: AppVersion[];
  source: Record<string, string | number>;
}

/** Bytes of the database of the connection on the server's disk. */
export async function sizeOf(connection: Connection): Promise<number> {
  const [found] = await connection.rows<{ bytes: string }>(
    'SELECT pg_database_size(current_database())::text AS bytes',
  );
  return Number(found?.bytes ?? 0);
}

/**
 * Fails unless the user may read all that a backup holds.
 * @throws AppError DATABASE_UNREADABLE with the statements that give the rights
 */
export async function assertReadable(connection: Connection, place: Place): Promise<void> {
  const denied = await connection.rows<TableName>(
    `SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND ${OWN}
       AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
     ORDER BY 1, 2`,
  );
  if (denied.length > 0) {
    throw new AppError('DATABASE_UNREADABLE', missing(place, denied, 'must not read'), {
      hint: `As a superuser, run: ${grants(connection, place, denied).join(' ')}`,
    });
  }
  const hidden = await connection.rows<TableName>(
    `SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND ${OWN} AND row_security_active(c.oid) ORDER BY 1, 2`,
  );
  if (hidden.length > 0) {
    throw new AppError('DATABASE_UNREADABLE', missing(place, hidden, 'is kept by row security from rows of'), {
      hint: `As a superuser, run: ALTER ROLE ${quoted(place.user)} BYPASSRLS;`,
    });
  }
  const owners = await ownersOfClosedObjects(connection);
  if (owners.length === 0) return;
  const user = `The user ${quoted(place.user)} of ${serverOf(place).replace('The', 'the')}`;
  const text = `${user} must not read large objects of ${owners.map(quoted).join(', ')}.`;
  throw new AppError('DATABASE_UNREADABLE', text, {
    hint: `As a superuser, run: ${owners.map((owner) => `GRANT ${quoted(owner)} TO ${quoted(place.user)};`).join(' ')}`,
  });
}

/** Large objects have rights of their own, which no role has for all of them. */
async function ownersOfClosedObjects(connection: Connection): Promise<string[]> {
  const rows = await connection.rows<{ owner: string }>(
    `SELECT DISTINCT pg_get_userbyid(lomowner) AS owner FROM pg_largeobject_metadata
     WHERE current_setting('lo_compat_privileges') = 'off' AND NOT pg_has_role(lomowner, 'USAGE')
       AND NOT EXISTS (SELECT FROM aclexplode(lomacl) a WHERE a.privilege_type = 'SELECT'
         AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE'))) ORDER BY 1`,
  );
  return rows.map(({ owner }) => owner);
}

function missing(place: Place, tables: TableName[], what: string): string {
  const named = tables.slice(0, 3).map(tableName).join(', ');
  const more = tables.length > 3 ? ` and ${tables.length - 3} more` : '';
  return `The user ${quoted(place.user)} of ${serverOf(place).replace('The', 'the')} ${what} ${named}${more}.`;
}

function grants({ major }: Connection, place: Place, denied: TableName[]): string[] {
  const user = quoted(place.user);
  if (major >= 14) return [`GRANT pg_read_all_data TO ${user};`];
  return [...new Set(denied.map(({ schema }) => schema))].flatMap((schema) => [
    `GRANT USAGE ON SCHEMA ${quoted(schema)} TO ${user};`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA ${quoted(schema)} TO ${user};`,
    `GRANT SELECT ON ALL SEQUENCES IN SCHEMA ${quoted(schema)} TO ${user};`,
  ]);
}

/** How to count the rows of a database. */
export interface Counting {
  /** When to stop, in milliseconds since 1970: tables after it are not counted. Null: all are, however long that takes. */
  deadline: number | null;
  /** What is not counted: tables that are left out are not listed, those without their rows are empty. */
  excluded?: readonly ExcludedTable[];
}

/** The tables that hold rows, by schema and name. */
export const storedTables = (connection: Connection): Promise<Table[]> =>
  connection.rows<Table>(
    `SELECT c.oid::text AS oid, n.nspname AS schema, c.relname AS name
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND ${OWN} ORDER BY 2, 3`,
  );

/** What the database of the connection holds, as far as its transaction sees it. */
export async function factsOf(connection: Connection, { deadline, excluded = [] }: Counting): Promise<Facts> {
  const whats = new Map(excluded.map(({ table, what }) => [table, what]));
  const all = await storedTables(connection);
  const tables = all.filter((table) => whats.get(tableName(table)) !== 'TABLE');
  const definitions = await definitionsOf(connection);
  const references = await referencesOf(connection);
  const source = await sourceOf(connection);
  const isEmptied = (table: Table) => whats.get(tableName(table)) === 'ROWS';
  const apps = await djangoApps(
    connection,
    tables.filter((table) => !isEmptied(table)),
  );
  const listed: TableInfo[] = [];
  for (const table of tables) {
    listed.push({
      name: tableName(table),
      rows: isEmptied(table) ? 0 : await countOf(connection, table, deadline),
      schema: createHash('sha256')
        .update(definitions.get(table.oid) ?? '')
        .digest('hex')
        .slice(0, 16),
      references: references.get(table.oid) ?? [],
    });
  }
  return { tables: listed, apps, source };
}

/** Null where the time is over, or where the table went meanwhile. */
async function countOf(connection: Connection, table: Table, deadline: number | null): Promise<number | null> {
  const left = deadline === null ? 0 : deadline - Date.now();
  if (deadline !== null && left <= 0) return null;
  if (deadline !== null) await connection.run(`SET statement_timeout = ${Math.max(1, Math.ceil(left))}`);
  try {
    const [found] = await connection.rows<{ rows: string }>(
      `SELECT count(*)::text AS rows FROM ONLY ${qualified(table)}`,
    );
    return Number(found?.rows);
  } catch (error) {
    if (deadline === null || !(error instanceof AppError) || error.code === 'DATABASE_NOT_FOUND') throw error;
    return null;
  } finally {
    if (deadline !== null) await connection.run('SET statement_timeout = 0').catch(() => undefined);
  }
}

/** What makes each table, by its oid: columns, constraints, indexes, triggers and policies. */
export async function definitionsOf(connection: Connection): Promise<Map<string, string>> {
  const parts = await connection.rows<{ oid: string; text: string }>(
    `SELECT oid::text AS oid, string_agg(part, E'\\n' ORDER BY kind, place, part) AS text FROM (
       SELECT a.attrelid AS oid, 1 AS kind, a.attnum AS place,
         concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
           pg_get_expr(d.adbin, d.adrelid)) AS part
       FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attnum > 0 AND NOT a.attisdropped
       UNION ALL SELECT conrelid, 2, 0, conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0
       UNION ALL SELECT indrelid, 3, 0, pg_get_indexdef(indexrelid) FROM pg_index
       UNION ALL SELECT tgrelid, 4, 0, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
       UNION ALL SELECT polrelid, 5, 0, concat_ws(' ', polname, polcmd, pg_get_expr(polqual, polrelid),
         pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
     ) parts WHERE oid IN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind = 'r' AND ${OWN}) GROUP BY oid`,
  );
  return new Map(parts.map(({ oid, text }) => [oid, text]));
}

async function referencesOf(connection: Connection): Promise<Map<string, string[]>> {
  const pairs = await connection.rows<TableName & { oid: string }>(
    `SELECT DISTINCT k.conrelid::text AS oid, n.nspname AS schema, c.relname AS name
     FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE k.contype = 'f' ORDER BY 1, 2, 3`,
  );
  const references = new Map<string, string[]>();
  for (const { oid, ...table } of pairs) references.set(oid, [...(references.get(oid) ?? []), tableName(table)]);
  return references;
}

/** How a database was made, as every version of the server has it. */
interface DatabaseRow {
  encoding: string;
  datcollate: string | null;
  datctype: string | null;
  /** `c` libc, `i` ICU, `b` builtin. Missing before version 15. */
  datlocprovider?: string;
  daticulocale?: string | null;
  datlocale?: string | null;
}

/** What the metadata note of the database: enough to make a new one like it. */
async function sourceOf(connection: Connection): Promise<Record<string, string | number>> {
  const [found] = await connection.rows<{ version: string; owner: string; encoding: string; row: DatabaseRow }>(
    `SELECT current_setting('server_version') AS version, pg_get_userbyid(datdba) AS owner,
       pg_encoding_to_char(encoding) AS encoding, to_jsonb(d) AS row
     FROM pg_database d WHERE datname = current_database()`,
  );
  const extensions = await connection.rows<{ text: string }>(
    `SELECT extname || ' ' || extversion AS text FROM pg_extension ORDER BY extname`,
  );
  // A dump writes amounts of money as this setting has it, and says nowhere how that was.
  const [money] = await connection.rows<{ locale: string }>(
    `SELECT current_setting('lc_monetary') AS locale FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE a.atttypid IN ('money'::regtype, 'money[]'::regtype) AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND ${OWN} LIMIT 1`,
  );
  const { version = '', owner = '', encoding = '', row } = found ?? {};
  const facts = {
    server_version: version.split(' ')[0] ?? '',
    owner,
    encoding,
    collate: row?.datcollate ?? '',
    ctype: row?.datctype ?? '',
    locale_provider: PROVIDERS[row?.datlocprovider ?? 'c'] ?? 'libc',
    locale: row?.datlocale ?? row?.daticulocale ?? '',
    lc_monetary: money?.locale ?? '',
    extensions: extensions
      .map(({ text }) => text)
      .join(', ')
      .slice(0, 1_000),
  };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== ''));
}

/** The locale providers of a database. */
export const PROVIDERS: Record<string, string> = { c: 'libc', i: 'icu', b: 'builtin' };

async function djangoApps(connection: Connection, tables: Table[]): Promise<AppVersion[]> {
  const found = tables.filter(({ name }) => name === 'django_migrations');
  const table = found.find(({ schema }) => schema === 'public') ?? found[0];
  if (table === undefined) return [];
  const columns = await connection.rows<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute WHERE attrelid = ${literal(table.oid)}::oid AND attnum > 0`,
  );
  const names = new Set(columns.map(({ name }) => name));
  if (!['id', 'app', 'name'].every((name) => names.has(name))) return [];
  const rows = await connection.rows<{ app: string; name: string }>(
    `SELECT app::text AS app, name::text AS name FROM ${qualified(table)}
     WHERE id IN (SELECT max(id) FROM ${qualified(table)} GROUP BY app) ORDER BY app`,
  );
  return rows.map(({ app, name }) => ({ app, latestMigration: name }));
}

/** What a user should know of a live database; empty if there is nothing to say. */
export function countFindings(tables: TableInfo[]): Finding[] {
  const uncounted = tables.filter(({ rows }) => rows === null).length;
  if (uncounted === 0) return [];
  const message = `The rows of ${uncounted} tables were not counted: that takes too long here. A backup counts all of them.`;
  return [{ kind: 'uncounted', table: null, message }];
}

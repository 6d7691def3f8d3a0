import { writeFile, rm } from 'node:fs/promises';
import type { LoadOptions } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { isLeftover } from '../beside.js';
import { type Connection, withConnection } from './connection.js';
import { type DumpFile, listOf, outlineOf } from './dump.js';
import { PROVIDERS } from './facts.js';
import { literal, quoted } from './names.js';
import { runTool, startTool } from './tools.js';
import type { Place } from './url.js';

/** How a database of the server was made, and what is set for it. */
export interface DatabaseShape {
  oid: string;
  owner: string;
  encoding: string;
  collate: string;
  ctype: string;
  provider: string;
  locale: string;
  tablespace: string;
  comment: string | null;
  /** Statements that give another database the same limit, rights and settings. */
  settings: ((database: string) => string)[];
}

/** The shape of a database of this name; null if there is none. */
export async function shapeOf(connection: Connection, name: string): Promise<DatabaseShape | null> {
  const [row] = await connection.rows<{
    oid: string;
    owner: string;
    encoding: string;
    tablespace: string;
    comment: string | null;
    row: Record<string, unknown>;
  }>(
    `SELECT d.oid::text AS oid, pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding,
       t.spcname AS tablespace, shobj_description(d.oid, 'pg_database') AS comment, to_jsonb(d) AS row
     FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE datname = $1`,
    [name],
  );
  if (row === undefined) return null;
  const { row: facts, ...known } = row;
  const text = (field: string) => String(facts[field] ?? '');
  return {
    ...known,
    collate: text('datcollate'),
    ctype: text('datctype'),
    provider: PROVIDERS[text('datlocprovider')] ?? 'libc',
    locale: text('datlocale') || text('daticulocale'),
    settings: [
      ...limitOf(Number(facts.datconnlimit)),
      ...(await rightsOf(connection, row.oid)),
      ...(await settingsOf(connection, row.oid)),
    ],
  };
}

/** Given last: to fill a database takes several connections. */
const limitOf = (connections: number): DatabaseShape['settings'] =>
  connections >= 0 ? [(database) => `ALTER DATABASE ${quoted(database)} CONNECTION LIMIT ${connections}`] : [];

/** Rights on the database, where they are not those that every new one has. */
async function rightsOf(connection: Connection, oid: string): Promise<DatabaseShape['settings']> {
  const rows = await connection.rows<{ role: string | null; right: string; grantable: boolean }>(
    `SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END AS role,
       a.privilege_type AS right, a.is_grantable AS grantable
     FROM pg_database d, aclexplode(d.datacl) a WHERE d.oid = $1 AND a.grantee <> d.datdba ORDER BY 1, 2`,
    [oid],
  );
  const [own] = await connection.rows<{ own: boolean }>(
    'SELECT datacl IS NOT NULL AS own FROM pg_database WHERE oid = $1',
    [oid],
  );
  if (own?.own !== true) return [];
  const given = rows.map(({ role, right, grantable }) => (database: string) => {
    const to = role === null ? 'PUBLIC' : quoted(role);
    return `GRANT ${right} ON DATABASE ${quoted(database)} TO ${to}${grantable ? ' WITH GRANT OPTION' : ''}`;
  });
  return [(database) => `REVOKE ALL ON DATABASE ${quoted(database)} FROM PUBLIC`, ...given];
}

/** What `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET` have set. */
async function settingsOf(connection: Connection, oid: string): Promise<DatabaseShape['settings']> {
  const rows = await connection.rows<{ role: string | null; setting: string }>(
    `SELECT CASE WHEN setrole = 0 THEN NULL ELSE pg_get_userbyid(setrole) END AS role, unnest(setconfig) AS setting
     FROM pg_db_role_setting WHERE setdatabase = $1`,
    [oid],
  );
  return rows.map(({ role, setting }) => {
    const [name = '', ...value] = setting.split('=');
    const set = `SET ${name.split('.').map(quoted).join('.')} TO ${settingValue(name, value.join('='))}`;
    return (database) =>
      role === null
        ? `ALTER DATABASE ${quoted(database)} ${set}`
        : `ALTER ROLE ${quoted(role)} IN DATABASE ${quoted(database)} ${set}`;
  });
}

/** Settings that hold a list of names keep it as the text that it is in SQL. */
const LISTS = /^(search_path|temp_tablespaces|session_preload_libraries|local_preload_libraries)$/i;
const settingValue = (name: string, value: string) => (LISTS.test(name) && value !== '' ? value : literal(value));

/** Makes an empty database like another one. */
export async function createDatabase(
  connection: Connection,
  name: string,
  shape: Partial<DatabaseShape>,
): Promise<void> {
  const { owner, encoding, collate, ctype, provider, locale, tablespace } = shape;
  const options = [
    'TEMPLATE template0',
    ...(owner ? [`OWNER ${quoted(owner)}`] : []),
    ...(encoding ? [`ENCODING ${literal(encoding)}`] : []),
    ...(provider && connection.major >= 15 ? [`LOCALE_PROVIDER ${provider}`] : []),
    ...(collate ? [`LC_COLLATE ${literal(collate)}`] : []),
    ...(ctype ? [`LC_CTYPE ${literal(ctype)}`] : []),
    ...(locale && provider === 'icu' ? [`ICU_LOCALE ${literal(locale)}`] : []),
    ...(locale && provider === 'builtin' ? [`BUILTIN_LOCALE ${literal(locale)}`] : []),
    // To name even the usual one takes a right on it.
    ...(tablespace && tablespace !== 'pg_default' ? [`TABLESPACE ${quoted(tablespace)}`] : []),
  ];
  await connection.run(`CREATE DATABASE ${quoted(name)} ${options.join(' ')}`);
}

/** Drops a database of ours with all that is connected to it, if there is one. */
export async function dropDatabase(connection: Connection, name: string): Promise<void> {
  if (connection.major >= 13) return connection.run(`DROP DATABASE IF EXISTS ${quoted(name)} WITH (FORCE)`);
  await endSessions(connection, name);
  await connection.run(`DROP DATABASE IF EXISTS ${quoted(name)}`);
}

/** Ends all connections to a database but our own. @returns how many there were */
export async function endSessions(connection: Connection, name: string): Promise<number> {
  const rows = await connection.rows(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
    [name],
  );
  return rows.length;
}

/** Removes what drills and restores of dead processes have left: their names say when they were made. */
export async function dropLeftovers(connection: Connection): Promise<void> {
  const rows = await connection.rows<{ name: string }>(
    `SELECT datname AS name FROM pg_database d WHERE datname LIKE 'dbm\\_%' AND pg_has_role(datdba, 'MEMBER')
       AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)`,
  );
  // One that cannot be dropped is no reason to leave the others.
  for (const { name } of rows) if (isLeftover(name)) await dropDatabase(connection, name).catch(() => undefined);
}

/** A database of our own for a moment. */
export interface Scratch {
  place: Place;
  /** Of the database that the dump is for; null: there is none. */
  shape: DatabaseShape | null;
  /** As for `Filling`. */
  part: 'all' | 'definitions';
}

/** Loads a dump into a database that is removed again, and runs `work` with a connection to it. */
export async function inScratch<T>(
  server: Connection,
  dump: DumpFile,
  { place, shape, part }: Scratch,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  try {
    await createDatabase(server, place.database, shape ?? {});
    await closeToOthers(server, place.database);
    await fillDatabase(server, dump, place, { owner: shape?.owner ?? null, part, isScratch: true });
    return await withConnection(place, dump.signal, work);
  } finally {
    await dropDatabase(server, place.database);
  }
}

/** Old rows are for nobody whom the rights on the application's own database keep out of it. */
export const closeToOthers = (server: Connection, name: string): Promise<void> =>
  server.run(`REVOKE ALL ON DATABASE ${quoted(name)} FROM PUBLIC`);

/** How a database is filled. */
export interface Filling {
  /** Gets all objects where a role that owns some is not there, or is not ours to act for. */
  owner: string | null;
  /** `definitions`: without a row. */
  part?: Scratch['part'];
  /** True for one that is dropped again: a subscription in it would keep that from being done. */
  isScratch?: boolean | undefined;
  /** Of the dump's metadata. */
  source?: LoadOptions['source'];
}

/** How many connections load rows and build indexes at once. */
const JOBS = 2;

/**
 * Fills an empty database from a dump. Rights that cannot be given are warnings: all else fails.
 * @param place the empty database
 * @returns warnings
 */
export async function fillDatabase(
  connection: Connection,
  dump: DumpFile,
  place: Place,
  { owner, part = 'all', isScratch = false, source = {} }: Filling,
): Promise<string[]> {
  const { path, tools, scratch, signal } = dump;
  const { owners } = await outlineOf(dump);
  const absent = await absentRoles(connection, owners);
  const as = absent.length === 0 ? [] : ['--no-owner', ...(owner === null ? [] : [`--role=${owner}`])];
  const settings = moneySettings(source);
  const run = { tools, program: 'pg_restore' as const, place, settings, scratch, signal };
  const all = [
    '--exit-on-error',
    '--no-privileges',
    `--jobs=${JOBS}`,
    ...(part === 'all' ? [] : ['--schema-only']),
    ...(isScratch ? ['--no-subscriptions'] : []),
    ...as,
    path,
  ];
  await runTool({ ...run, args: all }).catch((error: unknown) => {
    if (!(error instanceof AppError) || error.code !== 'DATABASE_FAILED') throw error;
    throw new AppError('DATABASE_FAILED', error.message, { hint: REFUSED, cause: error });
  });
  const warnings =
    absent.length === 0
      ? []
      : [
          `The objects of ${absent.map(quoted).join(', ')} now belong to ${quoted(owner ?? place.user)}: those roles are not there, or the user must not act for them.`,
        ];
  const rights = `${path}.rights`;
  try {
    const lines = (await listOf(dump)).filter((line) => RIGHT.test(line));
    if (lines.length === 0) return warnings;
    await writeFile(rights, `${lines.join('\n')}\n`, { mode: 0o600 });
    const refused = await giveRights({ ...run, args: [`--use-list=${rights}`, ...as, path] });
    return [...warnings, ...refused.slice(0, 10).map((text) => `A right of the backup was not given: ${text}`)];
  } finally {
    await rm(rights, { force: true });
  }
}

/** How amounts of money in a dump are to be read: in another locale they would be other amounts. */
const moneySettings = ({ lc_monetary: locale }: LoadOptions['source']): Record<string, string> =>
  typeof locale === 'string' ? { lc_monetary: locale } : {};

/** A line of a dump's list that gives rights: it begins with a number, and says what it is after two more. */
const RIGHT = /^\d+; \d+ \d+ (DEFAULT )?ACL /;

const REFUSED = 'Nothing was changed. Make what is missing on the server (an extension, a right), then try again.';

/** Roles that are not there, or that the user must not act for. */
async function absentRoles(connection: Connection, roles: string[]): Promise<string[]> {
  // Membership says since version 16 no longer that a role may be taken.
  const right = connection.major >= 16 ? 'SET' : 'MEMBER';
  const rows = await connection.rows<{ name: string }>(
    `SELECT name FROM unnest($1::text[]) AS name LEFT JOIN pg_roles ON rolname = name
     WHERE rolname IS NULL OR NOT pg_has_role(pg_roles.oid, $2) ORDER BY 1`,
    [roles, right],
  );
  return rows.map(({ name }) => name);
}

/** Goes on after each right that cannot be given. @returns why, for those */
async function giveRights(run: Parameters<typeof startTool>[0]): Promise<string[]> {
  const { stdout, ended, messages } = await startTool(run);
  stdout.resume();
  const failed = await ended.then(
    () => false,
    (error: unknown) => {
      run.signal.throwIfAborted();
      const isRefused = messages.some((line) => /errors ignored on restore/.test(line));
      if (!isRefused) throw error;
      return true;
    },
  );
  if (!failed) return [];
  const errors = messages.flatMap((line) => /could not execute query: ERROR:\s+(.+)$/.exec(line)?.[1] ?? []);
  return [...new Set(errors)];
}

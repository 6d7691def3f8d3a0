import type { QueryRows } from '../../core/ports.js';
import { AppError, badInput, errnoOf } from '../../errors.js';
import { cellOf, cellSql, isCut } from './cells.js';
import { type Connection, withConnection } from './connection.js';
import { literal, quoted } from './names.js';
import type { Place } from './url.js';

/** One query of a database. */
export interface Asked {
  sql: string;
  /** The most rows. */
  limit: number;
  signal: AbortSignal;
  /** The exported snapshot that it sees; left out: the newest state. */
  snapshot?: string;
}

/**
 * The rows that one SELECT gives. It runs in a read-only transaction that is rolled back, with the rights to read and no
 * others, and ends with the signal, whatever it does.
 * @throws AppError BAD_USER_INPUT naming `sql`; DATABASE_…; the signal's reason
 */
export async function queryAt(place: Place, { sql, limit, signal, snapshot }: Asked): Promise<QueryRows> {
  const text = sql.trim().replace(/;$/, '');
  assertHarmless(text);
  const start = performance.now();
  return whileWanted(place, signal, async (connection) => {
    try {
      const door = await openDoor(connection, snapshot);
      const columns = await door.columnsOf(text);
      const cells = door.rowsOf(cellsOf(text, columns, limit + 1));
      const isSmall = (limit + 1) * columns.length <= CELLS;
      // Only what is no cursor can be worked out by several processes of the server.
      const rows = isSmall ? (await connection.one(cells)).rows : await fetch(connection, cells, columns.length);
      const given = rows.slice(0, limit);
      return {
        columns: columns.map(({ name }) => name),
        rows: given.map((row) => columns.map(({ type }, index) => cellOf(row[index] ?? null, type))),
        cut: given.some((row) => columns.some(({ type }, index) => isCut(row[index] ?? null, type))),
        truncated: rows.length > limit,
        seconds: (performance.now() - start) / 1_000,
      };
    } catch (error) {
      signal.throwIfAborted();
      throw sqlError(error, 'sql') ?? error;
    }
  });
}

/**
 * What reaches beyond the rows of the database although the user may only read: functions that run a text as SQL or work on
 * other sessions and servers, and catalogues with passwords. First of several bounds: the rights, the read-only transaction
 * and the end of it hold without this one.
 */
export const BEYOND =
  /\b(?:(?:query|cursor|table|schema|database)_to_xml\w*|ts_stat|ts_rewrite|crosstab\w*|connectby|xpath_table|dblink\w*|set_config|pg_(?:terminate|cancel)_backend|pg_(?:try_)?advisory\w*|pg_notify|pg_\w*(?:replication|logical)\w*|pg_authid|pg_shadow|pg_user_mapping\w*|pg_subscription)\b/i;

/** @throws AppError BAD_USER_INPUT naming `sql` */
function assertHarmless(sql: string): void {
  const name = BEYOND.exec(sql)?.[0];
  if (name !== undefined) throw badInput('sql', `names ${name}, which a query must not use.`, ONE);
  if (/U&"/i.test(sql)) throw badInput('sql', 'holds a name with escapes (U&"…").', 'Write the name as it is.');
  if (sql.includes('\0')) throw badInput('sql', 'holds a NUL character.', ONE);
}

const ONE = 'Give one SELECT, such as: SELECT * FROM auth_user ORDER BY id.';
const LESS = 'Ask for fewer or shorter values, with a condition or left().';

/**
 * What a statement is refused for that somebody gave us; undefined for any other failure.
 * @param field that it stands in
 * @param hint how that is written
 */
export function sqlError(error: unknown, field: string, hint = ONE): AppError | undefined {
  if (!(error instanceof AppError) || !(error.cause instanceof Error)) return undefined;
  const code = errnoOf(error.cause) ?? '';
  if (code === '57014') return badInput(field, 'took too long.', LESS);
  if (/^(53|54)/.test(code)) return badInput(field, `takes more than it may: ${error.cause.message}.`, LESS);
  return OF_STATEMENT.test(code) ? badInput(field, `${error.cause.message.split('\n')[0]}.`, hint) : undefined;
}

/**
 * What PostgreSQL says of a statement, in contrast to the server: its syntax, parameters, names, values, what it raises. Not of
 * rights that the user lacks (42501), nor of what others hold (55P03, 55006).
 */
const OF_STATEMENT = /^(?!42501|55P03|55006)(08P01|0A|0L|0P|20|21|22|23|24|25|26|2F|34|38|39|3F|42|44|55|HV|P0)\w*$/;

/** How a query is run. */
interface Door {
  columnsOf(sql: string): Promise<Column[]>;
  /** The SQL that gives these expressions, each a text, of the rows of a query. */
  rowsOf(query: CellQuery): string;
}

interface Column {
  name: string;
  /** As `Answer.columns`. */
  type: number;
}

/** Each cell of a query as a text. */
interface CellQuery {
  cells: string[];
  /** The limit stands outside, so that a query which sorts keeps no more. */
  from: string;
}

function cellsOf(sql: string, columns: readonly Column[], limit: number): CellQuery {
  const names = columns.map((_column, index) => `c${index}`).join(', ');
  const cells = columns.map(({ type }, index) => cellSql(`asked.c${index}`, type));
  return { cells, from: `FROM (\n${sql}\n) AS asked${names && `(${names})`} LIMIT ${limit}` };
}

/** Milliseconds: the signal ends a query before that, and this one whose process has died. */
const LONGEST = 60_000;
/** As `LONGEST`, for each statement of what looks through tables: a comparison has 15 minutes. */
const LONGEST_LOOK = 960_000;
/** How long a query waits for a lock while a backup is made: a change of the schema waits for pg_dump, and queries for it. */
const SNAPSHOT_WAIT = 60_000;
/** What a session must have set so that a value is the same text in every database. */
export const SETTINGS = `SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1;
  SET xmloption = 'content'; SET standard_conforming_strings = on; SET jit = off; SET lock_timeout = 5000;
  SET idle_in_transaction_session_timeout = ${LONGEST}`;
/** Bytes that a superuser's query may lay on the server's disk, in kilobytes. Nobody else may set it. */
const ON_DISK = 4 * 1024 * 1024;

/** Begins the transaction, and finds the way on which a query in it has no more than the rights to read. */
async function openDoor(connection: Connection, snapshot: string | undefined): Promise<Door> {
  const { isSuperuser } = await rightsOf(connection);
  await connection.run(`${SETTINGS}; SET statement_timeout = ${LONGEST + 5_000}`);
  if (await knows(connection, 'restrict_nonsystem_relation_kind')) {
    // A foreign table may lead to another machine, or to a file.
    await connection.run("SET restrict_nonsystem_relation_kind = 'foreign-table'");
  }
  if (isSuperuser && (await knows(connection, 'event_triggers'))) await connection.run('SET event_triggers = off');
  if (isSuperuser) await connection.run(`SET temp_file_limit = ${ON_DISK}; SET session_replication_role = replica`);
  // A standby server takes no other than one that only reads.
  await connection.run(`BEGIN ISOLATION LEVEL REPEATABLE READ ${isSuperuser ? 'READ WRITE' : 'READ ONLY'}`);
  if (snapshot !== undefined) {
    await connection.run(`SET TRANSACTION SNAPSHOT ${literal(snapshot)}; SET LOCAL lock_timeout = ${SNAPSHOT_WAIT}`);
  }
  if (isSuperuser) await connection.run(LOWERED);
  // From here on nothing turns it back: PostgreSQL refuses that within a transaction.
  await connection.run('SET TRANSACTION READ ONLY; SET search_path = public');
  return isSuperuser ? lowered(connection) : asUser(connection);
}

/** As the user, who may do no harm. */
const asUser = (connection: Connection): Door => ({
  columnsOf: async (sql) => {
    await connection.one(`DECLARE described NO SCROLL CURSOR FOR ${sql}`);
    return describe(connection, 'described');
  },
  rowsOf: ({ cells, from }) => `SELECT ${cells.join(', ')} ${from}`,
});

/**
 * Functions that run a text with the rights of a role which may read all tables, and no more: it cannot be left from within
 * them. They exist in this transaction only. Event triggers that a superuser made ENABLE REPLICA or ALWAYS see them before
 * PostgreSQL 17, others never.
 */
const LOWERED = `
  CREATE FUNCTION pg_temp.dbm_open(asked pg_catalog.text) RETURNS refcursor LANGUAGE plpgsql SECURITY DEFINER AS
    'DECLARE found refcursor; BEGIN OPEN found NO SCROLL FOR EXECUTE asked; RETURN found; END';
  CREATE FUNCTION pg_temp.dbm_rows(asked pg_catalog.text) RETURNS SETOF pg_catalog.text[] LANGUAGE plpgsql SECURITY DEFINER AS
    'BEGIN RETURN QUERY EXECUTE asked; END';
  ALTER FUNCTION pg_temp.dbm_open(pg_catalog.text) OWNER TO pg_read_all_data;
  ALTER FUNCTION pg_temp.dbm_rows(pg_catalog.text) OWNER TO pg_read_all_data`;

const lowered = (connection: Connection): Door => ({
  columnsOf: async (sql) => {
    const { rows } = await connection.one(`SELECT pg_temp.dbm_open(${literal(sql)}::pg_catalog.text)`);
    // Only looked at: to fetch from it here would run it as the superuser.
    return describe(connection, String(rows[0]?.[0]));
  },
  rowsOf: ({ cells, from }) => {
    const rows = literal(`SELECT ARRAY[${cells.join(', ')}]::pg_catalog.text[] ${from}`);
    const each = cells.map((_cell, index) => `row[${index + 1}]`).join(', ');
    return `SELECT ${each} FROM pg_temp.dbm_rows(${rows}::pg_catalog.text) AS row`;
  },
});

async function describe(connection: Connection, cursor: string): Promise<Column[]> {
  const { columns } = await connection.one(`FETCH 0 FROM ${quoted(cursor)}`);
  await connection.one(`CLOSE ${quoted(cursor)}`);
  // A function that was called while the query was planned may have set another one, in which texts end elsewhere.
  await connection.run("SET client_encoding = 'UTF8'");
  return columns;
}

/** Cells that are fetched at once, and characters of all rows together. */
const CELLS = 10_000;
const MOST = 64 * 1024 * 1024;

/** @param sql gives texts */
async function fetch(connection: Connection, sql: string, columns: number): Promise<(string | null)[][]> {
  await connection.one(`DECLARE asked NO SCROLL CURSOR FOR ${sql}`);
  const all: (string | null)[][] = [];
  let left = MOST;
  const batch = Math.max(1, Math.floor(CELLS / Math.max(1, columns)));
  for (;;) {
    const { rows } = await connection.one(`FETCH ${batch} FROM asked`);
    for (const row of rows) {
      all.push(row);
      for (const cell of row) left -= cell?.length ?? 0;
    }
    if (left < 0) throw badInput('sql', `gives more than ${MOST / 1024 / 1024} MB.`, LESS);
    if (rows.length < batch) return all;
  }
}

/** Roles that reach the server's machine, also for a function that only reads. */
const POWERFUL = ['pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'];

/**
 * Whether the user is a superuser, whose rights can be laid down.
 * @throws AppError DATABASE_UNREADABLE for any other user who is more than one who reads
 */
async function rightsOf(connection: Connection): Promise<{ isSuperuser: boolean }> {
  const roles = await connection.rows<{ name: string; user: string; isUser: boolean; isSuperuser: boolean }>(
    `SELECT rolname AS name, session_user AS user, rolname = session_user AS "isUser", rolsuper AS "isSuperuser" FROM pg_roles
     WHERE pg_has_role(session_user, oid, 'MEMBER') AND (rolsuper OR rolreplication OR rolname = ANY ($1::text[]))
     ORDER BY rolname = session_user DESC, rolname`,
    [POWERFUL],
  );
  const [first] = roles;
  if (first === undefined) return { isSuperuser: false };
  const user = `The user ${quoted(first.user)}`;
  if (first.isUser && first.isSuperuser) {
    const [server] = await connection.rows<{ isStandby: boolean }>('SELECT pg_is_in_recovery() AS "isStandby"');
    if (connection.major >= 14 && server?.isStandby === false) return { isSuperuser: true };
    const where = connection.major < 14 ? 'before PostgreSQL 14' : 'on a standby server';
    throw new AppError('DATABASE_UNREADABLE', `${user} is a superuser, whose queries are not run ${where}.`, OWN_USER);
  }
  const why = first.isUser ? 'has the attribute REPLICATION' : `is a member of ${quoted(first.name)}`;
  throw new AppError('DATABASE_UNREADABLE', `${user} ${why}, so that a query could do more than read.`, OWN_USER);
}

const OWN_USER = {
  hint: 'Give the databaseUrl a user who may only read: CREATE ROLE backup LOGIN PASSWORD …; GRANT pg_read_all_data TO backup;',
};

async function knows(connection: Connection, setting: string): Promise<boolean> {
  return (await connection.rows('SELECT FROM pg_settings WHERE name = $1', [setting])).length > 0;
}

/**
 * Runs `work` with a connection of which nothing goes on once the signal aborts: the server is told to end it, because it
 * notices only between two statements that nobody waits for an answer.
 */
export async function whileWanted<T>(
  place: Place,
  signal: AbortSignal,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  return withConnection(place, signal, async (connection) => {
    await connection.run(`SET statement_timeout = ${LONGEST_LOOK}`);
    const [self] = await connection.rows<{ pid: number; since: string }>(
      'SELECT pid, backend_start::text AS since FROM pg_stat_activity WHERE pid = pg_backend_pid()',
    );
    let ending: Promise<void> | null = null;
    const end = () =>
      void (ending = withConnection(place, undefined, (other) =>
        other
          .rows(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2::timestamptz',
            [self?.pid, self?.since],
          )
          .then(() => undefined),
      ).catch(() => undefined));
    signal.addEventListener('abort', end, { once: true });
    try {
      signal.throwIfAborted();
      return await work(connection);
    } finally {
      signal.removeEventListener('abort', end);
      await ending;
    }
  });
}

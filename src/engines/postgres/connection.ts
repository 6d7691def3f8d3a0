import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import type { Client, ClientConfig } from 'pg';
import { AppError, errnoOf, type ErrorCode } from '../../errors.js';
import { quoted } from './names.js';
import type { Place } from './url.js';

/** The oldest server that is supported. */
const OLDEST = 12;
/** How long a server may take to let a connection in, in milliseconds. */
const CONNECT_WITHIN = 10_000;

/** One connection of ours. */
export interface Connection {
  /** Such as 15. */
  readonly major: number;
  rows<Row>(sql: string, values?: unknown[]): Promise<Row[]>;
  run(sql: string): Promise<void>;
  /** Sends exactly one statement: a text with more of them is an error. Values come as texts. */
  one(sql: string): Promise<Answer>;
  /** Begins a `COPY … FROM STDIN`. */
  copyIn(sql: string): Promise<CopyIn>;
  /** The bytes of a `COPY … TO STDOUT`. */
  copyOut(sql: string): AsyncIterable<Buffer>;
  close(): Promise<void>;
}

/** What one statement gave. */
export interface Answer {
  /** Its columns; `type` is the oid of the type that a domain is made of. */
  columns: { name: string; type: number }[];
  rows: (string | null)[][];
}

/** Rows on their way into a table, in the text that COPY reads. */
export interface CopyIn {
  /** Resolves once the server takes more. */
  write(bytes: Buffer): Promise<void>;
  /** Resolves once the server has all of them. */
  end(): Promise<void>;
  /** Has the server take nothing of them, because of an error elsewhere: until then it takes no other statement. */
  abort(): Promise<void>;
}

/** Every value as the server writes it. */
const AS_TEXT = { getTypeParser: () => (value: string) => value };

/** What a failure at this place means for the user. */
export function failureAt(place: Place, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const server = serverOf(place);
  const code = errnoOf(error) ?? '';
  const said = error instanceof Error ? error.message.split('\n')[0] : String(error);
  const named = (kind: ErrorCode, text: string, hint: string) => new AppError(kind, text, { hint, cause: error });
  if (/^(E(CONN\w*|HOSTUNREACH|NETUNREACH|TIMEDOUT|AI_AGAIN|NOENT)|ENOTFOUND|57P03)$/.test(code) || isLate(said)) {
    const why = code === '' ? 'no answer in time' : code === '57P03' ? said : code;
    return named('DATABASE_NOT_FOUND', `${server} does not answer: ${why}.`, ANSWER);
  }
  if (/^28/.test(code)) {
    return named('DATABASE_UNREADABLE', `${server} refuses the user ${quoted(place.user)}: ${said}.`, ENTER);
  }
  if (code === '3D000') {
    const text = `${server} has no database ${quoted(place.database)}.`;
    return named('DATABASE_NOT_FOUND', text, 'Check the name of the database at the end of databaseUrl.');
  }
  if (code === '42501') return named('DATABASE_UNREADABLE', `${server}: ${said}.`, 'Give the user that right.');
  if (/^(55P03|55006|57014)$/.test(code)) {
    return named('DATABASE_IN_USE', `${server}: ${said}.`, 'End what holds the database, and try again.');
  }
  if (code === '' || /^(08|57P0)/.test(code)) {
    return named('DATABASE_FAILED', `${server} ended the connection: ${said}.`, 'See the log of PostgreSQL for why.');
  }
  return named('DATABASE_FAILED', `${server} answered with an error: ${said} (${code}).`, FAILED);
}

const ANSWER =
  'Check host and port in databaseUrl, that PostgreSQL runs there, and that a firewall lets db-manager in.';
const ENTER = 'Correct user and password in databaseUrl, or let the user in by pg_hba.conf of the server.';
const FAILED = 'Correct the cause that the message quotes, then try again.';
const isLate = (message: string | undefined) => /timeout expired|connection timeout/i.test(message ?? '');

/** The server as messages name it. */
export const serverOf = ({ host, port }: Place): string =>
  `The PostgreSQL server ${host.includes(':') ? `[${host}]` : host}:${port}`;

/**
 * Opens a connection that no setting of the user or the database leads astray: names are those of `pg_catalog`, rows that
 * policies hide are an error, and nothing ends a statement or a transaction but we.
 * @param signal ends it, with all that it waits for
 * @throws AppError DATABASE_NOT_FOUND, DATABASE_UNREADABLE, ENGINE_UNSUPPORTED
 */
export async function connect(place: Place, signal?: AbortSignal): Promise<Connection> {
  signal?.throwIfAborted();
  const client = await open(place);
  // What ends an idle connection is the error of the next query.
  let lost: unknown = null;
  client.on('error', (error) => (lost ??= error));
  const destroy = () => socketOf(client)?.destroy();
  signal?.addEventListener('abort', destroy, { once: true });
  const rows = async <Row>(sql: string, values?: unknown[]): Promise<Row[]> => {
    try {
      if (lost !== null) throw lost;
      return (await client.query(sql, values)).rows as Row[];
    } catch (error) {
      signal?.throwIfAborted();
      throw failureAt(place, error);
    }
  };
  const run = async (sql: string) => void (await rows(sql));
  const one = async (text: string): Promise<Answer> => {
    try {
      if (lost !== null) throw lost;
      const asked = { text, rowMode: 'array' as const, queryMode: 'extended', types: AS_TEXT };
      const { fields, rows: found } = await client.query<(string | null)[]>(asked);
      return { columns: fields.map(({ name, dataTypeID }) => ({ name, type: dataTypeID })), rows: found };
    } catch (error) {
      signal?.throwIfAborted();
      throw failureAt(place, error);
    }
  };
  const copyIn = async (sql: string): Promise<CopyIn> => {
    const { from } = await import('pg-copy-streams');
    const stream = client.query(from(sql));
    let isOver = false;
    const done = finished(stream).finally(() => (isOver = true));
    done.catch(() => undefined);
    // Whatever ends it ends what waits for it.
    const orEnded = async (work: Promise<unknown>) => {
      try {
        await Promise.race([work, done]);
      } catch (error) {
        signal?.throwIfAborted();
        throw failureAt(place, lost ?? error);
      }
    };
    return {
      write: async (bytes) => {
        if (!stream.write(bytes)) await orEnded(once(stream, 'drain'));
      },
      end: () => {
        stream.end();
        return orEnded(done);
      },
      abort: async () => {
        if (isOver) return;
        stream.destroy();
        await done.catch(() => undefined);
      },
    };
  };
  const copyOut = async function* (sql: string): AsyncGenerator<Buffer> {
    const { to } = await import('pg-copy-streams');
    const stream = client.query(to(sql));
    // What comes once nobody reads on.
    stream.on('error', () => undefined);
    let isOver = false;
    try {
      yield* stream as AsyncIterable<Buffer>;
      isOver = true;
    } catch (error) {
      isOver = true;
      signal?.throwIfAborted();
      throw failureAt(place, lost ?? error);
    } finally {
      // The server would send all of it before it takes another statement.
      if (!isOver) destroy();
    }
  };
  const close = async () => {
    signal?.removeEventListener('abort', destroy);
    const ending = client.end().catch(() => undefined);
    // A server that was stopped hard never answers the goodbye.
    const late = setTimeout(destroy, 2_000);
    await ending;
    clearTimeout(late);
  };
  try {
    const [found] = await rows<{ number: string }>("SELECT current_setting('server_version_num') AS number");
    const major = Math.floor(Number(found?.number) / 10_000);
    if (major < OLDEST) {
      throw new AppError('ENGINE_UNSUPPORTED', `${serverOf(place)} is of version ${major}.`, {
        field: 'databaseUrl',
        hint: `Update it: PostgreSQL ${OLDEST} and newer are supported.`,
      });
    }
    for (const setting of SETTINGS) await run(`SET ${setting}`);
    // Neither is there before 14.
    if (major >= 14) {
      await run('SET idle_session_timeout = 0');
      await noticeAbsence(run);
    }
    return { major, rows, run, one, copyIn, copyOut, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A server that is asked in vain notices it while it counts, unless it runs on Windows or an old macOS: those cannot. */
async function noticeAbsence(run: Connection['run']): Promise<void> {
  await run('SET client_connection_check_interval = 2000').catch((error: unknown) => {
    if (!(error instanceof AppError) || errnoOf(error.cause) !== '22023') throw error;
  });
}

const SETTINGS = [
  "search_path = 'pg_catalog'",
  'row_security = off',
  'statement_timeout = 0',
  'lock_timeout = 0',
  'idle_in_transaction_session_timeout = 0',
];

/** The driver has no other way to end what waits for the server. */
const socketOf = (client: Client) =>
  (client as unknown as { connection?: { stream?: { destroy(): void } } }).connection?.stream;

/** As libpq: `prefer` takes TLS where the server has it, and `require` compares the certificate if there is one to compare. */
async function open(place: Place): Promise<Client> {
  const { default: pg } = await import('pg');
  const { host, port, user, password, database, sslMode } = place;
  const base: ClientConfig = {
    ...{ host, port, user, database, application_name: 'db-manager', keepAlive: true },
    ...(password !== null && { password }),
    connectionTimeoutMillis: CONNECT_WITHIN,
  };
  const dial = async (ssl: ClientConfig['ssl']) => {
    const client = new pg.Client({ ...base, ssl });
    // Otherwise an error that comes twice ends the process.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  try {
    if (sslMode === 'disable' || host.startsWith('/')) return await dial(false);
    try {
      return await dial(await tls(place));
    } catch (error) {
      if (sslMode !== 'prefer' || !/does not support SSL/i.test((error as Error).message)) throw error;
      return await dial(false);
    }
  } catch (error) {
    throw failureAt(place, error);
  }
}

async function tls({ sslMode, sslRootCert }: Place): Promise<ClientConfig['ssl']> {
  if (sslRootCert === null) return { rejectUnauthorized: false };
  const ca = await readFile(sslRootCert, 'utf8').catch((error: unknown) => {
    throw new AppError('DATABASE_UNREADABLE', `The file ${sslRootCert} cannot be read: ${errnoOf(error)}.`, {
      hint: 'Correct sslrootcert in databaseUrl.',
      cause: error,
    });
  });
  return { ca, ...(sslMode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }) };
}

/** Runs `work` with a connection that is closed again. */
export async function withConnection<T>(
  place: Place,
  signal: AbortSignal | undefined,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await connect(place, signal);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

/**
 * Runs `work` with a connection to another database of the same server: what is to be renamed must not be in use.
 * @throws AppError as `connect`
 */
export async function withServer<T>(
  place: Place,
  signal: AbortSignal | undefined,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const [first, second] = place.database === 'postgres' ? ['template1'] : ['postgres', 'template1'];
  const elsewhere = (database: string | undefined) => connect({ ...place, database: database ?? 'template1' }, signal);
  const connection = await elsewhere(first).catch((error: unknown) => {
    if (second === undefined || signal?.aborted) throw error;
    return elsewhere(second);
  });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

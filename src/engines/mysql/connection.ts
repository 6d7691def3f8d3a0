import { readFile } from 'node:fs/promises';
import type { Connection as Driver, ConnectionOptions } from 'mysql2/promise';
import { AppError, errnoOf, type ErrorCode } from '../../errors.js';
import { quoted } from './names.js';
import type { Place } from './url.js';

/** What a server is. */
export interface ServerVersion {
  kind: 'MariaDB' | 'MySQL';
  /** Such as 10.11 as [10, 11]. */
  version: readonly [number, number];
  /** As the server says it. */
  text: string;
}

/** One connection of ours. */
export interface Connection extends ServerVersion {
  /** True if TLS protects it. */
  isTls: boolean;
  rows<Row>(sql: string, values?: unknown[]): Promise<Row[]>;
  run(sql: string, values?: unknown[]): Promise<void>;
  close(): Promise<void>;
}

/** How long a server may take to let a connection in, in milliseconds. */
const CONNECT_WITHIN = 10_000;

/** The server as messages name it. */
export const serverOf = ({ host, port, socket }: Place): string =>
  `The MySQL or MariaDB server ${addressOf({ host, port, socket })}`;

/** The address of the server as messages name it. */
export const addressOf = ({ host, port, socket }: Pick<Place, 'host' | 'port' | 'socket'>): string =>
  socket ?? `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** What a failure at this place means for the user. */
export function failureAt(place: Place, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const server = serverOf(place);
  const code = errnoOf(error) ?? '';
  const said = error instanceof Error ? error.message.split('\n')[0] : String(error);
  const named = (kind: ErrorCode, text: string, hint: string) => new AppError(kind, text, { hint, cause: error });
  if (/^(E(CONNREFUSED|HOSTUNREACH|NETUNREACH|TIMEDOUT|AI_AGAIN|NOENT)|ENOTFOUND)$/.test(code)) {
    return named('DATABASE_NOT_FOUND', `${server} does not answer: ${code}.`, ANSWER);
  }
  if (/^ER_(ACCESS_DENIED_ERROR|HOST_NOT_PRIVILEGED|HOST_IS_BLOCKED|ACCOUNT_HAS_BEEN_LOCKED)$/.test(code)) {
    return named('DATABASE_UNREADABLE', `${server} refuses the user ${quoted(place.user)}: ${said}.`, ENTER);
  }
  if (code === 'ER_BAD_DB_ERROR') {
    const text = `${server} has no database ${quoted(place.database)}.`;
    return named('DATABASE_NOT_FOUND', text, 'Check the name of the database at the end of databaseUrl.');
  }
  if (/^ER_\w*(DENIED|PRIVILEGE)\w*$/.test(code)) {
    return named('DATABASE_UNREADABLE', `${server}: ${said}.`, 'Give the user that right.');
  }
  if (/^ER_LOCK_(WAIT_TIMEOUT|DEADLOCK)$/.test(code)) {
    return named('DATABASE_IN_USE', `${server}: ${said}.`, 'End what holds the database, and try again.');
  }
  if (code === '' || /^(PROTOCOL_|ECONN|EPIPE|ER_SERVER_SHUTDOWN|ER_CONNECTION_KILLED)/.test(code)) {
    return named('DATABASE_FAILED', `${server} ended the connection: ${said}.`, 'See the log of the server for why.');
  }
  return named('DATABASE_FAILED', `${server} answered with an error: ${said} (${code}).`, FAILED);
}

const ANSWER =
  'Check host and port in databaseUrl, that the server runs there, and that a firewall lets db-manager in.';
const ENTER = 'Correct user and password in databaseUrl, or let the user in from this machine.';
const FAILED = 'Correct the cause that the message quotes, then try again.';

/** Reads what a server says of its version. */
export function readVersion(text: string): ServerVersion {
  const [, major = '0', minor = '0'] = /^(?:5\.5\.5-)?(\d+)\.(\d+)/.exec(text) ?? [];
  return { kind: /mariadb/i.test(text) ? 'MariaDB' : 'MySQL', version: [Number(major), Number(minor)], text };
}

/** MariaDB since 10.6 and MySQL since 8.0 rename several tables all or none, also when they crash. */
function assertSupported(place: Place, { kind, version: [major, minor], text }: ServerVersion): void {
  if (kind === 'MariaDB' ? major > 10 || (major === 10 && minor >= 6) : major >= 8) return;
  throw new AppError('ENGINE_UNSUPPORTED', `${serverOf(place)} is of version ${text}.`, {
    field: 'databaseUrl',
    hint: 'Update it: MariaDB 10.6 and newer, and MySQL 8.0 and newer, are supported.',
  });
}

/**
 * Opens a connection in which no setting of the user or the server changes what statements mean.
 * @param database null for none: the server alone
 * @param signal ends it, with all that it waits for
 * @throws AppError DATABASE_NOT_FOUND, DATABASE_UNREADABLE, ENGINE_UNSUPPORTED
 */
async function connect(place: Place, database: string | null, signal?: AbortSignal): Promise<Connection> {
  signal?.throwIfAborted();
  const { driver, isTls } = await open(place, database);
  // What ends an idle connection is the error of the next query.
  driver.on('error', () => undefined);
  const destroy = () => driver.destroy();
  signal?.addEventListener('abort', destroy, { once: true });
  const rows = async <Row>(sql: string, values?: unknown[]): Promise<Row[]> => {
    signal?.throwIfAborted();
    try {
      return (await untilAborted(driver.query(sql, values), signal))[0] as Row[];
    } catch (error) {
      signal?.throwIfAborted();
      throw failureAt(place, error);
    }
  };
  const run = async (sql: string, values?: unknown[]) => void (await rows(sql, values));
  const close = async () => {
    signal?.removeEventListener('abort', destroy);
    // A server that was stopped hard never answers the goodbye.
    const late = setTimeout(destroy, 2_000);
    await driver.end().catch(() => undefined);
    clearTimeout(late);
  };
  try {
    const [found] = await rows<{ text: string }>('SELECT VERSION() AS text');
    const server = readVersion(found?.text ?? '');
    assertSupported(place, server);
    await run(
      "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', wait_timeout = 86400, net_write_timeout = 600, lock_wait_timeout = 60",
    );
    return { ...server, isTls, rows, run, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A driver whose socket was destroyed does not answer any more. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => undefined);
  }
}

async function open(place: Place, database: string | null): Promise<{ driver: Driver; isTls: boolean }> {
  const { createConnection } = await import('mysql2/promise');
  const { host, port, socket, user, password, sslMode } = place;
  const base: ConnectionOptions = {
    ...(socket === null ? { host, port } : { socketPath: socket }),
    ...(password !== null && { password }),
    ...(database !== null && { database }),
    ...{ user, charset: 'utf8mb4_bin', connectTimeout: CONNECT_WITHIN, enableKeepAlive: true },
    ...{ supportBigNumbers: true, bigNumberStrings: true, dateStrings: true, multipleStatements: false },
    // What the server asks to be sent from this machine's disk is not.
    flags: ['-LOCAL_FILES'],
  };
  const dial = async (ssl: ConnectionOptions['ssl']) => ({
    driver: await createConnection(ssl === undefined ? base : { ...base, ssl }),
    isTls: ssl !== undefined,
  });
  try {
    if (sslMode === 'disabled' || (socket !== null && sslMode === 'preferred')) return await dial(undefined);
    try {
      return await dial(await tls(place));
    } catch (error) {
      if (sslMode !== 'preferred' || errnoOf(error) !== 'HANDSHAKE_NO_SSL_SUPPORT') throw error;
      return await dial(undefined);
    }
  } catch (error) {
    throw failureAt(place, error);
  }
}

async function tls({ sslMode, sslCa }: Place): Promise<ConnectionOptions['ssl']> {
  if (!sslMode.startsWith('verify_') || sslCa === null) return { rejectUnauthorized: false };
  const ca = await readFile(sslCa, 'utf8').catch((error: unknown) => {
    throw new AppError('DATABASE_UNREADABLE', `The file ${sslCa} cannot be read: ${errnoOf(error)}.`, {
      hint: 'Correct ssl-ca in databaseUrl.',
      cause: error,
    });
  });
  return { ca, rejectUnauthorized: true, verifyIdentity: sslMode === 'verify_identity' };
}

/** Runs `work` with a connection to the database that is closed again. @throws AppError as `connect` */
export const withConnection = <T>(
  place: Place,
  signal: AbortSignal | undefined,
  work: (connection: Connection) => Promise<T>,
): Promise<T> => within(connect(place, place.database, signal), work);

/** Runs `work` with a connection to the server, whether the database is there or not. @throws AppError as `connect` */
export const withServer = <T>(
  place: Place,
  signal: AbortSignal | undefined,
  work: (connection: Connection) => Promise<T>,
): Promise<T> => within(connect(place, null, signal), work);

async function within<T>(opening: Promise<Connection>, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await opening;
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

import { isAbsolute } from 'node:path';
import type { Engine } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { decodedPart, resolved, urlOf } from '../on-server.js';

/** How much of TLS a connection asks for, as libpq names it. */
export type SslMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

/** Where a database is, and who asks for it. */
export interface Place {
  /** A name, an address, or the absolute path of the folder that the server's socket is in. */
  host: string;
  port: number;
  user: string;
  /** Null: none is sent, unless the user that runs db-manager has a password file of libpq. */
  password: string | null;
  database: string;
  sslMode: SslMode;
  /** Absolute path of the certificates that the server's is compared with. */
  sslRootCert: string | null;
}

// What looks like a password is masked in every message, also in an example.
const FORM = 'is not of the form postgres://user@host:5432/database, with a colon and the password behind the user.';
const EXAMPLE = 'Write it like postgres://user@host:5432/database, with a colon and the password behind the user.';
const ENCODE = 'Percent-encode special characters of user, password and name, such as %40 for @.';
const MODES: readonly string[] = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] satisfies SslMode[];
const PARAMETERS: readonly string[] = ['host', 'sslmode', 'sslrootcert'];

/** What PostgreSQL cuts from a name, in bytes. */
const LONGEST_NAME = 63;

/**
 * Reads a URL such as `postgres://user:password@host:5432/database?sslmode=require`. Never quotes it: it may hold a password.
 * @param otherwise the database, if the URL names none
 * @throws AppError BAD_USER_INPUT naming databaseUrl
 */
export function parseUrl(url: string, otherwise = ''): Place {
  if (!/^postgres(ql)?:\/\//i.test(url) || !URL.canParse(url)) throw badInput('databaseUrl', FORM, ENCODE);
  const parsed = new URL(url);
  const unknown = [...parsed.searchParams.keys()].find((name) => !PARAMETERS.includes(name));
  if (unknown !== undefined) {
    throw badInput('databaseUrl', `has the unknown parameter "${unknown}".`, `Known are ${PARAMETERS.join(', ')}.`);
  }
  const host = hostOf(parsed);
  const port = parsed.port === '' ? 5432 : Number(parsed.port);
  const user = decoded(parsed.username);
  const database = decoded(parsed.pathname.replace(/^\//, '')) || otherwise;
  if (user === '') throw badInput('databaseUrl', 'names no user.', EXAMPLE);
  if (database === '') throw badInput('databaseUrl', 'names no database.', EXAMPLE);
  if (Buffer.byteLength(database) > LONGEST_NAME) {
    throw badInput('databaseUrl', `names a database with more than ${LONGEST_NAME} bytes, which PostgreSQL cuts off.`);
  }
  const password = parsed.password === '' ? null : decoded(parsed.password);
  return { host, port, user, password, database, ...sslOf(parsed.searchParams) };
}

function hostOf(parsed: URL): string {
  const folder = parsed.searchParams.get('host');
  const host = folder ?? decoded(parsed.hostname).replace(/^\[(.*)\]$/, '$1');
  if (host === '' || host.includes(',')) {
    throw badInput('databaseUrl', host === '' ? 'names no host.' : 'names several hosts.', HOST_HINT);
  }
  if (folder !== null && !isAbsolute(folder)) {
    throw badInput('databaseUrl', 'has a parameter host that is not the absolute path of a folder.', HOST_HINT);
  }
  return isAbsolute(host) ? host : host.toLowerCase();
}

const HOST_HINT = 'Write localhost, one name or address, or ?host=/var/run/postgresql for a socket.';

function sslOf(parameters: URLSearchParams): Pick<Place, 'sslMode' | 'sslRootCert'> {
  const sslMode = parameters.get('sslmode') ?? 'prefer';
  if (!MODES.includes(sslMode)) {
    throw badInput('databaseUrl', `has the sslmode "${sslMode}".`, `Choose one of ${MODES.join(', ')}.`);
  }
  const sslRootCert = parameters.get('sslrootcert');
  if (sslRootCert !== null && !isAbsolute(sslRootCert)) {
    throw badInput('databaseUrl', 'has an sslrootcert that is not an absolute path.');
  }
  if (sslMode.startsWith('verify-') && sslRootCert === null) {
    throw badInput('databaseUrl', `asks for ${sslMode} and names no sslrootcert.`, 'Add sslrootcert=/path/to/ca.pem.');
  }
  return { sslMode: sslMode as SslMode, sslRootCert };
}

const decoded = (text: string) => decodedPart(text, { form: FORM, hint: ENCODE });

/** The URL in one form. @param password as it is written between user and host; null for none */
function written(place: Place, password: string | null): string {
  const { host, port, user, database, sslMode, sslRootCert } = place;
  const address = host.includes(':') ? `[${host}]` : encodeURIComponent(host);
  const parameters = [
    ...(sslMode === 'prefer' ? [] : [`sslmode=${sslMode}`]),
    ...(sslRootCert === null ? [] : [`sslrootcert=${encodeURIComponent(sslRootCert)}`]),
  ];
  const secret = password === null ? '' : `:${password}`;
  const query = parameters.length === 0 ? '' : `?${parameters.join('&')}`;
  return `postgres://${encodeURIComponent(user)}${secret}@${address}:${port}/${encodeURIComponent(database)}${query}`;
}

/** The URL of another database of the same server, with the password. */
export const urlBeside = (place: Place, database: string): string => urlOf(written, { ...place, database });

/** As `Engine.resolve`. */
export const resolveUrl = (url: string): ReturnType<Engine['resolve']> => resolved(written, parseUrl(url));

/** Names of this very machine: a server is the same by each, and through its socket. */
const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|::1|\/.*)$/;

/** As `Engine.keyOf`. Users and passwords do not matter; a server with two distant names has two keys. */
export function keyOf(url: string): string {
  const { host, port, database } = parseUrl(url);
  return `POSTGRES:${LOCAL.test(host) ? 'localhost' : host}:${port}/${database}`;
}

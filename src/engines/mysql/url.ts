import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import type { Engine } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { decodedPart, resolved, urlOf } from '../on-server.js';

/** How much of TLS a connection asks for, as the client programs name it. */
export type SslMode = 'disabled' | 'preferred' | 'required' | 'verify_ca' | 'verify_identity';

/** Where a database is, and who asks for it. */
export interface Place {
  /** A name or an address. */
  host: string;
  port: number;
  /** Absolute path of the server's socket, in place of a host; null for none. */
  socket: string | null;
  user: string;
  /** Null: none is sent. */
  password: string | null;
  database: string;
  sslMode: SslMode;
  /** Absolute path of the certificates that the server's is compared with. */
  sslCa: string | null;
}

// What looks like a password is masked in every message, also in an example.
const FORM = 'is not of the form mysql://user@host:3306/database, with a colon and the password behind the user.';
const EXAMPLE = 'Write it like mysql://user@host:3306/database, with a colon and the password behind the user.';
const ENCODE = 'Percent-encode special characters of user, password and name, such as %40 for @.';
const MODES: readonly string[] = [
  'disabled',
  'preferred',
  'required',
  'verify_ca',
  'verify_identity',
] satisfies SslMode[];
const PARAMETERS: readonly string[] = ['socket', 'ssl-mode', 'ssl-ca'];
/** The longest name of a database, in characters. */
const LONGEST_NAME = 64;
/** True for a database that every server has for itself. */
export const isServersOwn = (database: string): boolean =>
  /^(mysql|sys|information_schema|performance_schema)$/i.test(database);

/**
 * Reads a URL such as `mysql://user:password@host:3306/database?ssl-mode=required`. Never quotes it: it may hold a password.
 * @param otherwise the database, if the URL names none
 * @throws AppError BAD_USER_INPUT naming databaseUrl
 */
export function parseUrl(url: string, otherwise = ''): Place {
  if (!/^(mysql|mariadb):\/\//i.test(url) || !URL.canParse(url)) throw badInput('databaseUrl', FORM, ENCODE);
  const parsed = new URL(url);
  const unknown = [...parsed.searchParams.keys()].find((name) => !PARAMETERS.includes(name));
  if (unknown !== undefined) {
    throw badInput('databaseUrl', `has the unknown parameter "${unknown}".`, `Known are ${PARAMETERS.join(', ')}.`);
  }
  const { host, socket } = hostOf(parsed);
  const port = parsed.port === '' ? 3306 : Number(parsed.port);
  const user = decoded(parsed.username);
  const database = decoded(parsed.pathname.replace(/^\//, '')) || otherwise;
  if (user === '') throw badInput('databaseUrl', 'names no user.', EXAMPLE);
  if (database === '') throw badInput('databaseUrl', 'names no database.', EXAMPLE);
  if ([...database].length > LONGEST_NAME) {
    throw badInput('databaseUrl', `names a database with more than ${LONGEST_NAME} characters.`);
  }
  if (isServersOwn(database)) throw badInput('databaseUrl', `names the server's own database ${database}.`, EXAMPLE);
  const password = parsed.password === '' ? null : decoded(parsed.password);
  const ssl = sslOf(parsed.searchParams);
  // The driver would compare the certificate with "localhost".
  if (ssl.sslMode === 'verify_identity' && isIP(host) !== 0) {
    throw badInput('databaseUrl', 'asks for verify_identity and has an address in place of a name.', NAME_HINT);
  }
  return { host, port, socket, user, password, database, ...ssl };
}

const NAME_HINT = 'Write the name that stands in the certificate of the server, or choose verify_ca.';

function hostOf(parsed: URL): Pick<Place, 'host' | 'socket'> {
  const socket = parsed.searchParams.get('socket');
  const host = decoded(parsed.hostname).replace(/^\[(.*)\]$/, '$1');
  if (host.includes(',')) throw badInput('databaseUrl', 'names several hosts.', HOST_HINT);
  if (host === '' && socket === null) throw badInput('databaseUrl', 'names no host.', HOST_HINT);
  if (socket !== null && !isAbsolute(socket)) {
    throw badInput('databaseUrl', 'has a parameter socket that is not an absolute path.', HOST_HINT);
  }
  return { host: socket === null ? host.toLowerCase() : 'localhost', socket };
}

const HOST_HINT = 'Write localhost, one name or address, or localhost with ?socket=/run/mysqld/mysqld.sock.';

function sslOf(parameters: URLSearchParams): Pick<Place, 'sslMode' | 'sslCa'> {
  const sslMode = (parameters.get('ssl-mode') ?? 'preferred').toLowerCase();
  if (!MODES.includes(sslMode)) {
    throw badInput('databaseUrl', `has the ssl-mode "${sslMode}".`, `Choose one of ${MODES.join(', ')}.`);
  }
  const sslCa = parameters.get('ssl-ca');
  if (sslCa !== null && !isAbsolute(sslCa)) {
    throw badInput('databaseUrl', 'has an ssl-ca that is not an absolute path.');
  }
  if (sslMode.startsWith('verify_') && sslCa === null) {
    throw badInput('databaseUrl', `asks for ${sslMode} and names no ssl-ca.`, 'Add ssl-ca=/path/to/ca.pem.');
  }
  return { sslMode: sslMode as SslMode, sslCa };
}

const decoded = (text: string) => decodedPart(text, { form: FORM, hint: ENCODE });

/** The URL in one form. @param password as it is written between user and host; null for none */
function written(place: Place, password: string | null): string {
  const { host, port, socket, user, database, sslMode, sslCa } = place;
  const address = host.includes(':') ? `[${host}]` : encodeURIComponent(host);
  const parameters = [
    ...(socket === null ? [] : [`socket=${encodeURIComponent(socket)}`]),
    ...(sslMode === 'preferred' ? [] : [`ssl-mode=${sslMode}`]),
    ...(sslCa === null ? [] : [`ssl-ca=${encodeURIComponent(sslCa)}`]),
  ];
  const secret = password === null ? '' : `:${password}`;
  const query = parameters.length === 0 ? '' : `?${parameters.join('&')}`;
  return `mysql://${encodeURIComponent(user)}${secret}@${address}:${port}/${encodeURIComponent(database)}${query}`;
}

/** The URL of another database of the same server, with the password. */
export const urlBeside = (place: Place, database: string): string => urlOf(written, { ...place, database });

/** As `Engine.resolve`. */
export const resolveUrl = (url: string): ReturnType<Engine['resolve']> => resolved(written, parseUrl(url));

/** Names of this very machine: a server is the same by each, and through its socket. */
const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/** As `Engine.keyOf`. Users and passwords do not matter; a server with two distant names has two keys. */
export function keyOf(url: string): string {
  const { host, port, socket, database } = parseUrl(url);
  // A socket does not say the port. On one machine, databases of one name then share a key: they only wait for each other.
  const server = socket !== null || LOCAL.test(host) ? 'localhost' : `${host}:${port}`;
  return `MYSQL:${server}/${database}`;
}

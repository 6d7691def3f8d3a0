import { isAbsolute } from 'node:path';
import type { Engine } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { decodedPart, resolved, urlOf } from '../on-server.js';

/** Where a database is, and who asks for it. */
export interface Place {
  /** True for `mongodb+srv://`: the one host is a name in DNS under which the members are listed. */
  isSrv: boolean;
  /** `name:port` of each member that is named, in lower case; of a `mongodb+srv://` the name alone. */
  hosts: string[];
  /** Null: the server asks for no user, or a certificate names it. */
  user: string | null;
  password: string | null;
  database: string;
  /** The parameters of the URL in their own spelling, in the order of the alphabet. */
  parameters: Record<string, string>;
}

// What looks like a password is masked in every message, also in an example.
const FORM = 'is not of the form mongodb://user@host:27017/database, with a colon and the password behind the user.';
const EXAMPLE = 'Write it like mongodb://user@host:27017/database, with a colon and the password behind the user.';
const ENCODE = 'Percent-encode special characters of user, password and name, such as %40 for @.';

const isFlag = (value: string) => /^(true|false)$/.test(value);
const isText = (value: string) => value !== '';
/** The parameters that are known, and what they may be. */
const PARAMETERS: Record<string, (value: string) => boolean> = {
  authMechanism: (value) => /^(SCRAM-SHA-1|SCRAM-SHA-256|PLAIN|MONGODB-X509)$/.test(value),
  authSource: isText,
  directConnection: isFlag,
  replicaSet: isText,
  tls: isFlag,
  tlsAllowInvalidCertificates: isFlag,
  tlsAllowInvalidHostnames: isFlag,
  tlsCAFile: isAbsolute,
  tlsCertificateKeyFile: isAbsolute,
};
/** Parameters of applications that make no difference to a backup: they are accepted, and left out. */
const WITHOUT_EFFECT = ['appname', 'journal', 'retryreads', 'retrywrites', 'w'];

const URL_PARTS = /^mongodb(\+srv)?:\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/i;
const HOST = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::(\d{1,5}))?$/i;
const PORT = 27017;

/** MongoDB's own limit, in bytes. */
const LONGEST_NAME = 63;
/** What no name of a database may hold. */
const BAD_NAME = /[/\\. "$*<>:|?]/;

/**
 * Reads a URL such as `mongodb://user:password@one,two:27018/database?authSource=admin`. Never quotes it: it may hold a
 * password.
 * @param otherwise the database, if the URL names none
 * @throws AppError BAD_USER_INPUT naming databaseUrl
 */
export function parseUrl(url: string, otherwise = ''): Place {
  const [, srv, login, hosts = '', path = '', query = ''] = URL_PARTS.exec(url) ?? [];
  if (hosts === '') throw badInput('databaseUrl', FORM, ENCODE);
  const isSrv = srv !== undefined;
  const database = decoded(path) || otherwise;
  if (database === '') throw badInput('databaseUrl', 'names no database.', EXAMPLE);
  if (Buffer.byteLength(database) > LONGEST_NAME || BAD_NAME.test(database)) {
    throw badInput('databaseUrl', 'names a database that MongoDB cannot have.', NAME_HINT);
  }
  if (isServersOwn(database)) {
    throw badInput('databaseUrl', `names the database ${database}, which is the server's own.`, NAME_HINT);
  }
  return { isSrv, hosts: hostsOf(hosts, isSrv), ...loginOf(login), database, parameters: parametersOf(query) };
}

/** True for a database that every server has for itself. */
export const isServersOwn = (database: string): boolean => /^(admin|config|local)$/i.test(database);

const NAME_HINT = 'Name the database of the application behind the host. Where its user is kept is authSource.';

function hostsOf(text: string, isSrv: boolean): string[] {
  const hosts = text.split(',').map((host) => {
    const [, port] = HOST.exec(host) ?? [];
    if (!HOST.test(host) || Number(port ?? 1) > 65_535)
      throw badInput('databaseUrl', 'names a malformed host.', EXAMPLE);
    return isSrv || port !== undefined ? host.toLowerCase() : `${host.toLowerCase()}:${PORT}`;
  });
  const [host = ''] = hosts;
  if (isSrv && (hosts.length > 1 || /[:[]/.test(host))) {
    throw badInput('databaseUrl', 'names several hosts or a port, which mongodb+srv:// does not have.');
  }
  return hosts;
}

function loginOf(login: string | undefined): Pick<Place, 'user' | 'password'> {
  if (login === undefined) return { user: null, password: null };
  const colon = login.indexOf(':');
  const user = decoded(colon === -1 ? login : login.slice(0, colon));
  if (user === '') throw badInput('databaseUrl', 'names no user before the @.', EXAMPLE);
  const password = colon === -1 ? '' : decoded(login.slice(colon + 1));
  return { user, password: password === '' ? null : password };
}

function parametersOf(query: string): Record<string, string> {
  const names = new Map(Object.keys(PARAMETERS).map((name) => [name.toLowerCase(), name]));
  names.set('ssl', 'tls');
  const parameters: [string, string][] = [];
  for (const [written, value] of new URLSearchParams(query)) {
    const key = written.toLowerCase();
    if (WITHOUT_EFFECT.includes(key)) continue;
    const name = names.get(key);
    if (name === undefined) {
      const known = Object.keys(PARAMETERS).join(', ');
      throw badInput('databaseUrl', `has the unknown parameter "${written}".`, `Known are ${known}.`);
    }
    if (PARAMETERS[name]?.(value) !== true || /[\0\r\n]/.test(value)) {
      const hint = `Files are absolute paths; the others are as the manual of MongoDB says.`;
      throw badInput('databaseUrl', `has a parameter ${name} with a value that cannot be.`, hint);
    }
    parameters.push([name, value]);
  }
  return Object.fromEntries(parameters.sort(([one], [other]) => (one < other ? -1 : 1)));
}

const decoded = (text: string) => decodedPart(text, { form: FORM, hint: ENCODE });

/** The URL in one form. @param password as it is written between user and host; null for none */
function written({ isSrv, hosts, user, database, parameters }: Place, password: string | null): string {
  const secret = password === null ? '' : `:${password}`;
  const login = user === null ? '' : `${encodeURIComponent(user)}${secret}@`;
  const pairs = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  const query = pairs.length === 0 ? '' : `?${pairs.join('&')}`;
  return `mongodb${isSrv ? '+srv' : ''}://${login}${hosts.join(',')}/${encodeURIComponent(database)}${query}`;
}

/** As `Engine.resolve`. */
export const resolveUrl = (url: string): ReturnType<Engine['resolve']> => resolved(written, parseUrl(url));

/** The URL with its password, as the driver takes it. */
export const driverUrl = (place: Place): string => urlOf(written, place);

/** Any database of the server that a URL leads to, for questions about all of them. */
export function placeOnServer(url: string): Place {
  const place = parseUrl(url, ANY);
  // As the driver has it for a URL that names none.
  return (URL_PARTS.exec(url)?.[4] ?? '') === '' ? withSource(place, 'admin') : place;
}

const ANY = 'test';

/** The URL of another database of the same server, with the password. The user is kept where it was. */
export const urlBeside = (place: Place, database: string): string =>
  driverUrl({ ...withSource(place, place.database), database });

/** Says where the user is kept, unless that is said, or found elsewhere than in a database. */
function withSource(place: Place, authSource: string): Place {
  const { user, isSrv, parameters } = place;
  const isElsewhere = user === null || isSrv || /^(PLAIN|MONGODB-X509)$/.test(parameters.authMechanism ?? '');
  return isElsewhere ? place : { ...place, parameters: { authSource, ...parameters } };
}

/** Names of this very machine. */
const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(?=:)/;

/** As `Engine.keyOf`. Users do not matter; a server or set that is reached by other names has another key. */
export function keyOf(url: string): string {
  const { isSrv, hosts, database } = parseUrl(url);
  const named = hosts.map((host) => host.replace(LOCAL, 'localhost')).sort();
  return `MONGODB:${isSrv ? 'srv:' : ''}${named.join(',')}/${database}`;
}

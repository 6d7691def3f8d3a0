import type { Db, Document, MongoClient, MongoClientOptions } from 'mongodb';
import { AppError, errnoOf, type ErrorCode } from '../../errors.js';
import { driverUrl, type Place } from './url.js';

/** The oldest server that is supported. */
const OLDEST = [4, 4] as const;
/** How long a server may take to let a connection in, in milliseconds. */
const CONNECT_WITHIN = 10_000;
/** After so many milliseconds without a byte, what reads gives up. */
const IDLE_LIMIT = 10 * 60_000;

/** How the servers of a place work together. */
export type Topology = 'STANDALONE' | 'REPLICA_SET' | 'SHARDED';

/** A database that is reached. */
export interface Connection {
  readonly place: Place;
  readonly client: MongoClient;
  readonly db: Db;
  /** Such as "7.0.14". */
  readonly version: string;
  readonly topology: Topology;
  /** True if all collections can be read in one snapshot. */
  readonly hasSnapshots: boolean;
  /** A command to this database. @throws AppError */
  run(command: Document): Promise<Document>;
  /** A command to the server's own database. @throws AppError */
  admin(command: Document): Promise<Document>;
}

/** What a connection is for. */
export interface Use {
  /** Ends it, with all that it waits for. */
  signal?: AbortSignal | undefined;
  /** True where the server may work for long without an answer, as when it builds an index. */
  isPatient?: boolean;
}

/** The server as messages name it. */
export const serverOf = ({ hosts }: Place): string => `The MongoDB server ${hosts.join(',')}`;

/** A database or user in messages. */
export const quoted = (name: string): string => `"${name}"`;

/** The number of MongoDB's error; null for anything else. */
export function mongoCode(error: unknown): number | null {
  const cause = error instanceof AppError ? error.cause : error;
  const code = (cause as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'number' ? code : null;
}

const nameOf = (error: unknown) => (error instanceof Error ? error.name : '');
const HISTORY = 'db.adminCommand({ setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600 })';

/** What a failure at this place means for the user. */
export function failureAt(place: Place, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const server = serverOf(place);
  const code = mongoCode(error);
  const said = (error instanceof Error ? error.message.split('\n')[0] : String(error)) ?? '';
  const named = (kind: ErrorCode, text: string, hint: string) => new AppError(kind, text, { hint, cause: error });
  if (code === 18 || code === 8000 || /auth(entication)? failed/i.test(said)) {
    const who = place.user === null ? 'no user' : `the user ${quoted(place.user)}`;
    return named('DATABASE_UNREADABLE', `${server} refuses ${who}: ${said}`, ENTER);
  }
  if (nameOf(error) === 'MongoCompatibilityError' || /wire version/i.test(said)) {
    return named('ENGINE_UNSUPPORTED', `${server} is too old or too new: ${said}`, SUPPORTED);
  }
  if (code === 13) return named('DATABASE_UNREADABLE', `${server}: ${said}`, grantOf(place, 'readWrite'));
  if (code === 239 || code === 246) {
    const text = `${server} no longer has the state that the backup reads: ${said}`;
    return named('DATABASE_FAILED', text, `Let the server keep it for longer than a backup takes: ${HISTORY}`);
  }
  if (
    /^Mongo(ServerSelection|Network|NetworkTimeout|SystemError|API)Error$/.test(nameOf(error)) &&
    isUnreached(error)
  ) {
    return named('DATABASE_NOT_FOUND', `${server} does not answer: ${errnoOf(error) ?? said}.`, ANSWER);
  }
  if (/^Mongo(Network|NetworkTimeout|ServerSelection|ClientClosed|NotConnected|Topology)/.test(nameOf(error))) {
    return named('DATABASE_FAILED', `${server} ended the connection: ${said}`, 'See the log of MongoDB for why.');
  }
  const number = code === null ? '' : ` (${code})`;
  return named('DATABASE_FAILED', `${server} answered with an error: ${said}${number}`, FAILED);
}

const isUnreached = (error: unknown) =>
  nameOf(error) === 'MongoServerSelectionError' ||
  /ENOTFOUND|ECONNREFUSED|EAI_AGAIN|querySrv|ENODATA/.test(error instanceof Error ? error.message : '');

const ANSWER =
  'Check hosts and parameters in databaseUrl, that MongoDB runs there, and that a firewall lets db-manager in.';
const ENTER = 'Correct user and password in databaseUrl, and name the database that keeps the user: authSource=admin.';
const FAILED = 'Correct the cause that the message quotes, then try again.';
const SUPPORTED = 'MongoDB 4.4 to 8 are supported.';

/** The command that lets the user of a place do what it must. */
export function grantOf({ user, database, parameters }: Place, role: 'read' | 'readWrite' | 'dbAdmin'): string {
  const at = JSON.stringify(parameters.authSource ?? (user === null ? 'admin' : database));
  const who = JSON.stringify(user ?? 'db-manager');
  const roles = `[{ role: ${JSON.stringify(role)}, db: ${JSON.stringify(database)} }]`;
  return `As an administrator, run: db.getSiblingDB(${at}).grantRolesToUser(${who}, ${roles})`;
}

/**
 * Runs `work` with a connection that is closed again.
 * @throws AppError DATABASE_NOT_FOUND, DATABASE_UNREADABLE, DATABASE_FAILED, ENGINE_UNSUPPORTED; the signal's reason
 */
export async function withConnection<T>(
  place: Place,
  use: Use,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const { connection, close } = await connect(place, use);
  try {
    return await work(connection);
  } catch (error) {
    use.signal?.throwIfAborted();
    throw failureAt(place, error);
  } finally {
    await close();
  }
}

/** As `withConnection`, for as long as the caller needs it. */
export async function connect(
  place: Place,
  { signal, isPatient = false }: Use,
): Promise<{ connection: Connection; close(): Promise<void> }> {
  signal?.throwIfAborted();
  const { MongoClient } = await import('mongodb');
  const options: MongoClientOptions = {
    appName: 'db-manager',
    serverSelectionTimeoutMS: CONNECT_WITHIN,
    connectTimeoutMS: CONNECT_WITHIN,
    maxPoolSize: 8,
    readPreference: 'primary',
    ...(!isPatient && { socketTimeoutMS: IDLE_LIMIT }),
  };
  let client: MongoClient;
  try {
    client = new MongoClient(driverUrl(place), options);
  } catch (error) {
    throw failureAt(place, error);
  }
  const close = async () => {
    signal?.removeEventListener('abort', abandon);
    await client.close().catch(() => undefined);
  };
  const abandon = () => void close();
  signal?.addEventListener('abort', abandon, { once: true });
  try {
    await client.connect();
    return { connection: await connectionTo(place, client), close };
  } catch (error) {
    await close();
    signal?.throwIfAborted();
    throw failureAt(place, error);
  }
}

async function connectionTo(place: Place, client: MongoClient): Promise<Connection> {
  const db = client.db(place.database);
  const command = async (on: Db, text: Document) => {
    try {
      return await on.command(text);
    } catch (error) {
      throw failureAt(place, error);
    }
  };
  // Servers before 5.0 know only the older name of it.
  const hello = await command(db, { hello: 1 }).catch(() => command(db, { isMaster: 1 }));
  const { version } = (await command(db, { buildInfo: 1 })) as { version: string };
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new AppError('ENGINE_UNSUPPORTED', `${serverOf(place)} is of version ${version}.`, {
      field: 'databaseUrl',
      hint: SUPPORTED,
    });
  }
  const topology = hello.msg === 'isdbgrid' ? 'SHARDED' : hello.setName === undefined ? 'STANDALONE' : 'REPLICA_SET';
  return {
    ...{ place, client, db, version, topology },
    hasSnapshots: topology !== 'STANDALONE' && major >= 5,
    run: (text) => command(db, text),
    admin: (text) => command(client.db('admin'), text),
  };
}

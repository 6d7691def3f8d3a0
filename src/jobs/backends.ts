import type { AgendaBackend } from 'agenda';
import type { Sequelize } from 'sequelize';
import { AppError, maskSecrets } from '../errors.js';
import type { Log } from '../log.js';
import { createSqlBackend } from './sql-backend.js';

/** A connected job store. `close` ends its connections (and its server, if it was started here). */
export interface JobStore {
  backend: AgendaBackend;
  close(): Promise<void>;
}

export interface BackendOptions {
  log: Log;
  /** Where `mongodb-memory:` keeps the MongoDB that it downloads; absolute. */
  downloadFolder: string;
}

/** How long a job store may take to answer, in milliseconds. */
const ANSWER_WITHIN = 5_000;

/**
 * Opens the job store that JOBS_URL names; empty means the control database, whose connection stays the caller's.
 * The drivers of the other stores are loaded only when they are asked for.
 * @throws AppError CONFIG_INVALID if the store does not answer or cannot be started
 */
export async function createBackend(url: string, sequelize: Sequelize, options: BackendOptions): Promise<JobStore> {
  if (url === '') return { backend: createSqlBackend(sequelize), close: async () => {} };
  if (url.startsWith('mongodb-memory:')) return startMongo(options);
  if (/^mongodb(\+srv)?:/.test(url)) return openMongo(url);
  if (/^postgres(ql)?:/.test(url)) return openPostgres(url, options.log);
  throw new AppError('CONFIG_INVALID', `JOBS_URL names no job store that is known: ${maskSecrets(url)}`, {
    hint: 'Use mongodb://…, postgres://… or mongodb-memory:, or leave it empty to keep jobs in the control database.',
  });
}

async function openMongo(url: string): Promise<JobStore> {
  const [{ MongoClient }, { MongoBackend }] = await Promise.all([import('mongodb'), import('@agendajs/mongo-backend')]);
  let client: InstanceType<typeof MongoClient> | null = null;
  try {
    client = new MongoClient(url, { serverSelectionTimeoutMS: ANSWER_WITHIN });
    const opened = client;
    const backend = new MongoBackend({ mongo: client.db() });
    await client.connect();
    await backend.connect();
    return { backend: connected(backend), close: () => opened.close() };
  } catch (error) {
    await client?.close();
    throw unusable('MongoDB', url, error);
  }
}

async function openPostgres(url: string, log: Log): Promise<JobStore> {
  const [{ Pool }, { PostgresBackend }] = await Promise.all([import('pg'), import('@agendajs/postgres-backend')]);
  const pool = new Pool({ connectionString: url, connectionTimeoutMillis: ANSWER_WITHIN });
  // Without a listener a server that restarts would end this process.
  pool.on('error', (err) => log.warn({ err }, 'A connection to the job store was lost; it is opened again.'));
  try {
    const backend = new PostgresBackend({ pool, disableNotifications: true });
    const client = await pool.connect();
    try {
      // Processes that start at once would fail over each other's CREATE … IF NOT EXISTS.
      await client.query(`SELECT pg_advisory_lock(hashtext('db-manager jobs'))`);
      await backend.connect();
      await client.query(`SELECT pg_advisory_unlock(hashtext('db-manager jobs'))`);
    } finally {
      client.release(true);
    }
    return { backend: connected(backend), close: () => pool.end() };
  } catch (error) {
    await pool.end();
    throw unusable('PostgreSQL', url, error);
  }
}

async function startMongo({ log, downloadFolder }: BackendOptions): Promise<JobStore> {
  const { MongoMemoryServer } = await import('mongodb-memory-server');
  let server: InstanceType<typeof MongoMemoryServer>;
  try {
    server = await MongoMemoryServer.create({ binary: { downloadDir: downloadFolder } });
  } catch (error) {
    throw new AppError('CONFIG_INVALID', `JOBS_URL: no MongoDB could be started: ${(error as Error).message}`, {
      hint: 'Set MONGOMS_SYSTEM_BINARY to an installed mongod, allow the download, or leave JOBS_URL empty.',
      cause: error,
    });
  }
  log.warn('Jobs lie in a MongoDB in memory: they are gone when this process ends. Not for production.');
  try {
    const store = await openMongo(server.getUri('db-manager'));
    return { backend: store.backend, close: () => store.close().finally(() => server.stop()) };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** The same backend for Agenda, which would connect it once more and end the process if that failed. */
function connected({ name, repository }: AgendaBackend): AgendaBackend {
  return { name, repository, ownsConnection: false, connect: async () => {}, disconnect: async () => {} };
}

function unusable(server: string, url: string, error: unknown): AppError {
  const reason = maskSecrets((error as Error).message);
  return new AppError('CONFIG_INVALID', `JOBS_URL: ${server} at ${maskSecrets(url)} cannot be used: ${reason}`, {
    hint: 'Check the address, user and password, and that the server runs; or leave JOBS_URL empty.',
    cause: error,
  });
}

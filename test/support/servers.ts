import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type Certificates, makeCertificates } from './certificates.js';

/** A server that runs for one test file. */
export interface TestServer {
  url: string;
  stop(): Promise<void>;
}

/** One that can stop without waiting for anyone, and start again. */
export interface RestartableServer extends TestServer {
  restart(): Promise<void>;
}

/** One that lets nobody in over the network without TLS. */
export interface TlsServer extends TestServer {
  /** Through its socket. */
  url: string;
  port: number;
  certificates: Certificates;
}

/** Why a server cannot be had on this machine: for the title of what is skipped. */
export interface MissingServer {
  missing: string;
}

const START_WITHIN = 30_000;

/**
 * A PostgreSQL of its own in a temporary folder, started from Debian's package as an unprivileged user.
 * Every call gives a fresh, empty server.
 * @param password of the superuser; given, every user must have one, and left out, none is asked for one
 * @param env more variables of its process
 */
export async function startPostgres(
  password?: string,
  env: NodeJS.ProcessEnv = {},
): Promise<RestartableServer | MissingServer> {
  return runPostgres(password, false, env);
}

/** As `startPostgres`, with TLS. */
export async function startTlsPostgres(password: string): Promise<TlsServer | MissingServer> {
  return runPostgres(password, true);
}

async function runPostgres(password: string | undefined, hasTls: true): Promise<TlsServer | MissingServer>;
async function runPostgres(
  password: string | undefined,
  hasTls: false,
  env: NodeJS.ProcessEnv,
): Promise<RestartableServer | MissingServer>;
async function runPostgres(
  password: string | undefined,
  hasTls: boolean,
  env: NodeJS.ProcessEnv = {},
): Promise<RestartableServer | TlsServer | MissingServer> {
  const bin = postgresBinaries();
  if (bin === null) return { missing: 'PostgreSQL is not installed in /usr/lib/postgresql (Debian: postgresql)' };
  const account = unprivilegedUser();
  if (account === null) return { missing: 'PostgreSQL does not run as root, and there is no user postgres or nobody' };
  const folder = mkdtempSync(join(tmpdir(), 'db-manager-postgres-'));
  if (account !== undefined) chownSync(folder, account.uid, account.gid);
  const options = { cwd: folder, stdio: 'ignore' as const, env: { ...process.env, ...env }, ...account };
  const data = join(folder, 'data');
  const secret = join(folder, 'password');
  writeFileSync(secret, `${password}\n`);
  const auth = password === undefined ? ['-A', 'trust'] : ['-A', 'scram-sha-256', `--pwfile=${secret}`];
  const init = spawn(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', ...auth, '-E', 'UTF8', '-N'], options);
  const [code] = await once(init, 'exit');
  if (code !== 0) return { missing: `initdb ended with ${code}` };
  const port = await freePort();
  const settings = ['listen_addresses=127.0.0.1', `port=${port}`, `unix_socket_directories=${folder}`, 'fsync=off'];
  const certificates = hasTls ? certificatesFor(folder, account) : null;
  if (certificates !== null) {
    const { key, certificate } = certificates;
    settings.push('ssl=on', `ssl_key_file=${key}`, `ssl_cert_file=${certificate}`);
    writeFileSync(join(data, 'pg_hba.conf'), 'local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n');
  }
  const run = () => spawn(join(bin, 'postgres'), ['-D', data, ...settings.flatMap((text) => ['-c', text])], options);
  let server = run();
  const user = password === undefined ? 'postgres' : `postgres:${encodeURIComponent(password)}`;
  const url =
    certificates === null
      ? `postgres://${user}@127.0.0.1:${port}/postgres`
      : `postgres://postgres@localhost:${port}/postgres?host=${encodeURIComponent(folder)}`;
  await answering(server, () => connectPostgres(url));
  return {
    ...{ url, port, certificates },
    stop: () => end(server, 'SIGINT').then(() => rmSync(folder, { recursive: true, force: true })),
    async restart() {
      await end(server, 'SIGQUIT');
      server = run();
      await answering(server, () => connectPostgres(url));
    },
  };
}

/**
 * A MariaDB of its own in a temporary folder, started from Debian's package as an unprivileged user.
 * @param password of root, who may come from 127.0.0.1
 */
export async function startMariadb(password: string): Promise<RestartableServer | MissingServer> {
  return runMariadb(password, false);
}

/** As `startMariadb`, with TLS: its URL leads through its socket. */
export async function startTlsMariadb(password: string): Promise<TlsServer | MissingServer> {
  return runMariadb(password, true);
}

async function runMariadb(password: string, hasTls: true): Promise<TlsServer | MissingServer>;
async function runMariadb(password: string, hasTls: false): Promise<RestartableServer | MissingServer>;
async function runMariadb(password: string, hasTls: boolean): Promise<RestartableServer | TlsServer | MissingServer> {
  const [install, binary] = ['/usr/bin/mariadb-install-db', '/usr/sbin/mariadbd'];
  if (!existsSync(install) || !existsSync(binary)) {
    return { missing: 'MariaDB is not installed (Debian: mariadb-server)' };
  }
  const account = unprivilegedUser();
  if (account === null) return { missing: 'MariaDB does not run as root, and there is no user postgres or nobody' };
  const folder = mkdtempSync(join(tmpdir(), 'db-manager-mariadb-'));
  if (account !== undefined) chownSync(folder, account.uid, account.gid);
  const options = { cwd: folder, stdio: 'ignore' as const, ...account };
  const data = join(folder, 'data');
  const init = spawn(
    install,
    ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    options,
  );
  const [code] = await once(init, 'exit');
  if (code !== 0) return { missing: `mariadb-install-db ended with ${code}` };
  const port = await freePort();
  const first = join(folder, 'first.sql');
  writeFileSync(first, `ALTER USER root@localhost IDENTIFIED BY '${password.replace(/['\\]/g, '\\$&')}';\n`);
  const settings = [
    ...[`--datadir=${data}`, `--socket=${join(folder, 'socket')}`, `--port=${port}`, '--bind-address=127.0.0.1'],
    ...[`--pid-file=${join(folder, 'pid')}`, `--init-file=${first}`, '--innodb-flush-log-at-trx-commit=0'],
    // As PostgreSQL's fsync=off: a killed server loses nothing, only a machine without power would.
    ...['--innodb-flush-method=nosync', '--sync-frm=0'],
    ...['--innodb-buffer-pool-size=64M', '--log-bin-trust-function-creators=1'],
  ];
  const certificates = hasTls ? certificatesFor(folder, account) : null;
  if (certificates !== null) {
    const { key, certificate, authority } = certificates;
    settings.push(
      `--ssl-key=${key}`,
      `--ssl-cert=${certificate}`,
      `--ssl-ca=${authority}`,
      '--require-secure-transport=1',
    );
  }
  const run = () => spawn(binary, ['--no-defaults', ...settings], options);
  let server = run();
  const socketPath = join(folder, 'socket');
  const url = `mysql://root:${encodeURIComponent(password)}@127.0.0.1:${port}/mysql${hasTls ? `?socket=${encodeURIComponent(socketPath)}` : ''}`;
  const ask = async () => {
    const { createConnection } = await import('mysql2/promise');
    const connection = await createConnection({ socketPath, user: 'root', password });
    await connection.end();
  };
  await answering(server, ask);
  return {
    ...{ url, port, certificates },
    stop: () => end(server, 'SIGTERM').then(() => rmSync(folder, { recursive: true, force: true })),
    async restart() {
      await end(server, 'SIGKILL');
      server = run();
      await answering(server, ask);
    },
  };
}

/**
 * A server that speaks MongoDB's protocol: the one at MONGODB_TEST_URL, else the mongod at MONGOMS_SYSTEM_BINARY, else
 * mongo-java-server from the jars in the folder MONGO_JAVA_SERVER_JARS. Every call gives an empty database.
 */
export async function startMongo(): Promise<TestServer | MissingServer> {
  const database = `test_${process.pid}_${Date.now()}`;
  const given = process.env.MONGODB_TEST_URL;
  if (given) {
    const url = new URL(given);
    url.pathname = `/${database}`;
    return { url: url.href, stop: async () => {} };
  }
  if (process.env.MONGOMS_SYSTEM_BINARY) {
    const { MongoMemoryServer } = await import('mongodb-memory-server');
    const server = await MongoMemoryServer.create();
    return { url: server.getUri(database), stop: async () => void (await server.stop()) };
  }
  const jars = process.env.MONGO_JAVA_SERVER_JARS;
  if (!jars || !existsSync(jars)) {
    return { missing: 'set MONGODB_TEST_URL, MONGOMS_SYSTEM_BINARY or MONGO_JAVA_SERVER_JARS' };
  }
  const port = await freePort();
  const launcher = fileURLToPath(new URL('MongoServer.java', import.meta.url));
  const server = spawn('java', ['-cp', ['.', join(jars, '*')].join(delimiter), launcher, String(port)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const started = await Promise.race([
    once(server.stdout, 'data').then(() => true),
    once(server, 'error').then(() => false),
    once(server, 'exit').then(() => false),
  ]);
  if (!started) return { missing: 'java could not start mongo-java-server' };
  return { url: `mongodb://127.0.0.1:${port}/${database}`, stop: () => end(server, 'SIGKILL') };
}

/** Certificates of a server that runs as this account. */
function certificatesFor(folder: string, account: { uid: number; gid: number } | undefined): Certificates {
  const certificates = makeCertificates(folder);
  if (account !== undefined) chownSync(certificates.key, account.uid, account.gid);
  return certificates;
}

function postgresBinaries(): string | null {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const found = versions.map((version) => join(root, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')));
  return found ?? null;
}

/** Undefined if this process may start servers itself; null if it is root and there is nobody to start them as. */
function unprivilegedUser(): { uid: number; gid: number } | undefined | null {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8').split('\n');
  const lines = ['postgres', 'nobody'].map((name) => users.find((user) => user.startsWith(`${name}:`)));
  const [, , uid, gid] = lines.find((line) => line !== undefined)?.split(':') ?? [];
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}

async function connectPostgres(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.end();
}

async function answering(server: ChildProcess, ask: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + START_WITHIN;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (server.exitCode !== null || Date.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

/** Ends a server, if it has not ended by itself. */
export async function end(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exit = once(server, 'exit');
  server.kill(signal);
  await exit;
}

/** A TCP port that nothing listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('The system gave no port.');
  return address.port;
}

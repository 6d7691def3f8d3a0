import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { EXIT_CODES } from '../../src/exit-codes.js';
import { translate } from '../cli/command.js';
import { exec } from '../support/sqlite.js';

let program: string;
beforeAll(async () => {
  program = await translate(await realpath(await mkdtemp(join(tmpdir(), 'db-manager-program-'))));
});
afterAll(() => rm(program, { recursive: true, force: true }));

let folder: string;
const started: ChildProcess[] = [];
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-process-')));
  await exec(join(folder, 'app.sqlite3'), 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
});
afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

/** The process as it is in production, in a folder of its own: the checkout may hold somebody's .env. */
function start(script: 'server' | 'worker', env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [join(program, 'src', `${script}.js`)], {
    cwd: folder,
    env: {
      PATH: process.env.PATH ?? '',
      PORT: '0',
      DATA_DIR: join(folder, 'data'),
      DB_BACKUP_PATH: join(folder, 'backups'),
      DATABASE_URL: `sqlite:${join(folder, 'app.sqlite3')}`,
      LOG_LEVEL: 'warn',
      ...env,
    },
  });
  started.push(child);
  const output = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output.err += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  const says = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const match = pattern.exec(output.out);
      if (match) return match[1] ?? match[0];
      const code = await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 50, 'running'))]);
      if (code !== 'running') throw new Error(`It ended with ${String(code)}: ${output.out}${output.err}`);
    }
  };
  return { child, output, ended, says };
}

async function login(address: string, password: string, email = 'admin@localhost') {
  const response = await fetch(`${address}/graphql`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      query: 'mutation($e: String!, $p: String!) { login(email: $e, password: $p) { token } }',
      variables: { e: email, p: password },
    }),
  });
  return (await response.json()) as { data: { login: { token: string } } | null };
}

describe('The server', () => {
  it('prints address and generated password at its first start only, and ends with 0 on SIGTERM', async () => {
    const first = start('server');
    const address = await first.says(/ready at (http:\S+)/);
    const password = await first.says(/Password: +(\S+)/);
    await first.says(/Next steps/);
    expect(first.output.out).toContain('admin@localhost');
    expect(first.output.out.split(password)).toHaveLength(2);
    expect((await login(address, password)).data?.login.token).toMatch(/^ey/);
    first.child.kill('SIGTERM');
    expect(await first.ended).toBe(0);

    const second = start('server');
    const again = await second.says(/ready at (http:\S+)/);
    expect((await login(again, password)).data?.login.token).toMatch(/^ey/);
    second.child.kill('SIGINT');
    expect(await second.ended).toBe(0);
    expect(second.output.out).not.toMatch(/Password|Next steps/);
    expect(first.output.err + second.output.err).not.toContain(password);
  }, 60_000);

  it('is well for `db-manager health` while it runs, and no longer when it is stopped', async () => {
    const server = start('server', { HOST: '0.0.0.0' });
    const { port } = new URL(await server.says(/ready at (http:\S+)/));
    const health = (...args: string[]) => {
      const command = [join(program, 'src', 'cli.js'), 'health', '--json', ...args];
      const env = { PATH: process.env.PATH ?? '', PORT: port, HOST: '0.0.0.0', DATA_DIR: 'none' };
      const { status, stdout } = spawnSync(process.execPath, command, { cwd: folder, env, encoding: 'utf8' });
      return { status, ...(JSON.parse(stdout) as object) };
    };
    const url = `http://127.0.0.1:${port}`;
    expect(health()).toEqual({ status: 0, url: `${url}/readyz`, ok: true, reason: null });
    expect(health('--live')).toEqual({ status: 0, url: `${url}/healthz`, ok: true, reason: null });
    server.child.kill('SIGTERM');
    expect(await server.ended).toBe(0);
    expect(health()).toEqual({ status: 1, url: `${url}/readyz`, ok: false, reason: 'no answer (ECONNREFUSED)' });
    expect(await readdir(folder)).not.toContain('none');
  });

  it('with .env after a start with the sample, only the user whom its banner names can sign in', async () => {
    const sample = start('server', { DATABASE_URL: '' });
    const old = await sample.says(/Password: +(\S+)/);
    await sample.says(/Next steps/);
    sample.child.kill('SIGTERM');
    await sample.ended;

    const [email, password] = ['you@example.com', 'a-long-password-of-yours'];
    await writeFile(join(folder, '.env'), `ADMIN_EMAIL=${email}\nADMIN_PASSWORD=${password}\n`);
    const own = start('server');
    const address = await own.says(/ready at (http:\S+)/);
    expect(await own.says(/Login: +(\S+)/)).toBe(email);
    await own.says(/Next steps/);
    expect(own.output.out).toMatch(/^Protected: +\S+: sqlite:.*app\.sqlite3$/m);
    expect(own.output.out).not.toContain(password);
    expect((await login(address, password, email)).data?.login.token).toMatch(/^ey/);
    expect((await login(address, old)).data).toBeNull();
    own.child.kill('SIGTERM');
    await own.ended;
    expect(own.output.err).toBe('');
  }, 60_000);

  it('that cannot start says why and what to do, and ends with the code of the error', async () => {
    const { ended, output } = start('server', { PORT: 'many', JWT_SECRET: 'short' });
    expect(await ended).toBe(EXIT_CODES.CONFIG_INVALID);
    expect(output.err).toMatch(/CONFIG_INVALID: [^]*PORT[^]*JWT_SECRET/);
    expect(output.err).not.toMatch(/ at .*:\d+:\d+/);
  }, 30_000);

  it('whose port is taken says so', async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) => {
      other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port));
    });
    const { ended, output } = start('server', { PORT: String(port) });
    expect(await ended).toBe(EXIT_CODES.CONFIG_INVALID);
    expect(output.err).toMatch(new RegExp(`port ${port}`));
    other.close();
  }, 30_000);

  it('that would back up its own records does not start', async () => {
    const { ended, output } = start('server', { DATABASE_URL: `sqlite:${folder}/data/db-manager.sqlite3` });
    expect(await ended).toBe(EXIT_CODES.DATABASE_IS_CONTROL);
    expect(output.err).toMatch(/DATABASE_IS_CONTROL/);
  }, 30_000);
});

it('a worker beside the server runs on the same data and ends with 0 on SIGTERM', async () => {
  const server = start('server');
  await server.says(/Next steps/);
  const worker = start('worker');
  await worker.says(/worker is ready/);
  worker.child.kill('SIGTERM');
  expect(await worker.ended).toBe(0);
  server.child.kill('SIGTERM');
  expect(await server.ended).toBe(0);
}, 60_000);

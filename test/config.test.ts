import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';
import { absoluteSqliteUrl, ENVIRONMENT_NAMES, loadConfig } from '../src/config.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** A process that says `ready`, then answers what it is asked and ends. */
function start(args: string[], cwd: string) {
  const child = spawn(process.execPath, args, { cwd, stdio: ['pipe', 'pipe', 'inherit'] });
  const ready = once(child.stdout, 'data');
  const ask = (question: string) => {
    child.stdin.end(question);
    return text(child.stdout);
  };
  return { ready, ask };
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'config-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('The configuration', () => {
  it('needs nothing: every value has a default, and secrets are made once with mode 0600', async () => {
    const first = loadConfig({}, folder);
    expect(first).toMatchObject({ port: 4000, host: '127.0.0.1', jobsUrl: '', localRoot: join(folder, 'backups') });
    expect(first.controlDatabaseUrl).toBe(`sqlite:${join(folder, 'data', 'db-manager.sqlite3')}`);
    expect(first.auth.secret.length).toBeGreaterThanOrEqual(48);
    expect(loadConfig({}, folder).auth.secret).toBe(first.auth.secret);
    expect((await stat(join(folder, 'data', 'jwt-secret'))).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['empty', ''],
    ['half-written', 'x'.repeat(31)],
    ['blank', ' '.repeat(64)],
  ])('refuses a secret whose file is %s, which would let anybody sign tokens, with the remedy', async (_name, text) => {
    const file = join(folder, 'data', 'jwt-secret');
    await mkdir(join(folder, 'data'));
    await writeFile(file, text);
    let error: unknown;
    try {
      loadConfig({}, folder);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(file),
      hint: expect.stringMatching(/Delete it.*JWT_SECRET/),
    });
    await rm(file);
    expect(loadConfig({}, folder).auth.secret).toHaveLength(64);
  });

  it('has one whole secret, also where several processes start for the first time at once', async () => {
    const folders = Array.from({ length: 150 }, (_, i) => join(folder, String(i)));
    const script = `
      const { loadConfig } = await import('./src/config.ts');
      process.stdout.write('ready');
      const folders = JSON.parse(await new Response(process.stdin).text());
      const secrets = folders.map((folder) => loadConfig({}, folder).auth.secret);
      process.stdout.write(JSON.stringify(secrets));`;
    const args = ['--import', '@swc-node/register/esm-register', '--input-type=module', '--eval', script];
    const children = [1, 2, 3].map(() => start(args, ROOT));
    await Promise.all(children.map(({ ready }) => ready));
    const told = await Promise.all(children.map(({ ask }) => ask(JSON.stringify(folders))));
    const [secrets] = told.map((text) => JSON.parse(text) as string[]);
    expect(secrets?.filter((secret) => secret.length === 64)).toHaveLength(folders.length);
    expect(new Set(told).size).toBe(1);
    for (const each of folders) expect(await readdir(join(each, 'data'))).toEqual(['jwt-secret']);
  });

  it('tells all problems at once, each with its variable and the remedy', () => {
    const wrong = {
      PORT: 'x',
      JWT_SECRET: 'short',
      ADMIN_EMAIL: 'nobody',
      DB_BACKUP_RETENTION_DAYS: '0',
      DB_BACKUP_MAX_FILES: '-1',
      JOBS_URL: 'redis://x',
      DB_BACKUP_TIMEZONE: 'Mars/Olympus',
      JWT_ADMIN_CLAIM: 'admin',
    };
    let message = '';
    try {
      loadConfig(wrong, folder);
    } catch (error) {
      expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
      message = (error as Error).message;
    }
    for (const name of Object.keys(wrong)) expect(message).toContain(`- ${name} `);
    expect(message).toContain('openssl rand');
  });

  it.each([
    [{ DB_BACKUP_STORAGE_TYPE: 'SYSTEM' }, 'DB_BACKUP_PATH'],
    [{ DB_BACKUP_STORAGE_TYPE: 'SYSTEM', DB_BACKUP_PATH: 'relative' }, 'DB_BACKUP_PATH'],
    [{ DB_BACKUP_STORAGE_TYPE: 'FTP' }, 'DB_BACKUP_STORAGE_TYPE'],
    [{ JWT_PUBLIC_KEY: '-----BEGIN PUBLIC KEY-----' }, 'JWT_ADMIN_CLAIM'],
    [{ ADMIN_PASSWORD: 'long enough password' }, 'ADMIN_EMAIL'],
    [{ DB_BACKUP_PREFIX: '../x' }, 'DB_BACKUP_PREFIX'],
  ])('refuses combinations that cannot work: %j', (env, name) => {
    expect(() => loadConfig(env, folder)).toThrow(name);
  });

  it('takes the origins of other pages as browsers name them', () => {
    expect(loadConfig({}, folder).corsOrigins).toEqual([]);
    const CORS_ORIGINS = ' https://admin.example.org, http://localhost:5173,';
    expect(loadConfig({ CORS_ORIGINS }, folder).corsOrigins).toEqual([
      'https://admin.example.org',
      'http://localhost:5173',
    ]);
  });

  it.each([
    ['*', 'pages of anybody'],
    ['https://*.example.org', 'name each origin'],
    ['https://admin.example.org/', 'such as https://admin.example.org'],
    ['https://admin.example.org:443', 'such as https://admin.example.org'],
    ['HTTPS://Admin.example.org/path', 'such as https://admin.example.org'],
    ['admin.example.org', 'such as https://'],
    ['null', 'is no origin'],
    ['https://good.example.org,file:///etc', 'file:///etc'],
  ])('refuses what is no origin, with the remedy: %s', (CORS_ORIGINS, words) => {
    expect(() => loadConfig({ CORS_ORIGINS }, folder)).toThrow(words);
    expect(() => loadConfig({ CORS_ORIGINS }, folder)).toThrow('- CORS_ORIGINS ');
  });

  it('reads .env of the working folder, which never overrides the environment', async () => {
    await writeFile(join(folder, '.env'), 'PORT=5001\nHOST=0.0.0.0\n');
    expect(loadConfig({ HOST: '127.0.0.2' }, folder)).toMatchObject({ port: 5001, host: '127.0.0.2' });
  });

  it('knows every way of writing a SQLite URL', () => {
    for (const url of [
      'sqlite:./db.sqlite3',
      'sqlite:db.sqlite3',
      'sqlite:/srv/db.sqlite3',
      'sqlite:///srv/db.sqlite3',
    ]) {
      expect(absoluteSqliteUrl(url, '/srv')).toBe('sqlite:/srv/db.sqlite3');
    }
    expect(absoluteSqliteUrl('postgres://u:p@h/d', '/srv')).toBe('postgres://u:p@h/d');
  });

  it('is explained in .env.example: the same names, and the example itself is valid', () => {
    const example = parseEnv(readFileSync(new URL('../.env.example', import.meta.url), 'utf8'));
    expect(Object.keys(example).sort()).toEqual([...ENVIRONMENT_NAMES].sort());
    expect(loadConfig(example as NodeJS.ProcessEnv, folder)).toEqual(loadConfig({ JWT_SECRET: undefined }, folder));
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseEnv } from 'node:util';
import { absoluteFileUrl, ENVIRONMENT_NAMES, loadEnvironment, readSettings } from '../src/environment.js';
import { translate } from './cli/command.js';

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

/** What a start with this environment says; empty if it starts. */
function problemsOf(env: NodeJS.ProcessEnv): string {
  try {
    loadEnvironment(env, folder);
    return '';
  } catch (error) {
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    return (error as Error).message;
  }
}

describe('The configuration', () => {
  it('needs nothing: every value has a default, and secrets are made once with mode 0600', async () => {
    const first = loadEnvironment({}, folder);
    expect(first).toMatchObject({ port: 4000, host: '127.0.0.1', jobsUrl: '', localRoot: join(folder, 'backups') });
    expect(first.controlDatabaseUrl).toBe(`sqlite:${join(folder, 'data', 'db-manager.sqlite3')}`);
    expect(first.auth.secret.length).toBeGreaterThanOrEqual(48);
    expect(loadEnvironment({}, folder).auth.secret).toBe(first.auth.secret);
    expect((await stat(join(folder, 'data', 'jwt-secret'))).mode & 0o777).toBe(0o600);
  });

  it.each<[string, NodeJS.ProcessEnv, { url: string; from: string } | null]>([
    ['nothing', {}, null],
    [
      'a URL',
      { SMTP_URL: 'smtp://mail.example.org' },
      { url: 'smtp://mail.example.org', from: 'db-manager@mail.example.org' },
    ],
    [
      'parts',
      { SMTP_HOST: 'mail.example.org', SMTP_USER: 'ops@example.org', SMTP_PASSWORD: 'p@ss:word' },
      { url: 'smtp://ops%40example.org:p%40ss%3Aword@mail.example.org:587', from: 'ops@example.org' },
    ],
    [
      'port 465 and a sender',
      { SMTP_HOST: '[::1]', SMTP_PORT: '465', MAIL_FROM: 'Backups <b@example.org>' },
      { url: 'smtps://[::1]:465', from: 'Backups <b@example.org>' },
    ],
  ])('knows how mail leaves from %s', (_title, env, mail) => {
    expect(loadEnvironment(env, folder).mail).toEqual(mail);
  });

  /** Nothing in these is secret; the public key can be the name of a file itself. */
  const OPEN = [
    ...['PUBLIC_URL', 'DB_MANAGER_URL', 'GDRIVE_ROOT_URL', 'JWT_PUBLIC_KEY', 'S3_KMS_KEY_ID'],
    'CONFIRM_WITH_PASSWORD',
  ];
  const secrets = ENVIRONMENT_NAMES.filter((name) => /(PASSWORD|SECRET|TOKEN|KEY|KEY_ID|_URL)$/.test(name));

  it.each(secrets.filter((name) => !OPEN.includes(name)))('takes %s from a file', (name) => {
    expect(problemsOf({ [`${name}_FILE`]: 'nowhere' })).toContain(`${name}_FILE names a file that cannot be read`);
  });

  it('makes nothing when settings are only looked at', async () => {
    expect(readSettings({ PORT: '4001' }, folder)).toMatchObject({ port: 4001, dataDir: join(folder, 'data') });
    expect(() => readSettings({ PORT: 'x' }, folder)).toThrow('PORT is not a whole number');
    expect(await readdir(folder)).toEqual([]);
  });

  it('takes the address of problems from NOTIFY_EMAIL, otherwise from ADMIN_EMAIL', () => {
    const admin = { SMTP_HOST: 'mail', ADMIN_EMAIL: 'admin@example.org', ADMIN_PASSWORD: 'x'.repeat(12) };
    expect(loadEnvironment(admin, folder).notifyEmail).toBe('admin@example.org');
    expect(loadEnvironment({ ...admin, NOTIFY_EMAIL: 'ops@example.org' }, folder).notifyEmail).toBe('ops@example.org');
    expect(problemsOf({ NOTIFY_EMAIL: 'ops@example.org' })).toContain('SMTP_URL or SMTP_HOST is needed');
    expect(problemsOf({ SMTP_URL: 'mail.example.org:secret' })).toMatch(/SMTP_URL is malformed(?!.*secret)/);
    expect(problemsOf({ PUBLIC_URL: 'backups.example.org' })).toContain('PUBLIC_URL is no address of a page');
    expect(loadEnvironment({ PUBLIC_URL: 'https://x.org/db//' }, folder)).toMatchObject({
      publicUrl: 'https://x.org/db',
      basePath: '/db',
    });
    expect(loadEnvironment({ PUBLIC_URL: 'https://x.org/' }, folder).basePath).toBe('');
    expect(problemsOf({ PUBLIC_URL: 'https://x.org/a"b' })).toContain('PUBLIC_URL has a path with other characters');
    expect(problemsOf({ PUBLIC_URL: 'https://x.org/graphql/' })).toContain('PUBLIC_URL has the path /graphql, which');
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
      loadEnvironment({}, folder);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(file),
      hint: expect.stringMatching(/Delete it.*JWT_SECRET/),
    });
    await rm(file);
    expect(loadEnvironment({}, folder).auth.secret).toHaveLength(64);
  });

  it('has one whole secret, also where several processes start for the first time at once', async () => {
    const folders = Array.from({ length: 150 }, (_, i) => join(folder, String(i)));
    const script = `
      const { loadEnvironment } = await import('./src/environment.js');
      process.stdout.write('ready');
      const folders = JSON.parse(await new Response(process.stdin).text());
      const secrets = folders.map((folder) => loadEnvironment({}, folder).auth.secret);
      process.stdout.write(JSON.stringify(secrets));`;
    const program = await translate(join(folder, 'program'));
    const children = [1, 2, 3].map(() => start(['--input-type=module', '--eval', script], program));
    await Promise.all(children.map(({ ready }) => ready));
    const told = await Promise.all(children.map(({ ask }) => ask(JSON.stringify(folders))));
    const [secrets] = told.map((text) => JSON.parse(text) as string[]);
    expect(secrets?.filter((secret) => secret.length === 64)).toHaveLength(folders.length);
    expect(new Set(told).size).toBe(1);
    for (const each of folders) expect(await readdir(join(each, 'data'))).toEqual(['jwt-secret']);
  });

  it('reports all problems at once, each with its variable and the remedy', async () => {
    await mkdir(join(folder, 'data'));
    await writeFile(join(folder, 'data', 'jwt-secret'), 'short');
    const wrong = {
      PORT: 'x',
      ADMIN_EMAIL: 'nobody',
      ADMIN_PASSWORD: 'short',
      DATABASE_URL: 'db.sqlite3',
      CONTROL_DATABASE_URL: 'postgres://',
      DB_BACKUP_RETENTION_DAYS: '0',
      DB_BACKUP_MAX_FILES: '-1',
      DB_BACKUP_STORAGE_TYPE: 'SYSTEM',
      DB_BACKUP_PATH: 'relative',
      DB_BACKUP_SCHEDULE: '99 2 * * *',
      JOBS_URL: 'redis://x',
      DB_BACKUP_TIMEZONE: 'Mars/Olympus',
      JWT_PUBLIC_KEY: 'missing.pem',
      JWT_ADMIN_CLAIM: 'admin',
      CORS_ORIGINS: '*',
      ALLOWED_PATHS: 'srv',
    };
    const problems = problemsOf(wrong);
    const { DB_BACKUP_STORAGE_TYPE: _valid, ...named } = wrong;
    for (const name of Object.keys(named)) expect(problems).toContain(`- ${name} `);
    expect(problems).toContain('jwt-secret holds 5 characters');
    expect(problems.split('\n- ')).toHaveLength(Object.keys(named).length + 2);
    expect(problemsOf({ JWT_SECRET: 'short' })).toContain('openssl rand');
    expect(problemsOf({ METRICS_TOKEN: 'twenty characters or more' })).toContain('openssl rand');
  });

  it.each([
    ['JOBS_URL', 'mongodb://'],
    ['JOBS_URL', 'mongodb://host:port/x'],
    ['JOBS_URL', 'mongodb+srv://'],
    ['JOBS_URL', 'postgres://host:99999999/x'],
    ['JOBS_URL', 'mongodb:/host'],
    ['CONTROL_DATABASE_URL', 'postgres:'],
    ['CONTROL_DATABASE_URL', 'sqlite:'],
    ['DATABASE_URL', 'sqlite://relative/path'],
    ['DATABASE_URL', 'sqlite:./db.sqlite3?mode=ro'],
    ['DATABASE_URL', '/srv/db.sqlite3'],
    ['DATABASE_URL', 'oracle://host/app'],
    ['DATABASE_URL', 'postgres:/user:password@host/app'],
    ['DATABASE_URL', 'mongodb:/user:password@host/app'],
    ['DRILL_DATABASE_URL', 'sqlite:/srv/app.db'],
    ['DRILL_DATABASE_URL', 'mongodb:/host/app'],
    ['TRUST_PROXY', 'proxy.example.org'],
    ['TRUST_PROXY', '10.0.0.0/40'],
    ['PG_BIN_DIR', 'bin'],
    ['DB_BACKUP_SCHEDULE', 'sometimes'],
    ['DB_BACKUP_SCHEDULE', '0 2 * *'],
    ['JWT_PUBLIC_KEY', '-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----'],
    ['ADMIN_PASSWORD', 'x'.repeat(1001)],
  ])('refuses %s=%s by its name', (name, value) => {
    const all = { JWT_ADMIN_CLAIM: 'role=ADMIN', ADMIN_EMAIL: 'a@example.org', [name]: value };
    expect(problemsOf(all)).toMatch(new RegExp(`^The environment has a problem:\n- ${name} `));
  });

  it.each([
    ['DATABASE_URL', 'mongodb://user:p%40ss@one:27017,two/app?replicaSet=rs'],
    ['DATABASE_URL', 'mongodb+srv://user:pass@cluster.example.org/app'],
    ['JOBS_URL', 'mongodb://user:p%40ss@one:27017,two/jobs?replicaSet=rs'],
    ['JOBS_URL', 'mongodb+srv://user:pass@cluster.example.org/'],
    ['JOBS_URL', 'mongodb://[::1]:27017'],
    ['JOBS_URL', 'mongodb-memory:'],
    ['JOBS_URL', 'postgresql://user:pass@host:5432/jobs'],
    ['CONTROL_DATABASE_URL', 'postgres://user:pass@host/db?sslmode=require'],
    ['DB_BACKUP_SCHEDULE', '@daily'],
    ['ADMIN_EMAIL', 'admin@localhost'],
  ])('takes %s=%s', (name, value) => {
    expect(() => loadEnvironment({ [name]: value }, folder)).not.toThrow();
  });

  it('never repeats what was written: it may be a password', () => {
    const secret = 'hunter2-hunter2';
    for (const name of ENVIRONMENT_NAMES) {
      for (const value of [secret, `postgres:/me:${secret}@host`, `mongodb://me:${secret}@:1`, `a, ${secret}`]) {
        expect(problemsOf({ [name]: value })).not.toContain('hunter2');
      }
    }
  });

  it.each([
    [{ DB_BACKUP_STORAGE_TYPE: 'SYSTEM' }, 'DB_BACKUP_PATH'],
    [{ DB_BACKUP_STORAGE_TYPE: 'SYSTEM', DB_BACKUP_PATH: 'relative' }, 'DB_BACKUP_PATH'],
    [{ DB_BACKUP_STORAGE_TYPE: 'FTP' }, 'DB_BACKUP_STORAGE_TYPE'],
    [{ JWT_PUBLIC_KEY: '-----BEGIN PUBLIC KEY-----' }, 'JWT_ADMIN_CLAIM'],
    [{ ADMIN_PASSWORD: 'long enough password' }, 'ADMIN_EMAIL'],
    [{ DB_BACKUP_PREFIX: '../x' }, 'DB_BACKUP_PREFIX'],
  ])('refuses combinations that cannot work: %j', (env, name) => {
    expect(() => loadEnvironment(env, folder)).toThrow(name);
  });

  it('takes the origins of other pages as browsers name them', () => {
    expect(loadEnvironment({}, folder).corsOrigins).toEqual([]);
    const CORS_ORIGINS = ' https://admin.example.org, http://localhost:5173,';
    expect(loadEnvironment({ CORS_ORIGINS }, folder).corsOrigins).toEqual([
      'https://admin.example.org',
      'http://localhost:5173',
    ]);
  });

  it.each([
    ['*', 'pages of anyone'],
    ['https://*.example.org', 'name each origin'],
    ['https://admin.example.org/', 'such as https://admin.example.org'],
    ['https://admin.example.org:443', 'such as https://admin.example.org'],
    ['HTTPS://Admin.example.org/path', 'such as https://admin.example.org'],
    ['admin.example.org', 'such as https://'],
    ['null', 'is not an origin'],
    ['https://good.example.org,file:///etc', 'entry 2 is not an origin'],
  ])('refuses what is no origin, with the remedy: %s', (CORS_ORIGINS, words) => {
    expect(() => loadEnvironment({ CORS_ORIGINS }, folder)).toThrow(words);
    expect(() => loadEnvironment({ CORS_ORIGINS }, folder)).toThrow('- CORS_ORIGINS ');
  });

  it('reads .env of the working folder, which never overrides the environment', async () => {
    await writeFile(join(folder, '.env'), 'PORT=5001\nHOST=0.0.0.0\n');
    expect(loadEnvironment({ HOST: '127.0.0.2' }, folder)).toMatchObject({ port: 5001, host: '127.0.0.2' });
  });

  it('knows every way of writing a SQLite URL', () => {
    for (const url of [
      'sqlite:./db.sqlite3',
      'sqlite:db.sqlite3',
      'sqlite:/srv/db.sqlite3',
      'sqlite:///srv/db.sqlite3',
      'sqlite:////srv/db.sqlite3',
    ]) {
      expect(absoluteFileUrl(url, '/srv')).toBe('sqlite:/srv/db.sqlite3');
    }
    expect(absoluteFileUrl('postgres://u:p@h/d', '/srv')).toBe('postgres://u:p@h/d');
  });

  describe('.env as editors write it', () => {
    const TEXT = 'PORT=5001\r\nDATABASE_URL="sqlite:/srv/ünï.sqlite3"\r\n# a comment\r\n\r\nHOST=0.0.0.0\r\n';
    const utf16 = (text: string) => Buffer.from(text, 'utf16le');
    const swapped = (text: string) => utf16(text).swap16();

    it.each<[string, Buffer]>([
      ['UTF-8', Buffer.from(TEXT)],
      ['UTF-8 with a byte order mark', Buffer.from(`\ufeff${TEXT}`)],
      ['UTF-16 little-endian with a mark', utf16(`\ufeff${TEXT}`)],
      ['UTF-16 big-endian with a mark', swapped(`\ufeff${TEXT}`)],
      ['UTF-16 little-endian', utf16(TEXT)],
      ['UTF-16 big-endian', swapped(TEXT)],
      ['line feeds only', Buffer.from(TEXT.replaceAll('\r\n', '\n'))],
      ['carriage returns only', Buffer.from(TEXT.replaceAll('\r\n', '\r'))],
    ])('is read: %s', async (_how, bytes) => {
      await writeFile(join(folder, '.env'), bytes);
      const environment = loadEnvironment({}, folder);
      expect(environment).toMatchObject({ port: 5001, host: '0.0.0.0', warnings: [] });
      expect(environment.seed.databaseUrl).toBe('sqlite:/srv/ünï.sqlite3');
    });

    it('names lines that are no settings and variables that resemble known ones, and never a value', async () => {
      const lines = [
        'DATABASE_URL=sqlite:/srv/a',
        'PORT 5001',
        'MEDIA_PATH=/secret',
        'MY_OWN=1',
        '',
        'KEY="',
        'no setting',
        '"',
      ];
      await writeFile(join(folder, '.env'), lines.join('\n'));
      const { warnings, port } = loadEnvironment({}, folder);
      expect(port).toBe(4000);
      expect(warnings).toEqual([
        expect.stringContaining('line 2 is no setting'),
        expect.stringMatching(/line 3: MEDIA_PATH is not a variable .* did you mean MEDIA_PATHS\?$/),
      ]);
      expect(warnings.join()).not.toContain('secret');
    });

    it.each([
      'DATABSE_URL=sqlite:/srv/a',
      'DATABASE_URL: sqlite:/srv/a',
      'set DATABASE_URI=sqlite:/srv/a',
      'database_url=sqlite:/srv/a',
      'DATABASE_URL',
    ])('stops the start where it would protect the sample instead: %s', async (line) => {
      await writeFile(join(folder, '.env'), `${line}\nPORT=5001\n`);
      expect(() => loadEnvironment({}, folder)).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('line 1') }),
      );
      expect(loadEnvironment({ DATABASE_URL: 'sqlite:/srv/b' }, folder)).toMatchObject({ port: 5001 });
    });

    it('stops the start where it is of another encoding', async () => {
      await writeFile(join(folder, '.env'), Buffer.from('NAME=caf\u00e9\nDATABASE_URL=x', 'latin1'));
      expect(() => loadEnvironment({}, folder)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    });
  });

  it('is explained in .env.example: the same names, and the example itself is valid', () => {
    const example = parseEnv(readFileSync(new URL('../.env.example', import.meta.url), 'utf8'));
    expect(Object.keys(example).sort()).toEqual([...ENVIRONMENT_NAMES].sort());
    expect(loadEnvironment(example as NodeJS.ProcessEnv, folder)).toEqual(
      loadEnvironment({ JWT_SECRET: undefined }, folder),
    );
  });
});

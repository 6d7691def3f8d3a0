import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { absoluteSqliteUrl, ENVIRONMENT_NAMES, loadConfig } from '../src/config.js';

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

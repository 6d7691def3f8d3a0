import { cp, mkdir, mkdtemp, readdir, realpath, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { all } from '../support/sqlite.js';
import { ROOT, start } from './command.js';

let folder: string;
let project: string;
let home: string;

const launch = (args: string[], env: NodeJS.ProcessEnv = {}) =>
  start([join(project, 'src', 'start.mjs'), ...args], { cwd: home, env: { PORT: '0', DATA_DIR: 'data', ...env } });

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-start-')));
  project = join(folder, 'project');
  home = join(folder, 'home');
  await mkdir(home);
  for (const name of ['src', 'schema', 'package.json', 'tsconfig.json']) {
    await cp(join(ROOT, name), join(project, name), { recursive: true });
  }
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('npm start', () => {
  it('says what is missing where nothing is built and nothing can be', async () => {
    expect(await launch([]).ended).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('npm ci') });
    await symlink(join(ROOT, 'node_modules'), join(project, 'node_modules'));
  });

  it('builds once when two start at the same time', async () => {
    const both = await Promise.all([launch(['--build-only']).ended, launch(['--build-only']).ended]);
    expect(both.map(({ code, stdout }) => ({ code, stdout }))).toEqual(Array(2).fill({ code: 0, stdout: '' }));
    expect(both.map(({ stderr }) => stderr).join('')).toBe(
      'Building the server (about 15 seconds, only after a change) …\nBuilding the admin page (about 10 seconds) …\n',
    );
    expect((await readdir(join(project, 'dist'))).filter((name) => name.startsWith('.'))).toEqual([
      '.built',
      '.built-admin',
    ]);
    expect(await readdir(join(project, 'dist', 'admin'))).toEqual([
      'assets',
      'favicon.svg',
      'graphql.html',
      'index.html',
    ]);
  }, 180_000);

  it('builds nothing when nothing changed, shows the sample, and passes SIGTERM on', async () => {
    const server = launch([], { LOG_LEVEL: 'warn' });
    await server.says('Next steps:');
    server.child.kill('SIGTERM');
    const { code, stdout, stderr } = await server.ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/http:\/\/127\.0\.0\.1:\d+/);
    expect(stdout).toMatch(/Password: +\S+/);
    expect(stdout).toContain(`Protected:    Sample application: sqlite:${home}/data/sample/db.sqlite3`);
    expect(stdout).toMatch(
      new RegExp(`First backup: ${home}/backups/okpuja_backup_\\d{8}_\\d{6}\\.zip \\(.* KiB, verified\\)`),
    );
    expect(stdout).toContain('DATABASE_URL=');
    const [sample] = await all<{ people: number; migrations: number; mode: string }>(
      join(home, 'data', 'sample', 'db.sqlite3'),
      `SELECT (SELECT count(*) FROM auth_user) AS people, (SELECT count(*) FROM django_migrations) AS migrations,
              (SELECT journal_mode FROM pragma_journal_mode) AS mode`,
    );
    expect(sample).toEqual({ people: 40, migrations: 25, mode: 'wal' });
  }, 180_000);

  it('does none of that a second time, and takes the own application when it is named', async () => {
    const again = launch([], { LOG_LEVEL: 'warn' });
    await again.says('127.0.0.1');
    again.child.kill('SIGTERM');
    expect((await again.ended).stdout).not.toContain('First backup');
    const archives = (await readdir(join(home, 'backups'))).filter((name) => !name.startsWith('db-manager-control'));
    expect(archives).toHaveLength(1);

    await cp(join(home, 'data', 'sample', 'db.sqlite3'), join(home, 'own.sqlite3'));
    const own = launch([], { LOG_LEVEL: 'warn', DATABASE_URL: 'sqlite:own.sqlite3' });
    await own.says('Next steps:');
    own.child.kill('SIGTERM');
    expect((await own.ended).stdout).toContain(`Protected:    own: sqlite:${home}/own.sqlite3`);
    const rows = await all(join(home, 'data', 'db-manager.sqlite3'), 'SELECT id, name FROM backup_configs');
    expect(rows).toEqual([{ id: 1, name: 'own' }]);
  }, 180_000);

  it("ends with the server's exit code", async () => {
    const { code, stderr } = await launch([], { PORT: 'abc' }).ended;
    expect({ code, stderr }).toEqual({ code: 20, stderr: expect.stringContaining('PORT is not a whole number') });
  });

  it('builds again after a change, and does not start what could not be built', async () => {
    // The compiler needs no more than the broken file to refuse it.
    const kept = join(folder, 'kept');
    await rename(join(project, 'src'), kept);
    await mkdir(join(project, 'src'));
    await cp(join(kept, 'start.mjs'), join(project, 'src', 'start.mjs'));
    await writeFile(join(project, 'src', 'broken.ts'), 'export const broken: number = "text";\n');
    const { code, stdout, stderr } = await launch([]).ended;
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(
      /^Building the server \(.*\) …\n.*src\/broken\.ts\(1,14\): error TS2322.*\ndb-manager: .* could not be built/s,
    );
    await rm(join(project, 'src'), { recursive: true });
    await rename(kept, join(project, 'src'));
    expect(await launch(['--build-only']).ended).toMatchObject({ code: 0, stderr: '' });
  }, 180_000);

  it('runs what was built elsewhere where there is no compiler', async () => {
    await rm(join(project, 'node_modules'));
    await utimes(join(project, 'src', 'cli.ts'), new Date(), new Date());
    expect(await launch(['--build-only']).ended).toMatchObject({ code: 0, stderr: '' });
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sqlite3 from 'sqlite3';
import { createSqliteEngine } from '../../../src/engines/sqlite/index.js';
import { AppError } from '../../../src/errors.js';
import { contentHash, exec } from '../../support/sqlite.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

const run = promisify(execFile);

let world: World;
beforeEach(async () => {
  world = await createWorld({ pragmas: 'PRAGMA journal_mode = DELETE;' });
});
afterEach(() => world.close());

/** Everything that lies beside the database, with owner and bytes. */
async function around(file: string): Promise<Record<string, string>> {
  const folder = join(file, '..');
  const found: Record<string, string> = {};
  for (const name of (await readdir(folder)).sort()) {
    const path = join(folder, name);
    const { uid, mtimeMs } = await stat(path);
    if ((await stat(path)).isFile())
      found[name] = `${uid} ${mtimeMs} ${createHash('sha256')
        .update(await readFile(path))
        .digest('hex')}`;
  }
  return found;
}

/** Leaves the database as a crash in the middle of a transaction does: with its old pages in a journal. */
async function crash(file: string, mode: 'DELETE' | 'TRUNCATE' | 'PERSIST'): Promise<void> {
  const script = `
    const { default: sqlite3 } = await import(${JSON.stringify(import.meta.resolve('sqlite3'))});
    const db = new sqlite3.Database(${JSON.stringify(file)});
    const run = (sql) => new Promise((done, fail) => db.run(sql, (error) => (error ? fail(error) : done())));
    await run('PRAGMA journal_mode = ${mode}');
    await run('PRAGMA cache_size = 1');
    await run('PRAGMA cache_spill = 1');
    await run('BEGIN');
    await run('UPDATE big SET a = randomblob(500)');
    process.kill(process.pid, 'SIGKILL');`;
  await run(process.execPath, ['--input-type=module', '-e', script]).catch(() => undefined);
}

const BIG = `CREATE TABLE big (a BLOB);
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO big SELECT zeroblob(500) FROM n;`;

describe('A database with a hot journal', () => {
  it.each(['DELETE', 'TRUNCATE', 'PERSIST'] as const)(
    'is backed up as SQLite would show it after recovery, and left as it is: %s',
    async (mode) => {
      await exec(world.database, BIG);
      const good = await contentHash(world.database);
      await crash(world.database, mode);
      expect((await stat(`${world.database}-journal`)).size).toBeGreaterThan(512);
      const before = await around(world.database);
      const engine = createSqliteEngine();
      const url = `sqlite:${world.database}`;
      expect((await engine.describe(url))?.tables).toContainEqual(expect.objectContaining({ name: 'big', rows: 2000 }));
      expect((await engine.check(url)).bytes).toBeGreaterThan(1_000_000);
      expect(await engine.stampOf(url)).toBeNull();
      const row = await world.backup();
      expect(row).toMatchObject({ status: 'COMPLETED', warnings: [] });
      expect((await world.app.restores.plan({ backupId: row.id, confirm: true })).refusals).toEqual([]);
      expect(await around(world.database)).toEqual(before);
      const restored = await world.restore({ backupId: row.id });
      expect(restored).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await contentHash(world.database)).toBe(good);
    },
  );

  it.each(['TRUNCATE', 'PERSIST'])('that is only left over in mode %s needs no recovery', async (mode) => {
    await exec(world.database, `PRAGMA journal_mode = ${mode}; ${BIG}`);
    const before = await around(world.database);
    expect(await world.backup()).toMatchObject({ status: 'COMPLETED', warnings: [] });
    expect(await around(world.database)).toEqual(before);
  });
});

describe('A lock that another program holds', () => {
  const lock = (file: string) =>
    new Promise<sqlite3.Database>((resolve, reject) => {
      const db = new sqlite3.Database(file, (error) => {
        if (error) return reject(error);
        db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT', (failed) =>
          failed ? reject(failed) : resolve(db),
        );
      });
    });
  const close = (db: sqlite3.Database) => new Promise<void>((resolve) => db.close(() => resolve()));

  it('for longer than five seconds does not fail a backup', async () => {
    const db = await lock(world.database);
    const backup = world.backup();
    const timer = setTimeout(() => void close(db), 6_500);
    expect(await backup).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    clearTimeout(timer);
  }, 30_000);

  it('is no longer waited for once the run is cancelled', async () => {
    const db = await lock(world.database);
    const stop = new AbortController();
    const row = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const ended = world.app.backups.run(row.id, stop.signal);
    setTimeout(() => stop.abort(new AppError('CANCELLED', 'stopped')), 300);
    await ended;
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    await close(db);
  });
});

const root = process.geteuid?.() === 0;
const [APP, MANAGER, GROUP] = [61_001, 61_002, 61_003];

(root ? describe : describe.skip)('A database in WAL mode of another user (needs root)', () => {
  let folder: string;
  let database: string;
  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-user-')));
    await chown(folder, APP, GROUP);
    await chmod(folder, 0o770);
    database = join(folder, 'db.sqlite3');
    await exec(database, `PRAGMA journal_mode = WAL; ${BIG}`);
    await chown(database, APP, GROUP);
    await chmod(database, 0o644);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const as = (user: number, code: string, stdio: 'inherit' | 'pipe' = 'pipe'): ChildProcess =>
    spawn(
      'setpriv',
      [`--reuid=${user}`, `--regid=${GROUP}`, '--clear-groups', process.execPath, '--input-type=module', '-e', code],
      { stdio: ['pipe', 'pipe', stdio], cwd: new URL('../..', import.meta.url).pathname },
    );

  async function output(child: ChildProcess): Promise<{ code: number | null; text: string }> {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, text };
  }

  const SQLITE = JSON.stringify(import.meta.resolve('sqlite3'));
  const writes = () =>
    output(
      as(
        APP,
        `const { default: sqlite3 } = await import(${SQLITE});
         const db = new sqlite3.Database(${JSON.stringify(database)});
         db.run('INSERT INTO big VALUES (1)', (error) => { if (error) throw error; db.close(); });`,
      ),
    );

  /** Reads as db-manager's user in every way that there is. */
  const looks = () =>
    output(
      as(
        MANAGER,
        `await import(${JSON.stringify(new URL('../../../dev/typescript.mjs', import.meta.url).href)});
         const { createSqliteEngine } = await import(${JSON.stringify(new URL('../../../src/engines/sqlite/index.ts', import.meta.url).href)});
         const { mkdtemp, rm } = await import('node:fs/promises');
         const step = { signal: new AbortController().signal, onProgress: () => undefined };
         const url = ${JSON.stringify(`sqlite:`)} + ${JSON.stringify(database)};
         const work = await mkdtemp('/tmp/manager-');
         const engine = createSqliteEngine({ scratch: work });
         await engine.check(url);
         const { tables, findings: cautions } = await engine.describe(url);
         if (!cautions.some(({ message }) => message.includes('belongs to another user'))) throw new Error('no caution');
         await engine.stampOf(url);
         await engine.checkWritable(url).catch(() => undefined);
         const { findings } = await (await engine.snapshot(url, work, step)).contents;
         await rm(work, { recursive: true });
         console.log(JSON.stringify({ rows: tables[0].rows, findings }));`,
      ),
    );

  it('without a connection is read and leaves nothing that its owner cannot write', async () => {
    expect(await looks()).toEqual({ code: 0, text: '{"rows":2000,"findings":[]}\n' });
    expect(await readdir(folder)).toEqual(['db.sqlite3']);
    expect(await writes()).toEqual({ code: 0, text: '' });
  });

  it('is read while the application has it open, with what lies in its WAL', async () => {
    const holding = as(
      APP,
      `const { default: sqlite3 } = await import(${SQLITE});
       const db = new sqlite3.Database(${JSON.stringify(database)});
       db.exec('PRAGMA wal_autocheckpoint = 0; INSERT INTO big VALUES (1)', () => console.log('ready'));
       process.stdin.on('end', () => db.close()).resume();`,
    );
    await once(holding.stdout ?? holding, 'data');
    expect(await looks()).toEqual({ code: 0, text: '{"rows":2001,"findings":[]}\n' });
    const owners = await Promise.all((await readdir(folder)).map(async (name) => (await stat(join(folder, name))).uid));
    expect(new Set(owners)).toEqual(new Set([APP]));
    holding.stdin?.end();
    await once(holding, 'close');
    expect(await writes()).toEqual({ code: 0, text: '' });
  });

  it('that has a WAL but no index of it is read from a private copy', async () => {
    const holding = as(
      APP,
      `const { default: sqlite3 } = await import(${SQLITE});
       const db = new sqlite3.Database(${JSON.stringify(database)});
       db.exec('PRAGMA wal_autocheckpoint = 0; INSERT INTO big VALUES (1)', () => console.log('ready'));
       process.stdin.resume();`,
    );
    await once(holding.stdout ?? holding, 'data');
    holding.kill('SIGKILL');
    await once(holding, 'close');
    await rm(`${database}-shm`);
    expect(await looks()).toEqual({ code: 0, text: '{"rows":2001,"findings":[]}\n' });
    expect((await readdir(folder)).sort()).toEqual(['db.sqlite3', 'db.sqlite3-wal']);
    expect(await writes()).toEqual({ code: 0, text: '' });
  });

  it('is read by root without leaving anything of root', async () => {
    const engine = createSqliteEngine();
    const work = await mkdtemp(join(tmpdir(), 'work-'));
    await engine.describe(`sqlite:${database}`);
    await engine.snapshot(`sqlite:${database}`, work, { signal: NEVER, onProgress: () => undefined });
    await rm(work, { recursive: true });
    expect(await readdir(folder)).toEqual(['db.sqlite3']);
    expect(await writes()).toEqual({ code: 0, text: '' });
  });
});

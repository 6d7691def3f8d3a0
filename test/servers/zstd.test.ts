import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { contentHash, exec } from '../support/sqlite.js';

/** A Node with ZSTD; `.ci/run` gets one. */
const node = process.env.NEWER_NODE ?? '';
const cli = join(import.meta.dirname, '../../dist/cli.js');

(node === '' ? describe.skip : describe)('ZSTD on a newer Node (needs NEWER_NODE, a build and 7z)', () => {
  let folder: string;
  let database: string;
  const run = (...args: string[]) =>
    execFileSync(node, [cli, ...args, '--json'], {
      env: {
        PATH: process.env.PATH,
        DATA_DIR: join(folder, 'data'),
        DB_BACKUP_STORAGE_TYPE: 'SYSTEM',
        DB_BACKUP_PATH: join(folder, 'backups'),
        DATABASE_URL: `sqlite:${database}`,
        LOG_LEVEL: 'warn',
      },
      encoding: 'utf8',
    });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'zstd-'));
    database = join(folder, 'app.sqlite3');
    await exec(
      database,
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB); CREATE INDEX i ON t (a);
       WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)
       INSERT INTO t SELECT n, 'a row of some length with the number ' || n, randomblob(300) FROM s;`,
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('makes an archive that 7-Zip unpacks, verifies it, and restores the same content', async () => {
    run('config', 'edit', '1', '--compression', 'zstd');
    const { backup } = JSON.parse(run('backup')) as { backup: { id: string; status: string } };
    expect(backup.status).toBe('COMPLETED');
    const [archive = ''] = readdirSync(join(folder, 'backups')).filter((name) => name.endsWith('.zip'));
    const listed = execFileSync('7z', ['l', '-slt', join(folder, 'backups', archive)], { encoding: 'utf8' });
    expect(listed).toMatch(/Path = database\.sqlite3[^]*?Method = ZSTD/i);
    execFileSync('7z', ['x', '-bso0', `-o${join(folder, 'out')}`, join(folder, 'backups', archive)]);
    run('verify', backup.id, '--level', 'CONTENT');
    const copy = join(folder, 'copy.sqlite3');
    run('restore', backup.id, '--to', copy, '--confirm');
    const original = await contentHash(database);
    expect(await contentHash(join(folder, 'out', 'database.sqlite3'))).toBe(original);
    expect(await contentHash(copy)).toBe(original);
  });
});

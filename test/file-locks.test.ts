import { execFile } from 'node:child_process';
import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createEngines } from '../src/engines/index.js';
import { SqliteConnection } from '../src/engines/sqlite/connection.js';
import { readStart } from '../src/file-locks.js';
import { exec } from './support/sqlite.js';

const run = promisify(execFile);
const DRIVER = createRequire(import.meta.url).resolve('sqlite3');

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'locks-')));
  file = join(folder, 'db.sqlite3');
  await exec(file, 'CREATE TABLE t (v); INSERT INTO t VALUES (1)');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A writer in another process, which does not wait. @returns what SQLite answers it */
async function write(): Promise<string> {
  const script = `new (require(${JSON.stringify(DRIVER)}).Database)(${JSON.stringify(file)})
    .exec('INSERT INTO t VALUES (2)', (error) => console.log(error === null ? 'written' : error.code))`;
  return (await run(process.execPath, ['-e', script])).stdout.trim();
}

describe('A database that is being read in rollback mode', () => {
  it('stays locked for writers, whatever else looks at the file in the same process', async () => {
    const reader = await SqliteConnection.open(file, 'readonly');
    await reader.run('BEGIN');
    await reader.all('SELECT * FROM t');
    expect(await write()).toBe('SQLITE_BUSY');
    const engine = createEngines().of('SQLITE');
    await engine.check(`sqlite:${file}`);
    await engine.describe(`sqlite:${file}`);
    await engine.stampOf(`sqlite:${file}`);
    await readStart(file, 16);
    expect(await write()).toBe('SQLITE_BUSY');
    await reader.close();
    expect(await write()).toBe('written');
  });

  it('leaves no open file behind when the last connection has gone', async () => {
    const open = async () => (await readdir('/proc/self/fd')).length;
    const before = await open();
    const reader = await SqliteConnection.open(file, 'readonly');
    await reader.all('SELECT * FROM t');
    for (let i = 0; i < 5; i++) await readStart(file, 16);
    await reader.close();
    await readStart(file, 16);
    expect(await open()).toBe(before);
  });
});

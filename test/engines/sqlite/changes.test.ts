import { type ChildProcess, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type sqlite3 from 'sqlite3';
import { hashPagesSync, type PageHashes, SMALL_BYTES } from '../../../src/archive/page-hashes.js';
import type { StepContext } from '../../../src/core/ports.js';
import { createEngines } from '../../../src/engines/index.js';
import { withConnection } from '../../../src/engines/sqlite/connection.js';
import { all, contentHash, exec, withDatabase } from '../../support/sqlite.js';

const engine = createEngines().of('SQLITE');
const step: StepContext = { signal: new AbortController().signal, onProgress: () => undefined };

let folder: string;
let file: string;
let url: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'changes-'));
  file = join(folder, 'app.sqlite3');
  url = `sqlite:${file}`;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

let number = 0;
async function newFolder(): Promise<string> {
  const made = join(folder, `work-${(number += 1)}`);
  await mkdir(made);
  return made;
}

/** A full copy by SQLite, and its hashes. */
async function copied(): Promise<{ path: string; hashes: PageHashes }> {
  const { pages, contents } = await engine.snapshot(url, await newFolder(), step);
  await contents;
  if (pages === undefined) throw new Error('The snapshot has no pages.');
  return { path: pages.file, hashes: hashPagesSync(pages) as PageHashes };
}

const changes = async (hashes: PageHashes, { mostChanged = 1 } = {}) =>
  engine.snapshotChanges(url, await newFolder(), step, { hashes, findings: [], mostChanged });

/** Hashes as one text: comparing arrays one by one takes seconds. */
const shown = (hashes: PageHashes | undefined) =>
  hashes && `${hashes.sha256} ${hashes.pageCount} ${Buffer.from(hashes.pages).toString('hex')}`;

const run = (db: sqlite3.Database, sql: string) =>
  new Promise<void>((resolve, reject) => db.exec(sql, (error) => (error ? reject(error) : resolve())));

const rows = (from: number, count: number) =>
  `INSERT INTO t SELECT value, hex(randomblob(100)) FROM generate_series(${from}, ${from + count - 1});`.replace(
    /generate_series\((\d+), (\d+)\)/,
    '(WITH RECURSIVE n(value) AS (SELECT $1 UNION ALL SELECT value + 1 FROM n WHERE value < $2) SELECT value FROM n)',
  );
const TABLE = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE INDEX t_a ON t (a);';

/** Lays the changes over a former copy, as a restore does. @returns the path of the state */
async function laidOver(former: string, changed: { hashes: PageHashes; pages: { file: string } }, before: PageHashes) {
  const path = join(await newFolder(), 'state.sqlite3');
  await copyFile(former, path);
  const { pageSize, pageCount, pages } = changed.hashes;
  const [into, from] = [await open(path, 'r+'), await open(changed.pages.file)];
  const page = Buffer.alloc(pageSize);
  for (let index = 0; index < pageCount; index++) {
    const own = Buffer.from(pages).subarray(index * 16, index * 16 + 16);
    if (own.equals(Buffer.from(before.pages).subarray(index * 16, index * 16 + 16))) continue;
    await from.read(page, 0, pageSize, index * pageSize);
    await into.write(page, 0, pageSize, index * pageSize);
  }
  await into.truncate(pageCount * pageSize);
  await Promise.all([into.close(), from.close()]);
  return path;
}

describe.each(['wal', 'delete', 'truncate', 'persist'])('The changes of a database in journal mode %s', (mode) => {
  it('are those between two copies, and reproduce its content', async () => {
    await exec(file, `PRAGMA journal_mode = ${mode}; ${TABLE} ${rows(1, 2_000)}`);
    const before = await copied();
    await exec(file, `UPDATE t SET a = 'new' WHERE id % 700 = 3; ${rows(2_001, 50)} CREATE TABLE other (x);`);
    const changed = await changes(before.hashes);
    const after = await copied();
    expect(shown(changed?.hashes)).toBe(shown(after.hashes));
    const state = await laidOver(before.path, changed as never, before.hashes);
    expect((await readFile(state)).equals(await readFile(after.path))).toBe(true);
    expect(await contentHash(state)).toBe(await contentHash(file));
    expect((await changed?.contents)?.tables.map(({ name, rows: count }) => [name, count])).toEqual([
      ['other', 0],
      ['t', 2_050],
    ]);
  });

  it('are none where nothing was written', async () => {
    await exec(file, `PRAGMA journal_mode = ${mode}; ${TABLE} ${rows(1, 500)}`);
    const { hashes } = await copied();
    expect(shown((await changes(hashes))?.hashes)).toBe(shown(hashes));
  });
});

describe('The changes of a database with a write-ahead log', () => {
  it.each([
    ['none of which is checkpointed', ''],
    ['all of which is checkpointed', 'PRAGMA wal_checkpoint(FULL);'],
    ['which begins anew', `PRAGMA wal_checkpoint(RESTART); UPDATE t SET a = 'again' WHERE id = 5;`],
    ['which is empty', 'PRAGMA wal_checkpoint(TRUNCATE);'],
  ])('%s are those that a reader sees', async (_name, checkpoint) => {
    await exec(file, `PRAGMA journal_mode = wal; ${TABLE} ${rows(1, 1_000)}`);
    const before = await copied();
    await withDatabase(file, async (db) => {
      await run(db, `PRAGMA wal_autocheckpoint = 0; ${rows(1_001, 500)} DELETE FROM t WHERE id < 300; ${checkpoint}`);
      const changed = await changes(before.hashes);
      expect(shown(changed?.hashes)).toBe(shown((await copied()).hashes));
    });
  });

  it('that a reader keeps from being checkpointed whole are those of the newest state', async () => {
    await exec(file, `PRAGMA journal_mode = wal; ${TABLE} ${rows(1, 1_000)}`);
    const before = await copied();
    await withDatabase(file, async (writer) => {
      await run(writer, `PRAGMA wal_autocheckpoint = 0; UPDATE t SET a = 'one' WHERE id % 10 = 1`);
      await withDatabase(file, async (reader) => {
        await run(reader, 'BEGIN; SELECT count(*) FROM t;');
        await run(writer, `UPDATE t SET a = 'two' WHERE id % 10 = 2; PRAGMA wal_checkpoint(PASSIVE);`);
        expect(shown((await changes(before.hashes))?.hashes)).toBe(shown((await copied()).hashes));
      });
    });
  });

  it('are one committed state each time while another process writes and checkpoints', async () => {
    await exec(
      file,
      `PRAGMA journal_mode = wal; ${TABLE} ${rows(1, 3_000)} CREATE TABLE sum (n); INSERT INTO sum VALUES (0);`,
    );
    const writer = await busyWriter();
    try {
      const before = await copied();
      let read = 0;
      for (let round = 0; round < 12; round++) {
        const changed = await changes(before.hashes);
        if (changed === null) continue;
        read += 1;
        const state = await laidOver(before.path, changed, before.hashes);
        expect(await all(state, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
        // Each of the writer's transactions changes both by one.
        const [sums] = await all(
          state,
          `SELECT (SELECT n FROM sum) AS n, (SELECT total(id) FROM t WHERE a = 'w') AS w`,
        );
        expect(sums).toMatchObject({ n: expect.any(Number) });
        expect(sums?.n).toBe(sums?.w);
      }
      expect(read).toBeGreaterThan(6);
    } finally {
      writer.kill('SIGKILL');
    }
  });

  it('leave the application its locks: none is dropped by reading beside SQLite', async () => {
    await exec(file, `PRAGMA journal_mode = wal; ${TABLE} ${rows(1, 500)}`);
    const { hashes } = await copied();
    await withConnection(file, 'readonly', undefined, async (reader) => {
      await reader.run('BEGIN');
      await reader.value('SELECT count(*) FROM t');
      await changes(hashes);
      const other = await new Promise<string>((resolve) => {
        const sql = `PRAGMA busy_timeout = 0; ${rows(501, 1)} PRAGMA wal_checkpoint(TRUNCATE);`;
        const child = spawn('sqlite3', [file, sql]);
        let text = '';
        child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
        child.on('error', () => resolve('none'));
        child.on('close', () => resolve(text.trim()));
      });
      // The first number says that the checkpoint was kept from truncating the log by this process's reader.
      if (other !== 'none') expect(other.split('\n').at(-1)).toMatch(/^1\|/);
      await reader.run('COMMIT');
    });
  });
});

describe('A database whose changes cannot be told', () => {
  it('is left to a full snapshot where more pages differ than may', async () => {
    await exec(file, `${TABLE} ${rows(1, 1_000)}`);
    const { hashes } = await copied();
    await exec(file, `UPDATE t SET a = a || 'x'`);
    expect(await changes(hashes, { mostChanged: 0.1 })).toBeNull();
    expect((await changes(hashes, { mostChanged: 1 }))?.hashes.pageCount).toBeGreaterThan(1);
  });

  it('is left to a full snapshot where its page size is another', async () => {
    await exec(file, `PRAGMA page_size = 4096; ${TABLE} ${rows(1, 100)}`);
    const { hashes } = await copied();
    await exec(file, 'PRAGMA page_size = 8192; VACUUM');
    expect(await changes(hashes)).toBeNull();
  });

  it('is left to a full snapshot where its pages are damaged', async () => {
    await exec(file, `${TABLE} ${rows(1, 1_000)}`);
    const { hashes } = await copied();
    const handle = await open(file, 'r+');
    await handle.write(Buffer.alloc(4096, 7), 0, 4096, 5 * 4096);
    await handle.close();
    expect(await changes(hashes)).toBeNull();
  });

  it('is left to a full snapshot where there is none any more', async () => {
    await exec(file, `${TABLE} ${rows(1, 10)}`);
    const { hashes } = await copied();
    await rm(file);
    expect(await changes(hashes)).toBeNull();
    await writeFile(file, 'no database');
    expect(await changes(hashes)).toBeNull();
  });

  it('ends with the reason of a signal', async () => {
    await exec(file, `${TABLE} ${rows(1, 1_000)}`);
    const { hashes } = await copied();
    const signal = AbortSignal.abort(new Error('enough'));
    const asked = engine.snapshotChanges(
      url,
      await newFolder(),
      { ...step, signal },
      { hashes, findings: [], mostChanged: 1 },
    );
    await expect(asked).rejects.toThrow('enough');
  });
});

it('What differs of a large database is found in a thread, and takes little room', async () => {
  await exec(file, `${TABLE} ${rows(1, 30_000)}`);
  const { hashes } = await copied();
  expect(hashes.pageCount * hashes.pageSize).toBeGreaterThan(SMALL_BYTES);
  await exec(file, `UPDATE t SET a = 'new' WHERE id = 10000`);
  const changed = await changes(hashes);
  expect(shown(changed?.hashes)).toBe(shown((await copied()).hashes));
  const { size, blocks } = await stat(changed?.pages.file ?? '');
  expect(size).toBe(hashes.pageCount * hashes.pageSize);
  expect(blocks * 512).toBeLessThan(40 * hashes.pageSize);
});

/** Another process that commits all the time, two tables in each transaction, and checkpoints in between. */
async function busyWriter(): Promise<ChildProcess> {
  const script = `
    const sqlite3 = require('sqlite3');
    const db = new sqlite3.Database(${JSON.stringify(file)});
    db.configure('busyTimeout', 10000);
    let id = 0;
    const next = () => {
      id = (id % 3000) + 1;
      const kind = ['PASSIVE', 'RESTART', 'TRUNCATE'][id % 3];
      const checkpoint = id % 40 === 0 ? 'PRAGMA wal_checkpoint(' + kind + ');' : '';
      db.exec("BEGIN IMMEDIATE; UPDATE sum SET n = n + (SELECT CASE WHEN a = 'w' THEN 0 ELSE id END FROM t WHERE id = " + id + ");" +
        "UPDATE t SET a = 'w' WHERE id = " + id + "; COMMIT; " + checkpoint, () => { if (id === 1) console.log('on'); setTimeout(next, 2); });
    };
    next();`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}

import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { TableComparison } from '../../../src/core/ports.js';
import { compareCopies } from '../../../src/engines/sqlite/compare.js';
import { queryCopy } from '../../../src/engines/sqlite/query.js';
import { compareRows, queryRows } from '../../../src/engines/sqlite/rows.js';
import { contentHash, exec } from '../../support/sqlite.js';

let folder: string;
let database: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'db-manager-rows-'));
  database = join(folder, 'db.sqlite3');
  await exec(
    database,
    `CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, value);
     INSERT INTO t VALUES (1, 'Ása', 9007199254740993), (2, NULL, 0.1), (3, 'long ' || printf('%.*c', 9000, 'x'), x'00ff'),
       (4, '', zeroblob(100)), (5, 'inf', 9e999);
     CREATE VIEW v AS SELECT name FROM t;`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const ask = (sql: string, limit = 100) => queryCopy({ path: database, sql, limit });
const never = new AbortController().signal;

/** The lines that a program prints; none where it fails. */
const lines = (program: string, ...args: string[]): Promise<string[]> =>
  new Promise((resolve) =>
    execFile(program, args, (_error, out) =>
      resolve(
        out
          .split('\n')
          .map((line) => line.trim())
          .filter(Boolean),
      ),
    ),
  );

/** Asks again and again, until the answer is true or something; the test's own time bounds it. */
async function until<T>(ask: () => Promise<T>): Promise<NonNullable<T>> {
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    await sleep(50);
  }
}

describe('A query', () => {
  it('gives every kind of value exactly, and cuts what is long', async () => {
    const { columns, rows, truncated } = await ask('SELECT * FROM t ORDER BY id');
    expect(columns).toEqual(['id', 'name', 'value']);
    expect(truncated).toBe(false);
    expect(rows[0]).toEqual([1, 'Ása', '9007199254740993']);
    expect(rows[1]).toEqual([2, null, 0.1]);
    expect(rows[2]?.[1]).toMatch(/^long x{495}…$/);
    expect(rows[2]?.[2]).toBe("x'00FF'");
    expect(rows[3]?.slice(1)).toEqual(['', `x'${'00'.repeat(32)}'… (100 bytes)`]);
    expect(rows[4]?.[2]).toBe('Inf');
  });

  it('keeps the order and the columns that it asks for, also those of one name', async () => {
    expect(await ask('WITH x AS (SELECT id FROM t) SELECT id, id FROM x ORDER BY id DESC;', 2)).toMatchObject({
      columns: ['id', 'id:1'],
      rows: [
        [5, 5],
        [4, 4],
      ],
      truncated: true,
    });
    expect((await ask('VALUES (1), (2) -- with a remark')).rows).toEqual([[1], [2]]);
    const { rows } = await ask('SELECT r = r FROM (SELECT random() AS r)');
    expect(rows).toEqual([[1]]);
  });

  it.each([
    ['no such table: gone', 'SELECT * FROM gone'],
    ['syntax error', 'SELEC 1'],
    ['syntax error', 'DELETE FROM t'],
    ['syntax error', 'WITH x AS (SELECT 1) DELETE FROM t'],
    ['syntax error', 'PRAGMA journal_mode = DELETE'],
    ['syntax error', "ATTACH '/etc/passwd' AS other"],
    ['syntax error', "VACUUM INTO '/tmp/db-manager-stolen'"],
    ['syntax error', 'SELECT 1; DELETE FROM t'],
    ['more than one statement', 'SELECT 1); DELETE FROM t; --'],
    ['parameters', 'SELECT ?'],
    ['', "SELECT load_extension('/tmp/x.so')"],
    ['no such function', "SELECT readfile('/etc/passwd')"],
    ['no such function', "SELECT writefile('/tmp/db-manager-stolen', 'x')"],
  ])('is refused (%s) for: %s', async (reason, sql) => {
    const before = await contentHash(database);
    await expect(ask(sql)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'sql',
      message: expect.stringContaining(reason),
    });
    expect(await contentHash(database)).toBe(before);
    expect(existsSync('/tmp/db-manager-stolen')).toBe(false);
  });

  it('that makes a value larger than the database is refused', async () => {
    const refused = { field: 'sql', message: expect.stringContaining('too large') };
    await expect(ask('SELECT hex(zeroblob(900000000))')).rejects.toMatchObject(refused);
  });

  it('that never ends is ended with its process, and harms no other', async () => {
    const endless = 'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n';
    const stop = new AbortController();
    const asked = queryRows(database, { sql: endless, limit: 1 }, stop.signal);
    setTimeout(() => stop.abort(new Error('too long')), 300);
    await expect(asked).rejects.toThrow('too long');
    expect((await queryRows(database, { sql: 'SELECT count(*) FROM v', limit: 1 }, never)).rows).toEqual([[5]]);
  });

  it('that never ends is ended as well where the process that asked is killed', async () => {
    const endless = 'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n';
    const module = new URL('../../../src/engines/sqlite/rows.ts', import.meta.url).href;
    const query = JSON.stringify({ sql: endless, limit: 1 });
    const script = `import { queryRows } from ${JSON.stringify(module)};
      await queryRows(${JSON.stringify(database)}, ${query}, new AbortController().signal);`;
    const loader = [
      '--import',
      new URL('../../../dev/typescript.mjs', import.meta.url).href,
      '--input-type=module',
      '-e',
      script,
    ];
    const parent = spawn(process.execPath, loader, { stdio: 'ignore' });
    const child = await until(async () => (await lines('ps', '-o', 'pid=', '--ppid', `${parent.pid}`))[0]);
    // Long past its start: it works on the statement.
    await until(async () => Number((await lines('ps', '-o', 'cputimes=', '-p', child))[0]) >= 4);
    parent.kill('SIGKILL');
    await until(async () => (await lines('ps', '-o', 'pid=', '-p', child)).length === 0);
  });
});

describe('A comparison', () => {
  let [before, after] = ['', ''];
  let count = 0;
  beforeEach(() => {
    count += 1;
    [before, after] = [join(folder, `before-${count}`), join(folder, `after-${count}`)];
  });

  /** Makes both, and compares them. */
  async function compared(both: string, changes: string, options: { tables?: string[]; samples?: number } = {}) {
    for (const path of [before, after]) await exec(path, both);
    await exec(after, changes);
    return compareCopies({ before, after, tables: options.tables ?? null, samples: options.samples ?? 10 });
  }

  const counts = ({ added, removed, changed, unchanged }: TableComparison) => [added, removed, changed, unchanged];

  it('names the rows that were added, removed and changed, by their primary key', async () => {
    const { tables, schemaChanges } = await compared(
      `CREATE TABLE guest (id INTEGER PRIMARY KEY, name TEXT, nights INT);
       INSERT INTO guest VALUES (1, 'Asha', 2), (2, 'Bram', 1), (3, 'Chen', NULL), (4, 'Dina', 5);`,
      `DELETE FROM guest WHERE id = 2; UPDATE guest SET nights = 3 WHERE id = 3; INSERT INTO guest VALUES (9, 'Eva', 1);`,
    );
    expect(schemaChanges).toEqual([]);
    expect(tables).toEqual([
      {
        ...{ name: 'guest', added: 1, removed: 1, changed: 1, unchanged: 2, schemaChanges: [] },
        samples: [
          { key: { id: 2 }, before: { id: 2, name: 'Bram', nights: 1 }, after: null },
          { key: { id: 3 }, before: { nights: null }, after: { nights: 3 } },
          { key: { id: 9 }, before: null, after: { id: 9, name: 'Eva', nights: 1 } },
        ],
      },
    ]);
  });

  it('tells case apart in columns and keys that do not', async () => {
    const { tables } = await compared(
      `CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, v TEXT COLLATE NOCASE) WITHOUT ROWID;
       INSERT INTO t VALUES ('a', 'x'), ('b', 'y'), ('c', 'z');`,
      `UPDATE t SET v = 'X' WHERE k = 'a'; UPDATE t SET k = 'B' WHERE k = 'b';`,
    );
    expect(tables.map(counts)).toEqual([[0, 0, 2, 1]]);
  });

  it.each([
    ['there is no key', 'CREATE TABLE t (a, b)'],
    ['a key is NULL', "CREATE TABLE t (a PRIMARY KEY, b); INSERT INTO t VALUES (NULL, 'n'), (NULL, 'n')"],
  ])('compares whole rows, and how many there are of each, where %s', async (_why, table) => {
    const { tables } = await compared(
      `${table}; INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, NULL);`,
      `DELETE FROM t WHERE a = 2; INSERT INTO t VALUES (4, x'01'); UPDATE t SET b = 'z' WHERE a = 1;`,
    );
    const [{ samples, ...table0 }] = tables as [TableComparison];
    expect([table0.added, table0.removed, table0.changed]).toEqual([2, 2, 0]);
    expect(table0.unchanged).toBe(table.includes('NULL') ? 3 : 1);
    expect(samples).toContainEqual({ key: {}, before: { a: 2, b: 'y' }, after: null });
    expect(samples).toContainEqual({ key: {}, before: null, after: { a: 4, b: "x'01'" } });
  });

  it('is not led astray by columns named like those of the comparison itself', async () => {
    const { tables } = await compared(
      `CREATE TABLE t (side INT, surplus INT, k0 TEXT, c0 TEXT);
       INSERT INTO t VALUES (5, 0, 'x', 'y'), (-1, 2, NULL, 'z');`,
      "UPDATE t SET k0 = 'X' WHERE side = 5",
    );
    const [{ samples }] = tables as [TableComparison];
    expect(tables.map(counts)).toEqual([[1, 1, 0, 1]]);
    expect(samples).toEqual([
      { key: {}, before: { side: 5, surplus: 0, k0: 'x', c0: 'y' }, after: null },
      { key: {}, before: null, after: { side: 5, surplus: 0, k0: 'X', c0: 'y' } },
    ]);
  });

  it('compares whole rows where a key of the one fits several of the other', async () => {
    await exec(before, "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY); INSERT INTO t VALUES ('a'), ('b')");
    await exec(after, "CREATE TABLE t (k TEXT PRIMARY KEY); INSERT INTO t VALUES ('a'), ('A'), ('b')");
    const { tables } = await compareCopies({ before, after, tables: null, samples: 10 });
    expect(tables.map(counts)).toEqual([[1, 0, 0, 2]]);
  });

  it('compares whole rows where an integer key is NULL', async () => {
    const { tables } = await compared(
      'CREATE TABLE t (id INTEGER PRIMARY KEY DESC, v TEXT); INSERT INTO t VALUES (NULL, 1), (NULL, 2), (3, 3);',
      "UPDATE t SET v = 'new' WHERE id = 3",
    );
    expect(tables.map(counts)).toEqual([[1, 1, 0, 2]]);
  });

  it('says so where a table has become a view', async () => {
    const { tables, schemaChanges } = await compared(
      'CREATE TABLE t (a); INSERT INTO t VALUES (1);',
      'DROP TABLE t; CREATE VIEW t AS SELECT 1 AS a;',
    );
    expect(tables).toMatchObject([{ name: 't', removed: 1, schemaChanges: ['The table is gone.'] }]);
    expect(schemaChanges).toEqual(['t was a table, and is a view.']);
  });

  it('counts rows that are there twice', async () => {
    const { tables } = await compared(
      'CREATE TABLE t (a); INSERT INTO t VALUES (1), (1), (1), (2);',
      'DELETE FROM t WHERE rowid < 3; INSERT INTO t VALUES (2);',
    );
    expect(tables.map(counts)).toEqual([[1, 2, 0, 2]]);
  });

  it('names what differs of the schema, and leaves the tables of search indexes out', async () => {
    const { tables, schemaChanges } = await compared(
      `CREATE TABLE kept (id INTEGER PRIMARY KEY, a TEXT, b INT); INSERT INTO kept VALUES (1, 'x', 2);
       CREATE TABLE gone (id); INSERT INTO gone VALUES (1); CREATE INDEX i ON kept (a); CREATE VIEW v AS SELECT 1;
       CREATE VIRTUAL TABLE words USING fts5(text);`,
      `ALTER TABLE kept DROP COLUMN b; ALTER TABLE kept ADD COLUMN c DATE; DROP TABLE gone; DROP INDEX i;
       CREATE TRIGGER tr AFTER INSERT ON kept BEGIN SELECT 1; END; CREATE TABLE "n""ew" (id); DROP VIEW v;
       CREATE VIEW v AS SELECT 2;`,
    );
    expect(schemaChanges).toEqual(['The view v differs.']);
    const changes = Object.fromEntries(tables.map((table) => [table.name, table.schemaChanges]));
    expect(changes).toEqual({
      gone: ['The table is gone.'],
      kept: ['The column b is gone.', 'The column c is new.', 'The index i is gone.', 'The trigger tr is new.'],
      'n"ew': ['The table is new.'],
    });
    expect(tables.find(({ name }) => name === 'kept')).toMatchObject({ unchanged: 1, changed: 0 });
    expect(tables.find(({ name }) => name === 'gone')).toMatchObject({ removed: 1 });
  });

  it('runs in a process of its own, of some tables only, and refuses one that neither has', async () => {
    const both = 'CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY);';
    for (const path of [before, after]) await exec(path, both);
    await exec(after, 'INSERT INTO a VALUES (1), (2), (3); INSERT INTO b VALUES (1);');
    const options = { tables: ['A'], samples: 2, signal: never };
    const { tables } = await compareRows(before, after, options);
    expect(tables).toMatchObject([{ name: 'a', added: 3, samples: [{ after: { id: 1 } }, { after: { id: 2 } }] }]);
    const wrong = compareRows(before, after, { ...options, tables: ['c'] });
    await expect(wrong).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'tables' });
  });
});

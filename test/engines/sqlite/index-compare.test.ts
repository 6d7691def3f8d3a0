import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type sqlite3 from 'sqlite3';
import { withConnection } from '../../../src/engines/sqlite/connection.js';
import { unproven } from '../../../src/engines/sqlite/index-shapes.js';
import { exec, withDatabase } from '../../support/sqlite.js';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'indexes-'));
  file = join(folder, 'db.sqlite3');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const unprovenIn = (path: string) =>
  withConnection(path, 'immutable', undefined, async (connection) => [...(await unproven(connection))].sort());

/** What SQLite's own check says. */
const isWhole = (path: string) =>
  withConnection(path, 'immutable', undefined, async (connection) => {
    const rows = await connection.all<{ integrity_check: string }>('PRAGMA integrity_check');
    return rows.every(({ integrity_check: message }) => message === 'ok');
  });

function insert(path: string, sql: string, rows: unknown[][]): Promise<void> {
  return withDatabase(path, async (db: sqlite3.Database) => {
    for (const row of rows) {
      await new Promise<void>((resolve, reject) =>
        db.run(sql, row, (error: Error | null) => (error ? reject(error) : resolve())),
      );
    }
  });
}

/** Takes an index out of the schema, does the work, and puts it back as it was: its entries know nothing of the work. */
async function behindTheBack(path: string, index: string, work: string): Promise<void> {
  await exec(
    path,
    `PRAGMA writable_schema = ON; CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = '${index}';
     DELETE FROM sqlite_schema WHERE name = '${index}';`,
  );
  await exec(path, work);
  await exec(
    path,
    `PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept; DELETE FROM kept;
     PRAGMA writable_schema = RESET;`,
  );
}

const value = fc.oneof(
  fc.constant(null),
  fc.integer({ min: -200, max: 200 }),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true }),
  fc.constantFrom(0, 1, -1, 0.5, 1.5, 2 ** 31, 2 ** 47, -(2 ** 40)),
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.constantFrom('a', 'A', 'a ', 'Ab', 'aB  ', ''),
  fc.string({ minLength: 1_500, maxLength: 9_000 }),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
);
const INDEXES = [
  'CREATE INDEX i ON t (a)',
  'CREATE INDEX i ON t (b COLLATE NOCASE, a DESC)',
  'CREATE INDEX i ON t (c COLLATE RTRIM, b)',
  'CREATE INDEX i ON t (n, r)',
  'CREATE INDEX i ON t (r DESC, id)',
  'CREATE INDEX i ON t (c, n, a, b, r)',
];

describe('The comparison of indexes with their tables', () => {
  it('proves what SQLite finds whole, and nothing that it finds out of step', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(value, value, value, value, value), { minLength: 1, maxLength: 60 }),
        fc.constantFrom(512, 1024, 4096, 65_536),
        fc.constantFrom(...INDEXES),
        fc.constantFrom(
          '',
          'UPDATE t SET a = 7 WHERE id = 1',
          `UPDATE t SET c = c || 'x', b = 'q', r = 3.25, n = -9 WHERE id = (SELECT max(id) FROM t)`,
          'DELETE FROM t WHERE id = 1',
          `INSERT INTO t (a, b, c, n, r) VALUES (1, 'b', x'00', 4, 0.5)`,
          'UPDATE t SET id = id + 1000000 WHERE id = 1',
        ),
        async (rows, pageSize, index, work) => {
          rmSync(file, { force: true });
          await exec(
            file,
            `PRAGMA page_size = ${pageSize}; CREATE TABLE t (id INTEGER PRIMARY KEY, a, b TEXT, c BLOB, n INTEGER, r REAL); ${index};`,
          );
          await insert(file, 'INSERT INTO t (a, b, c, n, r) VALUES (?, ?, ?, ?, ?)', rows);
          if (work !== '') await behindTheBack(file, 'i', work);
          expect(await unprovenIn(file)).toEqual((await isWhole(file)) ? [] : ['t']);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('finds two equal keys in an index that became unique', async () => {
    await exec(
      file,
      `CREATE TABLE t (a, b); CREATE INDEX i ON t (a, b);
       INSERT INTO t VALUES (1, 'x'), (1, 'y'), (1, NULL), (1, NULL);`,
    );
    const unique = (table: string) =>
      exec(
        file,
        `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX i ON t (a, b)' WHERE name = 'i'; ${table}`,
      );
    await unique('');
    expect(await unprovenIn(file)).toEqual([]);
    await exec(file, `DROP INDEX i; CREATE INDEX i ON t (a, b); INSERT INTO t VALUES (1, 'x');`);
    await unique('');
    expect(await unprovenIn(file)).toEqual(['t']);
  });

  it('reads values that lie behind a large one, and rows that are older than a column', async () => {
    await exec(
      file,
      `CREATE TABLE t (body BLOB, at TEXT); CREATE INDEX i ON t (at);
       WITH RECURSIVE s (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < 5)
       INSERT INTO t SELECT randomblob(300000), 'at ' || value FROM s;
       ALTER TABLE t ADD COLUMN later TEXT; CREATE INDEX j ON t (later);
       INSERT INTO t VALUES (zeroblob(9000), 'at last', 'now');`,
    );
    expect(await unprovenIn(file)).toEqual([]);
    await behindTheBack(file, 'i', `UPDATE t SET at = 'at 9' WHERE at = 'at 3'`);
    expect(await unprovenIn(file)).toEqual(['t']);
  });

  it.each([
    ['of an expression', 'CREATE TABLE t (a); CREATE INDEX i ON t (lower(a));'],
    ['with a condition', 'CREATE TABLE t (a); CREATE INDEX i ON t (a) WHERE a > 1;'],
    ['of a computed column', 'CREATE TABLE t (a, b AS (a + 1) STORED); CREATE INDEX i ON t (b);'],
    ['of a table without rowids', 'CREATE TABLE t (a PRIMARY KEY, b) WITHOUT ROWID; CREATE INDEX i ON t (b);'],
    ['of text in UTF-16', `PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a); CREATE INDEX i ON t (a);`],
  ])('leaves an index %s to SQLite', async (_what, sql) => {
    await exec(file, `${sql} CREATE TABLE plain (a); INSERT INTO plain VALUES (1);`);
    expect(await unprovenIn(file)).toEqual(['t']);
  });

  it('goes on in a thread of its own for a large database, and finds the same there', async () => {
    await exec(
      file,
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB); CREATE INDEX i ON t (a); CREATE TABLE u (a); CREATE INDEX j ON u (a);
       WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 12000)
       INSERT INTO t SELECT n, 'row ' || (n * 7919 % 12000), randomblob(900) FROM s; INSERT INTO u VALUES (1);`,
    );
    expect(await unprovenIn(file)).toEqual([]);
    await behindTheBack(file, 'i', 'DELETE FROM t WHERE id = 6000');
    expect(await unprovenIn(file)).toEqual(['t']);
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { open, readFile } from 'node:fs/promises';
import { createSqliteEngine } from '../../../src/engines/sqlite/index.js';
import { all, exec } from '../../support/sqlite.js';
import { createWorld, type World } from '../../support/world.js';

/** A database in which something is wrong, but no page damaged. */
interface Case {
  sql: string;
  /** What the backup, the plan and the restore say of it. */
  says: RegExp;
}

const ROWS = `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT);
  INSERT INTO t VALUES (1, 'x', 'p'), (2, 'y', 'q'), (3, 'z', 'r');`;
const redefined = (name: string, from: string, to: string) =>
  `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '${doubled(from)}', '${doubled(to)}') WHERE name = '${name}';`;
const doubled = (text: string) => text.replaceAll("'", "''");

const CASES: Record<string, Case> = {
  'an index whose expression has changed': {
    sql: `${ROWS} CREATE INDEX i ON t (lower(a)); ${redefined('i', 'lower(a)', 'lower(b)')}`,
    says: /The index i of table t is out of step: row 1 missing from index i \(and 2 more\)\. .*rebuildIndexes: true/,
  },
  'an index whose collation has changed': {
    sql: `${ROWS} INSERT INTO t VALUES (4, 'X', 's'), (5, 'B', 't'); CREATE INDEX i ON t (a); ${redefined('i', '(a)', '(a COLLATE NOCASE)')}`,
    says: /The index i of table t is out of step/,
  },
  'an index whose predicate has changed': {
    sql: `${ROWS} CREATE INDEX i ON t (a) WHERE b = 'p'; ${redefined('i', "b = 'p'", "b > 'p'")}`,
    says: /The index i of table t is out of step/,
  },
  'an index that has become unique': {
    sql: `${ROWS} UPDATE t SET a = 'x'; CREATE INDEX i ON t (a); ${redefined('i', 'CREATE INDEX', 'CREATE UNIQUE INDEX')}`,
    says: /The index i of table t is out of step: non-unique entry in index i/,
  },
  'NULL in a NOT NULL column': {
    sql: `${ROWS} INSERT INTO t VALUES (4, NULL, 's'); ${redefined('t', 'a TEXT', 'a TEXT NOT NULL')}`,
    says: /Rows of table t break the table's own rules: NULL value in t\.a/,
  },
  'text in an INTEGER column': {
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB); INSERT INTO t VALUES (1, '12'); ${redefined('t', 'a BLOB', 'a INTEGER')}`,
    says: /Rows of table t break the table's own rules: TEXT value in t\.a/,
  },
  'numbers in a TEXT column': {
    sql: `CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB); INSERT INTO t VALUES (1, 12); ${redefined('t', 'a BLOB', 'a TEXT')}`,
    says: /Rows of table t break the table's own rules: NUMERIC value in t\.a/,
  },
  'a wrong type in a STRICT table': {
    sql: `CREATE TABLE t (a BLOB); INSERT INTO t VALUES ('x'); ${redefined('t', '(a BLOB)', '(a INTEGER) STRICT')}`,
    says: /Rows of table t break the table's own rules: non-INTEGER value in t\.a/,
  },
  'a full-text index that lacks a row of its content': {
    sql: `CREATE VIRTUAL TABLE f USING fts5 (a); INSERT INTO f VALUES ('one'), ('two');
      INSERT INTO f_content VALUES (3, 'changed');`,
    says: /The search index f does not agree with its content: malformed inverted index for FTS5 table main\.f/,
  },
  'an FTS4 index of a table that was changed without it': {
    sql: `${ROWS} CREATE VIRTUAL TABLE f USING fts4 (a, content="t"); INSERT INTO f (f) VALUES ('rebuild');
      UPDATE t SET a = 'changed' WHERE id = 2;`,
    says: /The search index f does not agree with its content: malformed inverted index for FTS4 table main\.f/,
  },
  'a contentless FTS4 table': {
    sql: `CREATE VIRTUAL TABLE f USING fts4 (a, content=""); INSERT INTO f (docid, a) VALUES (1, 'word');`,
    says: /(search index|table) f /i,
  },
  'a full-text index whose content table is gone': {
    sql: `${ROWS} CREATE VIRTUAL TABLE f USING fts5 (a, content = 't', content_rowid = 'id');
      INSERT INTO f (f) VALUES ('rebuild'); DROP TABLE t;`,
    says: /rows of table f could not be counted/,
  },
  'an FTS4 table whose content table is gone': {
    sql: `${ROWS} CREATE VIRTUAL TABLE f USING fts4 (a, content="t"); DROP TABLE t;`,
    says: /rows of table f could not be counted/,
  },
  'a vocabulary of a dropped table': {
    sql: `CREATE VIRTUAL TABLE f USING fts5 (a); CREATE VIRTUAL TABLE v USING fts5vocab (f, 'row'); DROP TABLE f;`,
    says: /rows of table v could not be counted/,
  },
  'an R-tree without one of its nodes': {
    sql: `CREATE VIRTUAL TABLE r USING rtree (id, x1, x2); INSERT INTO r VALUES (1, 0, 1), (2, 3, 4);
      DELETE FROM r_rowid WHERE rowid = 1;`,
    says: /The search index r does not agree with its content: In RTree main\.r/,
  },
  'a foreign key to a column that is not unique': {
    sql: `${ROWS} CREATE TABLE child (ref TEXT REFERENCES t (a));`,
    says: /A foreign key of table child does not fit table t/,
  },
  'a foreign key to a partial unique index': {
    sql: `${ROWS} CREATE UNIQUE INDEX i ON t (a) WHERE b > 'p'; CREATE TABLE child (ref TEXT REFERENCES t (a));`,
    says: /A foreign key of table child does not fit table t/,
  },
  'a foreign key to a view': {
    sql: `${ROWS} CREATE VIEW v AS SELECT * FROM t; CREATE TABLE child (ref INTEGER REFERENCES v (id));`,
    says: /A foreign key of table child does not fit table v/,
  },
  'a foreign key with another number of columns': {
    sql: `CREATE TABLE p (a, b, PRIMARY KEY (a, b)); CREATE TABLE child (ref REFERENCES p);`,
    says: /A foreign key of table child does not fit table p/,
  },
  'a foreign key to a table that does not exist': {
    sql: `CREATE TABLE child (ref INTEGER REFERENCES nowhere (id));`,
    says: /A foreign key of table child refers to table nowhere, which does not exist/,
  },
};
const NAMES = Object.keys(CASES);

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

describe('A database in which no page is damaged', () => {
  it.each(NAMES)('is backed up, planned and restored with a warning: %s', async (name) => {
    const { sql, says } = CASES[name] as Case;
    await exec(world.database, sql);
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', damaged: false, errorMessage: null });
    expect(row.warnings).toContainEqual(expect.stringMatching(says));
    expect(row.verifiedAt).not.toBeNull();
    const request = { backupId: row.id, confirm: true, restoreMedia: false };
    const plan = await world.app.restores.plan(request);
    expect(plan.refusals).toEqual([]);
    expect(plan.warnings).toContainEqual(expect.stringMatching(says));
    const restored = await world.restore(request);
    expect(restored).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(restored.warnings).toContainEqual(expect.stringMatching(says));
    const verified = await world.app.verifications.verify(row.id, 'CONTENT', 'test', new AbortController().signal);
    expect(verified).toMatchObject({ errorCode: null, verificationLevel: 'CONTENT' });
    const undone = await world.app.restores.createUndo(restored.id, 'test');
    await world.app.restores.run(undone.id, new AbortController().signal);
    expect((await undone.reload()).status).toBe('COMPLETED');
  });

  it('names the table of each kind although one index has thousands of wrong entries', async () => {
    await exec(
      world.database,
      `CREATE TABLE big (a INTEGER, b INTEGER);
       WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO big SELECT i, -i FROM n;
       CREATE INDEX big_i ON big (a); CREATE TABLE zz (a TEXT); INSERT INTO zz VALUES (NULL); ${redefined('big_i', '(a)', '(b)')}
       ${redefined('zz', 'a TEXT', 'a TEXT NOT NULL')}`,
    );
    const { warnings } = await world.backup();
    expect(warnings).toEqual([
      expect.stringContaining('The index big_i of table big is out of step'),
      expect.stringContaining('NULL value in zz.a'),
    ]);
  });

  it('finds a damaged page behind thousands of wrong index entries', async () => {
    await exec(
      world.database,
      `PRAGMA journal_mode = DELETE; CREATE TABLE big (a INTEGER, b INTEGER);
       WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO big SELECT i, -i FROM n;
       CREATE INDEX big_i ON big (a); CREATE TABLE zz (a TEXT); INSERT INTO zz VALUES ('x'); ${redefined('big_i', '(a)', '(b)')}`,
    );
    await damagePageOf(world.database, 'zz');
    expect(await world.backup()).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_CORRUPT' });
  });

  it('takes a byte changed inside a text for an index out of step, and rebuilds it on request', async () => {
    await exec(
      world.database,
      `PRAGMA journal_mode = DELETE; CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT);
       INSERT INTO note VALUES (1, 'needle-in-the-table'); CREATE INDEX note_i ON note (body);`,
    );
    const bytes = await readFile(world.database);
    const at = bytes.lastIndexOf('needle');
    const handle = await open(world.database, 'r+');
    await handle.write('N', at);
    await handle.close();
    const row = await world.backup();
    expect(row.warnings).toEqual([expect.stringContaining('The index note_i of table note is out of step')]);
    const restored = await world.restore({ backupId: row.id, rebuildIndexes: true, restoreMedia: false });
    expect(restored.warnings).toEqual([expect.stringContaining('The indexes of table note were out of step')]);
    expect(await all(world.database, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  });

  it('warns of an index that cannot be rebuilt, rebuilds the others, and is restored', async () => {
    await exec(
      world.database,
      `${ROWS} UPDATE t SET a = 'x'; CREATE INDEX i ON t (a); CREATE INDEX j ON t (b);
       ${redefined('i', 'CREATE INDEX', 'CREATE UNIQUE INDEX')} ${redefined('j', '(b)', '(a)')}`,
    );
    const row = await world.backup();
    const restored = await world.restore({ backupId: row.id, rebuildIndexes: true, restoreMedia: false });
    expect(restored).toMatchObject({ status: 'COMPLETED' });
    expect(restored.warnings).toEqual([expect.stringMatching(/The index i of table t cannot be rebuilt: .*UNIQUE/)]);
    const left = await all<{ integrity_check: string }>(world.database, 'PRAGMA integrity_check');
    expect(left.every(({ integrity_check: text }) => text.endsWith('index i'))).toBe(true);
  });

  it('rebuilds a full-text index on request', async () => {
    await exec(world.database, (CASES['an FTS4 index of a table that was changed without it'] as Case).sql);
    const row = await world.backup();
    await world.restore({ backupId: row.id, rebuildIndexes: true, restoreMedia: false });
    expect(await all(world.database, `SELECT rowid FROM f WHERE f MATCH 'changed'`)).toEqual([{ rowid: 2 }]);
    expect(await all(world.database, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  });

  it('is described although one of its tables cannot be counted', async () => {
    await exec(world.database, (CASES['a vocabulary of a dropped table'] as Case).sql);
    const info = await createSqliteEngine().describe(`sqlite:${world.database}`);
    expect(info?.tables).toContainEqual(expect.objectContaining({ name: 'v', rows: null }));
    expect(info?.findings).toEqual([expect.objectContaining({ kind: 'uncounted', table: 'v' })]);
  });
});

async function damagePageOf(file: string, table: string): Promise<void> {
  const [found] = await all<{ rootpage: number }>(file, `SELECT rootpage FROM sqlite_schema WHERE name = '${table}'`);
  const handle = await open(file, 'r+');
  await handle.write(Buffer.alloc(64, 0xff), 0, 64, ((found?.rootpage ?? 1) - 1) * 4096);
  await handle.close();
}

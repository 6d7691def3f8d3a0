import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createEngines } from '../../../src/engines/index.js';
import { all, exec } from '../../support/sqlite.js';
import { NEVER } from '../../support/world.js';

const step = { signal: NEVER, onProgress: () => undefined };
const engine = createEngines().of('SQLITE');

let folder: string;
let file: string;
let url: string;
let dumps = 0;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'tables-')));
  file = join(folder, 'app.sqlite3');
  url = `sqlite:${file}`;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function backUp(): Promise<string> {
  const dump = join(folder, `dump${(dumps += 1)}`);
  await mkdir(dump);
  await engine.snapshot(url, dump, step);
  return dump;
}

const plan = (dump: string, tables: string[], includeRelated = false) =>
  engine.rehearse(dump, url, { ...step, tables, includeRelated, exact: false });

const LOAD = {
  ...step,
  lockTimeoutMs: 1_000,
  stamp: 'run',
  source: {},
  madeHere: true,
  expected: [],
  onSwitch: () => undefined,
  damaged: false,
  exact: false,
};

async function load(dump: string, tables: string[], exact = false): Promise<void> {
  await engine.load(dump, url, { ...LOAD, tables, exact });
  await engine.clearStamp(url, 1_000);
}

/** Plans, keeps a safety backup, and restores. @returns how to undo it */
async function restore(dump: string, chosen: string[], includeRelated = false): Promise<() => Promise<void>> {
  const { tables, refusals } = await plan(dump, chosen, includeRelated);
  expect(refusals).toEqual([]);
  const safety = await backUp();
  await load(dump, tables);
  return () => load(safety, tables, true);
}

const schema = () =>
  all<{ sql: string }>(file, `SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name`);
const found = (index: string, word: string) =>
  all(file, `SELECT rowid AS id FROM ${index} WHERE ${index} MATCH '${word}'`);

describe('A table whose name has another case in the target', () => {
  it('is replaced, and the undo brings back its own spelling, rows and indexes', async () => {
    await exec(file, `CREATE TABLE booking (id INTEGER PRIMARY KEY, v); INSERT INTO booking VALUES (1, 'old')`);
    const dump = await backUp();
    await exec(
      file,
      `DROP TABLE booking; CREATE TABLE Booking (id INTEGER PRIMARY KEY, v); INSERT INTO Booking VALUES (1, 'new');
       CREATE INDEX Booking_V ON BOOKING (v)`,
    );
    const before = await schema();
    const undo = await restore(dump, ['BOOKING']);
    expect(await all(file, 'SELECT * FROM booking')).toEqual([{ id: 1, v: 'old' }]);
    expect((await schema()).map(({ sql }) => sql)).toEqual(['CREATE TABLE booking (id INTEGER PRIMARY KEY, v)']);
    await undo();
    expect(await schema()).toEqual(before);
    expect(await all(file, 'SELECT * FROM booking')).toEqual([{ id: 1, v: 'new' }]);
  });

  it('keeps its foreign keys, counters and statistics in step under the new spelling', async () => {
    await exec(
      file,
      `CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO parent VALUES (5);
       CREATE TABLE child (p REFERENCES PARENT); INSERT INTO child VALUES (5);
       CREATE INDEX child_p ON child (p); ANALYZE`,
    );
    const dump = await backUp();
    await exec(file, 'ALTER TABLE parent RENAME TO x; ALTER TABLE x RENAME TO Parent; INSERT INTO Parent VALUES (9)');
    await restore(dump, ['parent', 'Child']);
    expect(await all(file, 'SELECT * FROM sqlite_sequence')).toEqual([{ name: 'parent', seq: 5 }]);
    expect(await all(file, `SELECT tbl, idx FROM sqlite_stat1 ORDER BY 1`)).toContainEqual({
      tbl: 'child',
      idx: 'child_p',
    });
  });
});

describe('Triggers', () => {
  it.each(['TASK', '"Task"', '[task]', '`tASK`'])(
    'come back and are undone where they name the table %s',
    async (name) => {
      await exec(
        file,
        `CREATE TABLE task (v); CREATE TABLE note (v);
       CREATE TRIGGER t1 AFTER INSERT ON ${name} BEGIN SELECT 1; END;
       CREATE TRIGGER t2 AFTER INSERT ON note BEGIN INSERT INTO Task VALUES (new.v); END`,
      );
      const whole = await schema();
      const { tables } = (await engine.describe(url)) ?? { tables: [] };
      const dump = await backUp();
      await exec(file, 'DROP TRIGGER t1; CREATE TRIGGER t3 BEFORE DELETE ON TASK BEGIN SELECT 2; END');
      const changed = await schema();
      const shape = (list: typeof tables) => list.find((table) => table.name === 'task')?.schema;
      expect(shape((await engine.describe(url))?.tables ?? [])).not.toBe(shape(tables));
      const undo = await restore(dump, ['task']);
      expect(await schema()).toEqual(whole);
      await undo();
      expect(await schema()).toEqual(changed);
    },
  );
});

/** A table with a full-text index that its triggers keep. */
const indexed = (using: string, remove: string) => `
  CREATE TABLE doc (id INTEGER PRIMARY KEY, a TEXT);
  CREATE VIRTUAL TABLE ft USING ${using};
  CREATE TRIGGER doc_i AFTER INSERT ON doc BEGIN INSERT INTO ft (rowid, a) VALUES (new.id, new.a); END;
  CREATE TRIGGER doc_d BEFORE DELETE ON DOC BEGIN ${remove}; END;
  INSERT INTO doc VALUES (1, 'alpha'), (2, 'beta');`;
const FORGET = `INSERT INTO ft (ft, rowid, a) VALUES ('delete', old.id, old.a)`;

describe('Indexes that triggers keep', () => {
  it.each([
    ['FTS5 over the table', `fts5 (a, content='doc', content_rowid='id')`, FORGET],
    ['FTS4 over the table', `fts4 (content="doc", a)`, 'DELETE FROM ft WHERE docid = old.id'],
    ['FTS5 with its own content', 'fts5 (a)', 'DELETE FROM ft WHERE rowid = old.id'],
    ['FTS5 without content', `fts5 (a, content='')`, FORGET],
  ])('follow the restored table and its undo: %s', async (_, using, remove) => {
    await exec(file, indexed(using, remove));
    const dump = await backUp();
    await exec(file, `DELETE FROM doc WHERE id = 1; INSERT INTO doc VALUES (3, 'gamma')`);
    const undo = await restore(dump, ['doc']);
    expect(await found('ft', 'alpha')).toEqual([{ id: 1 }]);
    expect(await found('ft', 'gamma')).toEqual([]);
    await exec(file, `INSERT INTO doc VALUES (4, 'delta'); DELETE FROM doc WHERE id = 2`);
    expect(await found('ft', 'beta')).toEqual([]);
    await undo();
    expect(await found('ft', 'alpha')).toEqual([]);
    expect(await found('ft', 'gamma')).toEqual([{ id: 3 }]);
    expect(await all(file, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
    await restore(await backUp(), ['doc']);
  });

  it('are restored with the table where they are gone, and the undo takes them away', async () => {
    await exec(file, indexed(`fts5 (a, content='doc', content_rowid='id')`, FORGET));
    const dump = await backUp();
    await exec(file, 'DROP TABLE ft');
    const before = await schema();
    const undo = await restore(dump, ['doc']);
    expect(await found('ft', 'beta')).toEqual([{ id: 2 }]);
    await undo();
    expect(await schema()).toEqual(before);
  });

  it('are rebuilt where the backup does not have them, which the plan says', async () => {
    await exec(file, `CREATE TABLE doc (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO doc VALUES (1, 'alpha')`);
    const dump = await backUp();
    await exec(
      file,
      `CREATE VIRTUAL TABLE ft USING fts5 (a, content=doc, content_rowid=id); UPDATE doc SET a = 'beta'`,
    );
    expect((await plan(dump, ['doc'])).warnings).toEqual([expect.stringContaining('does not have ft')]);
    await restore(dump, ['doc']);
    expect(await found('ft', 'alpha')).toEqual([{ id: 1 }]);
  });

  it('are refused where they are kept for other tables too, until those are chosen', async () => {
    await exec(
      file,
      `${indexed('fts5 (a)', 'DELETE FROM ft WHERE rowid = old.id')} CREATE TABLE more (a);
       CREATE TRIGGER more_i AFTER INSERT ON more BEGIN INSERT INTO ft (a) VALUES (new.a); END`,
    );
    const dump = await backUp();
    await exec(file, `INSERT INTO more VALUES ('later')`);
    expect((await plan(dump, ['doc'])).refusals).toMatchObject([
      {
        code: 'BAD_USER_INPUT',
        message: expect.stringContaining('doc, more'),
        hint: expect.stringContaining('includeRelated'),
      },
    ]);
    await restore(dump, ['doc'], true);
    expect(await found('ft', 'later')).toEqual([]);
  });

  it('may be R-trees', async () => {
    await exec(
      file,
      `CREATE TABLE place (id INTEGER PRIMARY KEY, x); CREATE VIRTUAL TABLE tree USING rtree (id, low, high);
       CREATE TRIGGER place_i AFTER INSERT ON place BEGIN INSERT INTO tree VALUES (new.id, new.x, new.x); END;
       CREATE TRIGGER place_d AFTER DELETE ON place BEGIN DELETE FROM tree WHERE id = old.id; END;
       INSERT INTO place VALUES (1, 10)`,
    );
    const dump = await backUp();
    await exec(file, 'DELETE FROM place; INSERT INTO place VALUES (2, 20)');
    const undo = await restore(dump, ['place']);
    expect(await all(file, 'SELECT id FROM tree WHERE low > 5')).toEqual([{ id: 1 }]);
    await undo();
    expect(await all(file, 'SELECT id FROM tree WHERE low > 5')).toEqual([{ id: 2 }]);
  });
});

describe('Plain tables that triggers keep', () => {
  const counted = `CREATE TABLE item (v); CREATE TABLE total (n); INSERT INTO total VALUES (0);
    CREATE TRIGGER item_i AFTER INSERT ON item BEGIN UPDATE OR IGNORE Total SET n = n + 1; END; INSERT INTO item VALUES (1)`;

  it('are named and stay, or are restored with includeRelated', async () => {
    await exec(file, counted);
    const dump = await backUp();
    await exec(file, 'INSERT INTO item VALUES (2)');
    const found = await plan(dump, ['item']);
    expect(found.related).toEqual([{ table: 'total', relation: 'DERIVED', of: ['item'] }]);
    expect(found.warnings).toEqual([expect.stringContaining('total stays as it is')]);
    await restore(dump, ['item'], true);
    expect(await all(file, 'SELECT n FROM total')).toEqual([{ n: 1 }]);
  });

  it('name their source where they are chosen themselves', async () => {
    await exec(file, counted);
    const found = await plan(await backUp(), ['total']);
    expect(found.related).toEqual([{ table: 'item', relation: 'SOURCE', of: ['total'] }]);
  });

  it('are needed where the target lacks them: writing would fail after the restore', async () => {
    await exec(file, counted);
    const dump = await backUp();
    await exec(file, 'DROP TABLE total');
    expect((await plan(dump, ['item'])).refusals).toMatchObject([
      { message: expect.stringContaining('no such table: main.Total') },
    ]);
    await restore(dump, ['item'], true);
    await exec(file, 'INSERT INTO item VALUES (3)');
  });
});

describe('A plan', () => {
  it('allows what a foreign key that fits no parent leaves as it was', async () => {
    await exec(file, `CREATE TABLE p (a); CREATE TABLE c (a REFERENCES p (a)); INSERT INTO c VALUES (1)`);
    const dump = await backUp();
    await exec(file, 'DELETE FROM c');
    await restore(dump, ['c']);
    expect(await all(file, 'SELECT a FROM c')).toEqual([{ a: 1 }]);
  });

  it('allows a table that became a view, and the undo brings back the view with its triggers', async () => {
    await exec(file, 'CREATE TABLE t (v); INSERT INTO t VALUES (1)');
    const dump = await backUp();
    await exec(
      file,
      `DROP TABLE t; CREATE VIEW T AS SELECT 2 AS v; CREATE TRIGGER tt INSTEAD OF INSERT ON t BEGIN SELECT 1; END`,
    );
    const before = await schema();
    const undo = await restore(dump, ['t']);
    expect(await all(file, 'SELECT v FROM t')).toEqual([{ v: 1 }]);
    await undo();
    expect(await schema()).toEqual(before);
  });

  it('refuses an index name that another table has in another case', async () => {
    await exec(file, 'CREATE TABLE t (v); CREATE INDEX t_v ON t (v)');
    const dump = await backUp();
    await exec(file, 'DROP INDEX t_v; CREATE TABLE o (v); CREATE INDEX T_V ON o (v)');
    expect((await plan(dump, ['t'])).refusals).toMatchObject([{ message: expect.stringContaining('index t_v') }]);
  });

  it('refuses a target of another text encoding, and gives its own to a new one', async () => {
    await exec(file, `PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (v); INSERT INTO t VALUES ('Größe')`);
    const dump = await backUp();
    await rm(file);
    await load(dump, (await plan(dump, ['t'])).tables);
    expect(await all(file, 'SELECT v FROM t')).toEqual([{ v: 'Größe' }]);
    await rm(file);
    await exec(file, 'CREATE TABLE t (v)');
    expect((await plan(dump, ['t'])).refusals).toMatchObject([
      {
        message: expect.stringContaining(`UTF-16le and ${file} as UTF-8`),
        hint: expect.stringContaining('whole database'),
      },
    ]);
  });

  it('copies rows that the rules of their own table would refuse', async () => {
    await exec(
      file,
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO t VALUES (1, NULL), (2, 'text');
       PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER NOT NULL CHECK (v > 5))' WHERE name = 't'`,
    );
    const dump = join(folder, 'rows');
    await mkdir(dump);
    await exec(file, `VACUUM INTO '${join(dump, 'database.sqlite3')}'`);
    await exec(file, 'PRAGMA ignore_check_constraints = ON; DELETE FROM t');
    await load(dump, (await plan(dump, ['t'])).tables);
    expect(await all(file, 'SELECT * FROM t')).toEqual([
      { id: 1, v: null },
      { id: 2, v: 'text' },
    ]);
  });
});

describe('What SQLite notes about tables', () => {
  it('is restored and undone with them: statistics and counters, and the tables that hold them', async () => {
    await exec(
      file,
      `CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO t VALUES (7, 1); CREATE INDEX t_v ON t (v); ANALYZE`,
    );
    const dump = await backUp();
    await rm(file);
    await exec(file, 'CREATE TABLE t (v)');
    const before = await schema();
    const undo = await restore(dump, ['t']);
    expect(await all(file, 'SELECT * FROM sqlite_stat1')).toEqual([{ tbl: 't', idx: 't_v', stat: '1 1' }]);
    expect(await all(file, 'SELECT * FROM sqlite_sequence')).toEqual([{ name: 't', seq: 7 }]);
    await undo();
    expect(await schema()).toEqual(before);
    await exec(file, 'ANALYZE');
  });
});

describe("A table of the application's own that is named like the stamp", () => {
  it.each(['_db_manager_restore (id TEXT NOT NULL)', '"_DB_Manager_Restore" (a, b)'])(
    'is kept and backed up: %s',
    async (own) => {
      await exec(
        file,
        `CREATE TABLE t (v); CREATE TABLE ${own}; INSERT INTO _db_manager_restore VALUES (${own.includes('b)') ? '1, 2' : "'mine'"})`,
      );
      const before = await all(file, 'SELECT * FROM _db_manager_restore');
      const dump = await backUp();
      expect((await engine.describe(url))?.tables.map(({ name }) => name.toLowerCase())).toContain(
        '_db_manager_restore',
      );
      expect(await engine.stampOf(url)).toBeNull();
      for (const tables of [['t'], null]) {
        await engine.load(dump, url, { ...LOAD, tables });
        expect(await engine.stampOf(url)).toBe('run');
        expect((await engine.describe(url))?.tables).toHaveLength(2);
        await engine.clearStamp(url, 1_000);
        expect(await all(file, 'SELECT * FROM _db_manager_restore')).toEqual(before);
      }
    },
  );
});

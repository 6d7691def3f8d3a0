import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { RowRepair } from '../../../src/core/ports.js';
import { chooseCopy } from '../../../src/engines/sqlite/choose.js';
import { createEngines } from '../../../src/engines/index.js';
import { all, contentHash, exec, withDatabase } from '../../support/sqlite.js';
import { NEVER } from '../../support/world.js';

const step = { signal: NEVER, onProgress: () => undefined };
const engine = createEngines().of('SQLITE');

let folder: string;
let file: string;
let url: string;
let dumps = 0;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'repair-')));
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

/** A backup of a database that was built by some statements, and then changed by others. */
async function lost(build: string, changes: string): Promise<string> {
  await exec(file, build);
  const dump = await backUp();
  await exec(file, changes);
  return dump;
}

type Wanted = Partial<RowRepair> & { tables: string[] };

const repairOf = (wanted: Wanted): RowRepair => ({ mode: 'MISSING', where: null, withParents: false, ...wanted });

const plan = (dump: string, wanted: Wanted) =>
  engine.rehearse(dump, url, {
    ...step,
    tables: wanted.tables,
    includeRelated: false,
    exact: false,
    repair: repairOf(wanted),
  });

async function load(dump: string, wanted: Wanted, tables = wanted.tables): Promise<void> {
  await engine.load(dump, url, {
    ...step,
    lockTimeoutMs: 1_000,
    stamp: 'run',
    source: {},
    madeHere: true,
    expected: [],
    onSwitch: () => undefined,
    damaged: false,
    exact: false,
    tables,
    repair: repairOf(wanted),
  });
  await engine.clearStamp(url, 1_000);
}

/** Plans and brings back what the plan says. */
async function bringBack(dump: string, wanted: Wanted) {
  const before = await contentHash(file);
  const planned = await plan(dump, wanted);
  expect(planned.refusals).toEqual([]);
  expect(await contentHash(file)).toBe(before);
  await load(dump, wanted, planned.tables);
  return planned;
}

/** Expects that the plan and the restore are refused for the same reason, and that nothing is changed. */
async function refused(dump: string, wanted: Wanted, code: string, message: RegExp) {
  const before = await contentHash(file);
  const planned = await plan(dump, wanted);
  expect(planned.refusals[0]).toMatchObject({ code, message: expect.stringMatching(message) });
  await expect(load(dump, wanted)).rejects.toMatchObject({ code, message: planned.refusals[0]?.message });
  expect(await contentHash(file)).toBe(before);
  return planned;
}

const BOOKINGS = `CREATE TABLE booking (id INTEGER PRIMARY KEY AUTOINCREMENT, guest TEXT, nights INT, tenant INT);
  INSERT INTO booking (guest, nights, tenant) VALUES ('Asha', 2, 1), ('Bram', 3, 2), ('Caro', 1, 1);`;
const CHANGES = `DELETE FROM booking WHERE id = 1; UPDATE booking SET nights = 9 WHERE id = 2;
  INSERT INTO booking (guest, nights, tenant) VALUES ('Dina', 5, 2);`;

describe('Rows that the target lost', () => {
  it('come back, and what was changed or added since stays', async () => {
    const dump = await lost(BOOKINGS, CHANGES);
    const { repairs, warnings } = await bringBack(dump, { tables: ['booking'] });
    expect(warnings).toEqual([]);
    expect(repairs).toEqual([
      {
        ...{ name: 'booking', parents: false, add: 1, overwrite: 0, keep: 3, conflicts: [] },
        samples: [{ key: { id: 1 }, before: null, after: { id: 1, guest: 'Asha', nights: 2, tenant: 1 } }],
      },
    ]);
    expect(await all(file, 'SELECT id, guest, nights FROM booking ORDER BY id')).toEqual([
      { id: 1, guest: 'Asha', nights: 2 },
      { id: 2, guest: 'Bram', nights: 9 },
      { id: 3, guest: 'Caro', nights: 1 },
      { id: 4, guest: 'Dina', nights: 5 },
    ]);
    expect(await all(file, 'SELECT * FROM sqlite_sequence')).toEqual([{ name: 'booking', seq: 4 }]);
  });

  it('come back with those that differ where that is asked for', async () => {
    const dump = await lost(BOOKINGS, CHANGES);
    const { repairs } = await bringBack(dump, { tables: ['BOOKING'], mode: 'CHANGED' });
    expect(repairs).toMatchObject([{ add: 1, overwrite: 1, keep: 2 }]);
    expect(repairs[0]?.samples[1]).toEqual({ key: { id: 2 }, before: { nights: 9 }, after: { nights: 3 } });
    expect(await all(file, 'SELECT nights FROM booking ORDER BY id')).toEqual(
      [2, 3, 1, 5].map((nights) => ({ nights })),
    );
  });

  it('come back as far as a condition chooses them', async () => {
    const dump = await lost(BOOKINGS, 'DELETE FROM booking;');
    await bringBack(dump, { tables: ['booking'], where: "tenant = 1 AND guest <> 'Caro' -- why" });
    expect(await all(file, 'SELECT guest FROM booking')).toEqual([{ guest: 'Asha' }]);
  });

  it('come back by any kind of key, byte by byte', async () => {
    const dump = await lost(
      `CREATE TABLE pair (a TEXT COLLATE NOCASE, b BLOB, v, g AS (v || '!'), PRIMARY KEY (a, b)) WITHOUT ROWID;
       INSERT INTO pair (a, b, v) VALUES ('x', x'00ff', 1), ('Y', x'', 2.5), ('z', 3, NULL);
       CREATE TABLE code (c TEXT PRIMARY KEY, v, s0); INSERT INTO code (c, v) VALUES ('p', 1), ('q', 2), ('r', x'00');`,
      `DELETE FROM pair WHERE b <> x''; UPDATE pair SET a = 'y'; DELETE FROM code WHERE c <> 'q'; UPDATE code SET rowid = 1;`,
    );
    await bringBack(dump, { tables: ['pair', 'code'], mode: 'CHANGED' });
    expect(await all(file, 'SELECT a, hex(b) AS b, v, g FROM pair ORDER BY a')).toEqual([
      { a: 'x', b: '00FF', v: 1, g: '1!' },
      { a: 'Y', b: '', v: 2.5, g: '2.5!' },
      { a: 'z', b: '33', v: null, g: null },
    ]);
    // Of the rows whose rowid a newer row has by now, one gets another.
    expect(await all(file, 'SELECT rowid AS id, c FROM code ORDER BY c')).toEqual([
      { id: 4, c: 'p' },
      { id: 1, c: 'q' },
      { id: 3, c: 'r' },
    ]);
  });

  it('are counted where nothing but their values tells them apart', async () => {
    const dump = await lost(
      `CREATE TABLE log (line TEXT, n); INSERT INTO log VALUES ('a', 1), ('a', 1), ('a', 1), (NULL, NULL), ('A', 1);`,
      `DELETE FROM log WHERE rowid IN (1, 3, 4); INSERT INTO log VALUES ('new', 1);`,
    );
    const { repairs, warnings } = await bringBack(dump, { tables: ['log'] });
    expect(repairs).toMatchObject([{ add: 3, keep: 3 }]);
    expect(warnings).toEqual([expect.stringContaining('log has no primary key')]);
    expect(await all(file, 'SELECT line, count(*) AS n FROM log GROUP BY line ORDER BY line')).toEqual([
      { line: null, n: 1 },
      { line: 'A', n: 1 },
      { line: 'a', n: 3 },
      { line: 'new', n: 1 },
    ]);
  });

  it('fire no trigger, and search indexes know them', async () => {
    const dump = await lost(
      `${BOOKINGS} CREATE TABLE trail (what);
       CREATE VIRTUAL TABLE found USING fts5(guest, content = booking, content_rowid = id);
       CREATE TRIGGER keep AFTER INSERT ON booking BEGIN INSERT INTO found (rowid, guest) VALUES (new.id, new.guest); END;
       CREATE TRIGGER note AFTER INSERT ON booking BEGIN INSERT INTO trail VALUES (new.guest); END;`,
      'DELETE FROM booking WHERE id = 1;',
    );
    const schema = await all(file, 'SELECT type, name, sql FROM sqlite_schema ORDER BY type, name');
    const { warnings } = await bringBack(dump, { tables: ['booking'] });
    expect(warnings).toEqual([expect.stringMatching(/Triggers do not run for rows of booking .*: keep, note\./)]);
    expect(await all(file, 'SELECT * FROM trail')).toEqual([]);
    expect(await all(file, "SELECT rowid AS id FROM found WHERE found MATCH 'asha'")).toEqual([{ id: 1 }]);
    expect(await all(file, 'SELECT type, name, sql FROM sqlite_schema ORDER BY type, name')).toEqual(schema);
    await exec(file, "INSERT INTO booking (guest) VALUES ('Emil')");
    expect(await all(file, 'SELECT * FROM trail')).toEqual([{ what: 'Emil' }]);
  });

  it('are none where nothing is lost, which the plan says', async () => {
    const dump = await lost(BOOKINGS, 'SELECT 1');
    const { warnings, repairs } = await bringBack(dump, { tables: ['booking'] });
    expect(warnings).toEqual(['The target has all of these rows: nothing comes back.']);
    expect(repairs).toMatchObject([{ add: 0, overwrite: 0, keep: 3, samples: [] }]);
  });

  it('get the default of a column that is new', async () => {
    const dump = await lost(
      BOOKINGS,
      `${CHANGES} ALTER TABLE booking ADD paid INT NOT NULL DEFAULT 7;
      UPDATE booking SET paid = id;`,
    );
    const { warnings } = await bringBack(dump, { tables: ['booking'], mode: 'CHANGED' });
    expect(warnings).toEqual([expect.stringContaining('does not have paid of booking')]);
    expect(await all(file, 'SELECT paid FROM booking ORDER BY id')).toEqual([7, 2, 3, 4].map((paid) => ({ paid })));
  });

  it('may swap values that must be unique', async () => {
    const dump = await lost(
      `CREATE TABLE seat (id INTEGER PRIMARY KEY, place TEXT UNIQUE); INSERT INTO seat VALUES (1, 'a'), (2, 'b');`,
      `UPDATE seat SET place = 'c' WHERE id = 1; UPDATE seat SET place = 'a' WHERE id = 2;
       UPDATE seat SET place = 'b' WHERE id = 1;`,
    );
    await bringBack(dump, { tables: ['seat'], mode: 'CHANGED' });
    expect(await all(file, 'SELECT place FROM seat ORDER BY id')).toEqual([{ place: 'a' }, { place: 'b' }]);
  });
});

describe('Rows that do not fit what the target holds now', () => {
  it('are refused where a newer row has what must be unique, each with its reason', async () => {
    const dump = await lost(
      `CREATE TABLE guest (id INTEGER PRIMARY KEY, mail TEXT COLLATE NOCASE UNIQUE, age INT);
       INSERT INTO guest VALUES (1, 'a@x', 20), (2, 'b@x', 30), (3, 'c@x', 2);`,
      `DELETE FROM guest; INSERT INTO guest VALUES (9, 'A@x', 1);
       ALTER TABLE guest RENAME TO was;
       CREATE TABLE guest (id INTEGER PRIMARY KEY, mail TEXT COLLATE NOCASE UNIQUE, age INT CHECK (age <> 2));
       INSERT INTO guest SELECT * FROM was; DROP TABLE was;`,
    );
    const { repairs } = await refused(dump, { tables: ['guest'] }, 'RESTORE_CONFLICT', /same mail \(1 row\); .*CHECK/);
    expect(repairs[0]).toMatchObject({ add: 3, keep: 1 });
    expect(repairs[0]?.conflicts).toMatchObject([
      { rows: 1, samples: [{ key: { id: 1 }, after: { mail: 'a@x' } }] },
      { rows: 1, samples: [{ key: { id: 3 } }] },
    ]);
  });

  it('are refused where their parents are gone, which come along on request, to the end', async () => {
    const dump = await lost(
      `CREATE TABLE person (id INTEGER PRIMARY KEY, boss REFERENCES person, name TEXT);
       CREATE TABLE visit (id INTEGER PRIMARY KEY, who INT REFERENCES person (id));
       INSERT INTO person VALUES (1, NULL, 'top'), (2, 1, 'middle'), (3, 2, 'low'), (4, 1, 'other'), (5, 5, 'own');
       INSERT INTO visit VALUES (1, 3), (2, 5), (3, NULL);`,
      `DELETE FROM visit; DELETE FROM person WHERE id > 1; UPDATE person SET name = 'newer';`,
    );
    const { refusals } = await refused(
      dump,
      { tables: ['visit'] },
      'RESTORE_CONFLICT',
      /refers to rows of person .*2 rows/,
    );
    expect(refusals[0]?.hint).toContain('withParents: true');
    const wanted = { tables: ['visit'], withParents: true };
    const { repairs, tables } = await bringBack(dump, wanted);
    expect(tables).toEqual(['visit', 'person']);
    expect(repairs).toMatchObject([
      { name: 'visit', parents: false, add: 3 },
      { name: 'person', parents: true, add: 3, keep: 1 },
    ]);
    expect(await all(file, 'SELECT id, name FROM person')).toEqual([
      { id: 1, name: 'newer' },
      { id: 2, name: 'middle' },
      { id: 3, name: 'low' },
      { id: 5, name: 'own' },
    ]);
    expect(await all(file, 'PRAGMA foreign_key_check')).toEqual([]);
  });

  it('are refused where the parents that would come along do not fit either', async () => {
    const dump = await lost(
      `CREATE TABLE plan (id INTEGER PRIMARY KEY, code TEXT UNIQUE); INSERT INTO plan VALUES (1, 'old');
       CREATE TABLE user (id INTEGER PRIMARY KEY, code TEXT REFERENCES plan (code)); INSERT INTO user VALUES (1, 'old');`,
      "DELETE FROM user; UPDATE plan SET code = 'new'",
    );
    const wanted = { tables: ['user'], withParents: true };
    const { repairs } = await refused(dump, wanted, 'RESTORE_CONFLICT', /rows of user .* refers to rows of plan/);
    expect(repairs[1]?.conflicts).toMatchObject([
      { reason: 'another row has the same id', rows: 1, samples: [{ after: { code: 'old' } }] },
    ]);
  });

  it('come back as they were where the backup does not have their parents either', async () => {
    const dump = await lost(
      `CREATE TABLE person (id INTEGER PRIMARY KEY); CREATE TABLE visit (id INTEGER PRIMARY KEY, who REFERENCES person);
       INSERT INTO visit VALUES (1, 7);`,
      'DELETE FROM visit;',
    );
    const { warnings } = await bringBack(dump, { tables: ['visit'], withParents: true });
    expect(warnings).toEqual([expect.stringMatching(/^1 rows refer .*visit → person/)]);
  });

  it('are refused where overwriting takes away what newer rows refer to', async () => {
    const dump = await lost(
      `CREATE TABLE room (id INTEGER PRIMARY KEY, code TEXT UNIQUE); CREATE TABLE stay (code TEXT REFERENCES room (code));
       INSERT INTO room VALUES (1, 'old');`,
      `UPDATE room SET code = 'new'; INSERT INTO stay VALUES ('new');`,
    );
    await refused(dump, { tables: ['room'], mode: 'CHANGED' }, 'RESTORE_CONFLICT', /stay → room/);
  });

  it('that came up after the plan fail as a whole, and so do parents that it did not name', async () => {
    const dump = await lost(
      `CREATE TABLE person (id INTEGER PRIMARY KEY, name UNIQUE); INSERT INTO person VALUES (1, 'a'), (2, 'b');
       CREATE TABLE visit (id INTEGER PRIMARY KEY, who REFERENCES person); INSERT INTO visit VALUES (1, 1);`,
      'DELETE FROM visit; DELETE FROM person WHERE id = 2;',
    );
    const wanted = { tables: ['visit'], withParents: true };
    const { tables } = await plan(dump, wanted);
    await exec(file, "DELETE FROM person; INSERT INTO person VALUES (9, 'b')");
    const before = await contentHash(file);
    await expect(load(dump, wanted, tables)).rejects.toMatchObject({ code: 'RESTORE_CONFLICT', field: 'tables' });
    await expect(load(dump, { tables: ['person'] })).rejects.toMatchObject({ code: 'RESTORE_CONFLICT' });
    expect(await contentHash(file)).toBe(before);
  });
});

describe('Tables that changed since the backup', () => {
  it.each([
    ['the target has no table', 'CREATE TABLE t (id INTEGER PRIMARY KEY)', 'DROP TABLE t', /no table t/],
    [
      'the target has no column',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, a)',
      'ALTER TABLE t DROP a',
      /no column a in t/,
    ],
    [
      'a new column needs a value',
      'CREATE TABLE t (id INTEGER PRIMARY KEY)',
      'DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, a INT NOT NULL)',
      /no value for a of t/,
    ],
    [
      'the key is another',
      'CREATE TABLE t (a INT PRIMARY KEY, b INT)',
      'DROP TABLE t; CREATE TABLE t (a INT, b INT, PRIMARY KEY (a, b))',
      /primary key of t was a, and is a, b/,
    ],
    [
      'the key compares in another way',
      'CREATE TABLE t (a TEXT PRIMARY KEY)',
      'DROP TABLE t; CREATE TABLE t (a TEXT COLLATE NOCASE PRIMARY KEY)',
      /compares texts in another way/,
    ],
    [
      'a column has another type',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)',
      'DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, a INT)',
      /column a of t was TEXT, and is INT/,
    ],
    ['it is a view', 'CREATE TABLE u (a); CREATE VIEW t AS SELECT * FROM u', 'SELECT 1', /t is a view/],
    ['it is a virtual table', 'CREATE VIRTUAL TABLE t USING fts5(a)', 'SELECT 1', /t is a virtual table/],
    [
      'a search index would not know the rows',
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO t VALUES (1, 'x');
       CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO f VALUES (new.a); END`,
      'DELETE FROM t',
      /f is kept by triggers of t/,
    ],
  ])('are refused where %s', async (_when, build, changes, message) => {
    const dump = await lost(build, changes);
    await refused(dump, { tables: ['t'] }, 'BAD_USER_INPUT', message);
  });

  it('are refused as a whole where the database is gone', async () => {
    const dump = await lost(BOOKINGS, CHANGES);
    await rm(file);
    const { refusals } = await plan(dump, { tables: ['booking'] });
    expect(refusals).toMatchObject([{ code: 'DATABASE_NOT_FOUND' }]);
    await expect(load(dump, { tables: ['booking'] })).rejects.toMatchObject({ code: 'DATABASE_NOT_FOUND' });
  });
});

describe('A condition', () => {
  it.each([
    ['id = 1; DROP TABLE booking'],
    ['id = 1) OR (1 = 1'],
    ['(id = 1'],
    ['id = 1 LIMIT 1'],
    ['nothing = 1'],
    ["load_extension('x')"],
    ['id IN (DELETE FROM booking RETURNING id)'],
  ])('that is more or less than one is refused: %s', async (where) => {
    await exec(file, BOOKINGS);
    const before = await contentHash(file, ['booking']);
    const choose = chooseCopy({ path: file, table: 'booking', where });
    await expect(choose).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'where' });
    expect(await contentHash(file, ['booking'])).toBe(before);
  });

  it('may ask other tables, and chooses by the key where there is no rowid', async () => {
    await exec(
      file,
      `${BOOKINGS} CREATE TABLE part (a, b, PRIMARY KEY (b, a)) WITHOUT ROWID;
       INSERT INTO part VALUES (1, 'x'), (2, 'y'), (3, 'z');`,
    );
    const where = "a IN (SELECT id FROM booking WHERE guest <> 'Bram')";
    const list = await chooseCopy({ path: file, table: 'PART', where });
    expect(await all(file, `SELECT * FROM ${list} ORDER BY s0`)).toEqual([
      { s0: 'x', s1: 1 },
      { s0: 'z', s1: 3 },
    ]);
  });
});

describe('A restore of rows that fails', () => {
  it('because a writer holds the database changes nothing; what that writes stays', async () => {
    const dump = await lost(BOOKINGS, CHANGES);
    await withDatabase(file, async (db) => {
      const run = (sql: string) =>
        new Promise<void>((resolve, reject) => db.exec(sql, (error) => (error ? reject(error) : resolve())));
      await run("BEGIN IMMEDIATE; INSERT INTO booking (id, guest) VALUES (7, 'Emil')");
      await expect(load(dump, { tables: ['booking'] })).rejects.toMatchObject({ code: 'DATABASE_IN_USE' });
      await run('COMMIT');
    });
    await load(dump, { tables: ['booking'] });
    expect(await all(file, 'SELECT id FROM booking ORDER BY id')).toEqual([1, 2, 3, 4, 7].map((id) => ({ id })));
  });

  it('in the middle leaves the target as it was', async () => {
    const dump = await lost(
      `${BOOKINGS} CREATE TABLE other (id INTEGER PRIMARY KEY); INSERT INTO other VALUES (1);`,
      `${CHANGES} DELETE FROM other;`,
    );
    const before = await contentHash(file);
    const stop = new AbortController();
    const load = engine.load(dump, url, {
      lockTimeoutMs: 1_000,
      stamp: 'run',
      source: {},
      madeHere: true,
      expected: [],
      onSwitch: () => undefined,
      damaged: false,
      exact: false,
      tables: ['booking', 'other'],
      repair: repairOf({ tables: ['booking', 'other'], mode: 'CHANGED' }),
      signal: stop.signal,
      // After the first of the tables.
      onProgress: () => stop.abort(new Error('stopped')),
    });
    await expect(load).rejects.toThrow('stopped');
    expect(await contentHash(file)).toBe(before);
    expect(await engine.stampOf(url)).toBeNull();
  });
});

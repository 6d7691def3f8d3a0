import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { RestoreRow } from '../../../src/models/index.js';
import { all, contentHash, exec } from '../../support/sqlite.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const plan = (backupId: string, tables: string[], includeRelated = false) =>
  world.app.restores.plan({ backupId, confirm: false, tables, includeRelated });

async function undo(restore: RestoreRow): Promise<void> {
  const undone = await world.app.restores.createUndo(restore.id, 'test');
  await world.app.restores.run(undone.id, NEVER);
  expect(await undone.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
}

const objects = async () =>
  (await all<{ name: string }>(world.database, `SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'`)).map(
    ({ name }) => name,
  );

describe('A table whose name differs in case from the backup', () => {
  it('is one table: the plan replaces it, and an undo brings back the one that was there', async () => {
    await exec(
      world.database,
      `CREATE TABLE booking (id INTEGER PRIMARY KEY, v); INSERT INTO booking VALUES (1, 'old')`,
    );
    const row = await world.backup();
    await exec(
      world.database,
      `ALTER TABLE booking RENAME TO b; ALTER TABLE b RENAME TO Booking; UPDATE Booking SET v = 'new'`,
    );
    const before = await contentHash(world.database);
    const found = await plan(row.id, ['BOOKING']);
    expect(found.tables.filter(({ name }) => /booking/i.test(name))).toEqual([
      expect.objectContaining({ name: 'booking', change: 'REPLACE' }),
    ]);
    const restore = await world.restore({ backupId: row.id, tables: ['BOOKING'] });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await all(world.database, 'SELECT v FROM booking')).toEqual([{ v: 'old' }]);
    expect(await objects()).toContain('booking');
    await undo(restore);
    expect(await contentHash(world.database)).toBe(before);
    expect(await objects()).toContain('Booking');
  });

  it('counts as the parent of a foreign key in any spelling', async () => {
    await exec(
      world.database,
      `CREATE TABLE Parent (id INTEGER PRIMARY KEY); CREATE TABLE child (p REFERENCES "PARENT" (ID));
       INSERT INTO Parent VALUES (1); INSERT INTO child VALUES (1);`,
    );
    const row = await world.backup();
    await exec(world.database, 'DELETE FROM child; DELETE FROM Parent');
    expect((await plan(row.id, ['Child'])).related).toEqual([{ table: 'Parent', relation: 'NEEDED', rowCount: 1 }]);
    expect(await world.restore({ backupId: row.id, tables: ['Child'], includeRelated: true })).toMatchObject({
      status: 'COMPLETED',
    });
  });
});

describe('Triggers of a chosen table', () => {
  it('come back however they spell its name, are compared, and an undo brings them back', async () => {
    await exec(
      world.database,
      `CREATE TABLE Item (id INTEGER PRIMARY KEY, v); CREATE TABLE log (v);
       CREATE TRIGGER one AFTER INSERT ON ITEM BEGIN INSERT INTO LOG VALUES (new.v); END;
       CREATE TRIGGER two AFTER DELETE ON [item] BEGIN INSERT INTO "Log" VALUES (old.v); END;`,
    );
    const row = await world.backup();
    await exec(world.database, 'DROP TRIGGER two');
    const before = await contentHash(world.database);
    const found = await plan(row.id, ['Item']);
    expect(found.tables.find(({ name }) => name === 'Item')).toMatchObject({ schemaDiffers: true });
    expect(found.related).toEqual([{ table: 'log', relation: 'DERIVED', rowCount: 0 }]);
    const restore = await world.restore({ backupId: row.id, tables: ['Item'] });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    await exec(world.database, `INSERT INTO item VALUES (9, 'nine'); DELETE FROM item WHERE id = 9`);
    expect(await all(world.database, 'SELECT v FROM log')).toEqual([{ v: 'nine' }, { v: 'nine' }]);
    await exec(world.database, 'DELETE FROM log');
    await undo(restore);
    expect(await contentHash(world.database)).toBe(before);
  });
});

describe('Tables that feed an index', () => {
  const search = (table: string, word: string) =>
    all<{ n: number }>(world.database, `SELECT count(*) AS n FROM ${table} WHERE ${table} MATCH '${word}'`);

  it.each(['fts5', 'fts4'])(
    'come back with their searches, and after an undo everything still works: %s',
    async (kind) => {
      const key = kind === 'fts5' ? 'rowid' : 'docid';
      const options = kind === 'fts5' ? `v, content='page', content_rowid='id'` : `content="page", v TEXT`;
      await exec(
        world.database,
        `CREATE TABLE page (id INTEGER PRIMARY KEY, v TEXT);
       CREATE VIRTUAL TABLE finder USING ${kind} (${options});
       CREATE TRIGGER page_ai AFTER INSERT ON page BEGIN INSERT INTO finder (${key}, v) VALUES (new.id, new.v); END;
       INSERT INTO page (v) VALUES ('old text'), ('old words');`,
      );
      const row = await world.backup();
      await exec(world.database, `INSERT INTO page (v) VALUES ('new text')`);
      const restore = await world.restore({ backupId: row.id, tables: ['page'] });
      expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect([await search('finder', 'old'), await search('finder', 'new')]).toEqual([[{ n: 2 }], [{ n: 0 }]]);
      await undo(restore);
      expect([await search('finder', 'old'), await search('finder', 'new')]).toEqual([[{ n: 2 }], [{ n: 1 }]]);
      expect(await world.backup()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await search('finder', 'old')).toEqual([{ n: 2 }]);
    },
  );
});

describe('What SQLite notes of a table', () => {
  it('comes back with it, and an undo brings back what was there', async () => {
    const notes = () => all(world.database, `SELECT * FROM sqlite_stat1 WHERE tbl = 'noted' ORDER BY idx`);
    await exec(
      world.database,
      `CREATE TABLE noted (id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE INDEX noted_v ON noted (v);
       INSERT INTO noted (v) VALUES (1), (2), (3); ANALYZE;`,
    );
    const saved = await notes();
    const row = await world.backup();
    await exec(world.database, `INSERT INTO noted (v) SELECT v FROM noted; ANALYZE;`);
    const changed = await notes();
    const restore = await world.restore({ backupId: row.id, tables: ['noted'] });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await notes()).toEqual(saved);
    await undo(restore);
    expect(await notes()).toEqual(changed);
    expect(changed).not.toEqual(saved);
  });
});

describe('A table of the application that is named like our stamp', () => {
  it('is backed up, counted, restored and left alone', async () => {
    await exec(
      world.database,
      `CREATE TABLE _DB_manager_restore (id TEXT NOT NULL); INSERT INTO _db_manager_restore VALUES ('mine')`,
    );
    const before = await contentHash(world.database);
    const row = await world.backup();
    expect(row.tables).toContainEqual({ name: '_DB_manager_restore', rows: 1 });
    await exec(world.database, `DELETE FROM _db_manager_restore`);
    const changed = await contentHash(world.database);
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await contentHash(world.database)).toBe(before);
    await undo(restore);
    expect(await contentHash(world.database)).toBe(changed);
    expect(await world.restore({ backupId: row.id, tables: ['_db_MANAGER_restore'] })).toMatchObject({
      status: 'COMPLETED',
    });
    expect(await contentHash(world.database)).toBe(before);
  });
});

describe('What a plan of chosen tables refuses', () => {
  it.each([
    ['a table that is a view now', 'DROP TABLE gone; CREATE VIEW gone AS SELECT 1 AS v', true],
    ['an index whose name another table has in another case', 'DROP INDEX gone_v; CREATE TABLE Gone_V (x)', false],
    [
      'a trigger of another table that would write what is no longer there',
      `CREATE TABLE more (v); ALTER TABLE gone ADD COLUMN extra; CREATE TRIGGER t AFTER INSERT ON more BEGIN UPDATE gone SET extra = 1; END`,
      false,
    ],
  ])('is what the run would refuse: %s', async (_what, sql, allowed) => {
    await exec(world.database, `CREATE TABLE gone (v); CREATE INDEX gone_v ON gone (v); INSERT INTO gone VALUES (1)`);
    const row = await world.backup();
    await exec(world.database, sql);
    const before = await contentHash(world.database);
    const found = await plan(row.id, ['gone']);
    expect(found.allowed).toBe(allowed);
    if (!allowed)
      await expect(world.restore({ backupId: row.id, tables: ['gone'] })).rejects.toMatchObject({
        code: found.refusals[0]?.code,
      });
    else {
      const restore = await world.restore({ backupId: row.id, tables: ['gone'] });
      expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await all(world.database, 'SELECT v FROM gone')).toEqual([{ v: 1 }]);
      await undo(restore);
    }
    expect(await contentHash(world.database)).toBe(before);
  });
});

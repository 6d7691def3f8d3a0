import { createHash } from 'node:crypto';
import { copyFile, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createEngines } from '../../../src/engines/index.js';
import { definitionProblem } from '../../../src/engines/sqlite/schema.js';
import { metadataEntry, rawZip } from '../../support/archives.js';
import { all, contentHash, exec, withDatabase } from '../../support/sqlite.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

const SCHEMA = `
  CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT);
  INSERT INTO item (name) VALUES ('a'), ('b');
  CREATE TABLE other (id INTEGER PRIMARY KEY, name TEXT);
  INSERT INTO other (name) VALUES ('kept');
  CREATE INDEX item_name ON item (name);
  CREATE VIEW names AS SELECT name FROM item;
  CREATE TRIGGER item_added AFTER INSERT ON item BEGIN UPDATE item SET name = upper(name) WHERE id = new.id; END;
`;

/** What an attacker wants to be run: it leaves the transaction, writes a file, and changes what was not chosen. */
const payload = (file: string) =>
  `; COMMIT; ATTACH '${file}' AS out; CREATE TABLE out.x (y); VACUUM INTO '${file}.2'; UPDATE other SET name = 'changed'; DROP TABLE other; BEGIN`;

/** Adds text behind the stored definition of an object, as only `writable_schema` can. */
async function poison(path: string, type: string, text: string): Promise<void> {
  await withDatabase(path, async (db) => {
    const run = (sql: string, params: unknown[] = []) =>
      new Promise<void>((resolve, reject) => db.run(sql, params, (error) => (error ? reject(error) : resolve())));
    await run('PRAGMA writable_schema = ON');
    await run(
      `UPDATE sqlite_schema SET sql = sql || ? WHERE type = ? AND (tbl_name = 'item' OR type = 'view') AND name <> 'sqlite_sequence'`,
      [text, type],
    );
  });
}

describe.each(['table', 'index', 'view', 'trigger'])(
  'A database with more than a definition in the text of a %s',
  (type) => {
    let world: World;
    let evil: string;
    let loot: string;
    beforeEach(async () => {
      world = await createWorld();
      await exec(world.database, SCHEMA);
      loot = join(world.folder, 'loot');
      evil = join(world.folder, 'evil.sqlite3');
      await exec(evil, SCHEMA);
      await poison(evil, type, payload(loot));
    });
    afterEach(() => world.close());

    const archiveOf = async (file: string) => {
      const data = await readFile(file);
      const entries = [{ name: 'database.sqlite3', data, deflate: true }];
      const tables = [
        { name: 'item', row_count: 2 },
        { name: 'other', row_count: 1 },
      ];
      return rawZip([...entries, metadataEntry(entries, { tables })]);
    };

    it('is refused as an upload, and nothing of it is run or kept', async () => {
      const before = await contentHash(world.database);
      const bytes = await archiveOf(evil);
      await expect(world.app.backups.upload(Readable.from([bytes]), 'x.zip', 1, 'boss', NEVER)).rejects.toMatchObject({
        code: 'ARCHIVE_HOSTILE',
      });
      expect(await world.app.models.Backup.count({ where: { status: 'COMPLETED' } })).toBe(0);
      expect(await contentHash(world.database)).toBe(before);
      expect([loot, `${loot}.2`].filter((path) => existsSync(path))).toEqual([]);
    });

    it('is refused by a restore of chosen tables and of all, and nothing of it is run', async () => {
      // As if the archive had come in before uploads were looked into.
      const row = await world.backup();
      const bytes = await archiveOf(evil);
      await writeFile(row.filePath, bytes);
      await row.update({ fileSize: bytes.length, checksum: createHash('sha256').update(bytes).digest('hex') });
      const before = await contentHash(world.database);
      const request = { backupId: row.id, allowForeign: true, restoreMedia: false };
      await expect(world.restore({ ...request, tables: ['item'] })).rejects.toMatchObject({ code: 'ARCHIVE_HOSTILE' });
      expect(await world.restore(request)).toMatchObject({ status: 'FAILED', errorCode: 'ARCHIVE_HOSTILE' });
      expect(await contentHash(world.database)).toBe(before);
      expect([loot, `${loot}.2`].filter((path) => existsSync(path))).toEqual([]);
    });

    it('is not run by the engine even where nothing checked before', async () => {
      const folder = await realpath(await mkdtemp(join(tmpdir(), 'dump-')));
      try {
        await copyFile(evil, join(folder, 'database.sqlite3'));
        const before = await contentHash(world.database);
        const options = {
          lockTimeoutMs: 1_000,
          stamp: 'x',
          tables: ['item'],
          source: {},
          exact: false,
          madeHere: true,
          expected: [],
          onSwitch: () => undefined,
          damaged: false,
          signal: NEVER,
          onProgress: () => undefined,
        };
        const load = createEngines().of('SQLITE').load(folder, `sqlite:${world.database}`, options);
        // A view belongs to no table, so it is not loaded with one.
        if (type === 'view') await load;
        else await expect(load).rejects.toMatchObject({ code: 'ARCHIVE_HOSTILE' });
        if (type !== 'view') expect(await contentHash(world.database)).toBe(before);
        expect(await all(world.database, 'SELECT name FROM other')).toEqual([{ name: 'kept' }]);
        expect([loot, `${loot}.2`].filter((path) => existsSync(path))).toEqual([]);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

    it('is backed up with a warning that a restore will refuse it', async () => {
      await poison(world.database, type, '; SELECT 1');
      const row = await world.backup();
      expect(row.status).toBe('COMPLETED');
      expect(row.warnings.join()).toMatch(/A restore will refuse this database: .* another statement/);
    });
  },
);

describe('The definition of an object', () => {
  const item = (type: string, name: string, table: string, sql: string | null) => ({
    type,
    name,
    tbl_name: table,
    sql,
  });

  it.each([
    item('table', 't', 't', 'CREATE TABLE t (a, b)'),
    item('table', 'a;b', 'a;b', `CREATE TABLE "a;b" ("x;y" TEXT DEFAULT ';', [z;] TEXT DEFAULT ";" /* ; */) -- ; end`),
    item('table', "it's", "it's", `CREATE TABLE 'it''s' (a)`),
    item('table', 'T', 'T', 'create table t(a) WITHOUT ROWID, STRICT'),
    item('table', 'f', 'f', `CREATE VIRTUAL TABLE f USING fts5(a, tokenize = "x;y")`),
    item('index', 'i', 't', 'CREATE UNIQUE INDEX i ON t (a) WHERE b > 0'),
    item('index', 'sqlite_autoindex_t_1', 't', null),
    item('view', 'v', 'v', 'CREATE VIEW v AS SELECT 1;'),
    item('view', 'ünï', 'ünï', 'CREATE VIEW ünï AS SELECT 1'),
    item(
      'trigger',
      'r',
      't',
      'CREATE TRIGGER r AFTER UPDATE OF a, b ON t BEGIN SELECT 1; SELECT CASE 1 WHEN 1 THEN 2 END; END',
    ),
    item(
      'trigger',
      'r',
      't',
      'CREATE TRIGGER "r" BEFORE DELETE ON [t] WHEN old.a > 1 BEGIN DELETE FROM t; END ; -- done',
    ),
    item('trigger', 'r', 't', 'CREATE TRIGGER r AFTER INSERT ON main.t BEGIN SELECT 1; END'),
  ])('$type $name: $sql is accepted', (found) => {
    expect(definitionProblem(found)).toBeNull();
  });

  it.each([
    [item('table', 't', 't', 'CREATE TABLE t (a); SELECT 1'), 'is followed by another statement'],
    [item('table', 't', 't', `CREATE TABLE t (a /* ' */); SELECT ' */ 1'`), 'is followed by another statement'],
    [item('table', 't', 't', 'CREATE TABLE t (a) -- x\n; DROP TABLE u'), 'is followed by another statement'],
    [item('table', 't', 't', 'CREATE TABLE t AS SELECT 1'), 'does not list its columns'],
    [item('table', 't', 't', 'CREATE TABLE u (a)'), 'is of an object with another name'],
    [item('table', 't', 't', 'CREATE TABLE main.t (a)'), 'is of an object with another name'],
    [item('table', 't', 't', 'DROP TABLE t'), 'is not a CREATE TABLE statement'],
    [item('table', 't', 't', 'EXPLAIN CREATE TABLE t (a)'), 'is not a CREATE TABLE statement'],
    [item('table', 't', 't', 'CREATE TEMP TABLE t (a)'), 'is not a CREATE TABLE statement'],
    [item('table', 't', 't', null), 'is missing'],
    [item('table', 't', 't', 'CREATE TABLE t (a)\0; SELECT 1'), 'holds a NUL character'],
    [item('index', 'i', 't', 'CREATE INDEX i ON u (a)'), 'is of another table'],
    [
      item('trigger', 'r', 't', 'CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END; DROP TABLE t'),
      'is followed by another statement',
    ],
    [item('trigger', 'r', 't', 'CREATE TRIGGER r AFTER INSERT ON u BEGIN SELECT 1; END'), 'is of another table'],
    [item('module', 'm', 'm', 'CREATE TABLE m (a)'), 'is of an unknown kind'],
  ])('%j is refused', (found, problem) => {
    expect(definitionProblem(found)).toBe(problem);
  });

  it('that SQLite itself has written is accepted, whatever the names', async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'names-')));
    // NUL ends a statement, so no name can hold it; names that begin with sqlite_ are SQLite's own.
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
      .filter((text) => !/\0|^sqlite_/i.test(text) && Buffer.from(text).toString() === text);
    const quotings = [
      (text: string) => `"${text.replaceAll('"', '""')}"`,
      (text: string) => `\`${text.replaceAll('`', '``')}\``,
      (text: string) => (text.includes(']') ? `"${text.replaceAll('"', '""')}"` : `[${text}]`),
    ];
    let count = 0;
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(name, { minLength: 4, maxLength: 4, selector: (text) => text.toLowerCase() }),
          fc.constantFrom(...quotings),
          async ([table = '', index = '', trigger = '', view = ''], quote) => {
            const path = join(folder, `${(count += 1)}.sqlite3`);
            await exec(
              path,
              `CREATE TABLE ${quote(table)} (a, b DEFAULT ';' CHECK (b <> ';END;')) ;
             CREATE INDEX ${quote(index)} ON ${quote(table)} (a, b);
             CREATE TRIGGER ${quote(trigger)} AFTER UPDATE OF a ON ${quote(table)} WHEN new.a = ';' BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM ${quote(table)}; END;
             CREATE VIEW ${quote(view)} AS SELECT ';' AS x FROM ${quote(table)}; -- end ;`,
            );
            for (const found of await all<{ type: string; name: string; tbl_name: string; sql: string }>(
              path,
              'SELECT type, name, tbl_name, sql FROM sqlite_schema',
            )) {
              expect({ ...found, problem: definitionProblem(found) }).toEqual({ ...found, problem: null });
            }
          },
        ),
        { numRuns: 60 },
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

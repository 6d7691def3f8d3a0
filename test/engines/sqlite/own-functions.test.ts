import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { copyFile, mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createSqliteEngine } from '../../../src/engines/sqlite/index.js';
import { all, contentHash, exec, withDatabase } from '../../support/sqlite.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

/**
 * A schema that needs something which only the application's own connections have. It is made with a part of SQLite in
 * that place, so that its rows and indexes are as the application makes them, and then the name is changed.
 */
interface OwnSchema {
  sql: string;
  builtin: string;
  own: string;
  /** What the backup warns of, if SQLite's checks need it. */
  warns: RegExp | null;
}

const ROWS = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
  INSERT INTO event (day) SELECT printf('2%03d-01-01', i) FROM n;`;

const SCHEMAS: Record<string, OwnSchema> = {
  'an index on a function': {
    sql: `CREATE TABLE event (id INTEGER PRIMARY KEY, day TEXT); ${ROWS} CREATE INDEX event_i ON event (substr(day, 4));`,
    builtin: 'substr(',
    own: 'django_date_extract(',
    warns: /indexes of table event .* own function django_date_extract\./,
  },
  'a condition of REGEXP': {
    sql: `CREATE TABLE event (id INTEGER PRIMARY KEY, day TEXT CHECK (day LIKE '2%')); ${ROWS}`,
    builtin: 'LIKE',
    own: 'REGEXP',
    warns: null,
  },
  'an index with a collation': {
    sql: `CREATE TABLE event (id INTEGER PRIMARY KEY, day TEXT); ${ROWS} CREATE INDEX event_i ON event (day COLLATE NOCASE);`,
    builtin: 'NOCASE',
    own: 'german',
    warns: /Table event could not be checked .* own collation sequence german\./,
  },
  'a full-text index with a tokenizer': {
    sql: `CREATE VIRTUAL TABLE event USING fts5 (day, tokenize = 'unicode61'); ${ROWS}`,
    builtin: 'unicode61',
    own: 'stems',
    warns: /Table event could not be checked .* own tokenizer stems\./,
  },
};
const NAMES = Object.keys(SCHEMAS);
const TOKENIZER = 'a full-text index with a tokenizer';
const schemaOf = (name: string) => SCHEMAS[name] as OwnSchema;

const renamed = (from: string, to: string) =>
  `PRAGMA writable_schema = ON;
   UPDATE sqlite_schema SET sql = replace(sql, '${from}', '${to}') WHERE name IN ('event', 'event_i');`;

async function addOwn(file: string, name: string): Promise<void> {
  const { sql, builtin, own } = schemaOf(name);
  await exec(file, `${sql} ${renamed(builtin, own)}`);
}

/** As the application sees it, which has the function: every index agrees with its table. */
async function usable(world: World, name: string): Promise<void> {
  const copy = join(world.folder, 'copy.sqlite3');
  await exec(world.database, 'PRAGMA wal_checkpoint(TRUNCATE)');
  await copyFile(world.database, copy);
  await exec(copy, renamed(schemaOf(name).own, schemaOf(name).builtin));
  expect(await all(copy, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  expect(await all(copy, 'SELECT count(*) AS n FROM event')).toEqual([{ n: 300 }]);
}

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

describe("A database whose schema needs the application's own functions", () => {
  it.each(NAMES)('is backed up, proven and restored as it was: %s', async (name) => {
    await addOwn(world.database, name);
    const before = await contentHash(world.database);
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    const { warns } = schemaOf(name);
    expect(row.warnings).toEqual(warns === null ? [] : [expect.stringMatching(warns)]);
    expect(row.tables).toContainEqual({ name: 'event', rows: 300 });
    expect((await world.app.verifications.verify(row.id, 'CONTENT', 'test', NEVER)).verificationLevel).toBe('CONTENT');

    await exec(world.database, 'DELETE FROM entry; DROP TABLE event; CREATE TABLE other (x)');
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null, warnings: row.warnings });
    expect(await contentHash(world.database)).toBe(before);
    expect(await world.restore({ backupId: restore.safetyBackupId ?? '' })).toMatchObject({ status: 'COMPLETED' });
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED' });
    await usable(world, name);
  });

  it.each(NAMES.flatMap((name) => [512, 65536].map((pageSize) => ({ name, pageSize }))))(
    'goes into a target of page size $pageSize, in WAL mode as before: $name',
    async ({ name, pageSize }) => {
      await addOwn(world.database, name);
      const before = await contentHash(world.database);
      const row = await world.backup();
      const target = join(world.folder, 'other.sqlite3');
      await exec(target, `PRAGMA page_size = ${pageSize}; PRAGMA journal_mode = WAL; CREATE TABLE old (x)`);
      const request = { backupId: row.id, targetDatabaseUrl: `sqlite:${target}`, overwrite: true };
      expect(await world.restore(request)).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await contentHash(target)).toBe(before);
      expect(await all(target, 'PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
    },
  );

  it.each(NAMES.filter((name) => name !== TOKENIZER))(
    'is not restored table by table, which is refused with the way out and changes nothing: %s',
    async (name) => {
      await addOwn(world.database, name);
      const row = await world.backup();
      await exec(world.database, 'DELETE FROM entry');
      const before = await contentHash(world.database);
      const refused = {
        code: 'BAD_USER_INPUT',
        message: expect.stringContaining('tables: event '),
        hint: expect.stringContaining('whole database'),
      };
      const request = { backupId: row.id, tables: ['entry', 'event'] };
      expect(await world.app.restores.plan({ ...request, confirm: false })).toMatchObject({ refusals: [refused] });
      await expect(world.restore(request)).rejects.toMatchObject(refused);
      expect(await contentHash(world.database)).toBe(before);
    },
  );

  it('is restored table by table where only a tokenizer is missing: its index is moved as it is', async () => {
    await addOwn(world.database, TOKENIZER);
    const before = await contentHash(world.database);
    const row = await world.backup();
    await exec(world.database, 'DELETE FROM entry;');
    const restore = await world.restore({ backupId: row.id, tables: ['entry', 'event'] });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await contentHash(world.database)).toBe(before);
    await usable(world, TOKENIZER);
  });

  it.each(NAMES)('lets its other tables be restored by themselves: %s', async (name) => {
    await addOwn(world.database, name);
    const before = await contentHash(world.database);
    const row = await world.backup();
    await exec(world.database, 'DELETE FROM entry');
    expect(await world.restore({ backupId: row.id, tables: ['entry'] })).toMatchObject({ status: 'COMPLETED' });
    expect(await contentHash(world.database)).toBe(before);
  });
});

describe('A target of another page size that a program has open', () => {
  it("is unchanged where the schema needs the application's own functions; the error says why", async () => {
    await addOwn(world.database, 'an index on a function');
    const row = await world.backup();
    const target = join(world.folder, 'other.sqlite3');
    await exec(target, 'PRAGMA page_size = 512; PRAGMA journal_mode = WAL; CREATE TABLE old (x)');
    const before = await contentHash(target);
    await world.app.configs.update((await world.app.configs.get()).id, { restoreLockTimeout: 1 }, 'test');
    await withDatabase(target, async (db) => {
      await new Promise<void>((resolve, reject) => db.exec('SELECT * FROM old', (e) => (e ? reject(e) : resolve())));
      const request = { backupId: row.id, targetDatabaseUrl: `sqlite:${target}`, overwrite: true };
      expect(await world.restore(request)).toMatchObject({
        status: 'FAILED',
        errorCode: 'DATABASE_IN_USE',
        errorHint: expect.stringContaining('Stop the application'),
      });
    });
    expect(await contentHash(target)).toBe(before);
    expect(await all(target, 'PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
  });
});

describe("Keys that use the application's own collation", () => {
  it('are reported as what cannot be counted and followed, and come back', async () => {
    await exec(
      world.database,
      `CREATE TABLE place (name TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID;
       CREATE TABLE visit (id INTEGER PRIMARY KEY, place TEXT REFERENCES place (name));
       INSERT INTO place VALUES ('Ort'); INSERT INTO visit (place) VALUES ('ort');
       PRAGMA writable_schema = ON;
       UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'german');`,
    );
    const row = await world.backup();
    expect(row.warnings).toEqual([
      expect.stringMatching(/Table place could not be checked/),
      expect.stringMatching(/rows of table place were not counted: .* own collation sequence german\./),
      expect.stringMatching(/foreign keys of table visit were not checked: .* own collation sequence german\./),
    ]);
    await exec(world.database, 'DELETE FROM visit');
    await expect(world.restore({ backupId: row.id, tables: ['visit'] })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      hint: expect.stringContaining('whole database'),
    });
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED' });
    expect(restore.warnings).toContainEqual(expect.stringMatching(/foreign keys of table visit were not checked/));
    expect(await all(world.database, 'SELECT * FROM visit')).toEqual([{ id: 1, place: 'ort' }]);
  });
});

describe('Real damage beside such a schema', () => {
  /** Overwrites the page where the table or index begins. */
  const damage = async (file: string, name: string) => {
    await exec(file, 'PRAGMA wal_checkpoint(TRUNCATE)');
    const [found] = await all<{ rootpage: number; size: number }>(
      file,
      `SELECT rootpage, (SELECT page_size FROM pragma_page_size) AS size FROM sqlite_schema WHERE name = '${name}'`,
    );
    const { rootpage, size } = found ?? { rootpage: 0, size: 0 };
    const handle = await open(file, 'r+');
    await handle.write(Buffer.alloc(size, 0xff), 0, size, (rootpage - 1) * size);
    await handle.close();
  };

  it.each(
    NAMES.flatMap((name) => ['entry', 'event_i'].map((place) => ({ name, place }))).filter(
      ({ name, place }) => place === 'entry' || schemaOf(name).sql.includes(place),
    ),
  )('is found by the backup, in $place: $name', async ({ name, place }) => {
    await addOwn(world.database, name);
    await damage(world.database, place);
    expect(await world.backup()).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_CORRUPT' });
  });

  it.each(NAMES)('that only the full check finds is found in the archive: %s', async (name) => {
    const file = join(world.folder, 'dump', 'database.sqlite3');
    await mkdir(dirname(file));
    await exec(file, 'CREATE TABLE pair (a, b); INSERT INTO pair VALUES (1, 2); CREATE INDEX pair_i ON pair (a)');
    await addOwn(file, name);
    const inspect = () => createSqliteEngine().inspect(dirname(file), { signal: NEVER, onProgress: () => undefined });
    const { warns } = schemaOf(name);
    const messages = async () => (await inspect()).findings.map(({ message }) => message);
    expect(await messages()).toEqual(warns === null ? [] : [expect.stringMatching(warns)]);
    // The index holds the values of the other column.
    await exec(
      file,
      `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX pair_i ON pair (b)' WHERE name = 'pair_i'`,
    );
    expect(await messages()).toContainEqual(expect.stringContaining('The index pair_i of table pair is out of step'));
  });
});

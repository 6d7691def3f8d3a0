import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
  chmod,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sqlite3 from 'sqlite3';
import type { Engines } from '../../../src/core/ports.js';
import { createEngines } from '../../../src/engines/index.js';
import { Hold, waitLease } from '../../../src/core/runs/hold.js';
import { MediaSwap } from '../../../src/core/restores/media/swap.js';
import { AppError } from '../../../src/errors.js';
import { all, contentHash, exec } from '../../support/sqlite.js';
import { unpack } from '../../support/unpack.js';
import {
  assertOneCommittedState,
  createWorld,
  filesIn,
  NEVER,
  readTree,
  startWriter,
  type World,
  writeTree,
} from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const setup = `INSERT INTO entry VALUES (1, 1, 5, 'x'); UPDATE head SET k = 0;`;

/** Changes rows, schema and media after a backup. */
async function change(w: World): Promise<void> {
  await exec(w.database, `DELETE FROM account WHERE id > 10; CREATE TABLE later (a); INSERT INTO later VALUES (1);`);
  await writeTree(w.media, { 'uploads/a photo.txt': 'changed', 'uploads/later.txt': 'later' });
  await rm(join(w.media, 'images'), { recursive: true });
}

describe('A full restore', () => {
  for (const journal of ['WAL', 'DELETE'] as const) {
    for (const pageSize of [4096, 8192]) {
      for (const reader of [false, true]) {
        for (const mediaMode of ['MERGE', 'MIRROR'] as const) {
          // In rollback mode an open read transaction blocks every writer: that case is refused, and tested below.
          if (journal === 'DELETE' && reader) continue;
          const title = `target in ${journal} mode, page size ${pageSize} against 4096, ${reader ? 'a reader in a transaction' : 'nobody reading'}, media ${mediaMode}`;
          it(`brings back the state of the backup: ${title}`, async () => {
            const row = await world.backup();
            const before = { hash: await contentHash(world.database), media: await readTree(world.media) };
            await rm(world.database);
            await exec(
              world.database,
              `PRAGMA page_size = ${pageSize}; PRAGMA journal_mode = ${journal}; CREATE TABLE other (a); INSERT INTO other VALUES (7)`,
            );
            await writeTree(world.media, { 'uploads/a photo.txt': 'changed', 'later.txt': 'later' });
            const open = reader ? await openReader(world.database, 'SELECT a FROM other') : null;
            const restore = await world.restore({ backupId: row.id, mediaMode });
            expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
            if (open !== null) {
              expect(await open.read()).toEqual([{ a: 7 }]);
              await open.close();
            }
            expect(await contentHash(world.database)).toBe(before.hash);
            expect(await all(world.database, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
            expect((await all<{ journal_mode: string }>(world.database, 'PRAGMA journal_mode'))[0]?.journal_mode).toBe(
              journal.toLowerCase(),
            );
            expect(await readTree(world.media)).toEqual(
              mediaMode === 'MIRROR' ? before.media : { ...before.media, 'later.txt': 'later' },
            );
            expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
          });
        }
      }
    }
  }

  it('makes a verified, pinned safety backup first, and an undo brings the old state back', async () => {
    const row = await world.backup();
    await change(world);
    const before = { hash: await contentHash(world.database), media: await readTree(world.media) };
    const restore = await world.restore({ backupId: row.id });
    const safety = await world.app.backups.get(restore.safetyBackupId ?? '');
    expect(safety).toMatchObject({
      backupType: 'SAFETY',
      status: 'COMPLETED',
      pinned: true,
      verificationLevel: 'ARCHIVE',
    });
    const undo = await world.app.restores.createUndo(restore.id, 'boss');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', undoOf: restore.id });
    expect(await contentHash(world.database)).toBe(before.hash);
    expect(await readTree(world.media)).toEqual(before.media);
  });

  it('while others keep writing never shows a mixed or malformed database', async () => {
    const row = await world.backup();
    const writer = await startWriter(world.database, 1);
    const reader = readAllTheTime(world.database);
    for (let round = 0; round < 3; round++) {
      expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED' });
      await new Promise((wake) => setTimeout(wake, 100));
    }
    expect(await reader.stop()).toEqual([]);
    const { errors } = await writer.stop();
    expect(errors).toEqual([]);
    await assertOneCommittedState(world.database);
  });

  it('waits for a lock up to the deadline, then says DATABASE_IN_USE and changes nothing', async () => {
    await world.app.configs.update(1, { restoreLockTimeout: 1 }, 'test');
    const row = await world.backup();
    await change(world);
    const before = { hash: await contentHash(world.database), media: await readTree(world.media) };
    const lock = await openReader(world.database, 'SELECT 1', 'BEGIN IMMEDIATE');
    const restore = await world.restore({ backupId: row.id });
    await lock.close();
    expect(restore).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_IN_USE' });
    expect(await contentHash(world.database)).toBe(before.hash);
    expect(await readTree(world.media)).toEqual(before.media);
    expect(await filesIn(world.media)).toEqual(Object.keys(before.media).sort());
  });

  it('of a database that is gone creates it, and replays no WAL that a crash left over it', async () => {
    const row = await world.backup();
    const before = await contentHash(world.database);
    await exec(world.database, 'PRAGMA wal_checkpoint(TRUNCATE)');
    const wal = Buffer.alloc(0);
    const open = await openReader(world.database, 'SELECT 1');
    await exec(world.database, 'UPDATE account SET balance = 99');
    const left = await readFile(`${world.database}-wal`);
    await open.close();
    expect(left.length).toBeGreaterThan(wal.length);
    for (const suffix of ['', '-wal', '-shm']) await rm(world.database + suffix, { force: true });
    await writeFile(`${world.database}-wal`, left);
    const restore = await world.restore({ backupId: row.id, restoreMedia: false });
    expect(restore).toMatchObject({ status: 'COMPLETED', safetyBackupId: null });
    expect(await contentHash(world.database)).toBe(before);
    await expect(world.app.restores.createUndo(restore.id, 'boss')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('restores rights and times of media files, and folders and links that stand in the way', async () => {
    const file = join(world.media, 'uploads', 'a photo.txt');
    await chmod(file, 0o640);
    await utimes(file, new Date('2020-02-02T02:02:02Z'), new Date('2020-02-02T02:02:02Z'));
    const row = await world.backup();
    const before = await readTree(world.media);
    await rm(join(world.media, 'images'), { recursive: true });
    await writeFile(join(world.media, 'images'), 'now a file');
    await rm(file);
    await mkdir(join(file, 'deep'), { recursive: true });
    await rm(join(world.media, 'empty.txt'));
    await symlink('/etc/hostname', join(world.media, 'empty.txt'));
    const restore = await world.restore({ backupId: row.id, restoreDatabase: false });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readTree(world.media)).toEqual(before);
    expect((await stat(file)).mode & 0o777).toBe(0o640);
    expect((await stat(file)).mtime).toEqual(new Date('2020-02-02T02:02:02Z'));
    expect((await lstat(join(world.media, 'empty.txt'))).isSymbolicLink()).toBe(false);
    expect(await readFile('/etc/hostname', 'utf8')).not.toBe('');
  });
});

describe('A refused restore changes nothing and says what to do', () => {
  const refused = async (request: Parameters<World['restore']>[0], error: object) => {
    const before = { hash: await contentHash(world.database), media: await readTree(world.media) };
    await expect(world.app.restores.create({ confirm: true, ...request }, 'test')).rejects.toMatchObject(error);
    expect(await contentHash(world.database)).toBe(before.hash);
    expect(await readTree(world.media)).toEqual(before.media);
    expect(await world.app.models.Restore.count()).toBe(0);
  };

  it('without confirmation', async () => {
    const row = await world.backup();
    await refused({ backupId: row.id, confirm: false }, { code: 'CONFIRMATION_REQUIRED', field: 'confirm' });
  });
  it('of a backup that is unknown, not completed or deleted', async () => {
    await refused({ backupId: 'backup_x' }, { code: 'NOT_FOUND' });
    const pending = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await refused({ backupId: pending.id }, { code: 'BACKUP_NOT_COMPLETED' });
    const row = await world.backup();
    await world.app.backups.remove([row.id], 'test');
    await refused({ backupId: row.id }, { code: 'BACKUP_DELETED' });
  });
  it('of unknown tables, with near names', async () => {
    const row = await world.backup();
    await refused(
      { backupId: row.id, tables: ['acount'] },
      { code: 'BAD_USER_INPUT', field: 'tables', message: expect.stringContaining('account') },
    );
    await refused({ backupId: row.id, tables: [] }, { code: 'BAD_USER_INPUT', field: 'tables' });
    await refused({ backupId: row.id, media: ['media/upload'] }, { code: 'BAD_USER_INPUT', field: 'media' });
  });
  it('into the control database or a database of another kind', async () => {
    const row = await world.backup();
    await refused(
      { backupId: row.id, targetDatabaseUrl: `sqlite:${join(world.folder, 'data', 'db-manager.sqlite3')}` },
      { code: 'DATABASE_IS_CONTROL' },
    );
    await refused({ backupId: row.id, targetDatabaseUrl: 'redis://x' }, { code: 'ENGINE_UNSUPPORTED' });
  });
  it('into another place that already holds something, unless overwrite is allowed', async () => {
    const row = await world.backup();
    const other = join(world.folder, 'other.sqlite3');
    await exec(other, 'CREATE TABLE t (a)');
    await refused(
      { backupId: row.id, targetDatabaseUrl: `sqlite:${other}` },
      { code: 'BAD_USER_INPUT', field: 'targetDatabaseUrl' },
    );
  });
  it('into a target that is not SQLite', async () => {
    const row = await world.backup();
    await exec(world.database, 'PRAGMA wal_checkpoint(TRUNCATE)');
    const junk = join(world.folder, 'junk');
    await writeFile(junk, 'not a database, but some text');
    await refused(
      { backupId: row.id, targetDatabaseUrl: `sqlite:${junk}`, overwrite: true },
      { code: 'DATABASE_WRONG_KIND' },
    );
    expect(await readFile(junk, 'utf8')).toBe('not a database, but some text');
  });
  it('while another run holds the database', async () => {
    const row = await world.backup();
    await world.app.models.leases.acquire(`database:SQLITE:${world.database}`, 'other', 60_000);
    await refused({ backupId: row.id }, { code: 'BUSY' });
  });

  it('while another restore of the database waits: pressing twice restores once', async () => {
    const row = await world.backup();
    const first = await world.app.restores.create({ backupId: row.id, confirm: true }, 'test');
    const again = world.app.restores.create({ backupId: row.id, confirm: true }, 'test');
    await expect(again).rejects.toMatchObject({ code: 'BUSY', message: expect.stringContaining(first.id) });
    await world.app.restores.cancel(first.id, 'test');
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED' });
  });
});

describe('A damaged archive is found before the target is touched', () => {
  it('wherever a byte is flipped', async () => {
    const row = await world.backup();
    await change(world);
    const before = { hash: await contentHash(world.database), media: await readTree(world.media) };
    const sound = await readFile(row.filePath);
    // Headers, data, descriptors, central directory, metadata and end record: positions all over the file.
    const step = Math.max(1, Math.floor(sound.length / 40));
    for (let at = 0; at < sound.length; at += step) {
      const bytes = Buffer.from(sound);
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      await writeFile(row.filePath, bytes);
      const outcome = await world
        .restore({ backupId: row.id })
        .then((restore) => restore.errorCode)
        .catch((error: AppError) => error.code);
      expect([at, outcome]).toEqual([at, expect.stringMatching(/^ARCHIVE_/)]);
    }
    await writeFile(row.filePath, sound.subarray(0, sound.length - 1));
    await expect(world.restore({ backupId: row.id })).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
    expect(await contentHash(world.database)).toBe(before.hash);
    expect(await readTree(world.media)).toEqual(before.media);
    expect(await world.app.models.Backup.count({ where: { backupType: 'SAFETY' } })).toBe(0);
  });
});

describe('A restore that fails half-way puts the old state back', () => {
  const failingEngine = (change: (real: ReturnType<Engines['of']>) => Partial<ReturnType<Engines['of']>>): Engines => {
    const real = createEngines();
    const wrap = (engine: ReturnType<Engines['of']>) => ({ ...engine, ...change(engine) });
    return { ...real, of: (kind) => wrap(real.of(kind)), forUrl: (url) => wrap(real.forUrl(url)) };
  };
  const failsWith = async (engines: Engines, code: string) => {
    const row = await world.backup();
    await change(world);
    const before = { hash: await contentHash(world.database), media: await readTree(world.media) };
    const other = await world.again({ engines });
    const restore = await other.restores.create({ backupId: row.id, confirm: true, mediaMode: 'MIRROR' }, 'test');
    await other.restores.run(restore.id, NEVER);
    expect(await restore.reload()).toMatchObject({ status: 'FAILED', errorCode: code });
    expect(await contentHash(world.database)).toBe(before.hash);
    expect(await readTree(world.media)).toEqual(before.media);
    expect(await filesIn(world.media)).toEqual(Object.keys(before.media).sort());
    return restore;
  };
  const injected = new AppError('DATABASE_FAILED', 'injected');

  it('when the extracted database is damaged', () =>
    failsWith(
      failingEngine(() => ({ describeDump: async () => Promise.reject(new AppError('DATABASE_CORRUPT', 'injected')) })),
      'DATABASE_CORRUPT',
    ));
  it('after a full check only of a database that no run here has checked before', async () => {
    const inspected: string[] = [];
    const engines = failingEngine((real) => ({
      inspect: async (...args) => {
        inspected.push(args[0]);
        return real.inspect(...args);
      },
    }));
    const own = await world.backup();
    const other = await world.again({ engines });
    const outcome = async (backupId: string) => {
      const restore = await other.restores.create({ backupId, confirm: true, allowForeign: true }, 'test');
      await other.restores.run(restore.id, NEVER);
      return (await restore.reload()).status;
    };
    expect(await outcome(own.id)).toBe('COMPLETED');
    expect(inspected).toEqual([]);
    await own.update({ backupType: 'UPLOADED' });
    expect(await outcome(own.id)).toBe('COMPLETED');
    expect(inspected).toHaveLength(1);
  });
  it('when the safety backup fails', () =>
    failsWith(
      failingEngine(() => ({ snapshot: async () => Promise.reject(injected) })),
      'DATABASE_FAILED',
    ));
  it('when the database does not let itself be loaded after the media were switched', async () => {
    const restore = await failsWith(
      failingEngine(() => ({ load: async () => Promise.reject(injected) })),
      'DATABASE_FAILED',
    );
    expect((await world.app.backups.get(restore.safetyBackupId ?? '')).status).toBe('COMPLETED');
  });
  it('but counts as done when the load reports an error after its switch took place', async () => {
    const row = await world.backup();
    const before = await contentHash(world.database);
    await change(world);
    const engines = failingEngine((real) => ({
      load: async (...args) => {
        await real.load(...args);
        throw injected;
      },
    }));
    const other = await world.again({ engines });
    const restore = await other.restores.create({ backupId: row.id, confirm: true }, 'test');
    await other.restores.run(restore.id, NEVER);
    expect(await restore.reload()).toMatchObject({ status: 'COMPLETED' });
    expect(await contentHash(world.database)).toBe(before);
  });
});

describe('Selected tables', () => {
  it('come back with schema, rows, indexes, triggers and counters, and nothing else changes', async () => {
    await exec(
      world.database,
      `${setup} CREATE TABLE numbered (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, up TEXT GENERATED ALWAYS AS (upper(v)) STORED);
       CREATE UNIQUE INDEX numbered_v ON numbered (v);
       CREATE TABLE fired (n);
       CREATE TRIGGER numbered_ai AFTER INSERT ON numbered BEGIN INSERT INTO fired VALUES (new.id); END;
       INSERT INTO numbered (v) VALUES ('a'), ('b');
       CREATE TABLE keyless (v); INSERT INTO keyless (rowid, v) VALUES (5, 'five'), (9, 'nine');
       CREATE TABLE wr (k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO wr VALUES ('x', 1);`,
    );
    const tables = ['numbered', 'keyless', 'wr'];
    const objects = [...tables, 'numbered_v', 'numbered_ai'];
    const row = await world.backup();
    const chosen = await contentHash(world.database, objects);
    const rowids = await all(world.database, 'SELECT rowid AS r, v FROM keyless ORDER BY 1');
    await exec(
      world.database,
      `DROP TABLE numbered; CREATE TABLE numbered (other); DELETE FROM keyless; DROP TABLE wr; DELETE FROM fired; UPDATE head SET k = 77;`,
    );
    const rest = await contentHash(world.database, ['account', 'entry', 'head', 'fired']);
    const restore = await world.restore({ backupId: row.id, tables });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null, restoreMedia: false });
    expect(await contentHash(world.database, objects)).toBe(chosen);
    expect(await all(world.database, 'SELECT rowid AS r, v FROM keyless ORDER BY 1')).toEqual(rowids);
    expect(await all(world.database, `SELECT seq FROM sqlite_sequence WHERE name = 'numbered'`)).toEqual([{ seq: 2 }]);
    expect(await contentHash(world.database, ['account', 'entry', 'head', 'fired'])).toBe(rest);
    const undo = await world.app.restores.createUndo(restore.id, 'boss');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED' });
    expect(await all(world.database, `SELECT name FROM sqlite_schema WHERE name = 'wr'`)).toEqual([]);
    expect(await all(world.database, `SELECT name FROM pragma_table_info('numbered')`)).toEqual([{ name: 'other' }]);
  });

  it('that would break foreign keys are refused before the commit, unless related ones come too', async () => {
    await exec(world.database, setup);
    const row = await world.backup();
    await exec(world.database, 'DELETE FROM entry; DELETE FROM account;');
    const before = await contentHash(world.database);
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: false, tables: ['entry'] });
    expect(plan.related).toEqual([{ table: 'account', relation: 'NEEDED', rowCount: 50 }]);
    const broken = { code: 'DATABASE_FAILED', message: expect.stringContaining('entry → account') };
    expect(plan).toMatchObject({ allowed: false, refusals: [broken] });
    await expect(world.restore({ backupId: row.id, tables: ['entry'] })).rejects.toMatchObject(broken);
    expect(await contentHash(world.database)).toBe(before);
    expect(await world.restore({ backupId: row.id, tables: ['entry'], includeRelated: true })).toMatchObject({
      status: 'COMPLETED',
    });
    expect(await all(world.database, 'SELECT count(*) AS n FROM account')).toEqual([{ n: 50 }]);
  });

  it('of a full-text index come back with all that it consists of, and an undo takes them back', async () => {
    await exec(world.database, `CREATE VIRTUAL TABLE words USING fts5 (text); INSERT INTO words VALUES ('hello');`);
    const row = await world.backup();
    await exec(world.database, `DELETE FROM words; INSERT INTO words VALUES ('other');`);
    const before = await contentHash(world.database);
    const restore = await world.restore({ backupId: row.id, tables: ['words'] });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    const found = (word: string) => all(world.database, `SELECT count(*) AS n FROM words WHERE words MATCH '${word}'`);
    expect([await found('hello'), await found('other')]).toEqual([[{ n: 1 }], [{ n: 0 }]]);
    const undo = await world.app.restores.createUndo(restore.id, 'boss');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await contentHash(world.database)).toBe(before);
  });
});

describe('Selected media', () => {
  it('come back alone, and undo takes them away again', async () => {
    const row = await world.backup();
    await change(world);
    const before = { hash: await contentHash(world.database), media: await readTree(world.media) };
    const restore = await world.restore({ backupId: row.id, media: ['media/images'] });
    expect(restore).toMatchObject({ status: 'COMPLETED', restoreDatabase: false });
    expect(await readTree(world.media)).toEqual({ ...before.media, 'images/ünï.txt': 'second' });
    expect(await contentHash(world.database)).toBe(before.hash);
    const undo = await world.app.restores.createUndo(restore.id, 'boss');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readTree(world.media)).toEqual(before.media);
  });
});

describe('A restore to another place', () => {
  it('makes a new file there and never touches the live database and media', async () => {
    const row = await world.backup();
    const wanted = await contentHash(world.database);
    await change(world);
    const live = { hash: await contentHash(world.database), media: await readTree(world.media) };
    const target = join(world.folder, 'elsewhere', 'copy.sqlite3');
    await mkdir(join(world.folder, 'elsewhere'));
    const restore = await world.restore({
      backupId: row.id,
      targetDatabaseUrl: `sqlite:${target}`,
      targetMediaPath: join(world.folder, 'elsewhere', 'media'),
    });
    expect(restore).toMatchObject({ status: 'COMPLETED', safetyBackupId: null });
    expect(await contentHash(target)).toBe(wanted);
    expect(await readTree(join(world.folder, 'elsewhere', 'media'))).toMatchObject({ 'uploads/a photo.txt': 'first' });
    expect(await contentHash(world.database)).toBe(live.hash);
    expect(await readTree(world.media)).toEqual(live.media);
  });

  it('that holds something is possible with overwrite, after a safety backup of that place', async () => {
    const row = await world.backup();
    const target = join(world.folder, 'other.sqlite3');
    await exec(target, 'CREATE TABLE t (a); INSERT INTO t VALUES (1)');
    const restore = await world.restore({ backupId: row.id, targetDatabaseUrl: `sqlite:${target}`, overwrite: true });
    expect(restore).toMatchObject({ status: 'COMPLETED' });
    const safety = await world.app.backups.get(restore.safetyBackupId ?? '');
    const out = join(world.folder, 'out');
    await unpack(safety.filePath, out);
    expect(await all(join(out, 'database.sqlite3'), 'SELECT a FROM t')).toEqual([{ a: 1 }]);
    expect(await contentHash(target)).toBe(await contentHash(world.database));
  });
});

describe('What lies in the media folder besides media', () => {
  it('survives a restore and its undo: archives, links, and what a person put there', async () => {
    await world.app.configs.update(1, { storageType: 'SYSTEM', storagePath: join(world.media, 'archives') }, 'test');
    await symlink('uploads', join(world.media, 'current'));
    const row = await world.backup();
    await writeTree(world.media, { 'uploads/a photo.txt': 'changed' });
    const restore = await world.restore({ backupId: row.id, mediaMode: 'MIRROR' });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    const undo = await world.app.restores.createUndo(restore.id, 'boss');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    const completed = await world.app.models.Backup.findAll({ where: { status: 'COMPLETED' } });
    expect(completed).toHaveLength(3);
    for (const { filePath } of completed) expect((await lstat(filePath)).isFile()).toBe(true);
    expect((await lstat(join(world.media, 'current'))).isSymbolicLink()).toBe(true);
  });

  it.each([
    ['the media folder itself', '.'],
    ['a folder above it', '..'],
    ['a folder of its photos', 'uploads'],
  ])('is media, but for the archives, where a backup was once stored in %s', async (_title, place) => {
    const other = await world.app.backups.create(
      { backupType: 'MANUAL', storageType: 'SYSTEM', customPath: join(world.media, place) },
      'test',
    );
    await world.app.backups.run(other.id, NEVER);
    expect((await other.reload()).status).toBe('COMPLETED');
    const before = await readTree(world.media);
    const row = await world.backup();
    expect(row.mediaFileCount).toBe(3);
    await rm(join(world.media, 'uploads', 'a photo.txt'));
    await writeTree(world.media, { 'images/ünï.txt': 'changed', 'uploads/later.txt': 'later' });
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: true, mediaMode: 'MIRROR' });
    expect(plan).toMatchObject({ media: { add: 1, replace: 1, unchanged: 1, remove: 1 }, warnings: [] });
    const restore = await world.restore({ backupId: row.id, mediaMode: 'MIRROR' });
    expect(restore).toMatchObject({ status: 'COMPLETED', warnings: [] });
    expect(await readTree(world.media)).toEqual(before);
    expect((await lstat(other.filePath)).isFile()).toBe(true);
  });

  it("comes back where it lies below db-manager's own folder, as the sample's does", async () => {
    const media = join(world.folder, 'data', 'sample', 'media');
    await writeTree(media, { 'photo.txt': 'first' });
    await world.app.configs.update(1, { mediaPaths: [media] }, 'test');
    const row = await world.backup();
    await writeTree(media, { 'photo.txt': 'changed' });
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', warnings: [] });
    expect(await readTree(media)).toEqual({ 'photo.txt': 'first' });
  });

  it("is refused as a whole where it is db-manager's own folder", async () => {
    const row = await world.backup();
    const own = join(world.folder, 'data');
    const elsewhere = { targetDatabaseUrl: `sqlite:${join(world.folder, 'new.sqlite3')}`, targetMediaPath: own };
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: true, ...elsewhere });
    expect(plan).toMatchObject({ allowed: false, refusals: [{ code: 'PATH_NOT_ALLOWED' }] });
    await world.app.configs.update(1, { mediaPaths: [own] }, 'test');
    expect(await world.backup()).toMatchObject({ status: 'FAILED', errorCode: 'PATH_NOT_ALLOWED' });
  });

  it('is refused by plan and restore where it cannot be written because something is protected', async () => {
    const old = 'archives/other_backup_20250101_000000.zip';
    await writeTree(world.media, { [old]: 'a file like any other' });
    const row = await world.backup();
    expect(row.mediaFileCount).toBe(4);
    await world.app.configs.update(1, { storageType: 'SYSTEM', storagePath: join(world.media, 'archives') }, 'test');
    await writeTree(world.media, { [old]: 'an archive' });
    const warnings = [expect.stringContaining(old)];
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: true });
    expect(plan).toMatchObject({ media: { add: 0, replace: 0, unchanged: 3 }, warnings });
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', warnings });
    expect(await readTree(world.media)).toMatchObject({ [old]: 'an archive' });
  });

  it("never holds a config's live database, wherever the media of a backup come from or go to", async () => {
    const app = join(world.folder, 'app');
    const other = join(app, 'analytics.sqlite3');
    await exec(other, 'CREATE TABLE t (a); INSERT INTO t VALUES (1)');
    await world.app.configs.create({ name: 'Analytics', databaseUrl: `sqlite:${other}` }, 'test');
    await world.app.configs.update(1, { mediaPaths: [app] }, 'test');
    const row = await world.backup();
    const out = join(world.folder, 'out');
    await unpack(row.filePath, out);
    expect(await filesIn(join(out, 'media'))).toEqual(
      await filesIn(world.media).then((all) => all.map((n) => `media/${n}`)),
    );
    await exec(other, 'INSERT INTO t VALUES (2)');
    const place = { targetDatabaseUrl: `sqlite:${join(world.folder, 'x.sqlite3')}`, targetMediaPath: app };
    expect(await world.restore({ backupId: row.id, ...place, mediaMode: 'MIRROR' })).toMatchObject({
      status: 'COMPLETED',
      warnings: [],
    });
    expect(await all(other, 'SELECT count(*) AS n FROM t')).toEqual([{ n: 2 }]);
    expect((await lstat(world.database)).isFile()).toBe(true);
  });

  it("never holds db-manager's own records, also where they lie among the media", async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-')));
    const control = join(folder, 'control.sqlite3');
    const own = await createWorld({ env: { CONTROL_DATABASE_URL: `sqlite:${control}` } });
    await writeTree(folder, { 'photo.txt': 'mine' });
    await own.app.configs.update(1, { mediaPaths: [folder] }, 'test');
    const row = await own.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', mediaFileCount: 1 });
    expect(await own.restore({ backupId: row.id, mediaMode: 'MIRROR' })).toMatchObject({ status: 'COMPLETED' });
    expect(await own.app.models.Restore.count()).toBe(1);
    await own.close();
    await rm(folder, { recursive: true });
  });

  it('is planned alone with the database in its place', async () => {
    const row = await world.backup();
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: true, restoreDatabase: false });
    expect(plan.targetExists).toBe(true);
    for (const suffix of ['', '-wal', '-shm']) await rm(world.database + suffix, { force: true });
    const without = await world.app.restores.plan({ backupId: row.id, confirm: true, restoreDatabase: false });
    expect(without.targetExists).toBe(false);
  });

  it('is never the place that an archive can write db-manager itself through', async () => {
    await world.app.configs.update(1, { mediaPaths: [world.folder] }, 'test');
    await writeTree(world.folder, { 'notes.txt': 'mine' });
    const row = await world.backup();
    const secret = await readFile(join(world.folder, 'data', 'jwt-secret'), 'utf8');
    const restore = await world.restore({ backupId: row.id, restoreDatabase: false, mediaMode: 'MIRROR' });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readFile(join(world.folder, 'data', 'jwt-secret'), 'utf8')).toBe(secret);
    expect((await lstat(world.database)).isFile()).toBe(true);
  });
});

describe('An undo', () => {
  it('takes the media away again that a restore put where there was no folder before', async () => {
    const row = await world.backup();
    await rm(world.media, { recursive: true });
    await change(world).catch(() => undefined);
    await rm(world.media, { recursive: true, force: true });
    const before = await contentHash(world.database);
    const restore = await world.restore({ backupId: row.id });
    expect(Object.keys(await readTree(world.media))).toHaveLength(3);
    const undo = await world.app.restores.createUndo(restore.id, 'boss');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readTree(world.media)).toEqual({});
    expect(await contentHash(world.database)).toBe(before);
  });

  it.each([
    ['all folders', ['media']],
    ['a folder', ['media/uploads/']],
    ['a file', ['media/images/i.txt']],
  ])('of chosen media brings %s back as it was', async (_title, media) => {
    const [uploads, images] = [join(world.folder, 'o', 'uploads'), join(world.folder, 'o', 'images')];
    await writeTree(uploads, { 'u.txt': 'upload' });
    await writeTree(images, { 'i.txt': 'image' });
    await world.app.configs.update(1, { mediaPaths: [uploads, images] }, 'test');
    const row = await world.backup();
    await writeTree(uploads, { 'u.txt': 'changed' });
    await rm(images, { recursive: true });
    const before = await readTree(join(world.folder, 'o'));
    const restore = await world.restore({ backupId: row.id, media });
    expect(await readTree(join(world.folder, 'o'))).not.toEqual(before);
    const undo = await world.app.restores.createUndo(restore.id, 'boss');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readTree(join(world.folder, 'o'))).toEqual(before);
  });

  it('says that a database which the restore made stays', async () => {
    const row = await world.backup();
    for (const suffix of ['', '-wal', '-shm']) await rm(world.database + suffix, { force: true });
    await writeTree(world.media, { 'uploads/a photo.txt': 'changed' });
    const restore = await world.restore({ backupId: row.id });
    const undo = await world.app.restores.createUndo(restore.id, 'boss');
    await world.app.restores.run(undo.id, NEVER);
    const warnings = [expect.stringContaining('there was no database: the one that it made stays')];
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', warnings });
    expect(await readTree(world.media)).toMatchObject({ 'uploads/a photo.txt': 'changed' });
    expect((await lstat(world.database)).isFile()).toBe(true);
  });

  it('that could bring nothing back is refused', async () => {
    const row = await world.backup();
    for (const suffix of ['', '-wal', '-shm']) await rm(world.database + suffix, { force: true });
    const restore = await world.restore({ backupId: row.id, restoreMedia: false });
    await expect(world.app.restores.createUndo(restore.id, 'boss')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('of a restore that was cancelled at the last moment finds it recorded as what it is', async () => {
    const row = await world.backup();
    await change(world);
    const engines = createEngines();
    const other = await world.again({
      engines: {
        ...engines,
        of: (kind) => ({
          ...engines.of(kind),
          load: async (...args) => {
            const warnings = await engines.of(kind).load(...args);
            stop.abort(new AppError('CANCELLED', 'too late'));
            return warnings;
          },
        }),
        forUrl: (url) => engines.forUrl(url),
      },
    });
    const stop = new AbortController();
    const restore = await other.restores.create({ backupId: row.id, confirm: true }, 'test');
    await other.restores.run(restore.id, stop.signal);
    expect(await restore.reload()).toMatchObject({ status: 'COMPLETED' });
  });
});

describe('Media folders of a config that were moved', () => {
  it('are found again by their names, whatever their order', async () => {
    const [uploads, images] = [join(world.folder, 'o', 'uploads'), join(world.folder, 'o', 'images')];
    await writeTree(uploads, { 'u.txt': 'upload' });
    await writeTree(images, { 'i.txt': 'image' });
    await world.app.configs.update(1, { mediaPaths: [uploads, images] }, 'test');
    const row = await world.backup();
    const moved = [join(world.folder, 'n', 'images'), join(world.folder, 'n', 'uploads')];
    await world.app.configs.update(1, { mediaPaths: moved }, 'test');
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readTree(moved[0] ?? '')).toEqual({ 'i.txt': 'image' });
    expect(await readTree(moved[1] ?? '')).toEqual({ 'u.txt': 'upload' });
    await world.app.configs.update(1, { mediaPaths: [join(world.folder, 'x'), join(world.folder, 'y')] }, 'test');
    await expect(world.restore({ backupId: row.id })).rejects.toMatchObject({ field: 'restoreMedia' });
  });

  it('are distinguished from others of the same name by the folders above, never guessed', async () => {
    const [a, b] = [join(world.folder, 'o', 'a', 'media'), join(world.folder, 'o', 'b', 'media')];
    await writeTree(a, { 'a.txt': 'of a' });
    await writeTree(b, { 'b.txt': 'of b' });
    await world.app.configs.update(1, { mediaPaths: [a, b] }, 'test');
    const row = await world.backup();
    const moved = [join(world.folder, 'n', 'b', 'media'), join(world.folder, 'n', 'a', 'media')];
    await world.app.configs.update(1, { mediaPaths: moved }, 'test');
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readTree(moved[0] ?? '')).toEqual({ 'b.txt': 'of b' });
    expect(await readTree(moved[1] ?? '')).toEqual({ 'a.txt': 'of a' });
    const alike = [join(world.folder, 'x', 'media'), join(world.folder, 'y', 'media')];
    await world.app.configs.update(1, { mediaPaths: alike }, 'test');
    await expect(world.restore({ backupId: row.id })).rejects.toMatchObject({ field: 'restoreMedia' });
    expect([await filesIn(alike[0] ?? ''), await filesIn(alike[1] ?? '')]).toEqual([[], []]);
  });
});

describe('A database behind a link', () => {
  let link: string;
  let real: string;
  beforeEach(async () => {
    [link, real] = [join(world.folder, 'current.sqlite3'), join(world.folder, 'disk', 'db.sqlite3')];
    await mkdir(join(world.folder, 'disk'));
    await exec(real, 'PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)');
    await symlink('disk/db.sqlite3', link);
    await world.app.configs.update(1, { databaseUrl: `sqlite:${link}` }, 'test');
  });

  it('comes back with its media when the file that the link leads to is lost', async () => {
    const row = await world.backup();
    await rm(join(world.folder, 'disk'), { recursive: true });
    await mkdir(join(world.folder, 'disk'));
    await writeTree(world.media, { 'uploads/a photo.txt': 'changed' });
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED', restoreMedia: true });
    expect(await all(real, 'SELECT a FROM t')).toEqual([{ a: 1 }]);
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
    expect(await readTree(world.media)).toMatchObject({ 'uploads/a photo.txt': 'first' });
  });

  it("is the config's own also when the link leads to another disk by now, and is held there", async () => {
    const row = await world.backup();
    const moved = join(world.folder, 'other', 'db.sqlite3');
    await mkdir(join(world.folder, 'other'));
    await exec(moved, 'CREATE TABLE t (a); INSERT INTO t VALUES (2)');
    await rm(link);
    await symlink(moved, link);
    expect(await world.app.restores.plan({ backupId: row.id, confirm: true })).toMatchObject({ allowed: true });
    await world.app.models.leases.acquire(`database:SQLITE:${moved}`, 'other', 60_000);
    const next = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    expect(await world.app.backups.run(next.id, NEVER)).toBe('busy');
  });
});

describe('A restore whose process died', () => {
  /** A restore that has switched its media and then hangs before the database. */
  async function hanging(backupId: string) {
    const engines = createEngines();
    let hangs = () => {};
    const reached = new Promise<void>((resolve) => (hangs = resolve));
    const load: ReturnType<Engines['of']>['load'] = (_folder, _url, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
        hangs();
      });
    const other = await world.again({
      engines: { ...engines, of: (kind) => ({ ...engines.of(kind), load }) },
    });
    const death = new AbortController();
    const restore = await other.restores.create({ backupId, confirm: true, mediaMode: 'MIRROR' }, 'test');
    const run = other.restores.run(restore.id, death.signal);
    await reached;
    return { restore, die: () => (death.abort(new AppError('INTERRUPTED', 'the end')), run) };
  }

  it('keeps every other run off its database until recovery has decided what it did', async () => {
    const row = await world.backup();
    await change(world);
    const before = await readTree(world.media);
    const { restore, die } = await hanging(row.id);
    await world.app.models.sequelize.query('DELETE FROM leases');
    const second = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    expect(await world.app.backups.run(second.id, NEVER)).toBe('busy');
    await world.app.restores.recover();
    expect(await restore.reload()).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    // Undone a second time, as two recoveries or a killed one would: still the old state.
    await MediaSwap.finish(world.media, restore.id, 'undo');
    expect(await readTree(world.media)).toEqual(before);
    expect(await world.app.backups.run(second.id, NEVER)).toBe('done');
    await die();
    expect(await readTree(world.media)).toEqual(before);
    expect(await restore.reload()).toMatchObject({ status: 'FAILED' });
  });

  it('puts the old files back also when an earlier attempt to do so was itself cut off', async () => {
    const row = await world.backup();
    await change(world);
    const before = await readTree(world.media);
    const { restore, die } = await hanging(row.id);
    const staging = join(world.media, `.db-manager-${restore.id}`);
    // As the first attempt left it: one file is back, the rest is not.
    await rename(join(staging, 'old', 'uploads', 'a photo.txt'), join(world.media, 'uploads', 'a photo.txt'));
    await world.app.models.sequelize.query('DELETE FROM leases');
    await world.app.restores.recover();
    expect(await readTree(world.media)).toEqual(before);
    await die();
  });

  it('after the switch is recorded as what it is: in force', async () => {
    const row = await world.backup();
    const wanted = await contentHash(world.database);
    await change(world);
    const restore = await world.restore({ backupId: row.id });
    expect(restore.changes.settled).toBe(true);
    await restore.update({ status: 'RUNNING', leaseHolder: 'dead', completedAt: null });
    await world.app.restores.recover();
    expect(await restore.reload()).toMatchObject({ status: 'COMPLETED' });
    expect(await contentHash(world.database)).toBe(wanted);
  });
});

describe('A restore that waits', () => {
  const wanted = async (actor: string, age = 60_000) => {
    const { id: backupId } = await world.backup();
    const row = await world.app.restores.create({ backupId, confirm: true }, actor);
    // Each of another database: only one restore of a database may wait.
    return row.update({ createdAt: new Date(Date.now() - age), targetKey: row.id });
  };

  it('is handed to the queue again, but for one that a command made and does itself', async () => {
    const queue = await world.app.connectQueue();
    const added = jest.spyOn(queue, 'add').mockResolvedValue(undefined);
    const [asked] = [await wanted('admin@example.org'), await wanted('cli:root')];
    const nobody = await wanted('x');
    await nobody.update({ createdBy: null });
    await world.app.restores.requeue();
    const ids = added.mock.calls.map(([job]) => (job as { restoreId?: string }).restoreId).sort();
    expect(ids).toEqual([asked.id, nobody.id].sort());
  });

  it('never begins once the command that made it is gone: it is ended as soon as that is certain', async () => {
    const { models, log, restores } = world.app;
    const [gone, fresh, held, asked] = [
      await wanted('cli:root'),
      await wanted('cli:root', 0),
      await wanted('cli:root'),
      await wanted('admin@example.org'),
    ];
    const status = async () =>
      Promise.all([gone, fresh, held, asked].map(async ({ id }) => (await restores.get(id)).status));
    const env = { models, log, leaseMs: 60_000 };
    const waiting = await Hold.take(env, [waitLease(held.id)]);
    await restores.recover();
    expect(await status()).toEqual(['FAILED', 'PENDING', 'PENDING', 'PENDING']);
    expect(await gone.reload()).toMatchObject({ errorCode: 'INTERRUPTED', errorHint: expect.stringMatching(/again/) });
    await restores.run(gone.id, NEVER);
    expect(await models.Backup.count({ where: { backupType: 'SAFETY' } })).toBe(0);
    await (waiting as Hold).release();
    await restores.recover();
    expect(await status()).toEqual(['FAILED', 'PENDING', 'FAILED', 'PENDING']);
  });
});

describe('A safety backup that a person has pinned', () => {
  it('stays, while one that no one pinned is deleted after its time', async () => {
    const row = await world.backup();
    const one = await world.restore({ backupId: row.id });
    const two = await world.restore({ backupId: row.id });
    await world.app.backups.pin(two.safetyBackupId ?? '', true, 'boss');
    const old = new Date(Date.now() - 30 * 86_400_000);
    await world.app.models.Backup.update({ createdAt: old }, { where: { backupType: 'SAFETY' } });
    await world.app.cleanup.run(1, 'system');
    await world.app.cleanup.run(1, 'system');
    expect((await world.app.backups.get(one.safetyBackupId ?? '')).status).toBe('DELETED');
    expect(await world.app.backups.get(two.safetyBackupId ?? '')).toMatchObject({ status: 'COMPLETED', pinned: true });
  });
});

/** A connection that holds a read (or write) transaction open. */
async function openReader(file: string, sql: string, begin = 'BEGIN') {
  const db = await new Promise<sqlite3.Database>((resolve, reject) => {
    const opened = new sqlite3.Database(file, (error) => (error ? reject(error) : resolve(opened)));
  });
  const run = (text: string) =>
    new Promise<unknown[]>((resolve, reject) => db.all(text, (error, rows) => (error ? reject(error) : resolve(rows))));
  await run(begin);
  await run(sql);
  return {
    read: () => run(sql),
    async close() {
      await run('COMMIT');
      await new Promise((resolve) => db.close(resolve));
    },
  };
}

/** Reads the ledger over and over in transactions, and collects everything that is not one committed state. */
function readAllTheTime(file: string) {
  let stopped = false;
  const problems: string[] = [];
  const reading = (async () => {
    while (!stopped) {
      const reader = await openReader(file, 'SELECT 1');
      await reader.close().catch((error: Error) => problems.push(error.message));
      const [sums] = await all<{ balance: number; k: number; newest: number }>(
        file,
        'SELECT (SELECT sum(balance) FROM account) AS balance, (SELECT k FROM head) AS k, (SELECT coalesce(max(id), 0) FROM entry) AS newest',
      ).catch((error: Error) => {
        problems.push(error.message);
        return [];
      });
      if (sums !== undefined && sums.k !== sums.newest) problems.push(`head ${sums.k}, newest entry ${sums.newest}`);
    }
  })();
  return {
    async stop() {
      stopped = true;
      await reading;
      return problems;
    },
  };
}

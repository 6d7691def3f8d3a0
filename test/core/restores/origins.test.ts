import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { metadataEntry, type RawEntry, rawZip } from '../../support/archives.js';
import { createTestApp, type TestApp } from '../../support/app.js';
import { send } from '../../support/operations.js';
import { all, contentHash, exec } from '../../support/sqlite.js';
import { NEVER } from '../../support/world.js';

let world: TestApp;
beforeEach(async () => {
  world = await createTestApp({ work: false });
});
afterEach(() => world.close());

const upload = (bytes: Buffer, configId?: number, name = 'x.zip') =>
  world.app.backups.upload(Readable.from([bytes]), name, configId, 'boss', NEVER);

const TABLES = ['client', 'invoice', 'item', 'article'];

/** Another application beside the first, with a config and a backup of its own. */
async function anotherApplication() {
  const database = `${world.folder}/shop.sqlite3`;
  await exec(database, TABLES.map((name) => `CREATE TABLE ${name} (id INTEGER PRIMARY KEY);`).join(' '));
  const config = await world.app.configs.create({ name: 'The Shop!', databaseUrl: `sqlite:${database}` }, 'test');
  const row = await world.app.backups.create({ backupType: 'MANUAL', configId: config.id }, 'test');
  await world.app.backups.run(row.id, NEVER);
  await row.reload();
  return { database, config, row, bytes: await readFile(row.filePath) };
}

/** An archive by hand: a real database of one table, and what the metadata says of it. */
async function archive(metadata: object, more: RawEntry[] = []): Promise<Buffer> {
  const path = `${world.folder}/made-${Math.random()}.sqlite3`;
  await exec(path, 'CREATE TABLE thing (id INTEGER PRIMARY KEY); INSERT INTO thing VALUES (1)');
  const entries = [{ name: 'database.sqlite3', data: await readFile(path) }, ...more];
  return rawZip([...entries, metadataEntry(entries, { tables: [{ name: 'thing', row_count: 1 }], ...metadata })]);
}

describe('An archive', () => {
  it('says whose it is, and its name begins with the prefix of its config', async () => {
    const { config, row, database } = await anotherApplication();
    expect(row.fileName).toMatch(/^the-shop_backup_/);
    expect(row.applicationId).toBe(config.applicationId);
    expect(row.origin).toMatchObject({ config: 'The Shop!', database: `sqlite:${database}`, mediaPaths: [] });
    const uploaded = await upload(await readFile(row.filePath));
    expect(uploaded.origin).toEqual(row.origin);
  });

  it('of an application that has a config here is filed under that config, not under the first', async () => {
    const { config, bytes } = await anotherApplication();
    expect(await upload(bytes)).toMatchObject({ status: 'COMPLETED', configId: config.id });
  });

  it('of an application without a config here belongs to none, and restores to a new place only', async () => {
    const { config, row, bytes } = await anotherApplication();
    await world.app.backups.remove([row.id], 'test');
    await world.app.configs.remove(config.id, 'test');
    const stranger = await upload(bytes);
    expect(stranger).toMatchObject({ status: 'COMPLETED', configId: null, origin: { config: 'The Shop!' } });
    await expect(world.restore({ backupId: stranger.id })).rejects.toMatchObject({ field: 'targetDatabaseUrl' });
    const targetDatabaseUrl = `sqlite:${world.folder}/new.sqlite3`;
    expect(await world.restore({ backupId: stranger.id, targetDatabaseUrl })).toMatchObject({ status: 'COMPLETED' });
  });

  it('of another application replaces a config only on explicit request, naming its origin', async () => {
    const { bytes, database } = await anotherApplication();
    const stranger = await upload(bytes, 1);
    const before = await contentHash(world.database);
    const plan = await world.app.restores.plan({ backupId: stranger.id, confirm: false });
    expect(plan.allowed).toBe(false);
    expect(plan.refusals.map(({ code, field }) => [code, field])).toEqual([
      ['BACKUP_FOREIGN', 'allowForeign'],
      ['TABLES_DIFFER', 'allowForeign'],
    ]);
    expect(plan.refusals[0]?.message).toContain(`"The Shop!" (its database: "sqlite:${database}"`);
    expect(plan.refusals[0]?.message).toContain(`It would replace the data of "App" (sqlite:${world.database}).`);
    await expect(world.restore({ backupId: stranger.id })).rejects.toMatchObject({ code: 'BACKUP_FOREIGN' });
    expect(await contentHash(world.database)).toBe(before);
    const restore = await world.restore({ backupId: stranger.id, allowForeign: true });
    expect(restore.status).toBe('COMPLETED');
    expect(await contentHash(world.database)).toBe(await contentHash(database));
    const undo = await world.app.restores.createUndo(restore.id, 'test');
    await world.app.restores.run(undo.id, NEVER);
    expect(await contentHash(world.database)).toBe(before);
  });

  it('that names no application is of an unknown one', async () => {
    const row = await upload(await archive({}), 1);
    expect(row.applicationId).toBeNull();
    await expect(world.restore({ backupId: row.id })).rejects.toMatchObject({
      code: 'BACKUP_FOREIGN',
      message: expect.stringContaining('does not say which application it was made of'),
    });
  });

  it('of format 1.0 is filed under the config of the database at the path that it names', async () => {
    const metadata = {
      backup_version: '1.0',
      backup_date: '2025-01-02T03:04:05.678901',
      django_version: '5.2.1',
      database_engine: 'django.db.backends.sqlite3',
      database_name: world.database,
    };
    const entry = { name: 'backup_metadata.json', data: JSON.stringify(metadata) };
    const media = { name: 'media/a.txt', data: 'a' };
    expect((await upload(rawZip([media, entry]))).configId).toBe(1);
    const elsewhere = { name: entry.name, data: JSON.stringify({ ...metadata, database_name: '/srv/other.sqlite3' }) };
    expect((await upload(rawZip([media, elsewhere]))).configId).toBeNull();
  });

  it('that is uploaded is dated by its data; a date that cannot be is not believed', async () => {
    const old = await upload(await archive({ backup_date: '2024-02-29T23:59:59.123456Z' }));
    expect(old.createdAt.toISOString()).toBe('2024-02-29T23:59:59.123Z');
    for (const backup_date of ['2999-01-01T00:00:00Z', '0001-01-01T00:00:00Z', '2025-13-45T99:99:99Z']) {
      const row = await upload(await archive({ backup_date }));
      expect(Math.abs(row.createdAt.getTime() - Date.now())).toBeLessThan(60_000);
      expect(row.warnings.join()).toContain(`was made ${backup_date}, which cannot be`);
    }
  });

  it.each(['database.sqlite3-wal', 'database.sqlite3-shm', 'database.sqlite3-journal', 'Database.SQLite3-WAL'])(
    'that holds %s is refused: unpacked by hand it would change the database',
    async (name) => {
      await expect(upload(await archive({}, [{ name, data: 'x' }]))).rejects.toMatchObject({ code: 'ARCHIVE_HOSTILE' });
    },
  );

  it('with other entries is taken in, names them, and never restores them', async () => {
    const row = await upload(await archive({}, [{ name: 'notes/readme.txt', data: 'x' }]));
    expect(row.warnings.join()).toContain('neither database nor media and are never restored: "notes/readme.txt"');
  });

  it('whose metadata holds other row counts than its database is refused', async () => {
    const tables = [{ name: 'thing', row_count: 3_000_000_000 }];
    await expect(upload(await archive({ tables }))).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT', field: 'file' });
  });

  it('whose texts hold control characters shows none of them', async () => {
    const origin = {
      application_id: '01234567-89ab-cdef-0123-456789abcdef',
      config: 'a\u001b[2Jb',
      host: 'h\u0007',
      database: 'd\u009b',
    };
    const row = await upload(await archive({ origin, database_name: 'x\u001b]0;t\u0007.sqlite3' }));
    expect(row.origin).toMatchObject({ config: 'a\ufffd[2Jb', host: 'h\ufffd', database: 'd\ufffd' });
    expect(row.databaseName).toBe('x\ufffd]0;t\ufffd.sqlite3');
  });
});

describe('A backup', () => {
  it('can be filed under another config or none, where it stays foreign', async () => {
    const { config } = await anotherApplication();
    const row = await world.backup();
    const ask = 'mutation($id: ID!, $to: ID) { assignBackup(id: $id, configId: $to) { foreign config { name } } }';
    const to = async (id: string | null) => (await send(world, ask, { id: row.id, to: id })).data;
    expect(await to(String(config.id))).toEqual({ assignBackup: { foreign: true, config: { name: 'The Shop!' } } });
    expect(await to(null)).toEqual({ assignBackup: { foreign: false, config: null } });
    expect(await to('1')).toEqual({ assignBackup: { foreign: false, config: { name: 'App' } } });
    expect(await to('99')).toBeNull();
    expect(await world.app.models.AuditEvent.count({ where: { action: 'backup.assign' } })).toBe(3);
  });

  it('whose row holds what no output type can show is shown as near as can be, and fails no list', async () => {
    const row = await world.backup();
    await row.update({ tables: [{ name: 'big', rows: 3_000_000_000 }], mediaFileCount: 4_000_000_000 });
    await all(world.app.environment.controlDatabaseUrl.slice('sqlite:'.length), `UPDATE backups SET "fileSize" = -1`);
    const ask = '{ backups { totalCount nodes { id fileSize mediaFileCount tables { name rowCount } } } }';
    const { errors, data } = await send(world, ask, {});
    expect(errors).toEqual([]);
    expect(data).toMatchObject({
      backups: {
        nodes: [{ fileSize: 0, mediaFileCount: 2_147_483_647, tables: [{ name: 'big', rowCount: 2_147_483_647 }] }],
      },
    });
  });

  it('that was altered in its storage to hold a journal is not verified any more', async () => {
    const row = await world.backup();
    const bytes = await archive({}, [{ name: 'database.sqlite3-wal', data: 'x' }]);
    await writeFile(row.filePath, bytes);
    await row.update({ fileSize: bytes.length, checksum: createHash('sha256').update(bytes).digest('hex') });
    const after = await world.app.verifications.verify(row.id, 'ARCHIVE', 'boss', NEVER);
    expect(after).toMatchObject({ verifiedAt: null, errorCode: 'ARCHIVE_HOSTILE' });
  });

  it('of a safety copy of another place is not taken for one of the application', async () => {
    const { row } = await anotherApplication();
    const targetDatabaseUrl = `sqlite:${world.folder}/copy.sqlite3`;
    await exec(`${world.folder}/copy.sqlite3`, 'CREATE TABLE x (y)');
    const restore = await world.restore({ backupId: row.id, targetDatabaseUrl, overwrite: true });
    const safety = await world.app.backups.get(restore.safetyBackupId ?? '');
    expect(safety.applicationId).toBeNull();
    const own = await world.restore({ backupId: (await world.backup()).id });
    const config = await world.app.configs.get(1);
    expect((await world.app.backups.get(own.safetyBackupId ?? '')).applicationId).toBe(config.applicationId);
  });
});

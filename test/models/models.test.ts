import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LoginLimit } from '../../src/auth/login-limit.js';
import { verifyTrail } from '../../src/core/audit-trail.js';
import { Audit } from '../../src/core/audit.js';
import { createLog } from '../../src/log.js';
import { type Models, openModels } from '../../src/models/index.js';
import { startPostgres } from '../support/servers.js';
import { all, exec } from '../support/sqlite.js';

const folder = await mkdtemp(join(tmpdir(), 'models-'));
const postgres = await startPostgres();
let number = 0;

const dialects: [string, string | null, (() => Promise<string>) | null][] = [
  ['SQLite', null, async () => `sqlite:${join(folder, `control-${(number += 1)}.sqlite3`)}`],
  'missing' in postgres
    ? [`PostgreSQL (skipped: ${postgres.missing})`, postgres.missing, null]
    : ['PostgreSQL', null, async () => freshDatabase(postgres.url)],
];

/** A schema of its own for each test. */
async function freshDatabase(url: string): Promise<string> {
  const { Client } = (await import('pg')).default;
  const client = new Client({ connectionString: url });
  await client.connect();
  const name = `control_${(number += 1)}`;
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  const fresh = new URL(url);
  fresh.pathname = `/${name}`;
  return fresh.href;
}

afterAll(async () => {
  if (!('missing' in postgres)) await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

describe.each(dialects)('The control database on %s', (_title, missing, makeUrl) => {
  const itThere = missing === null ? it : it.skip;
  const opened: Models[] = [];
  const open = async (url: string) => {
    const models = await openModels(url);
    opened.push(models);
    return models;
  };
  let url = '';
  beforeAll(async () => {
    if (makeUrl) url = await makeUrl();
  });
  afterEach(async () => {
    for (const models of opened.splice(0)) await models.sequelize.close();
  });

  itThere('is made and migrated once by several processes that start together', async () => {
    const all = await Promise.all([open(url), open(url), open(url)]);
    for (const models of all) expect(await models.Backup.count()).toBe(0);
  });

  itThere('refuses to be opened by an older version than the one that wrote it', async () => {
    const fresh = (await makeUrl?.()) ?? '';
    const models = await open(fresh);
    await models.sequelize.query(`INSERT INTO db_manager_migrations (name) VALUES ('9999-future')`);
    await expect(openModels(fresh)).rejects.toMatchObject({
      code: 'CONTROL_DATABASE_FAILED',
      message: expect.stringContaining('9999-future'),
    });
  });

  itThere('gives a lease to one holder at a time, until it runs out', async () => {
    const { leases } = await open(url);
    expect(await leases.acquire('x', 'one', 60_000)).toBe(true);
    expect(await leases.acquire('x', 'one', 60_000)).toBe(true);
    expect(await leases.acquire('x', 'two', 60_000)).toBe(false);
    expect(await leases.renew('one', 300)).toBe(1);
    await new Promise((wake) => setTimeout(wake, 400));
    expect(await leases.holderOf('x')).toBeNull();
    expect(await leases.acquire('x', 'two', 60_000)).toBe(true);
    expect(await leases.renew('one', 60_000)).toBe(0);
    await leases.release('two');
    expect(await leases.acquire('x', 'three', 60_000)).toBe(true);
  });

  itThere('gives one of many that ask at the same time', async () => {
    const models = await Promise.all([open(url), open(url)]);
    const won = await Promise.all(
      Array.from({ length: 20 }, (_, index) => models[index % 2]!.leases.acquire('race', `holder-${index}`, 60_000)),
    );
    expect(won.filter(Boolean)).toHaveLength(1);
  });

  itThere('moves where archives lie from backups of an older version into copies', async () => {
    const url = (await makeUrl?.()) ?? '';
    const { sequelize } = await open(url);
    const run = (statement: string) => sequelize.query(statement);
    await run('DROP TABLE stored_objects');
    await run('DROP TABLE destinations');
    for (const column of ['filePath', 'storageType', 'storagePath']) {
      await run(`ALTER TABLE backups ADD COLUMN "${column}" VARCHAR(500)`);
    }
    await run('CREATE UNIQUE INDEX backups_file_path_reserved ON backups ("filePath")');
    for (const [id, status, folder] of [
      ['a', 'COMPLETED', '/b'],
      ['b', 'FAILED', '/b'],
      ['c', 'DELETED', '/c'],
    ]) {
      await run(`INSERT INTO backups (id, "backupType", mode, status, "createdAt", engine, "databaseName", "fileName",
          "storageType", "storagePath", "filePath", "fileSize", "verifiedAt")
        VALUES ('${id}', 'AUTO', 'FULL', '${status}', '2026-01-01 00:00:00.000 +00:00', 'SQLITE', 'db', '${id}.zip',
          'SYSTEM', '${folder}', '${folder}/${id}.zip', 7, '2026-01-02 00:00:00.000 +00:00')`);
    }
    for (const column of ['copyTo', 'minimumCopies']) await run(`ALTER TABLE backup_configs DROP COLUMN "${column}"`);
    const undone = `'0011-stored-objects', '0014-destinations', '0017-copies'`;
    await run(`DELETE FROM db_manager_migrations WHERE name IN (${undone})`);
    const { Backup, Destination } = await open(url);
    const rows = await Backup.findAll({ order: [['id', 'ASC']] });
    expect(rows.map(({ id, filePath, copy }) => [id, filePath, copy.name, copy.status, copy.size])).toEqual([
      ['a', '/b/a.zip', 'a.zip', 'COMPLETED', 7],
      ['b', '/b/b.zip', 'b.zip', 'FAILED', 7],
      ['c', '/c/c.zip', 'c.zip', 'DELETED', 7],
    ]);
    expect(rows[0]?.copy.verifiedAt).toEqual(new Date('2026-01-02T00:00:00Z'));
    expect(rows[1]?.address).toEqual({ storageType: 'SYSTEM', storagePath: '/b' });
    expect(await Destination.count()).toBe(2);
  });

  itThere('links the audit events of an older version, however many there are', async () => {
    const url = (await makeUrl?.()) ?? '';
    const { sequelize, AuditEvent } = await open(url);
    await AuditEvent.bulkCreate(
      Array.from({ length: 1_203 }, (_, number) => ({
        at: new Date(Date.UTC(2026, 0, 1) + number),
        actor: 'a@example.org',
        action: 'backup.create',
        subject: number % 2 === 0 ? null : String(number),
        details: { number, 'ä "b"': [null, 1.5] },
      })),
    );
    await sequelize.query('DROP INDEX audit_events_previous_hash');
    for (const column of ['previousHash', 'hash']) {
      await sequelize.query(`ALTER TABLE audit_events DROP COLUMN "${column}"`);
    }
    await sequelize.query(`DELETE FROM db_manager_migrations WHERE name = '0020-audit-chain'`);
    const models = await open(url);
    expect(await verifyTrail(models, new AbortController().signal)).toMatchObject({ events: 1_203, breaks: [] });
    await new Audit(models, () => new Date(), createLog('silent')).record('b', 'test.event', null, { late: true });
    expect(await verifyTrail(models, new AbortController().signal)).toMatchObject({ events: 1_204, breaks: [] });
  });

  itThere('counts logins that fail at the same time in several processes as one', async () => {
    const limits = (await Promise.all([open(url), open(url)])).map(({ sequelize }) => new LoginLimit(sequelize));
    const tries = await Promise.allSettled(
      Array.from({ length: 14 }, (_, i) => limits[i % 2]?.begin('a@example.org', `address ${i}`)),
    );
    expect(tries.filter(({ status }) => status === 'rejected')).toHaveLength(4);
  });

  itThere('reserves a location for one copy that is not given up', async () => {
    const { Destination, StoredObject } = await open(url);
    const destination = await Destination.create({ storageType: 'LOCAL', storagePath: '/b' });
    const values = { destinationId: destination.id, name: 'a.zip', location: '/b/a.zip', status: 'PENDING' as const };
    const first = await StoredObject.create({ ...values, backupId: 'one', size: 2 ** 40 });
    await expect(StoredObject.create({ ...values, backupId: 'two' })).rejects.toThrow();
    await first.update({ status: 'FAILED' });
    await StoredObject.create({ ...values, backupId: 'two' });
    expect((await StoredObject.findByPk(first.id))?.size).toBe(2 ** 40);
  });
});

describe('The control database in a file', () => {
  it('is private, in WAL mode, and keeps foreign keys', async () => {
    const file = join(folder, 'own.sqlite3');
    const models = await openModels(`sqlite:${file}`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await all(file, 'PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
    await expect(
      models.sequelize.query(
        `INSERT INTO restores (id, "backupId", status, phases, warnings, "createdAt", engine, "targetUrl", "targetKey", "mediaMode", "lockTimeout", "restoreDatabase", "restoreMedia") VALUES ('r','nope','PENDING','[]','[]','x','SQLITE','x','x','MERGE',1,0,0)`,
      ),
    ).rejects.toThrow(/FOREIGN KEY/i);
    await models.sequelize.close();
  });

  it('that is not a database stops the start with the reason', async () => {
    const file = join(folder, 'junk.sqlite3');
    await import('node:fs/promises').then((fs) => fs.writeFile(file, 'not a database at all, just text'));
    await expect(openModels(`sqlite:${file}`)).rejects.toMatchObject({ code: 'CONTROL_DATABASE_FAILED' });
  });

  it('that belongs to another program is refused and left as it is', async () => {
    const file = join(folder, 'half.sqlite3');
    await exec(file, 'CREATE TABLE users (x)');
    await expect(openModels(`sqlite:${file}`)).rejects.toMatchObject({ code: 'CONTROL_DATABASE_FAILED' });
    expect(await all(file, `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`)).toEqual([
      { name: 'users' },
    ]);
  });
});

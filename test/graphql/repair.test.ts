import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf } from '../support/operations.js';
import { all, contentHash, exec } from '../support/sqlite.js';
import { NEVER } from '../support/world.js';

let app: TestApp;
let client: api.Client;
/** The backup that holds items and tenants. */
let backup = '';
beforeAll(async () => {
  app = await createTestApp({ work: false });
  client = clientOf(app);
});
afterAll(() => app.close());

const planOf = async (input: Omit<api.RestoreBackupInput, 'confirm'>) =>
  (await client.request(api.RestorePlanDocument, { input: { ...input, confirm: false } })).restorePlan;

/** Asks for a restore, carries it out, and gives what became of it. */
async function restore(input: Omit<api.RestoreBackupInput, 'confirm'>) {
  const { restoreBackup } = await client.request(api.RestoreBackupDocument, { input: { ...input, confirm: true } });
  await app.app.restores.run(restoreBackup.id, NEVER);
  return (await client.request(api.RestoreDocument, { id: restoreBackup.id })).restore;
}

/** A number that any other row, value or row more changes. */
const checksum = async (where: string) =>
  all(
    app.database,
    `SELECT count(*) AS n, sum(id * 31 + length(guest) * 7 + nights * nights * 13 + customer) AS sum, group_concat(id || guest || nights) AS text
     FROM (SELECT * FROM booking WHERE ${where} ORDER BY id)`,
  );

describe('Bookings that a deploy deleted', () => {
  it('come back by exactly the rows that are gone; those of the days since stay', async () => {
    await exec(
      app.database,
      `CREATE TABLE customer (id INTEGER PRIMARY KEY, mail TEXT UNIQUE);
       CREATE TABLE booking (id INTEGER PRIMARY KEY AUTOINCREMENT, guest TEXT, nights INT, customer INT REFERENCES customer);
       WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) INSERT INTO customer SELECT i, i || '@x' FROM n;
       WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
       INSERT INTO booking SELECT i, 'guest ' || i, i % 9, 1 + i % 50 FROM n;`,
    );
    const before = await checksum('id <= 4000');
    const { id } = await app.backup();
    await exec(
      app.database,
      `DELETE FROM booking WHERE id % 10 = 3;
       WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
       INSERT INTO booking (guest, nights, customer) SELECT 'newer ' || i, i % 5, 1 + i % 50 FROM n;
       UPDATE customer SET mail = 'new' || mail;`,
    );
    const newer = await checksum('id > 4000');
    const customers = await all(app.database, 'SELECT * FROM customer');
    const { compareBackups } = await client.request(api.CompareBackupsDocument, { from: id, tables: ['booking'] });
    expect(compareBackups.tables).toMatchObject([{ removed: 400, changed: 0, added: 400, unchanged: 3600 }]);

    const input = { backupId: id, tables: ['booking'], rows: 'MISSING' as const };
    const plan = await planOf(input);
    expect(plan).toMatchObject({
      ...{ allowed: true, refusals: [], related: [] },
      repairs: [{ name: 'booking', parents: false, add: 400, overwrite: 0, keep: 4000, conflicts: [] }],
    });
    expect(plan.tables.find(({ name }) => name === 'booking')?.change).toBe('REPAIR');
    expect(plan.repairs[0]?.samples).toHaveLength(10);
    // The application goes on between the plan and the restore.
    await exec(app.database, "INSERT INTO booking (guest, nights, customer) VALUES ('last', 1, 1)");
    const done = await restore(input);
    expect(done).toMatchObject({ status: 'COMPLETED', rows: 'MISSING', where: null, withParents: false });
    expect(done?.tables).toEqual(['booking']);

    expect(await checksum('id <= 4000')).toEqual(before);
    expect(await checksum("id > 4000 AND guest <> 'last'")).toEqual(newer);
    expect(await all(app.database, 'SELECT count(*) AS n FROM booking')).toEqual([{ n: 4401 }]);
    expect(await all(app.database, 'SELECT * FROM customer')).toEqual(customers);
    expect(await all(app.database, 'PRAGMA foreign_key_check')).toEqual([]);
    const [event] = await app.app.models.AuditEvent.findAll({ where: { subject: done?.id }, order: [['id', 'DESC']] });
    expect(event?.details).toMatchObject({ rows: 'MISSING', tables: ['booking'], where: null });

    const { undoRestore } = await client.request(api.UndoRestoreDocument, { id: done?.id ?? '' });
    await app.app.restores.run(undoRestore.id, NEVER);
    expect(await all(app.database, 'SELECT count(*) AS n FROM booking')).toEqual([{ n: 4001 }]);
    expect(await checksum("id > 4000 AND guest <> 'last'")).toEqual(newer);
  });
});

describe('Rows with parents', () => {
  it('are refused without them, and come back with them as far as a condition says', async () => {
    await exec(
      app.database,
      `CREATE TABLE tenant (id INTEGER PRIMARY KEY, name); INSERT INTO tenant VALUES (5, 'five'), (6, 'six');
       CREATE TABLE item (id INTEGER PRIMARY KEY, tenant REFERENCES tenant); INSERT INTO item VALUES (1, 5), (2, 6), (3, 5);`,
    );
    const { id } = await app.backup();
    backup = id;
    await exec(app.database, 'DELETE FROM item; DELETE FROM tenant WHERE id = 5');
    const before = await contentHash(app.database);
    const input = { backupId: id, tables: ['item'], rows: 'CHANGED' as const, where: 'tenant = 5' };
    const plan = await planOf(input);
    expect(plan).toMatchObject({
      allowed: false,
      refusals: [{ code: 'RESTORE_CONFLICT', field: 'tables', hint: expect.stringContaining('withParents') }],
      repairs: [{ add: 2, conflicts: [{ rows: 2, samples: [{ after: { id: 1, tenant: 5 } }, { key: { id: 3 } }] }] }],
    });
    await expect(restore(input)).rejects.toMatchObject({ code: 'RESTORE_CONFLICT' });
    expect(await contentHash(app.database)).toBe(before);
    const done = await restore({ ...input, withParents: true });
    expect(done).toMatchObject({
      ...{ status: 'COMPLETED', rows: 'CHANGED', where: 'tenant = 5', withParents: true },
      tables: ['item', 'tenant'],
    });
    expect(await all(app.database, 'SELECT id FROM item')).toEqual([{ id: 1 }, { id: 3 }]);
    expect(await all(app.database, 'SELECT id FROM tenant')).toEqual([{ id: 5 }, { id: 6 }]);
    const { undoRestore } = await client.request(api.UndoRestoreDocument, { id: done?.id ?? '' });
    await app.app.restores.run(undoRestore.id, NEVER);
    expect(await contentHash(app.database)).toBe(before);
  });

  it.each([
    ['rows', { rows: 'MISSING' as const }],
    ['rows', { rows: 'MISSING' as const, tables: ['item'], restoreDatabase: false }],
    ['where', { rows: 'MISSING' as const, tables: ['item', 'tenant'], where: 'id = 1' }],
    ['where', { rows: 'MISSING' as const, tables: ['item'], where: ' ' }],
    ['where', { tables: ['item'], where: 'id = 1' }],
    ['withParents', { tables: ['item'], withParents: true }],
    ['includeRelated', { rows: 'MISSING' as const, tables: ['item'], includeRelated: true }],
  ])('are refused with %s that makes no sense: %j', async (field, input) => {
    await expect(planOf({ backupId: backup, ...input })).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field });
  });
});

describe('A restore of rows in a database that cannot do it', () => {
  it('is refused by the plan, which says what to do instead', async () => {
    const { capabilities } = app.app.engines.of('SQLITE');
    const { repairsRows } = capabilities;
    delete capabilities.repairsRows;
    try {
      const plan = await planOf({ backupId: backup, rows: 'MISSING', tables: ['item'] });
      expect(plan.refusals).toMatchObject([{ code: 'ENGINE_UNSUPPORTED', field: 'rows' }]);
    } finally {
      Object.assign(capabilities, { repairsRows });
    }
  });
});

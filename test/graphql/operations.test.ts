import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { createTestApp, PASSWORD, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';
import { all, exec } from '../support/sqlite.js';

let app: TestApp;
let client: api.Client;
beforeAll(async () => {
  app = await createTestApp();
  client = clientOf(app);
});
afterAll(() => app.close());

async function ended(id: string): Promise<NonNullable<api.BackupQuery['backup']>> {
  for (;;) {
    const { backup } = await client.request(api.BackupDocument, { id });
    if (backup && backup.status !== 'PENDING' && backup.status !== 'RUNNING') return backup;
    await sleep(50);
  }
}

async function restored(id: string): Promise<NonNullable<api.RestoreQuery['restore']>> {
  for (;;) {
    const { restore } = await client.request(api.RestoreDocument, { id });
    if (restore && restore.status !== 'PENDING' && restore.status !== 'RUNNING') return restore;
    await sleep(50);
  }
}

const failing = (code: string, field?: string) => expect.objectContaining({ name: 'ClientError', code, field });

it('An admin logs in, and the token says who it is', async () => {
  const anybody = api.createClient({ url: app.url });
  const { login } = await anybody.request(api.LoginDocument, { email: 'Admin@Example.org', password: PASSWORD });
  const user = { id: String(app.admin.id), email: 'admin@example.org', role: 'ADMIN' };
  expect(login.user).toEqual(user);
  expect(Date.parse(login.expiresAt)).toBeGreaterThan(Date.now());
  const { me } = await api.createClient({ url: `${app.url}/`, token: login.token }).request(api.MeDocument);
  expect(me).toEqual(user);
  await expect(anybody.request(api.MeDocument)).rejects.toEqual(failing('UNAUTHENTICATED'));
  const wrong = anybody.request(api.LoginDocument, { email: 'admin@example.org', password: 'wrong' });
  await expect(wrong).rejects.toEqual(failing('UNAUTHENTICATED'));
});

it('A client that meets another server says so', async () => {
  const other = api.createClient({
    url: app.url,
    fetch: () => Promise.resolve(new Response('<html>', { status: 502 })),
  });
  await expect(other.request(api.MeDocument)).rejects.toThrow('No answer of the API, but status 502.');
});

describe('A backup', () => {
  it('is asked for, made, proven, pinned, kept from deletion, and deleted', async () => {
    const { createBackup } = await client.request(api.CreateBackupDocument, {
      input: { note: 'before the update', customPath: 'by-hand' },
    });
    expect(createBackup).toMatchObject({ status: 'PENDING', downloadUrl: null, backupType: 'MANUAL', mode: 'FULL' });
    const { id } = createBackup;
    expect(await ended(id)).toMatchObject({
      status: 'COMPLETED',
      progress: 1,
      createdBy: 'admin@example.org',
      databaseName: 'db.sqlite3',
      config: { name: 'App' },
      downloadUrl: `/api/db-manager/backups/${id}/download/`,
      filePath: expect.stringContaining('/by-hand/'),
      mediaFileCount: 3,
      tables: expect.arrayContaining([{ name: 'entry', rowCount: expect.any(Number) }]),
    });
    const { verifyBackup } = await client.request(api.VerifyBackupDocument, { id, level: 'CONTENT' });
    expect(verifyBackup).toMatchObject({ verificationLevel: 'CONTENT', errorCode: null });
    const { pinBackup } = await client.request(api.PinBackupDocument, { id, pinned: true });
    expect(pinBackup).toMatchObject({ pinned: true, pinnedBy: 'admin@example.org' });
    await expect(client.request(api.DeleteBackupDocument, { id })).rejects.toEqual(failing('BACKUP_PINNED'));
    const { pinBackup: unpinned } = await client.request(api.PinBackupDocument, { id, pinned: false });
    expect(unpinned).toMatchObject({ pinned: false, pinnedBy: null });
    const { deleteBackup } = await client.request(api.DeleteBackupDocument, { id });
    expect(deleteBackup).toMatchObject({ status: 'DELETED', deletedBy: 'admin@example.org', downloadUrl: null });
    const { auditEvents } = await client.request(api.AuditEventsDocument, { filter: { subject: id } });
    expect(auditEvents.nodes.map(({ action }) => action)).toEqual([
      'backup.delete',
      'backup.unpin',
      'backup.pin',
      'backup.verify',
      'backup.create',
    ]);
  });

  it('of the schedule can be asked for, and several are deleted together or not at all', async () => {
    const { autoBackup } = await client.request(api.AutoBackupDocument);
    expect(autoBackup.backupType).toBe('AUTO');
    await ended(autoBackup.id);
    const { id: other } = await app.backup();
    const missing = client.request(api.DeleteBackupsDocument, { ids: [other, 'backup_20250101_000000_00000000'] });
    await expect(missing).rejects.toEqual(failing('NOT_FOUND'));
    expect((await ended(other)).status).toBe('COMPLETED');
    const { deleteBackups } = await client.request(api.DeleteBackupsDocument, { ids: [other, autoBackup.id] });
    expect(deleteBackups.map(({ status }) => status)).toEqual(['DELETED', 'DELETED']);
  });

  it('that is incremental is consolidated into a full one', async () => {
    await client.request(api.UpdateConfigDocument, { id: '1', input: { incremental: true } });
    await app.backup();
    const { id } = await app.backup();
    const { consolidateBackup } = await client.request(api.ConsolidateBackupDocument, { id });
    expect(consolidateBackup).toMatchObject({ status: 'PENDING', mode: 'FULL', consolidates: id });
    expect(await ended(consolidateBackup.id)).toMatchObject({ status: 'COMPLETED', chainLength: 1, parent: null });
    const again = client.request(api.ConsolidateBackupDocument, { id });
    await expect(again).rejects.toEqual(failing('BAD_USER_INPUT', 'id'));
    await client.request(api.UpdateConfigDocument, { id: '1', input: { incremental: false } });
  });

  it('that has ended cannot be cancelled', async () => {
    const { id } = await app.backup();
    await expect(client.request(api.CancelBackupDocument, { id })).rejects.toEqual(failing('BUSY'));
  });

  it('whose folder leads outside is refused with the field', async () => {
    const wish = client.request(api.CreateBackupDocument, { input: { customPath: '../elsewhere' } });
    await expect(wish).rejects.toEqual(failing('PATH_NOT_ALLOWED', 'customPath'));
  });
});

describe('A restore', () => {
  it('is planned, done, undone, and listed', async () => {
    const backup = await app.backup();
    await exec(app.database, 'CREATE TABLE later (id INTEGER); INSERT INTO later VALUES (1)');
    const { restorePlan } = await client.request(api.RestorePlanDocument, {
      input: { backupId: backup.id, confirm: false },
    });
    expect(restorePlan).toMatchObject({ allowed: true, refusals: [], targetExists: true, backup: { id: backup.id } });
    expect(restorePlan.tables).toContainEqual({
      name: 'later',
      backupRows: null,
      targetRows: 1,
      change: 'REMOVE',
      schemaDiffers: false,
    });
    expect(restorePlan.backupSource).toContainEqual({ name: 'journal_mode', value: 'wal' });
    const { restoreBackup } = await client.request(api.RestoreBackupDocument, {
      input: { backupId: backup.id, confirm: true },
    });
    const done = await restored(restoreBackup.id);
    expect(done).toMatchObject({
      status: 'COMPLETED',
      errorCode: null,
      mediaMode: 'MERGE',
      safetyBackup: { pinned: true, status: 'COMPLETED', deletedAt: null },
    });
    const safety = await client.request(api.BackupDocument, { id: done.safetyBackup?.id ?? '' });
    expect(safety.backup).toMatchObject({ pinned: true, pinnedBy: null });
    expect(await all(app.database, "SELECT name FROM sqlite_master WHERE name = 'later'")).toEqual([]);
    const { undoRestore } = await client.request(api.UndoRestoreDocument, { id: done.id });
    expect(await restored(undoRestore.id)).toMatchObject({ status: 'COMPLETED', undoOf: done.id });
    expect(await all(app.database, 'SELECT id FROM later')).toEqual([{ id: 1 }]);
    const { restores } = await client.request(api.RestoresDocument, { filter: { backupId: backup.id } });
    expect(restores.nodes.map(({ id }) => id)).toEqual([done.id]);
    await expect(client.request(api.CancelRestoreDocument, { id: done.id })).rejects.toEqual(failing('BUSY'));
  });

  it('reports that its safety backup is gone, once it was released', async () => {
    const { id: backupId } = await app.backup();
    const { restoreBackup } = await client.request(api.RestoreBackupDocument, { input: { backupId, confirm: true } });
    const id = (await restored(restoreBackup.id)).safetyBackup?.id ?? '';
    await client.request(api.PinBackupDocument, { id, pinned: false });
    await client.request(api.DeleteBackupDocument, { id });
    expect((await restored(restoreBackup.id)).safetyBackup).toMatchObject({
      id,
      pinned: false,
      status: 'DELETED',
      deletedAt: expect.any(String),
    });
  });

  it('of a table that the backup does not have is refused with the field', async () => {
    const { id: backupId } = await app.backup();
    const input = { backupId, confirm: true, tables: ['entri'] };
    await expect(client.request(api.RestoreBackupDocument, { input })).rejects.toEqual(
      failing('BAD_USER_INPUT', 'tables'),
    );
  });

  it('that would be refused says so in its plan', async () => {
    const { id: backupId } = await app.backup();
    const input = { backupId, confirm: false, targetDatabaseUrl: `sqlite:${app.folder}/other.sqlite3` };
    await exec(`${app.folder}/other.sqlite3`, 'CREATE TABLE t (id INTEGER)');
    const { restorePlan } = await client.request(api.RestorePlanDocument, { input });
    expect(restorePlan).toMatchObject({
      allowed: false,
      refusals: [{ code: 'BAD_USER_INPUT', field: 'targetDatabaseUrl' }],
    });
  });
});

it('A config is made, shown, changed and deleted', async () => {
  const { createConfig } = await client.request(api.CreateConfigDocument, {
    saveUntested: true,
    input: {
      name: 'Shop',
      databaseUrl: `sqlite:${app.folder}/shop.sqlite3`,
      schedule: '30 3 * * *',
      timezone: 'Asia/Kolkata',
    },
  });
  const { id } = createConfig;
  expect(createConfig).toMatchObject({
    engine: 'SQLITE',
    maxBackupFiles: 30,
    restoreLockTimeout: 30,
    safetyRetentionDays: 7,
  });
  expect(createConfig.nextRunAt).toMatch(/T22:00:00\.000Z$/);
  const { updateConfig } = await client.request(api.UpdateConfigDocument, { id, input: { autoBackupEnabled: false } });
  expect(updateConfig).toMatchObject({ name: 'Shop', autoBackupEnabled: false, nextRunAt: null });
  expect((await client.request(api.ConfigDocument, { id })).config).toEqual(updateConfig);
  await expect(
    client.request(api.CreateConfigDocument, { input: { name: 'Shop', databaseUrl: 'sqlite:/x' } }),
  ).rejects.toEqual(failing('BAD_USER_INPUT', 'name'));
  await client.request(api.DeleteConfigDocument, { id });
  expect((await client.request(api.ConfigDocument, { id })).config).toBeNull();
});

it('The status counts what there is', async () => {
  const { status } = await client.request(api.StatusDocument);
  expect(status).toMatchObject({
    controlDatabase: 'SQLITE',
    jobStore: 'CONTROL_DATABASE',
    nodeVersion: process.version,
  });
  const usage = (await client.request(api.UsageDocument)).status;
  const { data } = await send(app, '{ backups(filter: { status: [COMPLETED] }) { totalCount } }');
  const counted = usage.backupCounts.find((item) => item.status === 'COMPLETED')?.count;
  expect({ backups: { totalCount: counted } }).toEqual(data);
});

import { mkdir, rm, rmdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';

let app: TestApp;
let client: api.Client;
beforeAll(async () => {
  app = await createTestApp({ work: false });
  client = clientOf(app);
});
afterAll(() => app.close());

describe('Retention over the API', () => {
  it('shows its plan with reasons for any moment, and runs just the plan that was shown', async () => {
    await client.request(api.UpdateConfigDocument, { id: '1', input: { maxBackupFiles: 1 } });
    const [old, newest] = [await app.backup(), await app.backup()];
    const { retentionPlan } = await client.request(api.RetentionPlanDocument, { configId: '1' });
    expect(retentionPlan).toMatchObject({ deleteCount: 1, keepCount: 1 });
    const of = (id: string) => retentionPlan.items.find(({ backup }) => backup.id === id);
    expect(of(newest.id)).toMatchObject({ keep: true, reasons: [{ code: 'NEWEST_VERIFIED' }] });
    expect(of(old.id)).toMatchObject({ keep: false, reasons: [{ code: 'TOO_MANY' }] });
    const other = client.request(api.CleanupBackupsDocument, { configId: '1', hash: 'another' });
    await expect(other).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    const { cleanupBackups } = await client.request(api.CleanupBackupsDocument, {
      configId: '1',
      hash: retentionPlan.hash,
    });
    expect(cleanupBackups).toMatchObject([{ deleteCount: 1, hash: retentionPlan.hash }]);
    expect(await old.reload()).toMatchObject({ status: 'DELETED' });
    const later = await client.request(api.RetentionPlanDocument, { configId: '1', at: '2099-01-01T00:00:00.000Z' });
    expect(later.retentionPlan.items).toMatchObject([{ keep: true }]);
  });

  it('of all configs names the one that failed, after the others were cleaned up', async () => {
    const [old, other] = [await app.backup(), await app.backup()];
    await app.backup();
    await client.request(api.UpdateConfigDocument, { id: '1', input: { maxBackupFiles: 1 } });
    const shop = await app.app.configs.create({ name: 'Shop', databaseUrl: `sqlite:${app.database}` }, 'test');
    await other.update({ configId: shop.id });
    // As no mutation saves it, but an older version or a hand may have.
    await shop.update({ maxBackupFiles: 0 });
    await expect(client.request(api.CleanupBackupsDocument)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      message: expect.stringMatching(/config \d+ "Shop" failed: maxBackupFiles.* It was done for config 1 "App"\./),
      hint: expect.any(String),
    });
    expect(await old.reload()).toMatchObject({ status: 'DELETED', deletedBy: 'admin@example.org' });
    await app.app.configs.remove(shop.id, 'test');
    await app.app.backups.remove([other.id], 'test');
  });

  it('tries settings that are not saved, and reads each backup as it is', async () => {
    const rows = [await app.backup(), await app.backup(), await app.backup()];
    const plan = async (input?: api.BackupConfigInput) =>
      (await client.request(api.RetentionPlanDocument, { configId: '1', input })).retentionPlan;
    const saved = await plan();
    expect(saved.deleteCount).toBeGreaterThanOrEqual(2);
    const tried = await plan({ maxBackupFiles: 100, timezone: 'Asia/Kolkata' });
    expect(tried).toMatchObject({ deleteCount: 0, config: { id: '1', name: 'App' } });
    expect(tried.items.map(({ backup }) => backup)).toEqual(
      expect.arrayContaining(
        rows.map(({ id, fileName }) =>
          expect.objectContaining({ id, fileName, status: 'COMPLETED', pinned: false, verifiedAt: expect.any(String) }),
        ),
      ),
    );
    expect(await plan({ keepLast: 2 })).toMatchObject({ deleteCount: saved.deleteCount - 1 });
    for (const [field, input] of Object.entries({
      keepDaily: { keepDaily: 0 },
      timezone: { timezone: 'Nowhere' },
      databaseUrl: { databaseUrl: 'oracle://x' },
    })) {
      await expect(plan(input)).rejects.toMatchObject({ field });
    }
    expect(await plan()).toMatchObject({ hash: saved.hash, deleteCount: saved.deleteCount });
    expect((await app.app.configs.get(1)).timezone).toBe('UTC');
    // Every field of a backup can be asked for, not only those that a plan is made of.
    const query =
      '{ retentionPlan(configId: "1") { items { backup { databaseName phases { phase } tables { name } } } } }';
    expect((await send(app, query)).errors).toEqual([]);
  });

  it('returns what could not be deleted beside what was', async () => {
    const rows = await app.app.models.Backup.findAll({ where: { status: 'COMPLETED' }, order: [['createdAt', 'ASC']] });
    const inTheWay = rows[0]?.filePath ?? '';
    await rm(inTheWay);
    await mkdir(inTheWay);
    const { cleanupBackups } = await client.request(api.CleanupBackupsDocument, { configId: '1' });
    await rmdir(inTheWay);
    const items = cleanupBackups[0]?.items ?? [];
    const of = (id: string | undefined) => items.find(({ backup }) => backup.id === id);
    expect(of(rows[0]?.id)).toMatchObject({ backup: { status: 'COMPLETED' }, error: { code: 'STORAGE_UNAVAILABLE' } });
    expect(of(rows[1]?.id)).toMatchObject({ backup: { status: 'DELETED' }, error: null });
    await client.request(api.CleanupBackupsDocument, { configId: '1' });
  });

  it('refuses an impossible policy, and null takes a rule away', async () => {
    const set = (input: api.BackupConfigInput) => client.request(api.UpdateConfigDocument, { id: '1', input });
    await expect(set({ keepDaily: 0 })).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'keepDaily' });
    expect((await set({ keepDaily: 7, keepWithin: '12h' })).updateConfig).toMatchObject({
      keepDaily: 7,
      keepWithin: '12h',
    });
    expect((await set({ keepDaily: null })).updateConfig).toMatchObject({ keepDaily: null, keepWithin: '12h' });
  });
});

describe('The schedule over the API', () => {
  it('shows the next five runs and says itself in words', async () => {
    const { updateConfig } = await client.request(api.UpdateConfigDocument, { id: '1', input: { schedule: 'daily' } });
    expect(updateConfig.nextRuns).toHaveLength(5);
    expect(updateConfig.nextRunAt).toBe(updateConfig.nextRuns[0]);
    expect(updateConfig.scheduleInWords).toBe('every day at 02:00');
    const off = await client.request(api.UpdateConfigDocument, { id: '1', input: { autoBackupEnabled: false } });
    expect(off.updateConfig).toMatchObject({ nextRunAt: null, nextRuns: [] });
  });

  it('can be looked at before it is saved, and says what is wrong with it', async () => {
    const preview = (schedule: string, timezone: string, count?: number) =>
      client.request(api.SchedulePreviewDocument, { schedule, timezone, ...(count === undefined ? {} : { count }) });
    const { schedulePreview } = await preview('30 3 * * 1', 'Asia/Kolkata');
    expect(schedulePreview.inWords).toBe('every Monday at 03:30');
    expect(schedulePreview.nextRuns).toHaveLength(5);
    for (const at of schedulePreview.nextRuns) {
      expect([new Date(at).getUTCDay(), at.slice(11, 16)]).toEqual([0, '22:00']);
    }
    await expect(preview('61 * * * *', 'UTC')).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'schedule' });
    await expect(preview('daily', 'Mars/Base')).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'timezone' });
    await expect(preview('daily', 'UTC', 51)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'count' });
  });
});

describe('The status over the API', () => {
  it('says in one word how things are, and why', async () => {
    const { status } = await client.request(api.StatusDocument);
    expect(status).toMatchObject({ health: 'WARNING', pending: 0, running: 0 });
    expect(status.reasons.map(({ code }) => code)).toEqual(['AUTO_BACKUP_OFF']);
    const { configConnection } = await client.request(api.ConfigPageDocument);
    expect(configConnection.nodes).toMatchObject([{ health: { overdue: false, lastErrorCode: null } }]);
    const usage = (await client.request(api.UsageDocument)).status;
    expect(usage.storages).toMatchObject([{ storageType: 'LOCAL', count: 1, error: null }]);
  });
});

import { addBackups } from '../../support/records.js';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../src/errors.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

let world: World;
let now = new Date('2025-06-01T00:00:00Z');
beforeEach(async () => {
  now = new Date('2025-06-01T00:00:00Z');
  world = await createWorld({ now: () => now });
});
afterEach(() => world.close());

const at = (text: string) => (now = new Date(text));
const config = () => world.app.configs.get(1);
const autoRows = () =>
  world.app.models.Backup.findAll({ where: { backupType: 'AUTO' }, order: ['createdAt', 'attempt'] });
const runAll = async () => {
  for (const row of await autoRows()) await world.app.backups.run(row.id, NEVER);
};

describe('The schedule', () => {
  it('makes one backup when it is due, and none before', async () => {
    expect((await config()).nextRunAt).toEqual(new Date('2025-06-01T02:00:00Z'));
    at('2025-06-01T01:59:59Z');
    expect(await world.app.scheduler.tick()).toBe(0);
    at('2025-06-01T02:00:00Z');
    expect(await world.app.scheduler.tick()).toBe(1);
    expect(await world.app.scheduler.tick()).toBe(0);
    expect((await config()).nextRunAt).toEqual(new Date('2025-06-02T02:00:00Z'));
    await runAll();
    expect(await autoRows()).toMatchObject([
      { status: 'COMPLETED', attempt: 1, dueAt: new Date('2025-06-01T02:00:00Z') },
    ]);
  });

  it('catches up with one run for all that was missed while everything was down', async () => {
    at('2025-06-09T12:00:00Z');
    expect(await world.app.scheduler.tick()).toBe(1);
    expect((await config()).nextRunAt).toEqual(new Date('2025-06-10T02:00:00Z'));
  });

  it('gives each due time to one of many nodes that look at the same moment', async () => {
    const nodes = [world.app, await world.again({ now: () => now }), await world.again({ now: () => now })];
    at('2025-06-01T02:00:10Z');
    const made = await Promise.all([...nodes, ...nodes].map((node) => node.scheduler.tick()));
    expect(made.reduce((sum, count) => sum + count, 0)).toBe(1);
    expect(await autoRows()).toHaveLength(1);
  });

  it('follows a changed config at once, and stops when automatic backup is switched off', async () => {
    await world.app.configs.update(1, { schedule: 'hourly', timezone: 'Asia/Kolkata' }, 'test');
    expect((await config()).nextRunAt).toEqual(new Date('2025-06-01T00:30:00Z'));
    await world.app.configs.update(1, { autoBackupEnabled: false }, 'test');
    expect((await config()).nextRunAt).toBeNull();
    at('2025-06-03T00:00:00Z');
    expect(await world.app.scheduler.tick()).toBe(0);
  });

  it('brings back due times that were set while the clock was ahead', async () => {
    await world.app.models.BackupConfig.update(
      { nextRunAt: new Date('2027-01-01T02:00:00Z'), retryAt: new Date('2027-01-01T02:05:00Z') },
      { where: { id: 1 } },
    );
    await world.app.scheduler.realign();
    expect(await config()).toMatchObject({ nextRunAt: new Date('2025-06-01T02:00:00Z'), retryAt: now });
    const soon = new Date(now.getTime() + 60_000);
    await world.app.models.BackupConfig.update({ retryAt: soon }, { where: { id: 1 } });
    await world.app.scheduler.realign();
    expect(await config()).toMatchObject({ nextRunAt: new Date('2025-06-01T02:00:00Z'), retryAt: soon });
  });

  it('spreads configs by a delay that is always the same for each', async () => {
    await world.app.configs.update(1, { jitterSeconds: 600 }, 'test');
    const due = (await config()).nextRunAt?.getTime() ?? 0;
    const base = new Date('2025-06-01T02:00:00Z').getTime();
    expect(due).toBeGreaterThanOrEqual(base);
    expect(due).toBeLessThan(base + 600_000);
    now = new Date(due);
    expect(await world.app.scheduler.tick()).toBe(1);
    expect((await config()).nextRunAt?.getTime()).toBe(due + 86_400_000);
  });

  it('shows a run that cannot start as a FAILED row', async () => {
    await rm(world.media, { recursive: true });
    at('2025-06-01T02:00:00Z');
    await world.app.scheduler.tick();
    await runAll();
    expect(await autoRows()).toMatchObject([{ status: 'FAILED', errorCode: 'MEDIA_NOT_FOUND' }]);
    expect((await config()).retryAt).toBeNull();
  });
});

describe('A failed automatic backup whose cause may pass', () => {
  it('is tried again after 1, 5 and 15 minutes, then left to the next day', async () => {
    await writeFile(world.backups, 'a file where the folder must be');
    at('2025-06-01T02:00:00Z');
    const moments = ['02:01:00', '02:06:00', '02:21:00'];
    await world.app.scheduler.tick();
    await runAll();
    for (const moment of moments) {
      const due = new Date(`2025-06-01T${moment}Z`);
      expect((await config()).retryAt).toEqual(due);
      now = new Date(due.getTime() - 1);
      expect(await world.app.scheduler.tick()).toBe(0);
      now = due;
      expect(await world.app.scheduler.tick()).toBe(1);
      await runAll();
    }
    expect((await config()).retryAt).toBeNull();
    expect((await autoRows()).map((row) => [row.attempt, row.status, row.errorCode])).toEqual(
      [1, 2, 3, 4].map((attempt) => [attempt, 'FAILED', 'STORAGE_UNAVAILABLE']),
    );
    await rm(world.backups);
    at('2025-06-02T02:00:00Z');
    await world.app.scheduler.tick();
    await runAll();
    expect((await autoRows()).at(-1)).toMatchObject({ attempt: 1, status: 'COMPLETED' });
  });

  it('is tried again at once when its process died', async () => {
    at('2025-06-01T02:00:00Z');
    await world.app.scheduler.tick();
    const [row] = await autoRows();
    await row?.update({ status: 'RUNNING', leaseHolder: 'dead' });
    await world.app.backups.recover();
    expect(await world.app.scheduler.tick()).toBe(1);
    await runAll();
    const dueAt = new Date('2025-06-01T02:00:00Z');
    expect(await autoRows()).toMatchObject([
      { attempt: 1, dueAt, status: 'FAILED', errorCode: 'INTERRUPTED' },
      { attempt: 2, dueAt, status: 'COMPLETED' },
    ]);
  });
});

describe('The clean-up', () => {
  const make = async (day: number) => {
    now = new Date(Date.UTC(2025, 5, day, 2));
    return world.backup();
  };

  it('does exactly what its plan shows, with reasons, and keeps the newest verified one', async () => {
    await world.app.configs.update(1, { maxBackupFiles: 2, backupRetentionDays: 3 }, 'test');
    const rows = [await make(1), await make(2), await make(3), await make(4)];
    await world.app.backups.pin(rows[0]?.id ?? '', true, 'test');
    at('2025-06-30T00:00:00Z');
    const plan = await world.app.cleanup.plan(await world.app.configs.get(1));
    expect(plan.items.map(({ id, keep }) => [id, keep])).toEqual([
      [rows[3]?.id, true],
      [rows[2]?.id, false],
      [rows[1]?.id, false],
      [rows[0]?.id, true],
    ]);
    const done = await world.app.cleanup.run(1, 'boss', { hash: plan.hash });
    expect(done.items.filter(({ keep }) => !keep).map(({ error }) => error)).toEqual([null, null]);
    expect((await world.app.backups.get(rows[1]?.id ?? '')).deleteReason).toMatch(/days/);
    expect(await world.app.models.Backup.count({ where: { status: 'COMPLETED' } })).toBe(2);
    expect((await world.app.cleanup.plan(await world.app.configs.get(1))).deleteCount).toBe(0);
  });

  it('deletes nothing when the world is no longer the one of the plan that was shown', async () => {
    await world.app.configs.update(1, { maxBackupFiles: 1 }, 'test');
    const [one] = [await make(1), await make(2)];
    const plan = await world.app.cleanup.plan(await world.app.configs.get(1));
    expect(plan.deleteCount).toBe(1);
    await world.app.backups.pin(one.id, true, 'test');
    await expect(world.app.cleanup.run(1, 'boss', { hash: plan.hash })).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    expect(await world.app.models.Backup.count({ where: { status: 'COMPLETED' } })).toBe(2);
  });

  it('leaves a backup alone that was pinned between plan and deletion', async () => {
    await world.app.configs.update(1, { maxBackupFiles: 1 }, 'test');
    const one = await make(1);
    await make(2);
    const real = world.app.backups.removeByPolicy.bind(world.app.backups);
    world.app.backups.removeByPolicy = async (...args) => {
      await one.update({ pinned: true });
      return real(...args);
    };
    const plan = await world.app.cleanup.run(1, 'boss');
    expect(plan.items.find(({ id }) => id === one.id)?.error).toMatchObject({ code: 'BACKUP_PINNED' });
    expect(await one.reload()).toMatchObject({ status: 'COMPLETED' });
  });

  it('keeps the row of an archive whose storage cannot be reached, and tries later', async () => {
    await world.app.configs.update(1, { maxBackupFiles: 1 }, 'test');
    const one = await make(1);
    await make(2);
    const real = world.app.backups.removeByPolicy.bind(world.app.backups);
    world.app.backups.removeByPolicy = () => Promise.reject(new AppError('STORAGE_UNAVAILABLE', 'unmounted'));
    const plan = await world.app.cleanup.run(1, 'boss');
    expect(plan.items.find(({ id }) => id === one.id)?.error).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(await one.reload()).toMatchObject({ status: 'COMPLETED' });
    world.app.backups.removeByPolicy = real;
    await world.app.cleanup.runScheduled();
    expect(await one.reload()).toMatchObject({ status: 'DELETED', deletedBy: 'system' });
  });

  it('by the clock goes on with the next config when one fails, and logs it', async () => {
    await world.app.configs.update(1, { maxBackupFiles: 1 }, 'test');
    const one = await make(1);
    const other = await make(2);
    await make(3);
    const broken = await world.app.configs.create({ name: 'Aside', databaseUrl: `sqlite:${world.database}` }, 'test');
    await other.update({ configId: broken.id });
    await broken.update({ maxBackupFiles: 0 });
    const logged = jest.spyOn(world.app.log, 'error');
    await world.app.cleanup.runScheduled();
    expect(logged.mock.calls).toEqual([
      [{ err: expect.objectContaining({ code: 'BAD_USER_INPUT' }), config: broken.id }, expect.any(String)],
    ]);
    logged.mockRestore();
    expect(await one.reload()).toMatchObject({ status: 'DELETED', deletedBy: 'system' });
  });

  it('reports files without a row and rows without a file, and touches neither', async () => {
    const one = await make(1);
    const two = await make(2);
    await rm(one.filePath);
    await writeFile(join(world.backups, 'foreign.zip'), 'x');
    const [found] = await world.app.cleanup.reconcile();
    expect(found?.files).toEqual([join(world.backups, 'foreign.zip')]);
    expect(found?.rows.map((row) => row.id)).toEqual([one.id]);
    expect((await world.app.backups.get(two.id)).status).toBe('COMPLETED');
    await world.app.cleanup.run(1, 'boss');
    expect((await world.app.cleanup.reconcile())[0]?.files).toHaveLength(1);
  });

  it('refuses policies that would keep nothing when they are saved, naming the field', async () => {
    for (const [field, value] of Object.entries({
      backupRetentionDays: 0,
      maxBackupFiles: -1,
      keepDaily: 0,
      keepWithin: '0d',
      maxTotalSize: 0,
    })) {
      await expect(world.app.configs.update(1, { [field]: value }, 'test')).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
        field,
      });
    }
  });
});

describe('The overview', () => {
  it('says OK when all is well, and names each reason when it is not', async () => {
    const codes = async () => (await world.app.overview.read()).reasons.map(({ code }) => code).sort();
    expect(await codes()).toEqual(['NEVER_BACKED_UP', 'NO_WORKER']);
    await world.app.startWork();
    await world.backup();
    expect(await world.app.overview.read()).toMatchObject({ health: 'OK', reasons: [], pending: 0, running: 0 });
    expect((await world.app.overview.read()).nodes).toHaveLength(1);
    await world.app.stopWork(0);
    at('2025-06-05T00:00:00Z');
    expect(await codes()).toContain('OVERDUE');
    await world.app.configs.update(1, { autoBackupEnabled: false }, 'test');
    expect(await codes()).toEqual(['AUTO_BACKUP_OFF']);
    await rm(world.database);
    await world.backup();
    expect(await world.app.overview.read()).toMatchObject({ health: 'CRITICAL' });
    expect(await codes()).toEqual(['AUTO_BACKUP_OFF', 'LAST_BACKUP_FAILED']);
    await rm(world.backups, { recursive: true });
    expect(await codes()).toContain('STORAGE_UNAVAILABLE');
  });

  const reasons = async () =>
    (await world.app.overview.read()).reasons.filter(({ code }) => code !== 'NO_WORKER' && code !== 'OVERDUE');

  it('does not count a newest backup that was found damaged, but the newest verified one', async () => {
    const first = await world.backup();
    at('2025-06-01T01:00:00Z');
    const second = await world.backup();
    expect(await reasons()).toEqual([]);
    const bytes = await readFile(second.filePath);
    await writeFile(second.filePath, bytes.subarray(0, 100));
    await world.app.verifications.verify(second.id, 'ARCHIVE', 'test', NEVER);
    expect(await world.app.overview.read()).toMatchObject({ health: 'CRITICAL' });
    expect(await world.app.overview.configs()).toMatchObject([
      { lastSuccessAt: second.createdAt, lastProvenAt: first.createdAt, lastErrorCode: null },
    ]);
    const message =
      /^"App": the newest backup, backup_\w+, is not verified\. Verification found ARCHIVE_CORRUPT: .+\. The newest verified one was made at 2025-06-01T00:00:00\.000Z\.$/;
    const unproven = { level: 'CRITICAL', code: 'LAST_BACKUP_UNPROVEN', configId: 1, backupId: second.id };
    expect(await reasons()).toEqual([
      { ...unproven, message: expect.stringMatching(message), hint: expect.stringContaining(`verify ${second.id}`) },
    ]);

    at('2025-06-01T01:30:00Z');
    const away = `${world.database}-away`;
    await rename(world.database, away);
    await world.backup();
    await rename(away, world.database);
    expect(await reasons()).toMatchObject([
      {
        code: 'LAST_BACKUP_FAILED',
        message: expect.stringContaining('the last good one was made at 2025-06-01T00:00'),
      },
      unproven,
    ]);

    await first.update({ verifiedAt: null });
    expect(await reasons()).toMatchObject([
      { code: 'LAST_BACKUP_FAILED', message: expect.stringContaining('no earlier one is verified.') },
      { ...unproven, message: expect.stringMatching(/No older one is verified\.$/) },
    ]);

    await writeFile(second.filePath, bytes);
    await world.app.verifications.verify(second.id, 'ARCHIVE', 'test', NEVER);
    expect(await reasons()).toMatchObject([{ code: 'LAST_BACKUP_FAILED' }]);
    at('2025-06-01T01:45:00Z');
    await world.backup();
    expect(await reasons()).toEqual([]);
  });

  it('shows that the newest verified archive is gone or cut short, though its record is fine', async () => {
    const older = await world.backup();
    at('2025-06-01T01:00:00Z');
    const row = await world.backup();
    await rm(older.filePath);
    expect(await reasons()).toEqual([]);
    const missing = { level: 'CRITICAL', code: 'ARCHIVE_MISSING', configId: 1 };
    const bytes = await readFile(row.filePath);
    await writeFile(row.filePath, bytes.subarray(1));
    const found = `has ${bytes.length - 1} bytes instead of ${bytes.length}.`;
    expect(await reasons()).toMatchObject([{ ...missing, message: expect.stringContaining(found) }]);
    await rm(row.filePath);
    const message = `"App": the archive of the newest verified backup, ${row.id}, is lost: ${row.filePath} is not there.`;
    expect(await reasons()).toMatchObject([{ ...missing, message, hint: expect.stringContaining('reconcile') }]);
    await writeFile(row.filePath, bytes);
    expect(await reasons()).toEqual([]);
  });

  it('warns of a newest backup without media while an older one has some', async () => {
    await world.backup();
    at('2025-06-01T01:00:00Z');
    await rm(world.media, { recursive: true });
    await mkdir(world.media);
    await world.backup();
    expect(await reasons()).toMatchObject([{ level: 'WARNING', code: 'MEDIA_GONE', configId: 1 }]);
    await world.app.configs.update(1, { mediaPaths: [] }, 'test');
    expect(await reasons()).toEqual([]);
  });

  it('misses no worker where the automatic backups are made by commands', async () => {
    const codes = async () => (await world.app.overview.read()).reasons.map(({ code }) => code);
    const row = await world.backup();
    expect(await codes()).toEqual(['NO_WORKER']);
    await row.update({ backupType: 'AUTO', createdBy: 'cli:root' });
    expect(await codes()).toEqual([]);
    at('2025-06-01T01:00:00Z');
    await (await world.backup()).update({ backupType: 'AUTO', createdBy: 'system' });
    expect(await codes()).toEqual(['NO_WORKER']);
  });

  it('asks the same number of questions of the control database for one config and for hundreds', async () => {
    const { sequelize, BackupConfig, Backup } = world.app.models;
    const row = await world.backup();
    const count = async () => {
      const queries = jest.spyOn(sequelize, 'query');
      const state = await world.app.overview.read();
      const asked = queries.mock.calls.length;
      queries.mockRestore();
      return { asked, codes: state.reasons.map(({ code }) => code) };
    };
    await row.update({ verifiedAt: null });
    const one = await count();
    const config = await BackupConfig.findByPk(1, { raw: true });
    const backup = await Backup.findByPk(row.id, { raw: true });
    if (config === null || backup === null) throw new Error('nothing to copy');
    const numbers = Array.from({ length: 300 }, (_, index) => index + 2);
    await BackupConfig.bulkCreate(numbers.map((id) => ({ ...config, copyTo: [], id, name: `App ${id}` })));
    const storageType = 'LOCAL' as const;
    await addBackups(
      world.app.models,
      numbers.map((configId) => ({
        ...backup,
        id: `${row.id}${configId}`,
        configId,
        storageType,
        storagePath: '/x',
        filePath: `/x/${configId}`,
      })),
    );
    const many = await count();
    expect(many.codes.filter((code) => code === 'LAST_BACKUP_UNPROVEN')).toHaveLength(301);
    expect([one.asked > 5, many.asked]).toEqual([true, one.asked]);
  });
});

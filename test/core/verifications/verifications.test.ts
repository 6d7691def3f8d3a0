import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Hold, verificationLease } from '../../../src/core/runs/hold.js';
import { Reverification } from '../../../src/core/verifications/reverification.js';
import { AppError } from '../../../src/errors.js';
import type { BackupRow, DestinationRow } from '../../../src/models/index.js';
import { MemoryStorage, serveMemory } from '../../support/memory-storage.js';
import { createWorld, filesIn, NEVER, type World } from '../../support/world.js';

const DAY = 86_400_000;

let world: World;
let now: number;
beforeEach(async () => {
  now = Date.now();
  world = await createWorld({ now: () => new Date(now) });
});
afterEach(() => world.close());

const damage = async (path: string) => {
  const bytes = await readFile(path);
  bytes.fill(0x55, bytes.length >> 1, (bytes.length >> 1) + 64);
  await writeFile(path, bytes);
};
const days = (count: number) => (now += count * DAY);
const hold = (name: string) =>
  Hold.take({ models: world.app.models, log: world.app.log, leaseMs: 5_000 }, [name]) as Promise<Hold>;

/** Makes every backup have a copy in a storage in memory, too. */
async function withCopies(): Promise<{ memory: MemoryStorage; distant: DestinationRow }> {
  const memory = new MemoryStorage();
  const { app } = world;
  serveMemory(app, memory);
  const resolve = app.storages.resolve.bind(app.storages);
  app.storages.resolve = (address, field) => (address.storagePath === memory.place ? address : resolve(address, field));
  const distant = await app.models.Destination.create({ storageType: 'SYSTEM', storagePath: memory.place });
  const first = await app.models.Destination.findOne({ where: { storagePath: world.backups }, rejectOnEmpty: true });
  await app.configs.update(1, { destinationIds: [first.id, distant.id] }, 'test');
  return { memory, distant };
}

describe('A verification', () => {
  it('that cannot look at the database here fails with the cause, and takes no mark away', async () => {
    const backup = await world.backup();
    const { verifications, engines, models } = world.app;
    const { verifiedAt, verificationLevel } = backup;
    const causes = ['TOOLS_MISSING', 'NOT_FOUND', 'UNREADABLE', 'IN_USE', 'FAILED'] as const;
    for (const code of [...causes.map((cause) => `DATABASE_${cause}` as const), 'ARCHIVE_TOO_NEW' as const]) {
      const failure = new AppError(code, 'It cannot be looked at here.');
      engines.of('SQLITE').inspectContent = () => Promise.reject(failure);
      const verified = verifications.verify(backup.id, 'CONTENT', 'test', NEVER);
      await expect(verified).rejects.toMatchObject({ code: failure.code });
    }
    expect(await backup.reload()).toMatchObject({ verifiedAt, verificationLevel, errorCode: null });
    expect(await models.StoredObject.count({ where: { backupId: backup.id, errorCode: null } })).toBe(1);
  });

  it('that finds the database damaged takes the mark away', async () => {
    const backup = await world.backup();
    const { verifications, engines } = world.app;
    engines.of('SQLITE').inspectContent = () => Promise.reject(new AppError('DATABASE_CORRUPT', 'A page is damaged.'));
    await verifications.verify(backup.id, 'CONTENT', 'test', NEVER);
    expect(await backup.reload()).toMatchObject({ verifiedAt: null, errorCode: 'DATABASE_CORRUPT' });
  });

  it('is a run with phases, an end and a history, and marks the backup', async () => {
    const { id: backupId } = await world.backup();
    days(1);
    const { verifications, backups, models } = world.app;
    const pending = await verifications.create({ backupId, level: 'CONTENT' }, 'boss');
    expect(pending).toMatchObject({ status: 'PENDING', configId: 1, level: 'CONTENT', createdBy: 'boss' });
    expect(await verifications.run(pending.id, NEVER)).toBe('done');
    const row = await verifications.get(pending.id);
    expect(row).toMatchObject({ status: 'COMPLETED', progress: 1, errorCode: null, warnings: [] });
    expect(row.phases.map(({ phase }) => phase)).toEqual(['verify', 'done']);
    const backup = await backups.get(backupId);
    expect(backup).toMatchObject({ verifiedAt: new Date(now), verificationLevel: 'CONTENT' });
    expect(row.bytes).toBe(backup.fileSize);
    expect(await models.AuditEvent.count({ where: { action: 'backup.verify', actor: 'boss' } })).toBe(1);
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });

  it('that finds the only copy damaged is FAILED with what was found', async () => {
    const backup = await world.backup();
    await damage(backup.filePath);
    const { verifications } = world.app;
    const { id } = await verifications.create({ backupId: backup.id, level: 'CHECKSUM' }, 'test');
    await verifications.run(id, NEVER);
    expect(await verifications.get(id)).toMatchObject({ status: 'FAILED', errorCode: 'ARCHIVE_CORRUPT' });
    expect(await backup.reload()).toMatchObject({ verifiedAt: null, errorCode: 'ARCHIVE_CORRUPT' });
  });

  it('that finds one of two copies damaged is COMPLETED, names it, and has it repaired', async () => {
    const { memory } = await withCopies();
    const backup = await world.backup();
    await world.app.copies.runDue(NEVER);
    await damage(backup.filePath);
    const { verifications } = world.app;
    const { id } = await verifications.create({ backupId: backup.id, level: 'ARCHIVE' }, 'test');
    await verifications.run(id, NEVER);
    const row = await verifications.get(id);
    expect(row).toMatchObject({ status: 'COMPLETED', errorCode: null });
    expect(row.warnings).toEqual([expect.stringContaining(`The copy ${backup.filePath} is not intact`)]);
    expect((await backup.reload()).copies.map(({ status }) => status)).toEqual(['FAILED', 'COMPLETED']);
    expect(memory.objects.size).toBe(1);
  });

  it('names a copy that it could not read although another one is good', async () => {
    const { memory } = await withCopies();
    const { id: backupId } = await world.backup();
    await world.app.copies.runDue(NEVER);
    memory.failures.push(new AppError('STORAGE_UNAVAILABLE', 'It is away.'));
    const { verifications } = world.app;
    const { id } = await verifications.create({ backupId, level: 'CHECKSUM' }, 'test');
    await verifications.run(id, NEVER);
    const { status, warnings } = await verifications.get(id);
    expect({ status, warnings }).toEqual({
      status: 'COMPLETED',
      warnings: [expect.stringMatching(/^The copy memory:.* could not be read: It is away\.$/)],
    });
  });

  it('keeps its backup from being deleted and encrypted anew until it has ended', async () => {
    const { id: backupId } = await world.backup();
    const { verifications, backups } = world.app;
    const held = await hold(verificationLease(backupId));
    const { id } = await verifications.create({ backupId, level: 'CHECKSUM' }, 'test');
    expect(await verifications.run(id, NEVER)).toBe('busy');
    const busy = { code: 'BUSY', message: `Backup ${backupId} is being verified.` };
    await expect(backups.remove([backupId], 'test')).rejects.toMatchObject(busy);
    const policy = backups.removeByPolicy(backupId, 'system', 'too old', async () => true);
    await expect(policy).rejects.toMatchObject(busy);
    await backups.pin(backupId, true, 'test');
    await backups.pin(backupId, false, 'test');
    await held.release();
    expect(await verifications.run(id, NEVER)).toBe('done');
    await backups.remove([backupId], 'test');
    expect(await backups.get(backupId)).toMatchObject({ status: 'DELETED' });
  });

  it('of a backup that was deleted while it waited fails and touches nothing', async () => {
    const { id: backupId } = await world.backup();
    const { verifications, backups } = world.app;
    const { id } = await verifications.create({ backupId, level: 'CHECKSUM' }, 'test');
    await backups.remove([backupId], 'test');
    await verifications.run(id, NEVER);
    expect(await verifications.get(id)).toMatchObject({ status: 'FAILED', errorCode: 'BACKUP_DELETED' });
    expect(await backups.get(backupId)).toMatchObject({ status: 'DELETED', errorCode: null });
    await expect(verifications.create({ backupId, level: 'CHECKSUM' }, 'test')).rejects.toMatchObject({
      code: 'BACKUP_DELETED',
    });
  });

  it('is cancelled while it waits and while it reads, and the backup stays verified', async () => {
    const { memory } = await withCopies();
    const backup = await world.backup();
    await world.app.copies.runDue(NEVER);
    const { verifications } = world.app;
    const waiting = await verifications.create({ backupId: backup.id, level: 'CHECKSUM' }, 'test');
    expect(await verifications.cancel(waiting.id, 'boss')).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    await expect(verifications.cancel(waiting.id, 'boss')).rejects.toMatchObject({ code: 'BUSY' });

    const running = await verifications.create({ backupId: backup.id, level: 'CHECKSUM' }, 'test');
    const get = memory.get.bind(memory);
    memory.get = async (name, range) => {
      await verifications.cancel(running.id, 'boss');
      // Until the run has looked for it.
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      return get(name, range);
    };
    await verifications.run(running.id, NEVER);
    expect(await verifications.get(running.id)).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    const { verifiedAt } = backup;
    expect(await backup.reload()).toMatchObject({ verifiedAt, errorCode: null });
  });

  it('whose process died is ended by any other, and so is one that was never begun', async () => {
    const { id: backupId } = await world.backup();
    const { verifications, models } = world.app;
    const died = await verifications.create({ backupId, level: 'CONTENT' }, 'test');
    await died.update({ status: 'RUNNING', phase: 'verify', leaseHolder: 'elsewhere' });
    const left = await verifications.create({ backupId, level: 'CONTENT' }, 'test');
    const queued = await models.Verification.create({
      ...left.get(),
      id: 'verify_20250101_000000_00000000',
      queued: true,
    });
    const other = await world.again({ now: () => new Date(now) });
    now += 6_000;
    await other.verifications.recover();
    const ended = await died.reload();
    expect(ended).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED', leaseHolder: null });
    expect(ended.errorMessage).toContain('in the phase "verify"');
    expect(await left.reload()).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await queued.reload()).toMatchObject({ status: 'PENDING' });
  });

  it('of a caller who is gone is CANCELLED and not left to run', async () => {
    const { id: backupId } = await world.backup();
    const { verifications, models } = world.app;
    const gone = verifications.verify(backupId, 'CONTENT', 'test', AbortSignal.abort());
    await expect(gone).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await models.Verification.findAll()).toMatchObject([{ status: 'FAILED', errorCode: 'CANCELLED' }]);
  });
});

describe('Stored copies', () => {
  const runDue = () => world.app.reverification.runDue(NEVER);
  const rows = () => world.app.models.Verification.findAll({ order: [['id', 'ASC']] });
  const budget = (dailyBytes: number) =>
    new Reverification({
      ...world.app,
      leaseMs: 5_000,
      onEnded: async () => undefined,
      onStarted: async () => undefined,
      dailyBytes,
    });

  it('are verified again after four weeks, and keep the level of what was seen before', async () => {
    await withCopies();
    const { id } = await world.backup();
    await world.app.copies.runDue(NEVER);
    days(27);
    expect(await runDue()).toEqual([]);
    days(2);
    expect(await runDue()).toMatchObject([{ status: 'COMPLETED' }, { status: 'COMPLETED' }]);
    const { copies, verifiedAt, verificationLevel } = await world.app.backups.get(id);
    expect(copies.map((copy) => copy.verifiedAt)).toEqual([new Date(now), new Date(now)]);
    expect({ verifiedAt, verificationLevel }).toEqual({ verifiedAt: new Date(now), verificationLevel: 'ARCHIVE' });
    expect(await runDue()).toEqual([]);
    expect(await rows()).toMatchObject([
      { createdBy: 'system', level: 'CHECKSUM' },
      { createdBy: 'system', level: 'CHECKSUM' },
    ]);
  });

  it('that lost a bit are found by the schedule, and stand on the backup', async () => {
    const backup = await world.backup();
    await damage(backup.filePath);
    days(29);
    expect(await runDue()).toMatchObject([{ status: 'FAILED', errorCode: 'ARCHIVE_CORRUPT' }]);
    expect(await backup.reload()).toMatchObject({ verifiedAt: null, errorCode: 'ARCHIVE_CORRUPT' });
    expect(await runDue()).toEqual([]);
  });

  it('are read oldest first, within the budget of a day, and one that exceeds it alone', async () => {
    const made: BackupRow[] = [];
    for (let i = 0; i < 3; i += 1) {
      made.push(await world.backup());
      days(1);
    }
    days(40);
    const size = made[0]?.fileSize ?? 0;
    expect(await budget(0).runDue(NEVER)).toEqual([]);
    const read = async (bytes: number) => (await budget(bytes).runDue(NEVER)).map(({ backupId }) => backupId);
    expect(await read(size * 2.5)).toEqual([made[0]?.id, made[1]?.id]);
    expect(await read(size * 2.5)).toEqual([]);
    days(2);
    expect(await read(1)).toEqual([made[2]?.id]);
  });

  it('in a destination that does not answer are passed over, and the others are verified', async () => {
    const { memory, distant } = await withCopies();
    const backup = await world.backup();
    await world.app.copies.runDue(NEVER);
    days(29);
    const { stat } = memory;
    memory.stat = async () => {
      throw new AppError('STORAGE_UNAVAILABLE', 'It is away.');
    };
    expect(await runDue()).toMatchObject([{ backupId: backup.id, status: 'COMPLETED' }]);
    memory.stat = stat.bind(memory);
    expect(await runDue()).toMatchObject([{ backupId: backup.id, destinationId: distant.id }]);
  });

  it('are verified by one of several nodes, once', async () => {
    await world.backup();
    days(29);
    const other = await world.again({ now: () => new Date(now) });
    await Promise.all([runDue(), other.reverification.runDue(NEVER)]);
    expect(await rows()).toHaveLength(1);
  });

  it('whose verification is stale are a warning with the next step', async () => {
    const backup = await world.backup();
    days(34);
    const stale = async () => (await world.app.overview.read()).reasons.filter(({ code }) => code === 'PROOF_STALE');
    expect(await stale()).toEqual([]);
    days(2);
    expect(await stale()).toMatchObject([
      {
        level: 'WARNING',
        message: expect.stringContaining(`1 stored copy was not verified for 35 days, ${backup.filePath}`),
      },
    ]);
    await runDue();
    expect(await stale()).toEqual([]);
  });

  it('of damaged or unverified backups are left to their own warnings', async () => {
    const backup = await world.backup();
    await backup.update({ verifiedAt: null });
    days(40);
    expect(await runDue()).toEqual([]);
    await backup.update({ verifiedAt: backup.createdAt, damaged: true });
    expect(await runDue()).toEqual([]);
  });
});

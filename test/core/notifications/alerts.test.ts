import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { Transaction } from 'sequelize';
import { Audit } from '../../../src/core/audit.js';
import type { EndedRun } from '../../../src/core/environment.js';
import { Channels } from '../../../src/core/notifications/channels.js';
import { testNotice } from '../../../src/core/notifications/notices.js';
import { Outbox } from '../../../src/core/notifications/outbox.js';
import { notifyEnded } from '../../../src/core/notifications/runs.js';
import { look } from '../../../src/core/notifications/watch.js';
import { endRun } from '../../../src/core/runs/run.js';
import type { HealthCode, HealthReason } from '../../../src/core/status/health.js';
import type { Secrets } from '../../../src/core/secrets.js';
import { AppError, type ErrorCode } from '../../../src/errors.js';
import { createLog } from '../../../src/log.js';
import { type ChannelRow, type Models, NOTIFICATION_EVENTS, openModels } from '../../../src/models/index.js';
import { controlDatabases } from '../../support/control-databases.js';
import { addBackups } from '../../support/records.js';

const { databases, stop } = await controlDatabases();
afterAll(stop);

const NEVER = new AbortController().signal;
const HOUR = 3_600_000;
const START = new Date('2026-11-27T03:00:00Z').getTime();
const notifier = { beats: () => false };
const log = createLog('silent');

describe.each(databases)('Alerts on %s', (_title, missing, url) => {
  const itThere = missing === null ? it : it.skip;
  let models: Models;
  let time = START;
  const now = () => new Date(time);
  let reasons: HealthReason[] = [];
  let serial = 0;

  beforeAll(async () => {
    if (missing !== null) return;
    models = await openModels(url);
    const storage = { storageType: 'LOCAL' as const, storagePath: '/backups' };
    const schedule = { autoBackupEnabled: true, schedule: '0 2 * * *', timezone: 'UTC' };
    const keep = { backupRetentionDays: 30, maxBackupFiles: 30, restoreLockTimeout: 30, safetyRetentionDays: 7 };
    const rest = { ...storage, ...schedule, ...keep, createdAt: now(), updatedAt: now() };
    for (const name of ['Shop', 'Blog']) {
      const config = { engine: 'SQLITE' as const, databaseUrl: `sqlite:/${name}`, databaseKey: name, mediaPaths: [] };
      await models.BackupConfig.create({ name, ...config, ...rest });
    }
    const channel = { kind: 'WEBHOOK' as const, target: 'x', sealed: 'x', configIds: [], createdAt: now() };
    await models.Channel.create({ ...channel, name: 'all', events: [...NOTIFICATION_EVENTS] });
  });
  afterAll(() => models?.sequelize.close());
  afterEach(async () => {
    if (missing !== null) return;
    await models.Delivery.destroy({ where: {} });
    await models.Alert.destroy({ where: {} });
    reasons = [];
    time = START;
  });

  /** Ends a run of a backup, well or not. */
  async function end(code: ErrorCode | null, configId = 1, values: object = {}): Promise<string> {
    time += 1_000;
    serial += 1;
    const id = `backup_${serial}`;
    const place = { storageType: 'LOCAL' as const, storagePath: '/backups', fileName: id, filePath: `/backups/${id}` };
    const row = {
      id,
      configId,
      backupType: 'AUTO' as const,
      mode: 'FULL' as const,
      createdBy: 'test',
      createdAt: now(),
    };
    const status = code === null ? ('COMPLETED' as const) : ('FAILED' as const);
    const rest = { engine: 'SQLITE' as const, databaseName: 'x', fileSize: 1, note: null, status };
    await addBackups(models, [{ ...row, ...place, ...rest, ...values }]);
    const error = code === null ? null : new AppError(code, `It failed at postgres://u:hidden-word@h/${serial}.`);
    await models.sequelize.transaction((transaction) =>
      notifyEnded({ models, now, log, notifier }, { table: 'Backup', id, error }, transaction),
    );
    return id;
  }

  const watch = () => look({ models, now, timezone: 'UTC', overview: { read: async () => ({ reasons }) as never } });
  const reason = (code: HealthCode, configId: number | null = 1): HealthReason => ({
    ...{ level: 'CRITICAL', code, message: `It is ${code}.`, hint: 'Look.', configId },
  });

  /** What was written into the outbox, the events by their first letters; with the config. */
  async function told(): Promise<string[]> {
    const rows = await models.Delivery.findAll({ order: [['id', 'ASC']] });
    return rows.flatMap(({ content }) => ('notice' in content ? `${content.notice.title}` : []));
  }

  itThere.each<[string, (ErrorCode | null)[], string[]]>([
    ['fails three times for one cause', ['STORAGE_FULL', 'STORAGE_FULL', 'STORAGE_FULL'], ['Backup failed: Shop']],
    [
      'fails, works and fails again',
      ['STORAGE_FULL', null, 'STORAGE_FULL'],
      ['Backup failed: Shop', 'Recovered: Backup failed: Shop', 'Backup completed: Shop', 'Backup failed: Shop'],
    ],
    [
      'fails for two causes and works',
      ['STORAGE_FULL', 'DATABASE_NOT_FOUND', 'STORAGE_FULL', null],
      [
        'Backup failed: Shop',
        'Backup failed: Shop',
        'Recovered: Backup failed: Shop',
        'Recovered: Backup failed: Shop',
        'Backup completed: Shop',
      ],
    ],
    ['works twice', [null, null], ['Backup completed: Shop', 'Backup completed: Shop']],
  ])('tell once for each cause when a backup %s', async (_what, runs, expected) => {
    await end(null);
    await models.Delivery.destroy({ where: {} });
    for (const code of runs) await end(code);
    expect(await told()).toEqual(expected);
  });

  itThere('keep the configs apart, and say which backup was a first one', async () => {
    await models.Backup.destroy({ where: { configId: 2 } });
    await end('STORAGE_FULL', 1);
    await end('STORAGE_FULL', 2);
    await end(null, 2);
    expect(await told()).toEqual([
      'Backup failed: Shop',
      'Backup failed: Blog',
      'Recovered: Backup failed: Blog',
      'First backup completed: Blog',
      'Backup completed: Blog',
    ]);
  });

  itThere.each([
    ['of a restore', { backupType: 'SAFETY' }],
    ['that was uploaded', { backupType: 'UPLOADED' }],
    ['made of others', { consolidates: 'backup_0' }],
  ])('tell nothing of a backup %s', async (_what, values) => {
    await end(null, 1, values);
    await end('STORAGE_FULL', 1, values);
    expect(await told()).toEqual([]);
  });

  itThere('do not end with a backup of a damaged database', async () => {
    await end('STORAGE_FULL');
    await end(null, 1, { damaged: true });
    expect(await told()).toEqual(['Backup failed: Shop']);
  });

  itThere('mask passwords in what they say', async () => {
    await end('STORAGE_FULL');
    const [row] = await models.Delivery.findAll();
    expect(JSON.stringify(row?.content)).toContain('postgres://u:***@h');
    expect(JSON.stringify(await models.Alert.findAll())).not.toContain('hidden-word');
  });

  itThere('tell of what status finds once, remind after a day, and tell when it is over', async () => {
    reasons = [reason('OVERDUE'), reason('STORAGE_LOW', null), reason('NEVER_BACKED_UP'), reason('LAST_BACKUP_FAILED')];
    await watch();
    await watch();
    const first = ['Backup is late: Shop', 'Little space is left'];
    expect(await told()).toEqual(first);
    time += 25 * HOUR;
    await watch();
    await watch();
    const reminders = ['Still: Backup is late: Shop', 'Still: Little space is left'];
    expect((await told()).sort()).toEqual([...first, ...reminders].sort());
    reasons = [reason('STORAGE_LOW', null)];
    await watch();
    await watch();
    expect((await told()).slice(4)).toEqual(['Recovered: Backup is late: Shop']);
  });

  itThere('remind of a failed backup until one works, and not of one that a run has told of', async () => {
    await end('STORAGE_FULL');
    time += 25 * HOUR;
    await watch();
    expect(await told()).toEqual(['Backup failed: Shop', 'Still: Backup failed: Shop']);
    await end(null);
    time += 25 * HOUR;
    await watch();
    expect((await told()).slice(2)).toEqual(['Recovered: Backup failed: Shop', 'Backup completed: Shop']);
  });

  itThere('tell of several reasons with one cause in one message', async () => {
    reasons = [
      { ...reason('COPY_FAILED'), message: 'A copy is lost.' },
      { ...reason('COPY_FAILED'), message: 'Another one is lost.' },
    ];
    await watch();
    const [row] = await models.Delivery.findAll();
    expect(row?.content).toMatchObject({ notice: { message: 'A copy is lost. Another one is lost.' } });
    expect(await models.Delivery.count()).toBe(1);
  });

  itThere('tell of a second destination also while the first one is a known problem', async () => {
    const low = (destinationId: number) => ({ ...reason('STORAGE_LOW', null), destinationId });
    reasons = [low(1)];
    await watch();
    reasons = [low(1), low(2)];
    await watch();
    expect(await told()).toEqual(Array(2).fill('Little space is left'));
  });

  itThere('tell once of a disk that is full by turns, and of its end when that lasts', async () => {
    const minutes = async (count: number, isLow: boolean) => {
      time += count * 60_000;
      reasons = isLow ? [reason('STORAGE_LOW', null)] : [];
      await watch();
    };
    await minutes(0, true);
    for (let turn = 0; turn < 5; turn++) {
      await minutes(5, false);
      await minutes(5, false);
      await minutes(5, true);
    }
    expect(await told()).toEqual(['Little space is left']);
    for (const wait of [5, 10, 5, 5]) await minutes(wait, false);
    expect(await told()).toEqual(['Little space is left', 'Recovered: Little space is left']);
  });

  itThere('tell of an end only the channels that are told of such problems', async () => {
    const values = { kind: 'WEBHOOK' as const, target: 'x', sealed: 'x', configIds: [], createdAt: now() };
    const channel = await models.Channel.create({ ...values, name: 'other', events: ['DISK_LOW', 'RECOVERED'] });
    reasons = [reason('OVERDUE')];
    await watch();
    reasons = [];
    await watch();
    expect(await told()).toEqual(['Backup is late: Shop', 'Recovered: Backup is late: Shop']);
    await channel.destroy();
  });

  itThere('tell the other channels of one that fails, once it has failed for a while or for good', async () => {
    const values = { kind: 'WEBHOOK' as const, target: 'x', sealed: 'x', configIds: [], createdAt: now() };
    const dead = await models.Channel.create({ ...values, name: 'dead', events: [...NOTIFICATION_EVENTS] });
    const notice = { ...testNotice(now()), event: 'BACKUP_FAILED' as const };
    await models.Delivery.create({ channelId: dead.id, content: { notice }, nextTryAt: now(), createdAt: now() });
    reasons = [{ ...reason('CHANNEL_FAILED', null), channelId: dead.id }];
    await watch();
    expect(await models.Delivery.count({ where: { channelId: 1 } })).toBe(0);
    time += HOUR;
    await watch();
    await watch();
    expect(await models.Delivery.findAll({ where: { channelId: 1 } })).toMatchObject([
      { content: { notice: { event: 'CHANNEL_FAILED', path: '/notifications', channelId: dead.id } } },
    ]);
    reasons = [];
    await watch();
    time += HOUR;
    await watch();
    expect(await told()).toEqual(['Test message', 'Messages do not arrive', 'Recovered: Messages do not arrive']);
    expect(await models.Delivery.count({ where: { channelId: dead.id } })).toBe(1);
    await models.Delivery.destroy({ where: {} });
    await dead.update({ lostError: 'A message was given up.' });
    reasons = [{ ...reason('CHANNEL_FAILED', null), channelId: dead.id }];
    await watch();
    expect(await told()).toEqual(['Messages do not arrive']);
    await dead.destroy();
  });

  /** Ends a verification of a backup. */
  async function verify(backupId: string, code: ErrorCode | null, values: object = {}): Promise<void> {
    serial += 1;
    const id = `verification_${serial}`;
    const rest = { configId: 1, level: 'ARCHIVE' as const, destinationId: null, queued: false, bytes: 1 };
    const row = { id, backupId, ...rest, status: 'FAILED' as const, createdBy: 'test', createdAt: now(), ...values };
    await models.Verification.create(row);
    const run = { table: 'Verification' as const, id, error: code === null ? null : new AppError(code, 'It failed.') };
    await models.sequelize.transaction((transaction) => notifyEnded({ models, now, log, notifier }, run, transaction));
    await models.Verification.destroy({ where: { id } });
  }

  /** Two backups, of which nothing is told. */
  async function twoBackups(): Promise<[string, string]> {
    const ids: [string, string] = [await end(null), await end(null)];
    await models.Delivery.destroy({ where: {} });
    return ids;
  }
  const FAILED = 'Backup is not verified: Shop';

  itThere('tell of a failed verification once, whether its run or status finds it', async () => {
    const [backupId] = await twoBackups();
    await verify(backupId, 'ARCHIVE_CORRUPT');
    reasons = [{ ...reason('LAST_BACKUP_UNPROVEN'), backupId }];
    await watch();
    expect(await told()).toEqual([FAILED]);
    await verify(backupId, null);
    reasons = [];
    await watch();
    expect((await told()).slice(1)).toEqual([`Recovered: ${FAILED}`]);
  });

  itThere('of a failed verification hide no other problem of the same event', async () => {
    const [backupId, other] = await twoBackups();
    await verify(backupId, 'ARCHIVE_CORRUPT');
    reasons = [{ ...reason('LAST_BACKUP_UNPROVEN'), backupId: other }, reason('PROOF_STALE')];
    await watch();
    expect(await told()).toEqual([FAILED, FAILED, FAILED]);
  });

  itThere('of two damaged backups end each with a good verification of its own backup', async () => {
    const [one, two] = await twoBackups();
    await verify(one, 'ARCHIVE_CORRUPT');
    await verify(two, 'ARCHIVE_CORRUPT');
    await verify(await end(null), null);
    expect((await told()).filter((title) => title.endsWith(FAILED))).toEqual([FAILED, FAILED]);
    await verify(two, null);
    expect(await models.Alert.findAll()).toMatchObject([{ backupId: one }]);
  });

  itThere('of a failed drill end with a later drill of the config, and not with a verification', async () => {
    const [one, two] = await twoBackups();
    await verify(one, 'DRILL_FAILED', { level: 'DRILL' });
    await verify(two, 'DRILL_FAILED', { level: 'DRILL' });
    await verify(one, null);
    expect(await told()).toEqual([FAILED]);
    await verify(two, null, { level: 'DRILL' });
    expect(await told()).toEqual([FAILED, `Recovered: ${FAILED}`, 'Drill passed: Shop']);
  });

  itThere.each([
    ['a verification that was cancelled', 'CANCELLED', {}, 0],
    ['a scheduled verification of a backup in use', 'BUSY', { createdBy: 'system' }, 0],
    ['a scheduled verification that was interrupted', 'INTERRUPTED', { createdBy: 'system' }, 0],
    ['an interrupted verification that someone asked for', 'INTERRUPTED', {}, 1],
    ['a scheduled verification that finds damage', 'ARCHIVE_CORRUPT', { createdBy: 'system' }, 1],
  ] as const)('tell of %s (%s) only if it is a problem', async (_what, code, values, count) => {
    const [backupId] = await twoBackups();
    await verify(backupId, code, values);
    expect(await told()).toHaveLength(count);
  });

  itThere('tell nothing of backups and restores that were cancelled', async () => {
    const [backupId] = await twoBackups();
    await end('CANCELLED');
    const error = new AppError('CANCELLED', 'It was cancelled.');
    const target = { engine: 'SQLITE' as const, targetUrl: 'sqlite:/x', targetKey: 'x', lockTimeout: 30 };
    const what = { restoreDatabase: true, restoreMedia: false, tables: null, media: null, mediaTargets: [] };
    const rest = { status: 'FAILED' as const, mediaMode: 'MERGE' as const, createdBy: 'test', createdAt: now() };
    await models.Restore.create({ id: 'r1', backupId, configId: 1, ...target, ...what, ...rest });
    await models.sequelize.transaction((transaction) =>
      notifyEnded({ models, now, log, notifier }, { table: 'Restore', id: 'r1', error }, transaction),
    );
    expect(await told()).toEqual([]);
    await models.Restore.destroy({ where: {} });
  });

  itThere('end, and say so, once the backup of a failed verification is deleted', async () => {
    const [backupId] = await twoBackups();
    await verify(backupId, 'ARCHIVE_CORRUPT');
    await models.Backup.update({ status: 'DELETED' }, { where: { id: backupId } });
    await Promise.all([watch(), watch()]);
    expect(await told()).toEqual([FAILED, `Recovered: ${FAILED}`]);
    expect(await models.Alert.count()).toBe(0);
  });

  itThere('that cannot be written for a channel that was deleted just now undo no backup', async () => {
    const [id] = await twoBackups();
    await models.Backup.update({ status: 'RUNNING' }, { where: { id } });
    const gone = models.Channel.build({ ...((await models.Channel.findByPk(1))?.get() as ChannelRow), id: 999 });
    const found = jest.spyOn(models.Channel, 'findAll').mockResolvedValue([gone]);
    const onEnded = (run: EndedRun, transaction: Transaction) =>
      notifyEnded({ models, now, log, notifier }, run, transaction);
    const env = { models, now, onEnded } as unknown as Parameters<typeof endRun>[0];
    expect(await endRun(env, 'Backup', { id, status: 'RUNNING' }, null)).toBe(true);
    expect(found).toHaveBeenCalled();
    found.mockRestore();
    expect(await models.Backup.findByPk(id)).toMatchObject({ status: 'COMPLETED' });
    expect(await told()).toEqual([]);
  });

  itThere('tell one node only when two find the same at once', async () => {
    reasons = [reason('OVERDUE'), reason('OVERDUE', 2)];
    await Promise.all([watch(), watch(), watch()]);
    expect((await told()).sort()).toEqual(['Backup is late: Blog', 'Backup is late: Shop']);
    reasons = [];
    await Promise.all([watch(), watch(), watch()]);
    expect(await models.Delivery.count()).toBe(4);
  });

  itThere('wait in the outbox of a channel that fails, and not in those of others', async () => {
    const values = { kind: 'WEBHOOK' as const, target: 'x', sealed: 'broken', configIds: [], createdAt: now() };
    const broken = await models.Channel.create({ ...values, name: 'broken', events: ['BACKUP_FAILED'] });
    await end('STORAGE_FULL');
    await end('DATABASE_NOT_FOUND');
    const sent: string[] = [];
    const faulty = {
      ...{ beats: () => false, judge: () => ({ shown: 'x', reach: '' }) },
      async send({ target }: { target: string }, { id }: { id: string }) {
        if (target === 'broken') throw new AppError('NOTIFICATION_FAILED', 'It is broken.');
        sent.push(id);
        return null;
      },
    };
    const secrets = { open: async (sealed: string) => ({ target: sealed, secret: '' }) } as unknown as Secrets;
    const outbox = new Outbox({ models, log, now, notifier: faulty, secrets });
    await end('MEDIA_NOT_FOUND');
    await Promise.all([outbox.deliverDue(NEVER), outbox.deliverDue(NEVER)]);
    expect(sent).toHaveLength(3);
    const nextTryAt = new Date(time + 2_000);
    expect(await models.Delivery.findAll({ order: [['id', 'ASC']] })).toMatchObject([
      { channelId: broken.id, tries: 1, nextTryAt },
      { channelId: broken.id, tries: 1, nextTryAt },
      { channelId: broken.id, tries: 1, nextTryAt },
    ]);
    const audit = new Audit(models, now, log);
    const channels = new Channels({ models, audit, now, notifier: faulty, secrets, timezone: 'UTC' });
    expect(await channels.waiting()).toEqual(new Map([[broken.id, 3]]));
    await broken.destroy();
    expect(await models.Delivery.count()).toBe(0);
  });

  itThere('send a digest of each week once, with the problems of its configs', async () => {
    await models.Channel.update({ digestAt: now(), configIds: [1] }, { where: { id: 1 } });
    await models.Backup.destroy({ where: {} });
    await end(null);
    await end('STORAGE_FULL');
    await models.Delivery.destroy({ where: {} });
    reasons = [reason('OVERDUE'), reason('BACKUP_SUSPICIOUS', 2)];
    await Promise.all([watch(), watch()]);
    const rows = await models.Delivery.findAll();
    const digests = rows.flatMap(({ content }) =>
      'notice' in content && content.notice.event === 'WEEKLY_DIGEST' ? content.notice : [],
    );
    expect(digests).toHaveLength(1);
    expect(digests[0]?.message).toContain('Shop: 1 completed, 1 failed;');
    expect(digests[0]?.message).toContain('Problem: It is OVERDUE.');
    expect(digests[0]?.message).not.toMatch(/Blog|BACKUP_SUSPICIOUS/);
    const channel = await models.Channel.findByPk(1);
    expect(channel?.digestAt?.toISOString()).toBe('2026-11-30T08:00:00.000Z');
    await models.Channel.update({ digestAt: null, configIds: [] }, { where: { id: 1 } });
  });
});

import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { rename } from 'node:fs/promises';
import type { ChannelInput } from '../../../src/core/notifications/channels.js';
import { notifyEnded, notifyStarted } from '../../../src/core/notifications/runs.js';
import type { Notice } from '../../../src/core/ports.js';
import { AppError } from '../../../src/errors.js';
import { createLog } from '../../../src/log.js';
import { type MailServer, type Receiver, startMailServer, startReceiver } from '../../support/receivers.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

const SECOND = 1_000;
const DAY = 24 * 3_600 * SECOND;

let world: World;
let receiver: Receiver;
let mail: MailServer;
let time: number;
const now = () => new Date(time);
let logged: string;

beforeEach(async () => {
  time = Date.now();
  logged = '';
  receiver = await startReceiver();
  mail = await startMailServer();
  const stream = { write: (line: string) => void (logged += line) } as unknown as NodeJS.WritableStream;
  const env = { SMTP_URL: `smtp://127.0.0.1:${mail.port}`, PUBLIC_URL: 'https://backups.example.org/' };
  world = await createWorld({ now, env, log: createLog('debug', stream) });
});
afterEach(async () => {
  await world.close();
  await receiver.close();
  await mail.close();
});

const add = (input: Partial<ChannelInput> = {}) =>
  world.app.channels.create({ kind: 'WEBHOOK', target: `${receiver.url}/hook/the-path-token`, ...input }, 'test');
const deliver = () => world.app.notifications.outbox.deliverDue(NEVER);
const bodies = () => receiver.received.map(({ body }) => JSON.parse(body) as Notice & { id: string });

async function failBackup(): Promise<void> {
  await rename(world.database, `${world.database}.away`);
  expect(await world.backup()).toMatchObject({ status: 'FAILED' });
  await rename(`${world.database}.away`, world.database);
}

describe('A failed backup', () => {
  it('reaches mail and webhook with cause, next step and link, and so does its end', async () => {
    await add();
    await add({ kind: 'EMAIL', target: 'ops@example.org' });
    await failBackup();
    expect(await deliver()).toBe(0);
    await world.backup();
    await deliver();
    const [failed, recovered] = bodies();
    expect(failed).toMatchObject({ event: 'BACKUP_FAILED', title: 'Backup failed: App', level: 'PROBLEM' });
    expect(failed?.message).toContain('DATABASE_NOT_FOUND');
    expect(recovered).toMatchObject({ event: 'RECOVERED', cause: failed?.cause, level: 'GOOD' });
    expect(mail.mails.map(({ to }) => to)).toEqual([['ops@example.org'], ['ops@example.org']]);
    expect(mail.mails[0]?.text).toMatch(/What to do: .*[^]*https:\/\/backups\.example\.org\/backups\/backup_/);
    const rows = await world.app.channels.list();
    expect(rows.map(({ lastError, lastDeliveryAt }) => [lastError, lastDeliveryAt])).toEqual([
      [null, now()],
      [null, now()],
    ]);
  });

  it('is sent once to the addresses that the mail server takes, and the others are named', async () => {
    const { id } = await add({ kind: 'EMAIL', target: 'ops@example.org, gone@example.org' });
    mail.unknown = ['gone@example.org'];
    await failBackup();
    expect(await deliver()).toBe(0);
    expect(mail.mails.map(({ to }) => to)).toEqual([['ops@example.org']]);
    const lastError = 'The mail server refused 1 of 2 addresses: gone@example.org.';
    expect(await world.app.channels.get(id)).toMatchObject({ lastDeliveryAt: now(), lastError });
    expect(await world.app.channels.test(id, 'test', NEVER)).toMatchObject({ message: lastError });
    mail.unknown = [];
    expect(await world.app.channels.test(id, 'test', NEVER)).toBeNull();
    expect((await world.app.channels.get(id)).lastError).toBeNull();
  });

  it('reaches PagerDuty with a key that the same problem of another installation does not have', async () => {
    await add({ kind: 'PAGERDUTY', target: receiver.url, secret: 'key' });
    await failBackup();
    await world.backup();
    await deliver();
    const keys = receiver.received.map(({ body }) => (JSON.parse(body) as { dedup_key: string }).dedup_key);
    const [first] = await world.app.models.AuditEvent.findAll({ order: [['id', 'ASC']], limit: 1 });
    const key = `db-manager:${first?.hash?.slice(0, 16)}:BACKUP_FAILED:1:DATABASE_NOT_FOUND`;
    expect(keys).toEqual([key, key]);
    expect(key).toMatch(/^db-manager:[0-9a-f]{16}:/);
  });

  it('reaches only channels that chose its event and its config', async () => {
    await add({ name: 'successes', events: ['BACKUP_DONE'] });
    const other = await world.app.configs.create({ name: 'Other', databaseUrl: `sqlite:${world.database}2` }, 'test');
    await add({ name: 'other', configIds: [other.id] });
    const wanted = await add({ name: 'this one', configIds: [1], events: ['BACKUP_FAILED'] });
    await failBackup();
    const waiting = await world.app.models.Delivery.findAll();
    expect(waiting.map(({ channelId }) => channelId)).toEqual([wanted.id]);
  });

  it('is sent again with growing pauses, by another process too, with the same id', async () => {
    const { id } = await add();
    await failBackup();
    receiver.answer = 500;
    await deliver();
    await deliver();
    expect(receiver.received).toHaveLength(1);
    time += 2 * SECOND;
    const other = await world.again({ now });
    await other.notifications.outbox.deliverDue(NEVER);
    expect(receiver.received).toHaveLength(2);
    expect(await other.channels.get(id)).toMatchObject({ lastDeliveryAt: null });
    expect((await other.overview.read()).reasons).toContainEqual(
      expect.objectContaining({ code: 'CHANNEL_FAILED', level: 'WARNING' }),
    );
    receiver.answer = 200;
    await other.notifications.outbox.deliverDue(NEVER);
    expect(receiver.received).toHaveLength(2);
    time += 10 * SECOND;
    await other.notifications.outbox.deliverDue(NEVER);
    expect(new Set(bodies().map((body) => body.id)).size).toBe(1);
    expect(receiver.received).toHaveLength(3);
    expect(await world.app.channels.get(id)).toMatchObject({ lastError: null, lastDeliveryAt: now() });
    expect(await world.app.models.Delivery.count()).toBe(0);
  });

  it('arrives before its end, which was written while the channel did not answer', async () => {
    await add();
    await failBackup();
    receiver.answer = 500;
    await deliver();
    await world.backup();
    receiver.answer = 200;
    await deliver();
    expect(bodies().map(({ event }) => event)).toEqual(['BACKUP_FAILED', 'BACKUP_FAILED', 'RECOVERED']);
  });

  it('is sent by one process only when several deliver at once', async () => {
    await add();
    await failBackup();
    receiver.answer = (response) => void setTimeout(() => response.end(), 300);
    const other = await world.again({ now });
    await Promise.all([deliver(), other.notifications.outbox.deliverDue(NEVER)]);
    expect(receiver.received).toHaveLength(1);
  });

  it('is given up after three days, which log, channel and status say', async () => {
    const { id } = await add();
    await failBackup();
    receiver.answer = 500;
    time += 3 * DAY + SECOND;
    expect(await deliver()).toBe(0);
    expect(logged).toContain('a message was given up');
    expect((await world.app.channels.get(id)).lastError).toMatch(/^A message was given up after three days\. .*500/);
    expect((await world.app.overview.read()).reasons.map(({ code }) => code)).toContain('CHANNEL_FAILED');
  });

  it('is given up after five tries if it is refused for what it says, which stays visible', async () => {
    const { id } = await add({ events: ['BACKUP_FAILED', 'BACKUP_DONE'] });
    await failBackup();
    receiver.answer = 422;
    const waiting: number[] = [];
    for (let tries = 0; tries < 5; tries++) {
      waiting.push(await deliver());
      time += 60 * SECOND;
    }
    expect(waiting).toEqual([1, 1, 1, 1, 0]);
    receiver.answer = 200;
    await world.backup();
    expect(await deliver()).toBe(0);
    const lastError = expect.stringMatching(/^A message was given up after 5 tries\. .*422/);
    expect(await world.app.channels.get(id)).toMatchObject({ lastDeliveryAt: now(), lastError });
    await world.app.channels.update(id, { name: 'seen' }, 'test');
    expect(await world.app.channels.get(id)).toMatchObject({ lastError: null });
  });

  it('that is refused keeps no newer message from its channel', async () => {
    await add({ events: ['BACKUP_DONE'] });
    for (let count = 0; count < 3; count++) await world.backup();
    const answers = [403, 403, 200];
    receiver.answer = (response) => response.writeHead(answers.shift() ?? 200).end();
    expect(await deliver()).toBe(2);
  });

  it('waits in the outbox when the delivery is stopped, and counts as no failed try', async () => {
    await add();
    await failBackup();
    receiver.answer = 'hang';
    const stop = new AbortController();
    const delivering = world.app.notifications.outbox.deliverDue(stop.signal);
    setTimeout(() => stop.abort(new Error('stopped')), 100);
    await delivering;
    expect(await world.app.models.Delivery.findOne()).toMatchObject({ tries: 0 });
  });

  it('is delivered although the clock was ahead when its next try was worked out', async () => {
    await add();
    await failBackup();
    await world.app.models.Delivery.update({ nextTryAt: new Date(time + 400 * DAY) }, { where: {} });
    expect(await deliver()).toBe(0);
  });
});

describe('A heartbeat', () => {
  it('is sent at the start, the success and the failure of each backup of its config', async () => {
    await add({ kind: 'HEARTBEAT', target: `${receiver.url}/ping/uuid`, configIds: [1] });
    const row = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const run = world.app.backups.run(row.id, NEVER);
    while (receiver.received.length === 0) await deliver();
    await run;
    await deliver();
    await failBackup();
    await deliver();
    expect(receiver.received.map(({ path, body }) => path + body)).toEqual([
      '/ping/uuid/start',
      '/ping/uuid',
      '/ping/uuid/fail',
    ]);
  });

  it('of drills hears of those of its config, and of nothing else', async () => {
    await add({ kind: 'HEARTBEAT', target: `${receiver.url}/ping`, configIds: [1], events: ['DRILL_DONE'] });
    const { models, verifications } = world.app;
    const { id: backupId } = await world.backup();
    const drill = await verifications.create({ backupId, level: 'DRILL' }, 'test');
    await verifications.run(drill.id, NEVER);
    await deliver();
    const failing = await verifications.create({ backupId, level: 'DRILL' }, 'test');
    const log = createLog('silent');
    const run = { table: 'Verification' as const, id: failing.id, error: new AppError('DRILL_FAILED', 'It failed.') };
    const env = { models, now: () => new Date(time), log, notifier: { beats: () => true } };
    await models.sequelize.transaction((transaction) => notifyEnded(env, run, transaction));
    await deliver();
    expect(receiver.received.map(({ path }) => path)).toEqual(['/ping', '/ping/fail']);
    await failing.destroy();
  });

  it('that could not be sent gives way to the newest one', async () => {
    await add({ kind: 'UPTIME_KUMA', target: `${receiver.url}/api/push/t`, configIds: [1] });
    receiver.answer = 500;
    await failBackup();
    await deliver();
    receiver.answer = 200;
    await world.backup();
    await deliver();
    expect(receiver.received.map(({ path }) => /status=(\w+)/.exec(path)?.[1])).toEqual(['down', 'up']);
  });

  it('of an end is not replaced by the next start, and none is sent that is an hour old', async () => {
    await add({ kind: 'HEARTBEAT', target: `${receiver.url}/ping`, configIds: [1] });
    await failBackup();
    const { models } = world.app;
    const log = createLog('silent');
    const notifier = { beats: () => true };
    const [failed] = await models.Delivery.findAll();
    const start = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await notifyStarted({ models, now, log, notifier }, { table: 'Backup', id: start.id });
    await notifyStarted({ models, now, log, notifier }, { table: 'Backup', id: start.id });
    const waiting = await models.Delivery.findAll({ order: [['id', 'ASC']] });
    expect(waiting).toMatchObject([
      { id: failed?.id, content: { beat: { state: 'FAILED' } } },
      { content: { beat: { state: 'STARTED', runId: start.id } } },
    ]);
    time += 61 * 60 * SECOND;
    expect(await deliver()).toBe(0);
    expect(receiver.received).toEqual([]);
  });
});

describe('A channel', () => {
  it('keeps its target and secret sealed, and shows them nowhere', async () => {
    receiver.answer = 403;
    const { id } = await add({ secret: 'the-signing-key' });
    await failBackup();
    await deliver();
    await world.app.channels.test(id, 'test', NEVER);
    const { models } = world.app;
    const rows = [models.Channel, models.Delivery, models.Alert, models.AuditEvent].map((model) =>
      (model as typeof models.Channel).findAll(),
    );
    const shown = JSON.stringify(await Promise.all(rows)) + logged;
    expect(shown).toContain('127.0.0.1');
    expect(shown).not.toMatch(/the-path-token|the-signing-key/);
  });

  it('opens with the new key after the secrets key was replaced', async () => {
    const { id } = await add();
    await world.app.destinations.rotateKey('test');
    expect(await world.app.channels.test(id, 'test', NEVER)).toBeNull();
  });

  it('whose target was lost says so until it is given again', async () => {
    const { id } = await add();
    await world.app.models.Channel.update({ sealed: null }, { where: { id } });
    expect((await world.app.channels.test(id, 'test', NEVER))?.message).toMatch(
      /^The target of the channel .* was lost/,
    );
    await world.app.channels.update(id, { target: `${receiver.url}/again` }, 'test');
    expect(await world.app.channels.test(id, 'test', NEVER)).toBeNull();
  });

  it('sends what its template makes of a message, until that is taken away', async () => {
    const { id } = await add({ secret: 'a key', template: '{"key": "{{secret}}", "say": "{{title}}"}' });
    await world.app.channels.test(id, 'test', NEVER);
    expect(bodies()).toEqual([{ key: 'a key', say: 'Test message' }]);
    await world.app.channels.update(id, { template: '', secret: '' }, 'test');
    await world.app.channels.test(id, 'test', NEVER);
    expect(bodies()[1]).toMatchObject({ event: 'TEST' });
  });

  it('whose template begins to send the secret, or sends it to another page, needs it again', async () => {
    const { id } = await add({ secret: 'a key' });
    const change = (input: Partial<ChannelInput>) => world.app.channels.update(id, input, 'test');
    const template = '{"key": "{{secret}}"}';
    await expect(change({ template })).rejects.toThrow('leads the secret elsewhere');
    const hidden = '{"key": "\\u007b{\\u0073ecret}}"}';
    await expect(change({ template: hidden })).rejects.toThrow('leads the secret elsewhere');
    await change({ template, secret: 'a key' });
    await expect(change({ target: `${receiver.url}/other` })).rejects.toThrow('leads the secret elsewhere');
    await change({ name: 'a new name' });
  });

  it('says whether a test message arrived', async () => {
    const { id } = await add();
    expect(await world.app.channels.test(id, 'test', NEVER)).toBeNull();
    expect(bodies()).toMatchObject([{ event: 'TEST', level: 'INFO' }]);
    receiver.answer = 404;
    expect(await world.app.channels.test(id, 'test', NEVER)).toMatchObject({ code: 'NOTIFICATION_FAILED' });
    expect((await world.app.channels.get(id)).lastError).toContain('404');
  });

  it.each<[string, Partial<ChannelInput>, string]>([
    ['no event', { events: [] }, 'events: names none'],
    ['an unknown config', { configIds: [99] }, 'configIds: there is no config 99'],
    ['a heartbeat for all configs', { kind: 'HEARTBEAT' }, 'configIds: must name exactly one config'],
    [
      'events for a heartbeat',
      { kind: 'HEARTBEAT', configIds: [1], events: ['BACKUP_FAILED'] },
      'events: of a heartbeat',
    ],
    ['a template that is no JSON', { template: '{title}' }, 'template: is not JSON'],
    ['a template with an unknown name', { template: '["{{titel}}"]' }, 'template: names {{titel}}'],
    ['a template for Gotify', { kind: 'GOTIFY', secret: 'x', template: '{}' }, 'template: is not for GOTIFY'],
    ['a name of spaces', { name: '  ' }, 'name: must have 1 to 200 characters'],
    ['a taken name', { name: 'taken' }, 'name: is the name of another channel'],
    ['a very long target', { target: `https://example.org/${'x'.repeat(5_000)}` }, 'target: has more than'],
  ])('is refused with %s', async (_title, input, message) => {
    await add({ name: 'taken' });
    await expect(add(input)).rejects.toThrow(message);
  });

  it('that leads to another machine needs its secret again', async () => {
    const { id } = await add({ secret: 'the-signing-key' });
    const target = 'https://example.org/hook';
    await expect(world.app.channels.update(id, { target }, 'test')).rejects.toThrow(
      'target: or template leads the secret elsewhere',
    );
    const changed = await world.app.channels.update(id, { target, secret: 'x' }, 'test');
    expect(changed.target).toBe('https://example.org/…');
    await world.app.channels.update(id, { name: 'renamed' }, 'test');
    await expect(world.app.channels.update(id, { kind: 'SLACK' }, 'test')).rejects.toThrow('kind: is WEBHOOK');
  });

  it('for one config stays so when that config is deleted', async () => {
    const other = await world.app.configs.create({ name: 'Other', databaseUrl: `sqlite:${world.database}2` }, 'test');
    const { id } = await add({ configIds: [other.id] });
    await world.app.configs.remove(other.id, 'test');
    await world.app.channels.update(id, { name: 'renamed' }, 'test');
    await failBackup();
    expect(await world.app.models.Delivery.count()).toBe(0);
  });

  it('of the environment is made once, whatever is deleted later', async () => {
    expect(await world.app.channels.ensureFirst('a,b@example.org', 'system')).toBeInstanceOf(Error);
    const made = await world.app.channels.ensureFirst('ops@example.org', 'system');
    expect(made).toMatchObject({ kind: 'EMAIL', target: 'ops@example.org' });
    await world.app.channels.remove((await world.app.channels.list())[0]?.id ?? 0, 'test');
    expect(await world.app.channels.ensureFirst('ops@example.org', 'system')).toBeNull();
  });

  it('takes the messages that wait for it along when it is deleted', async () => {
    const { id } = await add();
    await failBackup();
    await world.app.channels.remove(id, 'test');
    expect(await world.app.models.Delivery.count()).toBe(0);
    await expect(world.app.channels.test(id, 'test', NEVER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('A worker', () => {
  it('delivers and stops while a look never ends, and begins no second one', async () => {
    await add();
    await failBackup();
    let answer: (found: never) => void = () => undefined;
    const never = () => new Promise<never>((resolve) => void (answer = resolve));
    const read = jest.spyOn(world.app.overview, 'read').mockImplementation(never);
    world.app.notifications.start();
    while (receiver.received.length < 1) await new Promise((resolve) => setTimeout(resolve, 20));
    const looking = world.app.notifications.look();
    await world.app.notifications.stop();
    expect(read).toHaveBeenCalledTimes(1);
    answer({ reasons: [] } as never);
    await looking;
  });

  it('delivers what waits from its start on, and what a command could not in time', async () => {
    await add();
    await failBackup();
    receiver.answer = 500;
    await world.app.notifications.flush(NEVER, 1_900);
    receiver.answer = 200;
    time += 2 * SECOND;
    world.app.notifications.start();
    while (receiver.received.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    await world.app.notifications.stop();
    expect(bodies().at(-1)).toMatchObject({ event: 'BACKUP_FAILED' });
  });
});

import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EXIT_CODES } from '../../src/exit-codes.js';
import { type Receiver, startReceiver } from '../support/receivers.js';
import { createWorld, type World } from '../support/world.js';
import { type Running, start, translate } from './command.js';

let world: World;
let program: string;
let receiver: Receiver;
const started: Running[] = [];
beforeAll(async () => {
  world = await createWorld();
  receiver = await startReceiver();
  program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
});
afterEach(async () => {
  for (const { child, ended } of started.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
  receiver.answer = 200;
  receiver.received.length = 0;
});
afterAll(async () => {
  await world.close();
  await receiver.close();
});

function launch(args: string[], input?: string): Running {
  const running = start([program, ...args], {
    cwd: world.folder,
    env: { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', LEASE_SECONDS: '5', LOG_LEVEL: 'silent' },
    ...(input === undefined ? {} : { input }),
  });
  started.push(running);
  return running;
}

async function run(args: string[], input?: string) {
  const { code, stdout } = await launch([...args, '--json'], input).ended;
  return { code, document: JSON.parse(stdout) as Record<string, never> };
}

const heard = async (count: number) => {
  while (receiver.received.length < count) await sleep(20);
};

describe('The commands of channels', () => {
  it('add, list, edit, test and remove a channel, whose target no one sees', async () => {
    const file = join(world.folder, 'hook.txt');
    await writeFile(file, `${receiver.url}/hook/path-token\n`);
    const secret = ['--secret-file', '-'];
    const added = await run(
      ['channels', 'add', 'webhook', '--name', 'Ops', '--target-file', file, ...secret],
      'a key\n',
    );
    expect(added).toMatchObject({ code: 0, document: { channel: { name: 'Ops', kind: 'WEBHOOK' }, error: null } });
    expect(receiver.received[0]).toMatchObject({ path: '/hook/path-token' });
    expect(receiver.received[0]?.headers['x-db-manager-signature']).toMatch(/^t=\d+,v1=[0-9a-f]{64}$/);
    const edited = await run(['channels', 'edit', 'Ops', '--event', 'backup-failed', '--config', '1']);
    expect(edited.document).toMatchObject({ channel: { events: ['BACKUP_FAILED'], configIds: [1] } });
    receiver.answer = 500;
    const failed = await run(['channels', 'test', 'Ops']);
    expect(failed).toMatchObject({
      code: EXIT_CODES.NOTIFICATION_FAILED,
      document: { error: { code: 'NOTIFICATION_FAILED' } },
    });
    const list = await run(['channels', 'list']);
    expect(list.document).toMatchObject({ channels: [{ name: 'Ops', waiting: 0 }] });
    expect(JSON.stringify([added, edited, failed, list])).not.toMatch(/path-token|a key/);
    expect(await run(['channels', 'remove', 'Ops'])).toMatchObject({ code: 0 });
    const empty = await launch(['channels', 'list']).ended;
    expect(empty.stdout).toContain('nobody is told');
  });

  it('refuse a URL that holds a secret as an argument', async () => {
    const { code, document } = await run(['channels', 'add', 'slack', 'https://hooks.slack.com/services/T/B/x']);
    expect(code).toBe(EXIT_CODES.BAD_USER_INPUT);
    expect(document).toMatchObject({ error: { field: 'target' } });
  });
});

describe('A failed backup', () => {
  it('of a command is told of before the command ends', async () => {
    const { id } = await world.app.channels.create({ kind: 'WEBHOOK', target: `${receiver.url}/hook` }, 'test');
    await rename(world.database, `${world.database}.away`);
    const { code } = await run(['backup']);
    expect(code).toBe(EXIT_CODES.DATABASE_NOT_FOUND);
    expect(receiver.received.map(({ headers }) => headers['x-db-manager-event'])).toEqual(['BACKUP_FAILED']);
    await rename(`${world.database}.away`, world.database);
    await world.app.channels.remove(id, 'test');
    await world.app.models.Alert.destroy({ where: {} });
  });

  it('reaches its channel although two tries fail and the worker is killed between', async () => {
    await world.app.channels.create({ kind: 'WEBHOOK', target: `${receiver.url}/hook` }, 'test');
    await rename(world.database, `${world.database}.away`);
    await world.app.backups.request({ backupType: 'MANUAL', configId: 1 }, 'test');
    receiver.answer = 500;
    const killed = launch(['worker']);
    await heard(2);
    killed.child.kill('SIGKILL');
    await killed.ended;
    receiver.answer = 200;
    const next = launch(['worker']);
    await heard(3);
    while ((await world.app.models.Delivery.count()) > 0) await sleep(20);
    next.child.kill('SIGTERM');
    await next.ended;
    const ids = receiver.received.map(({ headers }) => headers['x-db-manager-delivery']);
    expect(new Set(ids).size).toBe(1);
    expect(JSON.parse(receiver.received[2]?.body ?? '')).toMatchObject({ event: 'BACKUP_FAILED', level: 'PROBLEM' });
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createApp } from '../../../src/app.js';
import { makeChain } from '../../support/chain.js';
import { createWorld, filesIn, NEVER, type World } from '../../support/world.js';

const HOUR = 3_600_000;
let now: Date;
let world: World;
beforeEach(async () => {
  now = new Date();
  world = await createWorld({ env: { DELETION_DELAY_HOURS: '24' }, now: () => now });
});
afterEach(() => world.close());

const later = (hours: number) => (now = new Date(now.getTime() + hours * HOUR));
const get = (id: string) => world.app.backups.get(id);
const cleanUp = () => world.app.cleanup.tryAll('system');
const actions = async (subject: string) =>
  (await world.app.models.AuditEvent.findAll({ where: { subject }, order: ['id'] })).map(({ action }) => action);
const planned = async () =>
  (await world.app.models.Backup.findAll({ order: ['createdAt'] }))
    .filter(({ deleteAfter }) => deleteAfter)
    .map(({ id }) => id);
async function backup(): Promise<string> {
  later(1);
  return (await world.backup()).id;
}

describe('A backup that is deleted by hand', () => {
  it('waits, can be restored until then, and is deleted once the time is over', async () => {
    const id = await backup();
    await world.app.backups.remove([id], 'ada');
    const due = new Date(now.getTime() + 24 * HOUR);
    expect(await get(id)).toMatchObject({ status: 'COMPLETED', deleteAfter: due, deletedBy: 'ada', deletedAt: null });
    const { notices } = await world.app.overview.read();
    expect(notices).toContainEqual(expect.objectContaining({ code: 'DELETION_PLANNED', level: 'OK' }));
    later(23);
    await cleanUp();
    expect(await world.restore({ backupId: id })).toMatchObject({ status: 'COMPLETED' });
    later(1);
    await cleanUp();
    expect(await get(id)).toMatchObject({ status: 'DELETED', deletedBy: 'ada', deletedAt: now, deleteAfter: null });
    expect(await actions(id)).toEqual(['backup.create', 'backup.delete-later', 'backup.delete']);
    const { fileName } = await get(id);
    expect(await filesIn(world.backups)).not.toContain(fileName);
  });

  it('is taken back by keeping or pinning it, and a second deletion does not put it off', async () => {
    const [one, two] = [await backup(), await backup()];
    await world.app.backups.remove([one, two], 'ada');
    const { deleteAfter } = await get(one);
    later(1);
    await world.app.backups.remove([one], 'bob');
    expect(await get(one)).toMatchObject({ deleteAfter, deletedBy: 'ada' });
    expect(await world.app.backups.keep(one, 'bob')).toMatchObject({ deleteAfter: null, deletedBy: null });
    expect(await world.app.backups.pin(two, true, 'bob')).toMatchObject({ deleteAfter: null, deleteReason: null });
    await expect(world.app.backups.keep(one, 'bob')).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'id' });
    later(48);
    await cleanUp();
    expect([(await get(one)).status, (await get(two)).status]).toEqual(['COMPLETED', 'COMPLETED']);
  });

  it('goes at once where nothing is to wait any more, also one that waits', async () => {
    const id = await backup();
    await world.app.backups.remove([id], 'ada');
    const app = await createApp({ ...world.app.environment, deletionDelayMs: 0 }, { now: () => now });
    await app.backups.remove([id], 'ada');
    await app.close(0);
    expect(await get(id)).toMatchObject({ status: 'DELETED', deleteAfter: null });
  });

  it('is announced to the channels that want to know', async () => {
    const { models, channels } = world.app;
    const input = { name: 'Ops', kind: 'WEBHOOK' as const, target: 'https://example.org/x' };
    await channels.create({ ...input, events: ['DELETION_PLANNED'] }, 'ada');
    const ids = [await backup(), await backup()];
    await world.app.backups.remove(ids, 'ada');
    const contents = (await models.Delivery.findAll()).map(({ content }) => JSON.stringify(content));
    expect(contents).toHaveLength(1);
    for (const text of [...ids, 'ada', 'DELETION_PLANNED']) expect(contents[0]).toContain(text);
  });
});

describe('A backup that a policy deletes', () => {
  beforeEach(() => world.app.configs.update(1, { maxBackupFiles: 1 }, 'test'));

  it('waits and counts as gone, so that no other one goes in its place', async () => {
    const [first, second, third] = [await backup(), await backup(), await backup()];
    await cleanUp();
    expect(await planned()).toEqual([first, second]);
    const { items } = await world.app.cleanup.plan(await world.app.configs.get(1));
    expect(items.map(({ id, keep }) => [id, keep])).toEqual([[third, true]]);
    later(24);
    await cleanUp();
    expect(await get(first)).toMatchObject({ status: 'DELETED', deletedBy: 'system' });
    expect((await get(second)).status).toBe('DELETED');
    expect((await get(third)).status).toBe('COMPLETED');
  });

  it('goes in the end when a person deletes it, too, whatever the policy comes to want', async () => {
    const [old, young] = [await backup(), await backup()];
    await cleanUp();
    await world.app.backups.remove([old, young], 'ada');
    expect(await get(old)).toMatchObject({ deletedBy: 'ada', deleteByPolicy: false });
    later(24);
    await cleanUp();
    expect((await get(old)).status).toBe('DELETED');
  });

  it('is taken back when it has become the newest verified one in the meantime', async () => {
    const [old, young] = [await backup(), await backup()];
    await cleanUp();
    expect(await planned()).toEqual([old]);
    await world.app.backups.remove([young], 'ada');
    later(24);
    await cleanUp();
    expect(await get(young)).toMatchObject({ status: 'DELETED' });
    expect(await get(old)).toMatchObject({ status: 'COMPLETED', deleteAfter: null });
    expect(await actions(old)).toContain('backup.keep');
  });
});

describe('A chain of backups', () => {
  it('that waits goes at once where nothing is to wait any more', async () => {
    const { rows } = await makeChain(world);
    // The last one is a full backup again.
    const ids = rows.slice(0, 3).map(({ id }) => id);
    const [full = ''] = ids;
    await world.app.backups.remove([full], 'ada', undefined, true);
    const app = await createApp({ ...world.app.environment, deletionDelayMs: 0 }, { now: () => now });
    await app.backups.remove([full], 'ada', undefined, true);
    await app.close(0);
    expect(await Promise.all(ids.map(async (id) => (await get(id)).status))).toEqual(ids.map(() => 'DELETED'));
  });

  it('keeps one that waits when something that stays builds on it by then', async () => {
    const { rows } = await makeChain(world);
    const [, first = '', second = ''] = rows.map(({ id }) => id);
    await world.app.backups.remove([first, second], 'ada');
    // As if a run that had begun on it before had ended since.
    await world.app.models.Backup.update({ deleteAfter: null }, { where: { id: second } });
    later(24);
    await cleanUp();
    await cleanUp();
    expect(await planned()).toEqual([]);
    expect((await get(first)).status).toBe('COMPLETED');
    expect((await actions(first)).filter((action) => /keep|failed/.test(action))).toHaveLength(2);
  });

  it('waits and is taken back as far as it is needed, and nothing builds on what waits', async () => {
    const { rows } = await makeChain(world);
    const [full, first, second, third] = rows.map(({ id }) => id) as [string, string, string, string];
    await expect(world.app.backups.remove([full], 'ada')).rejects.toMatchObject({ code: 'BACKUP_NEEDED' });
    await world.app.backups.remove([full, third], 'ada', undefined, true);
    expect((await planned()).sort()).toEqual([full, first, second, third].sort());
    expect((await world.backup()).mode).toBe('FULL');
    await world.app.backups.keep(first, 'bob');
    expect((await planned()).sort()).toEqual([second, third].sort());
    later(24);
    await cleanUp();
    expect([(await get(second)).status, (await get(third)).status]).toEqual(['DELETED', 'DELETED']);
    const { id } = await world.app.verifications.create({ backupId: first, level: 'CONTENT' }, 'test');
    await world.app.verifications.run(id, NEVER);
    expect((await world.app.verifications.get(id)).status).toBe('COMPLETED');
  });
});

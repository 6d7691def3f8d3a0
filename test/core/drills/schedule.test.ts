import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { BackupRow } from '../../../src/models/index.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

let world: World;
let now: Date;
beforeEach(async () => {
  now = new Date('2025-06-01T00:00:00Z');
  world = await createWorld({ now: () => now });
  await world.app.configs.update(1, { drillSchedule: 'daily' }, 'test');
});
afterEach(() => world.close());

const at = (text: string) => (now = new Date(text));
const nextDrillAt = async () => (await world.app.configs.get(1)).nextDrillAt;
const drills = () => world.app.models.Verification.findAll({ where: { level: 'DRILL' }, order: ['createdAt', 'id'] });
const reasons = async () =>
  (await world.app.overview.read()).reasons.filter(({ code }) => code.startsWith('DRILL_')).map(({ code }) => code);
const drill = async ({ id: backupId }: BackupRow) => {
  const { id } = await world.app.verifications.create({ backupId, level: 'DRILL' }, 'test');
  await world.app.verifications.run(id, NEVER);
};
const stateOf = async () => (await world.app.overview.configs())[0]?.drill;

describe('The drill schedule of a config', () => {
  it('drills the newest good backup when it is due, once for all nodes', async () => {
    await world.backup();
    at('2025-06-01T01:00:00Z');
    const newest = await world.backup();
    at('2025-06-01T01:30:00Z');
    await (await world.backup()).update({ verifiedAt: null });
    at('2025-06-01T01:59:59Z');
    expect(await world.app.scheduler.takeDrills(true)).toEqual([]);
    at('2025-06-01T02:00:01Z');
    const nodes = [world.app, await world.again({ now: () => now })];
    const taken = await Promise.all([...nodes, ...nodes].map((node) => node.scheduler.takeDrills(true)));
    expect(taken.flat()).toMatchObject([{ backupId: newest.id, level: 'DRILL', createdBy: 'system', queued: true }]);
    expect(await nextDrillAt()).toEqual(new Date('2025-06-02T02:00:00Z'));
    const [row] = await drills();
    await world.app.verifications.run(row?.id ?? '', NEVER);
    expect(await row?.reload()).toMatchObject({ status: 'COMPLETED' });
    expect((await newest.reload()).verificationLevel).toBe('DRILL');
  });

  it('makes up for all that was missed by one drill', async () => {
    await world.backup();
    at('2025-06-09T12:00:00Z');
    expect(await world.app.scheduler.takeDrills(true)).toHaveLength(1);
    expect(await nextDrillAt()).toEqual(new Date('2025-06-10T02:00:00Z'));
  });

  it('stays due, and becomes overdue, while a drill of it has not ended', async () => {
    await world.backup();
    at('2025-06-09T12:00:00Z');
    const [first] = await world.app.scheduler.takeDrills(true);
    at('2025-06-10T12:00:00Z');
    expect(await world.app.scheduler.takeDrills(true)).toEqual([]);
    expect(await nextDrillAt()).toEqual(new Date('2025-06-10T02:00:00Z'));
    expect(await reasons()).toEqual(['DRILL_OVERDUE']);
    await world.app.verifications.run(first?.id ?? '', NEVER);
    expect(await world.app.scheduler.takeDrills(true)).toHaveLength(1);
    expect(await nextDrillAt()).toEqual(new Date('2025-06-11T02:00:00Z'));
    expect(await reasons()).toEqual([]);
  });

  it('stays due, and becomes overdue, while there is no good backup', async () => {
    await (await world.backup()).update({ verifiedAt: null });
    at('2025-06-02T12:00:00Z');
    expect(await world.app.scheduler.takeDrills(true)).toEqual([]);
    expect(await nextDrillAt()).toEqual(new Date('2025-06-01T02:00:00Z'));
    expect(await reasons()).toEqual(['DRILL_OVERDUE']);
    const { id } = await world.backup();
    expect(await world.app.scheduler.takeDrills(true)).toMatchObject([{ backupId: id }]);
  });

  it('follows the time zone, and ends when it is taken away', async () => {
    await world.app.configs.update(1, { timezone: 'Asia/Kolkata' }, 'test');
    expect(await nextDrillAt()).toEqual(new Date('2025-06-01T20:30:00Z'));
    await world.app.configs.update(1, { drillSchedule: null }, 'test');
    expect(await nextDrillAt()).toBeNull();
  });

  it('is refused, and named, if it is no schedule', async () => {
    const save = world.app.configs.update(1, { drillSchedule: 'now and then' }, 'test');
    await expect(save).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'drillSchedule' });
    await expect(save).rejects.toThrow('drillSchedule: "now and then" does not have five fields.');
  });

  it('is refused where only people hold the keys of its backups, whichever is set last', async () => {
    const { configs, keys } = world.app;
    const { key: ours } = await keys.create({ name: 'Ours', generate: true, keepHere: true }, 'test');
    const { key: theirs } = await keys.create({ name: 'Theirs', generate: true }, 'test');
    const save = (change: object) => configs.update(1, change, 'test');
    const refused = { code: 'BAD_USER_INPUT', field: 'drillSchedule' };
    await expect(save({ encryptionKeyIds: [theirs.id] })).rejects.toMatchObject(refused);
    await save({ encryptionKeyIds: [theirs.id, ours.id] });
    await save({ encryptionKeyIds: [theirs.id], drillSchedule: null });
    await expect(save({ drillSchedule: 'daily' })).rejects.toMatchObject(refused);
    await expect(configs.preview(1, { drillSchedule: 'daily' })).rejects.toMatchObject(refused);
    const other = { name: 'New', databaseUrl: `sqlite:${world.database}`, drillSchedule: 'daily' };
    await expect(configs.create({ ...other, encryptionKeyIds: [theirs.id] }, 'test')).rejects.toMatchObject(refused);
    expect(await save({ name: 'Renamed' })).toMatchObject({ name: 'Renamed', drillSchedule: null });
  });

  it('comes back from a time that was worked out while the clock was ahead', async () => {
    await world.app.models.BackupConfig.update({ nextDrillAt: new Date('2027-01-01') }, { where: { id: 1 } });
    await world.app.scheduler.realign();
    expect(await nextDrillAt()).toEqual(new Date('2025-06-01T02:00:00Z'));
  });
});

describe('The status', () => {
  it('says that a drill is late, once that is more than two hours', async () => {
    at('2025-06-01T03:59:00Z');
    expect(await reasons()).toEqual([]);
    at('2025-06-01T04:01:00Z');
    expect(await reasons()).toEqual(['DRILL_OVERDUE']);
  });

  it('says that the newest drill failed until a later one passes; a cancelled one says nothing', async () => {
    const backup = await world.backup();
    const { BackupConfig, Verification } = world.app.models;
    const broken = { name: 'No one', sql: 'SELECT id FROM account', expect: 'EMPTY' as const, value: null };
    await BackupConfig.update({ invariants: [broken] }, { where: { id: 1 } });
    await drill(backup);
    expect(await reasons()).toEqual(['DRILL_FAILED']);
    const cancelled = { id: 'verify_20250602_000000_00000000', status: 'FAILED' as const, errorCode: 'CANCELLED' };
    const values = { backupId: backup.id, configId: 1, level: 'DRILL' as const, destinationId: null, queued: false };
    const createdAt = new Date('2025-06-02T00:00:00Z');
    await Verification.create({ ...values, ...cancelled, bytes: 0, createdBy: 'test', createdAt });
    expect(await reasons()).toEqual(['DRILL_FAILED']);
    at('2025-06-01T00:30:00Z');
    await BackupConfig.update({ invariants: [] }, { where: { id: 1 } });
    await drill(backup);
    expect(await reasons()).toEqual([]);
  });

  it.each(['INTERRUPTED', 'BUSY'])(
    'takes a drill that ended as %s for none: the one before counts, and it is overdue',
    async (errorCode) => {
      const backup = await world.backup();
      const { BackupConfig, Verification } = world.app.models;
      const broken = { name: 'No one', sql: 'SELECT id FROM account', expect: 'EMPTY' as const, value: null };
      await BackupConfig.update({ invariants: [broken] }, { where: { id: 1 } });
      await drill(backup);
      at('2025-06-01T02:00:01Z');
      const [due] = await world.app.scheduler.takeDrills(true);
      expect(await reasons()).toEqual(['DRILL_FAILED']);
      await Verification.update({ status: 'FAILED', errorCode }, { where: { id: due?.id ?? '' } });
      at('2025-06-01T03:59:00Z');
      expect(await reasons()).toEqual(['DRILL_FAILED']);
      at('2025-06-01T04:01:00Z');
      expect(await reasons()).toEqual(['DRILL_FAILED', 'DRILL_OVERDUE']);
      await BackupConfig.update({ invariants: [] }, { where: { id: 1 } });
      await drill(backup);
      expect(await reasons()).toEqual([]);
    },
  );

  it('tells how old the restored state is, and forecasts a restore by the bytes of the newest', async () => {
    expect(await stateOf()).toBeNull();
    const backup = await world.backup();
    at('2025-06-01T01:00:00Z');
    await drill(backup);
    const [row] = await drills();
    await row?.update({ restoreSeconds: 10 });
    const known = { passedAt: now, stateAt: backup.createdAt, restoreSeconds: 10 };
    expect(await stateOf()).toEqual({ ...known, forecastSeconds: 10 });
    at('2025-06-01T01:30:00Z');
    const newer = await world.backup();
    const { facts } = await backup.reload();
    if (facts === null) throw new Error('The backup was not measured.');
    await newer.update({
      facts: { ...facts, mediaBytes: facts.mediaBytes * 2 + facts.databaseBytes + facts.freeBytes },
    });
    const state = await stateOf();
    expect(state?.forecastSeconds).toBeCloseTo(20, 5);
    expect(state).toMatchObject(known);
  });
});

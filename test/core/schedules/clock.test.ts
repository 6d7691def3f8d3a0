import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { databaseLease, Hold, runLease } from '../../../src/core/runs/hold.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

const HOURS = 2 * 3_600_000;

let world: World;
beforeEach(async () => (world = await createWorld()));
afterEach(async () => {
  jest.restoreAllMocks();
  await world.close();
});

/** What the leases look like to everyone once the clock was put forward (or, negative, back) by so much. */
const jump = (ms: number) =>
  world.app.models.sequelize.query(`UPDATE leases SET "expiresAt" = "expiresAt" - ${ms} WHERE name NOT LIKE 'due:%'`);

const env = () => ({ models: world.app.models, log: world.app.log, leaseMs: 60_000 });

describe('When the clock jumps', () => {
  it.each([
    ['forward', HOURS],
    ['back', -HOURS],
  ])('%s in the middle of a backup, the backup completes', async (_way, ms) => {
    const { app } = world;
    const row = await app.backups.create({ backupType: 'MANUAL' }, 'test');
    const original = app.models.Backup.update.bind(app.models.Backup);
    let jumped = false;
    jest.spyOn(app.models.Backup, 'update').mockImplementation((async (values: { phase?: string }, options: never) => {
      const result = await original(values as never, options);
      if (values.phase === 'archive' && !jumped) {
        jumped = true;
        await jump(ms);
        // The same process looks for dead runs before it has renewed.
        await app.backups.recover();
      }
      return result;
    }) as never);
    await app.backups.run(row.id, NEVER);
    expect(jumped).toBe(true);
    expect(await row.reload()).toMatchObject({ status: 'COMPLETED', errorCode: null });
  });

  it('forward, another process that sees it too takes nothing over before the holder has renewed', async () => {
    const other = await world.again();
    const hold = await Hold.take(env(), [runLease('x'), databaseLease('y')]);
    if (!(hold instanceof Hold)) throw new Error('busy');
    await jump(HOURS);
    const at = Date.now();
    jest.spyOn(Date, 'now').mockImplementation(() => at + HOURS);
    expect(await other.models.leases.acquire(runLease('x'), 'thief', 60_000)).toBe(false);
    expect(await other.models.leases.holderOf(runLease('x'))).toBe(hold.holder);
    expect(await hold.confirm()).toBe(true);
    await hold.release();
    expect(await other.models.leases.acquire(runLease('x'), 'thief', 60_000)).toBe(true);
  });

  it('back, a lease of a process that died while the clock was ahead blocks no one', async () => {
    const { leases } = world.app.models;
    await leases.acquire('x', 'dead', 60_000);
    await jump(-HOURS);
    expect(await leases.holderOf('x')).toBeNull();
    expect(await leases.liveNames('x')).toEqual([]);
    expect(await leases.acquire('x', 'next', 60_000)).toBe(true);
    // Neither does one of a version that did not note the lifetime.
    await world.app.models.sequelize.query(`UPDATE leases SET lifetime = NULL, "expiresAt" = "expiresAt" + ${HOURS}`);
    expect(await leases.acquire('x', 'last', 60_000)).toBe(true);
  });

  it('the leases of a process that is gone still lapse', async () => {
    const { leases } = world.app.models;
    await leases.acquire('x', 'dead', 300);
    expect(await leases.acquire('x', 'next', 300)).toBe(false);
    await sleep(400);
    expect(await leases.acquire('x', 'next', 300)).toBe(true);
  });

  it('back, a job that was added while it was ahead does not keep its run waiting', async () => {
    const { app } = world;
    const row = await app.backups.create({ backupType: 'MANUAL' }, 'test');
    const jobs = await app.connectQueue();
    await jobs.add({ name: 'run-backup', backupId: row.id });
    await app.models.sequelize.query(`UPDATE jobs SET next_run_at = next_run_at + ${HOURS}`);
    await app.startWork();
    while ((await row.reload()).status === 'PENDING') await sleep(50);
    expect(await app.models.Backup.count()).toBe(1);
  });
});

describe('A hold', () => {
  it('that lapsed and that no one took is renewed; one that was taken is lost', async () => {
    const hold = await Hold.take(env(), ['x', 'y']);
    if (!(hold instanceof Hold)) throw new Error('busy');
    await jump(HOURS);
    expect(await hold.confirm()).toBe(true);
    const other = await world.again();
    await jump(HOURS);
    expect(await other.models.leases.acquire('y', 'thief', 60_000)).toBe(true);
    expect(await hold.confirm()).toBe(false);
    expect(hold.lost.reason).toMatchObject({ code: 'INTERRUPTED' });
    await hold.release();
    expect(await other.models.leases.holderOf('y')).toBe('thief');
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { BackupRow } from '../../../src/models/index.js';
import { all, exec } from '../../support/sqlite.js';
import { createWorld, type World } from '../../support/world.js';

/** Customers that orders refer to: the loss of most of them is no small thing even at first. */
const SHOP = `CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT);
  CREATE TABLE sale (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer (id));
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  INSERT INTO customer SELECT i, 'customer ' || i FROM n;`;

describe('A backup that is unlike those before it', () => {
  let world: World;
  beforeEach(async () => {
    world = await createWorld();
    await exec(world.database, SHOP);
  });
  afterEach(() => world.close());

  const emptied = async (): Promise<[good: BackupRow, bad: BackupRow]> => {
    const good = await world.backup();
    await exec(world.database, 'DELETE FROM customer');
    return [good, await world.backup()];
  };
  const configId = async () => (await world.app.configs.list())[0]?.id ?? 0;
  const audited = async (action: string) =>
    (await world.app.models.AuditEvent.findAll({ where: { action } })).map(({ actor, subject }) => [actor, subject]);

  it('is kept and shown with what was lost, and the next one is compared with the state before', async () => {
    const [good, bad] = await emptied();
    expect(good.anomalies).toEqual([]);
    expect(bad).toMatchObject({ status: 'COMPLETED', suspicious: true });
    expect(bad.anomalies).toMatchObject([{ code: 'TABLE_EMPTIED', table: 'customer', before: 400, after: 0 }]);
    expect(bad.anomalies[0]?.message).toContain(good.id);
    const next = await world.backup();
    expect(next.anomalies[0]?.message).toContain(good.id);
    expect(await audited('backup.suspicious')).toEqual([
      ['system', bad.id],
      ['system', next.id],
    ]);
  });

  it('stops the clean-up of its config until it is acknowledged', async () => {
    const id = await configId();
    await world.app.configs.update(id, { maxBackupFiles: 1 }, 'test');
    const [good, bad] = await emptied();
    const stopped = await world.app.cleanup.run(id, 'test');
    expect(stopped.items.map(({ keep, reasons }) => [keep, reasons[0]?.code])).toEqual([
      [true, 'ANOMALY'],
      [true, 'ANOMALY'],
    ]);
    expect((await good.reload()).status).toBe('COMPLETED');
    await world.app.backups.acknowledge(bad.id, 'someone');
    await world.app.cleanup.run(id, 'test');
    expect((await good.reload()).status).toBe('DELETED');
    expect(await audited('backup.acknowledge')).toEqual([['someone', bad.id]]);
  });

  it('makes the state critical, and is no proven backup, until it is acknowledged', async () => {
    const [good, bad] = await emptied();
    const reasons = async () =>
      (await world.app.overview.read()).reasons.filter(({ code }) => code === 'BACKUP_SUSPICIOUS');
    expect(await reasons()).toMatchObject([{ level: 'CRITICAL', configId: await configId() }]);
    const [reason] = await reasons();
    expect(reason?.message).toContain('Table "customer" is empty');
    expect(reason?.hint).toContain(`db-manager acknowledge ${bad.id}`);
    expect((await world.app.overview.configs())[0]?.lastProvenAt).toEqual(good.createdAt);
    await world.app.backups.acknowledge(bad.id, 'someone');
    expect(await reasons()).toEqual([]);
    expect((await world.app.overview.configs())[0]?.lastProvenAt).toEqual(bad.createdAt);
  });

  it('takes older suspicious ones with it once acknowledged, and is normal from then on', async () => {
    const [, bad] = await emptied();
    const second = await world.backup();
    await world.app.backups.acknowledge(second.id, 'someone');
    expect((await bad.reload()).suspicious).toBe(false);
    expect((await world.backup()).anomalies).toEqual([]);
  });

  it('can be acknowledged once, and not where there is nothing to acknowledge or it is deleted', async () => {
    const [good, bad] = await emptied();
    const { anomaliesAcknowledgedAt } = await world.app.backups.acknowledge(bad.id, 'someone');
    const again = await world.app.backups.acknowledge(bad.id, 'other');
    expect(again.anomaliesAcknowledgedAt).toEqual(anomaliesAcknowledgedAt);
    await expect(world.app.backups.acknowledge(good.id, 'someone')).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    await world.app.backups.remove([bad.id], 'someone');
    await expect(world.app.backups.acknowledge(bad.id, 'someone')).rejects.toMatchObject({ code: 'BACKUP_DELETED' });
  });

  it('is deleted by hand, and the clean-up goes on', async () => {
    const [, bad] = await emptied();
    await world.app.backups.remove([bad.id], 'someone');
    const plan = await world.app.cleanup.run(await configId(), 'test');
    expect(plan.items.flatMap(({ reasons }) => reasons.map(({ code }) => code))).toEqual(['NEWEST_VERIFIED']);
  });

  it('is compared with what was restored, where someone has brought an older state back', async () => {
    await exec(world.database, 'DELETE FROM customer');
    const early = await world.backup();
    await exec(world.database, SHOP.slice(SHOP.indexOf('WITH')));
    await world.backup();
    const restored = await world.restore({ backupId: early.id });
    expect(restored.status).toBe('COMPLETED');
    expect(await all(world.database, 'SELECT * FROM customer')).toEqual([]);
    expect((await world.backup()).anomalies).toEqual([]);
  });

  it('warns the plan of its restore, and restores like any other', async () => {
    const [, bad] = await emptied();
    const plan = await world.app.restores.plan({ backupId: bad.id, confirm: true });
    expect(plan.warnings.join()).toContain('The backup is suspicious: Table "customer" is empty');
    expect(plan.allowed).toBe(true);
  });

  it('is built on by the next incremental one', async () => {
    await world.app.configs.update(await configId(), { incremental: true }, 'test');
    const [, bad] = await emptied();
    const next = await world.backup();
    expect(bad.suspicious).toBe(true);
    expect(next).toMatchObject({ mode: 'INCREMENTAL', parentArchiveId: bad.archiveId, suspicious: true });
  });

  it('learns what is normal from the rows of an older version, which kept no facts', async () => {
    const good = await world.backup();
    await world.app.models.Backup.update({ facts: null, normal: null }, { where: { id: good.id } });
    await exec(world.database, 'DELETE FROM customer');
    expect((await world.backup()).anomalies).toMatchObject([{ code: 'TABLE_EMPTIED', table: 'customer' }]);
  });

  it('leaves what the history teaches with the newest good one alone', async () => {
    const first = await world.backup();
    const second = await world.backup();
    const normals = await world.app.models.Backup.unscoped().findAll({ attributes: ['id', 'normal'] });
    expect(normals.filter(({ normal }) => normal !== null).map(({ id }) => id)).toEqual([second.id]);
    expect(first.id).not.toBe(second.id);
  });

  it('compares no media after the media folders of the config have changed', async () => {
    await world.backup();
    await world.app.configs.update(await configId(), { mediaPaths: [] }, 'test');
    expect((await world.backup()).anomalies).toEqual([]);
  });
});

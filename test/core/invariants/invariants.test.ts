import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import type { BackupRow, Invariant } from '../../../src/models/index.js';
import { exec } from '../../support/sqlite.js';
import { createWorld, filesIn, NEVER, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const ACCOUNTS: Invariant = {
  name: 'Accounts',
  sql: 'SELECT count(*) FROM account',
  expect: 'NOT_LESS_THAN_BEFORE',
  value: null,
};
const RICH: Invariant = { name: 'Rich', sql: 'SELECT id FROM account WHERE id < 0', expect: 'EMPTY', value: null };

const save = (...invariants: Invariant[]) => world.app.configs.update(1, { invariants }, 'test');
const codes = ({ anomalies }: BackupRow) => anomalies.map(({ code }) => code);
const metadataOf = async ({ id }: BackupRow) =>
  (await (await world.app.backups.open(id)).stored.archive(NEVER)).metadata;

describe('The invariants of a config', () => {
  it('are asked in the snapshot of each backup, and travel with its archive', async () => {
    await save(ACCOUNTS, RICH);
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', suspicious: false, warnings: [] });
    expect(row.invariants).toEqual([
      { ...ACCOUNTS, actual: '50', before: null, holds: true, message: expect.stringContaining('is 50') },
      { ...RICH, actual: null, before: null, holds: true, message: expect.any(String) },
    ]);
    expect((await metadataOf(row)).invariants).toEqual(row.invariants);
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });

  it('that break make the backup suspicious and never fail it', async () => {
    await save(ACCOUNTS, RICH);
    await world.backup();
    await exec(world.database, 'DELETE FROM account WHERE id = (SELECT max(id) FROM account)');
    await exec(world.database, 'UPDATE account SET id = -1 WHERE id = (SELECT max(id) FROM account)');
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', suspicious: true });
    expect(codes(row)).toEqual(['INVARIANT_BROKEN', 'INVARIANT_BROKEN']);
    expect(row.warnings).toEqual([
      'Invariant "Accounts" is 49, and was 50 before: it must not become less.',
      'Invariant "Rich" must give no row, and gave: -1.',
    ]);
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: false });
    const told = 'The state of the backup broke an invariant when it was made: "Accounts" is 49';
    expect(plan.warnings.join('\n')).toContain(told);
  });

  it('that were broken and acknowledged stay a warning, and stop no clean-up again', async () => {
    const never: Invariant = { ...ACCOUNTS, name: 'None', expect: 'AT_MOST', value: '0' };
    await save(ACCOUNTS, never);
    const first = await world.backup();
    expect(codes(first)).toEqual(['INVARIANT_BROKEN']);
    await world.app.backups.acknowledge(first.id, 'boss');
    const second = await world.backup();
    expect(second).toMatchObject({ suspicious: false, anomalies: [] });
    expect(second.warnings).toEqual(['Invariant "None" is 50, and must be at most 0.']);
  });

  it('that cannot be asked, or that write, break and change nothing', async () => {
    const asked = (name: string, sql: string): Invariant => ({ name, sql, expect: 'EMPTY', value: null });
    await save(
      asked('Gone', 'SELECT * FROM no_such_table'),
      asked('Writes', 'DELETE FROM account'),
      asked('Two', 'SELECT 1 WHERE 0; DELETE FROM account'),
    );
    const row = await world.backup();
    expect(row.invariants.map(({ holds }) => holds)).toEqual([false, false, false]);
    for (const { message } of row.invariants) expect(message).toMatch(/could not be checked: /);
    expect(row.tables.find(({ name }) => name === 'account')?.rows).toBe(50);
  });

  it('are asked of an incremental backup as of a full one', async () => {
    await save(ACCOUNTS);
    await world.app.configs.update(1, { incremental: true }, 'test');
    await world.backup();
    await exec(world.database, 'DELETE FROM account WHERE id = (SELECT max(id) FROM account)');
    const row = await world.backup();
    expect(row.mode).toBe('INCREMENTAL');
    expect(codes(row)).toContain('INVARIANT_BROKEN');
    expect((await metadataOf(row)).invariants).toMatchObject([{ actual: '49', before: '50', holds: false }]);
  });

  it('are asked again by a verification of the content', async () => {
    await save(ACCOUNTS);
    const { id: backupId } = await world.backup();
    const { verifications } = world.app;
    for (const level of ['ARCHIVE', 'CONTENT'] as const) {
      const { id } = await verifications.create({ backupId, level }, 'test');
      await verifications.run(id, NEVER);
      const row = await verifications.get(id);
      expect(row).toMatchObject({ status: 'COMPLETED', warnings: [] });
      expect(row.invariants).toMatchObject(
        level === 'ARCHIVE' ? [] : [{ name: 'Accounts', actual: '50', holds: true }],
      );
    }
  });

  it('are asked after a restore, which they warn of and never undo', async () => {
    const { id: backupId } = await world.backup();
    await save(ACCOUNTS, { ...ACCOUNTS, name: 'Few', expect: 'AT_MOST', value: '10' });
    await exec(world.database, 'DELETE FROM account');
    const row = await world.restore({ backupId });
    expect(row).toMatchObject({ status: 'COMPLETED' });
    expect(row.warnings).toEqual(['After the restore: Invariant "Few" is 50, and must be at most 10.']);
    const elsewhere = await world.restore({ backupId, targetDatabaseUrl: `sqlite:${join(world.folder, 'copy.db')}` });
    expect(elsewhere).toMatchObject({ status: 'COMPLETED' });
    expect(elsewhere.warnings.join()).not.toContain('Invariant');
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });

  it('are tried out when they are saved, and one that cannot be answered is refused', async () => {
    const { configTests, configs } = world.app;
    const saving = (sql: string) => configTests.update(1, { invariants: [{ ...ACCOUNTS, sql }] }, false, 'test', NEVER);
    for (const sql of ['DELETE FROM account', 'SELECT id FROM account', 'SELECT 1, 2', 'SELECT * FROM nothing']) {
      await expect(saving(sql)).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
        field: 'invariants',
        message: expect.stringContaining('"Accounts" could not be checked'),
      });
    }
    expect((await configs.get(1)).invariants).toEqual([]);
    await saving(ACCOUNTS.sql);
    expect((await configs.get(1)).invariants).toEqual([ACCOUNTS]);
    const broken = { ...ACCOUNTS, expect: 'AT_MOST' as const, value: '1' };
    const test = await configTests.connection({ invariants: [broken] }, 1, NEVER);
    expect(test).toMatchObject({ ok: true, invariants: [{ actual: '50', holds: false }] });
    expect(test.warnings).toContain('Invariant "Accounts" is 50, and must be at most 1.');
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });
});

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { RetentionPlan } from '../../../src/core/retention/cleanup.js';
import type { BackupRow } from '../../../src/models/index.js';
import { contentHash, exec } from '../../support/sqlite.js';
import { createWorld, filesIn, NEVER, readTree, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
  await exec(
    world.database,
    `CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
     SELECT i, hex(randomblob(200)) AS text FROM n`,
  );
  await world.app.configs.update(1, { incremental: true, maxBackupFiles: 1 }, 'test');
});
afterEach(() => world.close());

const present = async () => ({ content: await contentHash(world.database), media: await readTree(world.media) });
type State = Awaited<ReturnType<typeof present>>;

/** A full backup and incremental ones, each with a part of the rows written anew. */
async function chainOf(length: number, part = 0.3): Promise<{ rows: BackupRow[]; states: State[] }> {
  const [rows, states] = [[] as BackupRow[], [] as State[]];
  for (let step = 0; step < length; step++) {
    if (step > 0) {
      await exec(world.database, `UPDATE filler SET text = hex(randomblob(200)) WHERE i <= ${1000 * part}`);
      await writeFile(join(world.media, `step ${step}.txt`), `step ${step}`);
    }
    states.push(await present());
    rows.push(await world.backup());
  }
  return { rows, states };
}

const plan = async () => world.app.cleanup.plan(await world.app.configs.get(1));
const codes = ({ items }: RetentionPlan) =>
  Object.fromEntries(items.map(({ id, reasons }) => [id, reasons.map(({ code }) => code)]));
const stored = async () =>
  (await world.app.models.Backup.findAll({ where: { status: 'COMPLETED' }, order: [['startedAt', 'ASC']] })).map(
    ({ id }) => id,
  );

async function expectState(id: string, state: State | undefined): Promise<void> {
  const row = await world.restore({ backupId: id, mediaMode: 'MIRROR' });
  expect(row).toMatchObject({ status: 'COMPLETED' });
  expect(await present()).toEqual(state);
}

describe('The clean-up of a chain that is kept for its newest members', () => {
  it('consolidates the oldest one that a rule keeps, then deletes what nothing needs', async () => {
    const { rows, states } = await chainOf(5);
    const [base, first, second, third, fourth] = rows.map(({ id }) => id) as [string, string, string, string, string];
    await world.app.configs.update(1, { maxBackupFiles: 2 }, 'test');
    const shown = await plan();
    expect(codes(shown)).toEqual({
      [base]: ['NEEDED'],
      [first]: ['NEEDED'],
      [second]: ['NEEDED'],
      [third]: ['WITHIN_LIMITS', 'CONSOLIDATE'],
      [fourth]: ['NEWEST_VERIFIED'],
    });
    expect(shown.items.filter(({ consolidate }) => consolidate).map(({ id }) => id)).toEqual([third]);
    expect(shown.items.find(({ id }) => id === third)?.reasons[1]?.text).toMatch(/the 3 older backups .*can go/);
    const done = await world.app.cleanup.run(1, 'test', { hash: shown.hash });
    expect(done.items.flatMap(({ error }) => error ?? [])).toEqual([]);
    expect(codes(done)).toMatchObject({ [third]: ['CONSOLIDATED'], [base]: ['TOO_MANY'] });
    const left = await stored();
    expect(left).toEqual([fourth, expect.not.stringMatching(third)]);
    expect(await filesIn(world.backups)).toHaveLength(2);
    await expectState(fourth, states[4]);
    await expectState(left[1] ?? '', states[3]);
    expect((await plan()).deleteCount).toBe(0);
  });

  it('leaves it where that frees no more than it writes', async () => {
    const { rows } = await chainOf(3, 0.01);
    const shown = await plan();
    expect(shown.items.some(({ consolidate }) => consolidate)).toBe(false);
    await world.app.cleanup.run(1, 'test');
    expect(await stored()).toEqual(rows.map(({ id }) => id));
  });

  it('leaves it where no key that is held here opens it, and says so', async () => {
    const { key } = await world.app.keys.create({ name: 'Away', generate: true }, 'test');
    await world.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
    const { rows } = await chainOf(4);
    const shown = await plan();
    expect(codes(shown)[rows[3]?.id ?? '']).toEqual(['NEWEST_VERIFIED', 'CONSOLIDATE_NO_KEY']);
    expect((await world.app.cleanup.run(1, 'test')).items.flatMap(({ error }) => error ?? [])).toEqual([]);
    expect(await stored()).toEqual(rows.map(({ id }) => id));
  });

  it('deletes nothing of it where the consolidation fails, and shows why', async () => {
    const { rows } = await chainOf(4);
    const { storages } = world.app;
    const open = storages.open.bind(storages);
    storages.open = (address) => Object.assign(open(address), { put: () => Promise.reject(new Error('EIO')) });
    const done = await world.app.cleanup.run(1, 'test');
    expect(done.items.flatMap(({ id, error }) => (error === null ? [] : [id]))).toEqual([rows[3]?.id]);
    expect(await stored()).toEqual(rows.map(({ id }) => id));
    const failed = await world.app.models.Backup.findOne({ where: { status: 'FAILED' } });
    expect(failed).toMatchObject({ consolidates: rows[3]?.id, errorCode: expect.any(String) });
    const trail = await world.app.models.AuditEvent.findOne({ where: { action: 'cleanup.failed' } });
    expect(trail).toMatchObject({ subject: rows[3]?.id });
  });

  it('deletes nothing of it before the full backup lies wherever the incremental one does', async () => {
    const path = join(world.folder, 'elsewhere');
    await mkdir(path);
    const input = { name: 'Elsewhere', storageType: 'SYSTEM' as const, values: { path } };
    const { id: elsewhere } = await world.app.destinations.create(input, 'test', NEVER);
    const { rows, states } = await chainOf(4);
    const newest = rows[3]?.id ?? '';
    await world.app.copies.request(newest, elsewhere, 'test');
    await world.app.copies.runDue(NEVER);
    const first = await world.app.cleanup.run(1, 'test');
    const full = (await stored()).at(-1) ?? '';
    expect(codes(first)).toMatchObject({ [newest]: ['NEWEST_VERIFIED'], [full]: ['TOO_FEW_COPIES'] });
    expect(await stored()).toEqual([...rows.map(({ id }) => id), full]);
    await world.app.copies.runDue(NEVER);
    await world.app.cleanup.run(1, 'test');
    expect(await stored()).toEqual([full]);
    await expectState(full, states[3]);
  });

  it('hands the pin of the incremental backup over, and then lets that go', async () => {
    const { rows, states } = await chainOf(4);
    const pinned = rows[2]?.id ?? '';
    await world.app.backups.pin(pinned, true, 'somebody');
    await world.app.cleanup.run(1, 'test');
    await world.app.cleanup.run(1, 'test');
    expect(await world.app.backups.get(pinned)).toMatchObject({ status: 'DELETED' });
    const full = await world.app.models.Backup.findOne({ where: { consolidates: pinned, status: 'COMPLETED' } });
    expect(full).toMatchObject({ pinned: true, pinnedBy: 'somebody', mode: 'FULL' });
    await expectState(full?.id ?? '', states[2]);
  });

  it('keeps an incremental one that was pinned after it was consolidated', async () => {
    const { rows } = await chainOf(2);
    const member = rows[1]?.id ?? '';
    const { id } = await world.app.backups.createConsolidation(member, 'test', NEVER);
    await world.app.backups.run(id, NEVER);
    await world.app.backups.pin(member, true, 'somebody');
    await world.app.cleanup.run(1, 'test');
    expect(await stored()).toContain(member);
    expect(await world.app.backups.get(member)).toMatchObject({ pinned: true });
  });
});

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { QueryTypes } from 'sequelize';
import { type Models, openModels } from '../../src/models/index.js';
import { stepNames } from '../../src/models/migrations.js';
import { KEPT_TABLES, loadRecords, portableRecords } from '../../src/models/portable.js';
import { controlDatabases } from '../support/control-databases.js';
import { createWorld, NEVER, type World } from '../support/world.js';

const { databases, stop } = await controlDatabases();
let world: World;
beforeAll(async () => {
  world = await createWorld();
  const { app } = world;
  const { key } = await app.keys.create({ name: 'Words', passphrase: 'a long enough passphrase' }, 'test');
  await app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
  const user = { email: 'you@example.org', passwordHash: 'x', role: 'ADMIN' as const, createdAt: new Date() };
  await app.models.User.create(user);
  const backup = await world.backup();
  const restore = await world.restore({ backupId: backup.id });
  const undo = await app.restores.createUndo(restore.id, 'test');
  await app.restores.run(undo.id, NEVER);
  await app.verifications.verify(backup.id, 'ARCHIVE', 'test', NEVER);
});
afterAll(async () => {
  await world.close();
  await stop();
});

const lines = async (models: Models) => {
  const found: string[] = [];
  for await (const line of portableRecords(models)) found.push(line);
  return found;
};

async function* given(texts: string[]) {
  yield* texts;
}

/** A row without the columns that steps after the 26th have added. */
/** Columns of later steps. */
const LATER = ['invariants', 'repair', 'drillCommand', 'drillSchedule', 'nextDrillAt', 'deleteAfter', 'deleteByPolicy'];
const withoutLater = async (_table: string, row: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(row).filter(([name]) => !LATER.includes(name)));
const asItIs = async (_table: string, row: Record<string, unknown>) => row;

describe.each(databases)('The records of a control database, loaded into %s', (_title, missing, url) => {
  const itThere = missing === null ? it : it.skip;
  let models: Models;
  beforeAll(async () => {
    if (missing === null) models = await openModels(url);
  });
  afterAll(() => models?.sequelize.close());
  afterEach(async () => {
    if (missing === null) await loadRecords(models.sequelize, stepNames(), given(['{"rows":0}']), asItIs);
  });

  itThere('are the same, and new rows get numbers of their own', async () => {
    const before = await lines(world.app.models);
    expect(before.length).toBeGreaterThan(20);
    await loadRecords(models.sequelize, stepNames(), given(before), asItIs);
    expect(await lines(models)).toEqual(before);
    const { id } = await models.Destination.create({ storageType: 'SYSTEM', storagePath: '/srv/new' });
    expect(id).toBe(2);
    const config = await models.BackupConfig.findByPk(1, { rejectOnEmpty: true });
    expect(config).toMatchObject({ mediaPaths: [world.media], name: 'App' });
  });

  itThere('are brought to the present version when they are of an older one', async () => {
    const old = stepNames().filter((name) => name < '0016');
    const row = { id: 1, email: 'you@example.org', passwordHash: 'x', role: 'ADMIN', tokenVersion: 1 };
    const text = [
      { table: 'users', dates: ['createdAt'], json: [] },
      { row: { ...row, createdAt: '2026-01-01T00:00:00.000Z' } },
      { rows: 1 },
    ].map((line) => JSON.stringify(line));
    await loadRecords(models.sequelize, old, given(text), asItIs);
    expect(await models.User.count()).toBe(1);
    expect(await models.EncryptionKey.count()).toBe(0);
  });

  itThere('call the level CONTENT that was called DRILL before version 26 of the schema', async () => {
    const old = stepNames().filter((name) => name < '0026');
    const found = await lines(world.app.models);
    // The tables of a later step came with it.
    const from = found.findIndex((line) => line.includes('"table":"verifications"'));
    const to = found.findIndex((line) => line.includes('"table":"audit_events"'));
    const kept = [...found.slice(0, from), ...found.slice(to, -1)];
    const former = kept.map((line) => line.replace('"verificationLevel":"ARCHIVE"', '"verificationLevel":"DRILL"'));
    const rows = former.filter((line) => line.startsWith('{"row"')).length;
    expect(former.filter((line) => line.includes('"DRILL"')).length).toBeGreaterThan(0);
    await loadRecords(models.sequelize, old, given([...former, JSON.stringify({ rows })]), withoutLater);
    expect(await models.Backup.count({ where: { verificationLevel: 'CONTENT' } })).toBeGreaterThan(0);
    expect((await lines(models)).some((line) => line.includes('"DRILL"'))).toBe(false);
  });

  itThere('leave what was there when they are cut off, of a newer version, or of another table', async () => {
    await models.Destination.create({ storageType: 'SYSTEM', storagePath: '/srv/kept' });
    const before = await lines(world.app.models);
    const load = (texts: string[], steps = stepNames()) => loadRecords(models.sequelize, steps, given(texts), asItIs);
    const failed = { code: 'CONTROL_DATABASE_FAILED' };
    await expect(load(before.slice(0, -1))).rejects.toMatchObject(failed);
    await expect(load(before.filter((_line, index) => index !== before.length - 3))).rejects.toMatchObject(failed);
    await expect(load(before, [...stepNames(), '9999-future'])).rejects.toMatchObject(failed);
    await expect(load(['{"table":"leases","dates":[],"json":[]}', ...before])).rejects.toMatchObject(failed);
    await expect(load(['no JSON'])).rejects.toMatchObject(failed);
    expect(await models.Destination.count()).toBe(1);
  });
});

describe('Every table of the control database', () => {
  it('is kept in its backup, or of the moment', async () => {
    const tables = await world.app.models.sequelize.query<{ name: string }>(
      `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`,
      { type: QueryTypes.SELECT },
    );
    const moment = ['alerts', 'api_tokens', 'db_manager_migrations', 'deliveries', 'jobs', 'leases', 'login_limits'];
    expect(tables.map(({ name }) => name)).toEqual([...KEPT_TABLES, ...moment].sort());
  });
});

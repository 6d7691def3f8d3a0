import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type App, createApp } from '../../../src/app.js';
import { loadEnvironment } from '../../../src/environment.js';
import { ensureFirstConfig } from '../../../src/first-start.js';
import { configFromBackup, importArchive } from '../../../src/core/backups/recover.js';
import { contentHash, exec } from '../../support/sqlite.js';
import { createWorld, NEVER, readTree, type World, writeTree } from '../../support/world.js';

let world: World;
let archive: string;
let before: { database: string; media: Record<string, string> };
/** Another machine, on which nothing is but the archive. */
let machine: string;
let fresh: App;
beforeEach(async () => {
  world = await createWorld();
  await exec(world.database, `INSERT INTO account VALUES (9001, 'someone', 5)`).catch(() => undefined);
  const row = await world.backup();
  before = { database: await contentHash(world.database), media: await readTree(world.media) };
  machine = await realpath(await mkdtemp(join(tmpdir(), 'machine-')));
  archive = join(machine, row.fileName);
  await writeFile(archive, await readFile(row.filePath));
  // The machine is lost with all that was on it.
  await rm(join(world.folder, 'app'), { recursive: true });
  fresh = await open({});
});
afterEach(async () => {
  await fresh.close(0);
  await world.close();
  await rm(machine, { recursive: true, force: true });
});

async function open(env: NodeJS.ProcessEnv): Promise<App> {
  const environment = loadEnvironment(
    { DATA_DIR: join(machine, 'data'), DB_BACKUP_PATH: join(machine, 'backups'), LOG_LEVEL: 'silent', ...env },
    machine,
  );
  const app = await createApp(environment);
  await ensureFirstConfig(app);
  return app;
}

async function restored(app: App, backupId: string): Promise<void> {
  const restore = await app.restores.create({ backupId, confirm: true }, 'test');
  await app.restores.run(restore.id, NEVER);
  expect((await restore.reload()).toJSON()).toMatchObject({ status: 'COMPLETED' });
}

describe('After the loss of a machine', () => {
  it('a fresh installation creates the config from the archive and restores in the old places', async () => {
    const row = await importArchive(fresh, archive, undefined, 'boss', NEVER);
    expect(row).toMatchObject({ status: 'COMPLETED', configId: null, origin: { config: 'App' } });
    const config = await configFromBackup(fresh, row.id, {}, 'boss');
    expect(config).toMatchObject({
      name: 'App',
      databaseUrl: `sqlite:${world.database}`,
      mediaPaths: [world.media],
      applicationId: (await world.app.configs.get(1)).applicationId,
    });
    await restored(fresh, row.id);
    expect(await contentHash(world.database)).toBe(before.database);
    expect(await readTree(world.media)).toEqual(before.media);
    // The sample made way, and the next archive of this application finds its config.
    expect((await fresh.configs.list()).map(({ name }) => name)).toEqual(['App']);
    expect((await importArchive(fresh, archive, undefined, 'boss', NEVER)).configId).toBe(config.id);
  });

  it('the application may come back in other places and under another name', async () => {
    const row = await importArchive(fresh, archive, undefined, 'boss', NEVER);
    const database = join(machine, 'srv/new/db.sqlite3');
    const media = join(machine, 'srv/new/uploads');
    const input = { name: 'Back again', databaseUrl: `sqlite:${database}`, mediaPaths: [media] };
    expect(await configFromBackup(fresh, row.id, input, 'boss')).toMatchObject({ name: 'Back again' });
    await restored(fresh, row.id);
    expect(await contentHash(database)).toBe(before.database);
    expect(await readTree(media)).toEqual(before.media);
  });

  it('several media folders come back under other names, in the order in which they are named', async () => {
    const [one, two] = [join(machine, 'lost/one'), join(machine, 'lost/two')];
    await writeTree(one, { 'a.txt': 'of one' });
    await writeTree(two, { 'a.txt': 'of two' });
    execFileSync('mkdir', ['-p', join(world.folder, 'app')]);
    await exec(world.database, 'CREATE TABLE x (y)');
    await world.app.configs.update(1, { mediaPaths: [one, two] }, 'test');
    const { filePath } = await world.backup();
    const row = await importArchive(fresh, filePath, undefined, 'boss', NEVER);
    const [first, second] = [join(machine, 'new/first'), join(machine, 'new/second')];
    const input = { databaseUrl: `sqlite:${join(machine, 'x.sqlite3')}`, mediaPaths: [first, second] };
    await configFromBackup(fresh, row.id, input, 'boss');
    await restored(fresh, row.id);
    expect([await readTree(first), await readTree(second)]).toEqual([{ 'a.txt': 'of one' }, { 'a.txt': 'of two' }]);
  });

  it('a config of the same .env, whose database is gone, takes the archive as its own', async () => {
    await fresh.close(0);
    fresh = await open({ DATABASE_URL: `sqlite:${world.database}`, MEDIA_PATHS: world.media });
    const row = await importArchive(fresh, archive, undefined, 'boss', NEVER);
    const [config] = await fresh.configs.list();
    expect(row.configId).toBe(config?.id);
    expect(row.applicationId).toBe(config?.applicationId);
    await restored(fresh, row.id);
    expect(await contentHash(world.database)).toBe(before.database);
  });

  it('a config whose database is there takes no archive for its own, whatever path it names', async () => {
    await exec(join(machine, 'other.sqlite3'), 'CREATE TABLE x (y)');
    await fresh.close(0);
    await exec(join(world.folder, 'again.sqlite3'), 'CREATE TABLE x (y)');
    execFileSync('mkdir', ['-p', join(world.folder, 'app')]);
    await exec(world.database, 'CREATE TABLE x (y)');
    fresh = await open({ DATABASE_URL: `sqlite:${world.database}` });
    expect((await importArchive(fresh, archive, undefined, 'boss', NEVER)).configId).toBeNull();
  });

  it('an application that has a config gets no second one', async () => {
    const row = await importArchive(fresh, archive, undefined, 'boss', NEVER);
    await configFromBackup(fresh, row.id, {}, 'boss');
    await expect(configFromBackup(fresh, row.id, {}, 'boss')).rejects.toMatchObject({ field: 'backupId' });
  });

  it('a backup that a person says is of the same application is the config’s own from then on', async () => {
    await exec(join(machine, 'db.sqlite3'), 'CREATE TABLE x (y)');
    const config = await fresh.configs.create(
      { name: 'Own', databaseUrl: `sqlite:${join(machine, 'db.sqlite3')}` },
      'boss',
    );
    const row = await importArchive(fresh, archive, undefined, 'boss', NEVER);
    await fresh.backups.assign(row.id, config.id, 'boss');
    const ask = { backupId: row.id, confirm: false, restoreMedia: false };
    expect((await fresh.restores.plan(ask)).refusals.map(({ code }) => code)).toEqual(['BACKUP_FOREIGN']);
    await fresh.backups.assign(row.id, config.id, 'boss', true);
    expect((await fresh.restores.plan(ask)).refusals).toEqual([]);
  });
});

describe('A path to import from', () => {
  it.each([
    ['that is relative', 'x.zip', 'BAD_USER_INPUT'],
    ['that is not there', '/nowhere/x.zip', 'NOT_FOUND'],
    ['that is a folder', '/tmp', 'BAD_USER_INPUT'],
    ['that is a device', '/dev/zero', 'BAD_USER_INPUT'],
  ])('%s is refused', async (_title, path, code) => {
    await expect(importArchive(fresh, path, undefined, 'boss', NEVER)).rejects.toMatchObject({ code, field: 'path' });
  });

  it('is refused for a pipe, which would never end, and for a file that is no archive', async () => {
    execFileSync('mkfifo', [join(machine, 'pipe')]);
    const pipe = importArchive(fresh, join(machine, 'pipe'), undefined, 'boss', NEVER);
    await expect(pipe).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'path' });
    await writeFile(join(machine, 'text.zip'), 'hello');
    const text = importArchive(fresh, join(machine, 'text.zip'), undefined, 'boss', NEVER);
    await expect(text).rejects.toMatchObject({ code: 'ARCHIVE_FOREIGN' });
  });
});

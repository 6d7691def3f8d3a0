import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type App, createApp } from '../../../src/app.js';
import { createTestApp, type TestApp } from '../../support/app.js';
import { send } from '../../support/operations.js';
import { exec } from '../../support/sqlite.js';
import { createWorld, filesIn, type World } from '../../support/world.js';

const root = new URL('../../..', import.meta.url).pathname.replace(/\/$/, '');

describe('A place that a request names', () => {
  let world: TestApp;
  let backupId: string;
  beforeEach(async () => {
    world = await createTestApp({ work: false });
    backupId = (await world.backup()).id;
  });
  afterEach(() => world.close());

  const refusal = (request: object) =>
    world.app.restores.plan({ backupId, confirm: false, ...request }).then(
      (plan) => plan.refusals.map(({ code, field }) => ({ code, field })),
      ({ code, field }: { code: string; field: string }) => [{ code, field }],
    );

  it.each([
    ['', 'BAD_USER_INPUT'],
    ['   ', 'BAD_USER_INPUT'],
    ['media', 'BAD_USER_INPUT'],
    ['./media', 'BAD_USER_INPUT'],
    ['../media', 'BAD_USER_INPUT'],
    ['~/media', 'BAD_USER_INPUT'],
    ['/tmp/a\0b', 'BAD_USER_INPUT'],
    ['/proc/self', 'PATH_NOT_ALLOWED'],
    ['/', 'PATH_NOT_ALLOWED'],
    [root, 'PATH_NOT_ALLOWED'],
    [`${root}/src/new`, 'PATH_NOT_ALLOWED'],
    [`${root}/../${root.split('/').at(-1)}/dist`, 'PATH_NOT_ALLOWED'],
    [`${root}/node_modules`, 'PATH_NOT_ALLOWED'],
  ])('is refused as the target of media: %j', async (targetMediaPath, code) => {
    const targetDatabaseUrl = `sqlite:${world.folder}/new.sqlite3`;
    expect(await refusal({ targetDatabaseUrl, targetMediaPath })).toEqual([{ code, field: 'targetMediaPath' }]);
  });

  it.each(['data', 'data/tmp', 'data/new', 'backups', 'backups/below', 'app', 'other-media/below'])(
    "is refused as the target of media where it is the product's, a config's or holds one: %s",
    async (name) => {
      await exec(`${world.folder}/other.sqlite3`, 'CREATE TABLE x (y)');
      const mediaPaths = [`${world.folder}/other-media`];
      await mkdir(mediaPaths[0] ?? '');
      await world.app.configs.create(
        { name: 'Other', databaseUrl: `sqlite:${world.folder}/other.sqlite3`, mediaPaths },
        'test',
      );
      const request = {
        targetDatabaseUrl: `sqlite:${world.folder}/new.sqlite3`,
        targetMediaPath: join(world.folder, name),
      };
      const code = 'PATH_NOT_ALLOWED';
      expect(await refusal(request)).toEqual([{ code, field: 'targetMediaPath' }]);
      await symlink(join(world.folder, name), join(world.folder, 'link'));
      expect(await refusal({ ...request, targetMediaPath: join(world.folder, 'link') })).toEqual([
        { code, field: 'targetMediaPath' },
      ]);
    },
  );

  it('is refused as the target of media if it holds files, unless overwrite is set', async () => {
    const targetMediaPath = join(world.folder, 'full');
    await mkdir(targetMediaPath);
    await writeFile(join(targetMediaPath, '.env'), 'SECRET=1');
    const request = { targetDatabaseUrl: `sqlite:${world.folder}/new.sqlite3`, targetMediaPath };
    expect(await refusal(request)).toEqual([{ code: 'BAD_USER_INPUT', field: 'targetMediaPath' }]);
    expect(await filesIn(targetMediaPath)).toEqual(['.env']);
    expect(await refusal({ ...request, overwrite: true })).toEqual([]);
    await rm(join(targetMediaPath, '.env'));
    expect(await refusal(request)).toEqual([]);
    expect(await refusal({ ...request, targetMediaPath: join(world.folder, 'not/yet') })).toEqual([]);
  });

  it.each([
    ['sqlite:./new.sqlite3', 'BAD_USER_INPUT'],
    ['sqlite:new.sqlite3', 'BAD_USER_INPUT'],
    ['sqlite:../new.sqlite3', 'BAD_USER_INPUT'],
    [`sqlite:${root}/src/new.sqlite3`, 'PATH_NOT_ALLOWED'],
    [`sqlite:${root}/.env`, 'PATH_NOT_ALLOWED'],
    ['sqlite:///dev/new', 'PATH_NOT_ALLOWED'],
  ])('is refused as the target database: %s', async (targetDatabaseUrl, code) => {
    expect(await refusal({ targetDatabaseUrl, overwrite: true })).toEqual([{ code, field: 'targetDatabaseUrl' }]);
  });

  it("is refused as the target database if it, or its link, is the product's or another config's", async () => {
    const other = `${world.folder}/other.sqlite3`;
    await exec(other, 'CREATE TABLE x (y)');
    await world.app.configs.create({ name: 'Other', databaseUrl: `sqlite:${other}` }, 'test');
    await symlink(other, `${world.folder}/link.sqlite3`);
    for (const path of [other, `${other}-wal`, `${world.folder}/link.sqlite3`, `${world.folder}/data/x.sqlite3`]) {
      expect(await refusal({ targetDatabaseUrl: `sqlite:${path}`, overwrite: true })).toEqual([
        { code: 'PATH_NOT_ALLOWED', field: 'targetDatabaseUrl' },
      ]);
    }
    expect(await refusal({ targetDatabaseUrl: `sqlite:${world.database}` })).toEqual([]);
  });

  it.each(['data/archives', 'link-to-data/new'])('is refused as a storage inside the own data: %s', async (name) => {
    await symlink(join(world.folder, 'data'), join(world.folder, 'link-to-data'));
    const storagePath = join(world.folder, name);
    const config = { name: 'N', databaseUrl: `sqlite:${world.database}`, storageType: 'SYSTEM', storagePath };
    const create = 'mutation($input: BackupConfigInput!) { createConfig(input: $input) { id } }';
    const test = 'mutation($input: BackupConfigInput!) { testStorage(input: $input) { ok } }';
    const now = 'mutation($input: CreateBackupInput!) { createBackup(input: $input) { id } }';
    const extensions = { code: 'PATH_NOT_ALLOWED', field: 'storagePath' };
    expect((await send(world, create, { input: config })).errors[0]?.extensions).toMatchObject(extensions);
    expect((await send(world, test, { input: config })).errors[0]?.extensions).toMatchObject(extensions);
    const input = { storageType: 'SYSTEM', customPath: storagePath };
    expect((await send(world, now, { input })).errors[0]?.extensions).toMatchObject({
      ...extensions,
      field: 'customPath',
    });
  });

  it('that a config has already does not keep its other settings from being changed', async () => {
    const config = await world.app.configs.get(1);
    await config.update({ storageType: 'SYSTEM', storagePath: `${world.folder}/data/archives` });
    expect(await world.app.configs.update(1, { name: 'Renamed' }, 'test')).toMatchObject({ name: 'Renamed' });
  });
});

describe('The folder of drill commands', () => {
  let outer: string;
  let world: World;
  beforeAll(async () => {
    outer = await realpath(await mkdtemp(join(tmpdir(), 'commands-')));
    await mkdir(join(outer, 'around', 'commands'), { recursive: true });
    await symlink(join(outer, 'around', 'commands'), join(outer, 'link'));
    world = await createWorld({ env: { DRILL_COMMANDS_DIR: join(outer, 'around', 'commands') } });
  });
  afterAll(async () => {
    await world.close();
    await rm(outer, { recursive: true, force: true });
  });

  it.each(['around/commands', 'around/commands/below/deep', 'around', 'link', 'link/x'])(
    'is refused as a target of media, a database, a storage and media of a config: %s',
    async (name) => {
      const place = join(outer, name);
      const refused = (field: string) => expect.objectContaining({ code: 'PATH_NOT_ALLOWED', field });
      const { places, configs } = world.app;
      const judge = (use: 'target media' | 'target database') => places.judge('target', place, use);
      await expect(judge('target media')).rejects.toEqual(refused('target'));
      await expect(judge('target database')).rejects.toEqual(refused('target'));
      const save = (change: object) => configs.update(1, change, 'test');
      await expect(save({ mediaPaths: [place] })).rejects.toEqual(refused('mediaPaths'));
      const storage = { storageType: 'SYSTEM' as const, storagePath: place };
      await expect(save(storage)).rejects.toEqual(refused('storagePath'));
    },
  );

  it('does not keep a folder beside it from being a target', async () => {
    expect(await world.app.places.judge('target', join(outer, 'around', 'commands-2'), 'target media')).toBe(
      join(outer, 'around', 'commands-2'),
    );
  });

  it('is not read as media by a config that held it before it was named', async () => {
    await writeFile(join(outer, 'around', 'commands', 'check.sh'), '#!/bin/sh');
    await writeFile(join(outer, 'around', 'a photo.txt'), 'media');
    await world.app.models.BackupConfig.update({ mediaPaths: [join(outer, 'around')] }, { where: { id: 1 } });
    const { status, facts } = await world.backup();
    expect({ status, mediaBytes: facts?.mediaBytes }).toEqual({ status: 'COMPLETED', mediaBytes: 5 });
  });
});

describe('With ALLOWED_PATHS', () => {
  let outer: string;
  let world: World;
  let limited: App;
  beforeAll(async () => {
    outer = await realpath(await mkdtemp(join(tmpdir(), 'allowed-')));
    await mkdir(join(outer, 'in'));
    await mkdir(join(outer, 'inEVIL'));
    await symlink(join(outer, 'inEVIL'), join(outer, 'in', 'out'));
    await exec(join(outer, 'in', 'db.sqlite3'), 'CREATE TABLE x (y)');
    await exec(join(outer, 'inEVIL', 'db.sqlite3'), 'CREATE TABLE x (y)');
    world = await createWorld();
    limited = await createApp({ ...world.app.environment, allowedPaths: [join(outer, 'in'), join(outer, 'never')] });
  });
  afterAll(async () => {
    await limited.close(0);
    await world.close();
    await rm(outer, { recursive: true, force: true });
  });

  const create = (input: object) =>
    limited.configs.create(
      { name: `c${Math.random()}`, databaseUrl: `sqlite:${outer}/in/db.sqlite3`, ...input },
      'test',
    );

  it.each([
    ['databaseUrl', { databaseUrl: 'inEVIL/db.sqlite3' }],
    ['databaseUrl', { databaseUrl: 'in/out/db.sqlite3' }],
    ['databaseUrl', { databaseUrl: 'in/../inEVIL/db.sqlite3' }],
    ['mediaPaths', { mediaPaths: ['inEVIL'] }],
    ['mediaPaths', { mediaPaths: ['in', 'in/out'] }],
    ['mediaPaths', { mediaPaths: ['.'] }],
    ['storagePath', { storageType: 'SYSTEM', storagePath: 'inEVIL/new' }],
    ['storagePath', { storageType: 'SYSTEM', storagePath: 'in/out/new/deep' }],
  ])('%s outside the folders is refused: %j', async (field, input) => {
    const absolute = Object.fromEntries(
      Object.entries(input).map(([name, value]) => {
        if (Array.isArray(value)) return [name, value.map((path) => join(outer, path))];
        return [
          name,
          name === 'databaseUrl' ? `sqlite:${outer}/${value}` : value === 'SYSTEM' ? value : join(outer, value),
        ];
      }),
    );
    await expect(create(absolute)).rejects.toMatchObject({ code: 'PATH_NOT_ALLOWED', field });
  });

  it('paths inside them are taken, also those that are not there yet', async () => {
    const made = await create({
      mediaPaths: [join(outer, 'in', 'media')],
      storageType: 'SYSTEM',
      storagePath: join(outer, 'in', 'a', 'b'),
    });
    expect(made.storagePath).toBe(join(outer, 'in', 'a', 'b'));
    expect(await readFile(join(outer, 'in', 'db.sqlite3')).then((bytes) => bytes.length)).toBeGreaterThan(0);
  });
});

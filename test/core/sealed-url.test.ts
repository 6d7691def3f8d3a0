import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { applicationName, createFromEnvironment, followEnvironment } from '../../src/core/configs/from-environment.js';
import { assertNotControlServer } from '../../src/core/configs/settings.js';
import { openUrl, sealUrl } from '../../src/core/sealed-url.js';
import { Secrets } from '../../src/core/secrets.js';
import { createWorld, type World } from '../support/world.js';

const secrets = new Secrets({ given: 'k'.repeat(40), file: '' });
const URL = 'postgres://u:p%40ss@h:5432/d';

describe('The password in the URL of a database', () => {
  it('is sealed, and opens again', async () => {
    const sealed = await sealUrl(secrets, URL);
    expect(sealed).toMatch(/^postgres:\/\/u:sealed-v1\.[\w.-]+@h:5432\/d$/);
    expect(await openUrl(secrets, sealed)).toBe(URL);
    expect(await sealUrl(secrets, sealed)).toBe(sealed);
  });

  it('that is the saved one looks as it is saved', async () => {
    const sealed = await sealUrl(secrets, URL);
    expect(await sealUrl(secrets, URL, sealed)).toBe(sealed);
    expect(await sealUrl(secrets, `${URL}2`, sealed)).not.toBe(sealed);
  });

  it('opens at no other address than the one that it was sealed for', async () => {
    const moved = (await sealUrl(secrets, URL)).replace('@h:', '@elsewhere:');
    await expect(openUrl(secrets, moved)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('is not touched where there is none', async () => {
    for (const url of ['sqlite:/srv/a:b@c', 'postgres://u@h:5432/d']) expect(await sealUrl(secrets, url)).toBe(url);
  });
});

describe('A config of a database on a server', () => {
  let world: World;
  beforeEach(async () => {
    world = await createWorld();
  });
  afterEach(() => world.close());
  const settings = (databaseUrl: string) => ({
    ...{ databaseUrl, mediaPaths: [], storageType: 'LOCAL' as const, storagePath: '.', autoBackupEnabled: false },
    ...{ schedule: '0 2 * * *', timezone: 'UTC', backupRetentionDays: 30, maxBackupFiles: 30 },
  });

  it('follows the environment, also to another password, and is unchanged otherwise', async () => {
    const { configs } = world.app;
    const row = await createFromEnvironment(configs, settings(URL), 'test', false);
    expect(JSON.stringify(row)).not.toContain('p%40ss');
    expect(row).toMatchObject({ engine: 'POSTGRES', databaseKey: 'POSTGRES:h:5432/d' });
    expect(await followEnvironment(configs, row, settings(URL), 'test')).toEqual({ state: 'same' });
    const followed = await followEnvironment(configs, row, settings(URL.replace('p%40ss', 'new')), 'test');
    expect(followed).toMatchObject({ state: 'followed', variables: ['DATABASE_URL'] });
    await world.app.destinations.rotateKey('test');
    await row.reload();
    expect(await followEnvironment(configs, row, settings(URL.replace('p%40ss', 'new')), 'test')).toEqual({
      state: 'same',
    });
  });

  it('keeps its password when the shown URL is sent back, and refuses *** at another address', async () => {
    const { configs } = world.app;
    const { id, databaseUrl } = await configs.create({ name: 'Server', databaseUrl: URL }, 'test');
    expect((await configs.update(id, { databaseUrl: 'postgres://u:***@h:5432/d' }, 'test')).databaseUrl).toBe(
      databaseUrl,
    );
    await expect(configs.update(id, { databaseUrl: 'postgres://u:***@other/d' }, 'test')).rejects.toMatchObject({
      field: 'databaseUrl',
    });
  });

  it('is refused for the control database on the same server', async () => {
    const engine = world.app.engines.of('POSTGRES');
    const key = await engine.keyOf('postgres://admin@localhost:5432/d');
    await expect(assertNotControlServer(engine, 'postgres://u@127.0.0.1:5432/d', key)).rejects.toMatchObject({
      code: 'DATABASE_IS_CONTROL',
    });
    await assertNotControlServer(engine, 'postgres://u@127.0.0.1:5432/other', key);
  });
});

it.each([
  ['postgres://user:secret@db.example.org/shop', 'shop'],
  ['postgres://user:secret@db.example.org/postgres', 'db.example.org'],
  ['postgres://user:secret@127.0.0.1/app', 'app'],
])('%s names the application %s', (url, name) => {
  expect(applicationName(url)).toBe(name);
});

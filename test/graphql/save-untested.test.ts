import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { send } from '../support/operations.js';
import { exec } from '../support/sqlite.js';
import { NEVER } from '../support/world.js';

let app: TestApp;
beforeAll(async () => {
  app = await createTestApp({ work: false });
});
afterAll(() => app.close());

const CREATE =
  'mutation($input: BackupConfigInput!, $untested: Boolean) { createConfig(input: $input, saveUntested: $untested) { id testError { code field } } }';
const UPDATE =
  'mutation($id: ID!, $input: BackupConfigInput!, $untested: Boolean) { updateConfig(id: $id, input: $input, saveUntested: $untested) { name testError { code field } } }';

const working = () => ({ databaseUrl: `sqlite:${app.database}`, mediaPaths: [app.media] });

describe('A config whose settings do not work', () => {
  it.each([
    ['databaseUrl', 'DATABASE_NOT_FOUND', () => ({ databaseUrl: `sqlite:${app.folder}/nothing.sqlite3` })],
    ['mediaPaths', 'MEDIA_NOT_FOUND', () => ({ mediaPaths: [app.media, `${app.folder}/nothing`] })],
    [
      'storagePath',
      'STORAGE_NOT_WRITABLE',
      () => ({ storageType: 'SYSTEM', storagePath: join(app.database, 'below a file') }),
    ],
  ])('is refused naming %s, with how to save it all the same, and then marked', async (field, code, settings) => {
    const input = { name: `for ${field}`, ...working(), ...settings() };
    const before = await app.app.models.BackupConfig.count();
    const refused = await send(app, CREATE, { input });
    expect(refused.errors[0]?.extensions).toMatchObject({ field, hint: expect.stringContaining('saveUntested: true') });
    expect(String(refused.errors[0]?.extensions.code)).toMatch(/^(DATABASE|MEDIA|STORAGE)_/);
    if (code !== 'STORAGE_NOT_WRITABLE') expect(refused.errors[0]?.extensions.code).toBe(code);
    expect(await app.app.models.BackupConfig.count()).toBe(before);
    const saved = await send(app, CREATE, { input, untested: true });
    expect(saved.data).toMatchObject({ createConfig: { testError: { field } } });
  });

  it('keeps what it was where a change would break it', async () => {
    const { data } = await send(app, CREATE, { input: { name: 'Sound', ...working() } });
    const { id, testError } = (data as { createConfig: { id: string; testError: null } }).createConfig;
    expect(testError).toBeNull();
    const input = { name: 'Renamed', databaseUrl: `sqlite:${app.folder}/nothing.sqlite3` };
    const refused = await send(app, UPDATE, { id, input });
    expect(refused.errors[0]?.extensions).toMatchObject({ code: 'DATABASE_NOT_FOUND', field: 'databaseUrl' });
    expect(await app.app.configs.get(Number(id))).toMatchObject({ name: 'Sound' });
    const other = await send(app, UPDATE, { id, input: { name: 'Renamed' } });
    expect(other.data).toEqual({ updateConfig: { name: 'Renamed', testError: null } });
  });

  it('loses its mark with the first backup that succeeds', async () => {
    const database = `${app.folder}/later.sqlite3`;
    const input = { name: 'Later', databaseUrl: `sqlite:${database}` };
    const { data } = await send(app, CREATE, { input, untested: true });
    const { id, testError } = (data as { createConfig: { id: string; testError: object } }).createConfig;
    expect(testError).toEqual({ code: 'DATABASE_NOT_FOUND', field: 'databaseUrl' });
    // Another setting is changed without a word about the one that still fails.
    const renamed = await send(app, UPDATE, { id, input: { name: 'Still later' } });
    expect(renamed.data).toMatchObject({ updateConfig: { testError: { code: 'DATABASE_NOT_FOUND' } } });
    await exec(database, 'CREATE TABLE x (y)');
    const row = await app.app.backups.create({ backupType: 'MANUAL', configId: Number(id) }, 'test');
    await app.app.backups.run(row.id, NEVER);
    expect((await app.app.configs.get(Number(id))).testError).toBeNull();
    await rm(database);
  });
});

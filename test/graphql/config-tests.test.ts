import { mkdir, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { ConfigTests } from '../../src/core/configs/trials.js';
import type { Engine, Engines, Storage, Storages } from '../../src/core/ports.js';
import { createEngines } from '../../src/engines/index.js';
import { AppError } from '../../src/errors.js';
import { createStorages } from '../../src/storages/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';
import { filesIn, NEVER, writeTree } from '../support/world.js';

let app: TestApp;
let client: api.Client;
beforeAll(async () => {
  app = await createTestApp({ work: false, engines: withPasswords(createEngines()) });
  client = clientOf(app);
});
afterAll(() => app.close());

/** SQLite's own engine, but its URLs may carry a user and a password, as those of a database server do. */
function withPasswords(engines: Engines): Engines {
  const plain = (url: string) => url.replace(/\/\/user:[^@]*@/, '');
  const real = engines.of('SQLITE');
  const engine: Engine = {
    ...real,
    resolve: (url) => {
      const resolved = real.resolve(plain(url));
      if (plain(url) === url) return resolved;
      return { ...resolved, url, display: `sqlite://user:***@${resolved.url.slice(7)}` };
    },
    files: (url) => real.files(plain(url)),
    keyOf: (url) => real.keyOf(plain(url)),
    check: (url) => real.check(plain(url)),
    describe: (url, signal) => real.describe(plain(url), signal),
  };
  return { ...engines, of: () => engine, forUrl: (url) => engines.forUrl(url) && engine };
}

/** What a copy of a database is laid with. */
const held = () => ({ leaseMs: 5_000, workFolder: join(app.folder, 'data', 'tmp') });

const connection = async (input: api.BackupConfigInput, configId?: string) =>
  (await client.request(api.TestConnectionDocument, { input, configId })).testConnection;
const storage = async (input: api.BackupConfigInput, configId?: string) =>
  (await client.request(api.TestStorageDocument, { input, configId })).testStorage;
const refusal = (code: string) => ({
  code,
  message: expect.any(String),
  hint: expect.stringMatching(/.{10}/),
  field: null,
});

describe('A test of the connection', () => {
  it('reports what a backup would find, before anything is saved', async () => {
    const before = await app.app.models.AuditEvent.count();
    const found = await connection({ databaseUrl: `sqlite:${app.database}`, mediaPaths: [app.media] });
    expect(found).toEqual({
      ok: true,
      error: null,
      databaseName: 'db.sqlite3',
      excluded: [],
      size: expect.any(Number),
      tables: 3,
      facts: expect.arrayContaining([
        { name: 'journal_mode', value: 'wal' },
        { name: 'page_size', value: '4096' },
      ]),
      media: [{ path: app.media, ok: true, files: 3, bytes: 11, error: null }],
      warnings: [],
    });
    expect(await app.app.models.BackupConfig.count()).toBe(1);
    expect(await app.app.models.AuditEvent.count()).toBe(before);
  });

  it('of a saved config takes from it what is left out', async () => {
    expect(await connection({}, '1')).toMatchObject({ ok: true, databaseName: 'db.sqlite3', media: [{ files: 3 }] });
    expect(await connection({ mediaPaths: [] }, '1')).toMatchObject({ ok: true, tables: 3, media: [] });
    const asked = connection({}, '77');
    await expect(asked).rejects.toMatchObject({ code: 'NOT_FOUND', field: 'configId' });
  });

  it('uses the saved password where the form shows ***, and never returns it', async () => {
    const secret = 'hunter2-hunter2';
    const databaseUrl = `sqlite://user:${secret}@${app.database}`;
    const { createConfig } = await client.request(api.CreateConfigDocument, {
      input: { name: 'With a password', databaseUrl },
    });
    const shown = createConfig.databaseUrl;
    expect(shown).toBe(`sqlite://user:***@${app.database}`);
    const query = 'mutation($input: BackupConfigInput!, $id: ID) { testConnection(input: $input, configId: $id) ';
    const all = '{ ok databaseName facts { value } warnings error { message hint } media { error { message } } } }';
    for (const given of [shown, databaseUrl, `sqlite://user:${secret}@/nowhere`]) {
      const { text, data } = await send(app, query + all, {
        input: { databaseUrl: given, mediaPaths: [] },
        id: createConfig.id,
      });
      expect(text).not.toContain(secret);
      expect(data).toMatchObject({ testConnection: { ok: given !== `sqlite://user:${secret}@/nowhere` } });
    }
    // Without the config there is nothing that *** could stand for.
    await expect(connection({ databaseUrl: shown })).rejects.toMatchObject({ field: 'databaseUrl' });
  });

  it('answers with what does not work, each with what to do', async () => {
    const text = join(app.folder, 'a.txt');
    await writeFile(text, 'not a database, but long enough to be one');
    const gone = await connection({ databaseUrl: `sqlite:${app.folder}/gone.sqlite3`, mediaPaths: [app.media] });
    expect(gone).toMatchObject({ ok: false, error: refusal('DATABASE_NOT_FOUND'), size: null, tables: null });
    expect(gone).toMatchObject({ databaseName: null, facts: [], media: [{ ok: true }] });
    const other = await connection({ databaseUrl: `sqlite:${text}`, mediaPaths: [`${app.folder}/gone`, text] });
    expect(other).toMatchObject({ ok: false, error: refusal('DATABASE_WRONG_KIND') });
    expect(other.media).toEqual([
      { path: `${app.folder}/gone`, ok: false, files: null, bytes: null, error: refusal('MEDIA_NOT_FOUND') },
      { path: text, ok: false, files: null, bytes: null, error: refusal('MEDIA_NOT_FOUND') },
    ]);
    const half = await connection({ databaseUrl: `sqlite:${app.database}`, mediaPaths: [`${app.folder}/gone`] });
    expect(half).toMatchObject({ ok: false, error: null, tables: 3 });
  });

  it.each<[string, string, () => api.BackupConfigInput]>([
    ['BAD_USER_INPUT', 'databaseUrl', () => ({})],
    ['BAD_USER_INPUT', 'databaseUrl', () => ({ databaseUrl: 'sqlite:' })],
    ['ENGINE_UNSUPPORTED', 'databaseUrl', () => ({ databaseUrl: 'oracle://x' })],
    [
      'DATABASE_IS_CONTROL',
      'databaseUrl',
      () => ({ databaseUrl: `sqlite:${join(app.folder, 'data', 'db-manager.sqlite3')}` }),
    ],
    ['BAD_USER_INPUT', 'mediaPaths', () => ({ databaseUrl: `sqlite:${app.database}`, mediaPaths: ['relative'] })],
  ])('refuses what could not be saved either: %s, %s', async (code, field, input) => {
    await expect(connection(input())).rejects.toMatchObject({ code, field });
  });

  it('counts only while a client may wait, and stops when none does', async () => {
    const tree = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`${i % 10}/${i}.txt`, 'x']));
    const large = join(app.folder, 'large');
    await writeTree(large, tree);
    const { models, log, places, configs, now } = app.app;
    const env = {
      ...held(),
      models,
      log,
      places,
      configs,
      now,
      engines: createEngines(),
      storages: createStorages(app.backups),
    };
    const impatient = new ConfigTests(
      { ...env, controlFile: null, exclude: [] },
      { tables: 0, media: 1, invariants: 1 },
    );
    const input = { databaseUrl: `sqlite:${app.database}`, mediaPaths: [large, app.media] };
    const found = await impatient.connection(input, undefined, NEVER);
    expect(found).toMatchObject({ ok: true, error: null, size: expect.any(Number), tables: null });
    expect(found.media[0]?.files).toBeLessThan(300);
    expect(found.warnings.join()).toMatch(/tables were not counted.*large: its files were not counted/);
    const reason = new AppError('CANCELLED', 'Nobody waits.');
    await expect(impatient.connection(input, undefined, AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

describe('A test of the storage', () => {
  /** A real folder, one of whose abilities is another. */
  const failing = (change: (real: Storage) => Partial<Storage>): Storages => {
    const real = createStorages(app.backups);
    const open: Storages['open'] = (address) => {
      const folder = real.open(address);
      const bound = Object.fromEntries(
        (['prepare', 'put', 'get', 'stat', 'remove', 'discard', 'list', 'space', 'locate'] as const).map((name) => [
          name,
          (folder[name] as (...args: unknown[]) => unknown).bind(folder),
        ]),
      );
      return { type: folder.type, place: folder.place, ...bound, ...change(folder) } as unknown as Storage;
    };
    return { ...real, open };
  };

  it('writes, reads, lists and deletes, and leaves nothing', async () => {
    const place = join(app.folder, 'elsewhere', 'deep');
    const found = await storage({ storageType: 'SYSTEM', storagePath: place });
    const warning = `${join(app.folder, 'elsewhere')} did not exist and was made for this test. If a disk should be mounted there, it is not.`;
    expect(found).toMatchObject({ ok: true, error: null, location: place, warnings: [warning] });
    expect(found.free).toBeGreaterThan(0);
    expect(found.total).toBeGreaterThanOrEqual(found.free ?? Infinity);
    await expect(stat(join(app.folder, 'elsewhere'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await storage({}, '1')).toMatchObject({ ok: true, location: app.backups });
    expect(await storage({})).toMatchObject({ ok: true, location: app.backups });
    expect(await filesIn(app.backups)).toEqual([]);
    expect(await storage({ storagePath: 'inside' }, '1')).toMatchObject({ location: join(app.backups, 'inside') });
  });

  it('leaves a folder that was there, however empty, and one that is in use by the end', async () => {
    const there = join(app.folder, 'mounted');
    await mkdir(there);
    expect(await storage({ storageType: 'SYSTEM', storagePath: there })).toMatchObject({ ok: true, warnings: [] });
    expect(await readdir(there)).toEqual([]);

    const { models, log, places, configs, now } = app.app;
    const env = {
      ...held(),
      models,
      log,
      places,
      configs,
      now,
      engines: createEngines(),
      controlFile: null,
      exclude: [],
    };
    const busy = join(there, 'new', 'busy');
    const storages = failing((real) => ({
      space: async () => {
        await writeFile(join(there, 'new', 'a.zip'), 'of a backup that began meanwhile');
        return real.space();
      },
    }));
    const input = { storageType: 'SYSTEM', storagePath: busy } as const;
    const found = await new ConfigTests({ ...env, storages }).storage(input, undefined, NEVER);
    expect(found).toMatchObject({ ok: true, warnings: [expect.stringMatching(/\/mounted\/new did not exist/)] });
    expect(await readdir(there, { recursive: true })).toEqual(['new', join('new', 'a.zip')]);
  });

  it('answers with what does not work, each with what to do', async () => {
    const file = join(app.folder, 'a-file');
    await writeFile(file, '');
    const below = await storage({ storageType: 'SYSTEM', storagePath: join(file, 'below') });
    expect(below).toMatchObject({ ok: false, error: refusal('STORAGE_UNAVAILABLE'), free: null, total: null });
    expect(await storage({ storageType: 'SYSTEM', storagePath: file })).toMatchObject({ ok: false });
    expect(await storage({ storageType: 'SYSTEM', storagePath: '/proc/nothing' })).toMatchObject({ ok: false });
    await mkdir(app.backups, { recursive: true });
    await symlink(app.media, join(app.backups, 'link'));
    expect(await storage({ storagePath: 'link' }, '1')).toMatchObject({ error: refusal('PATH_NOT_ALLOWED') });
    await rm(join(app.backups, 'link'));
  });

  it.each<[string, string, api.BackupConfigInput]>([
    ['PATH_NOT_ALLOWED', 'storagePath', { storagePath: '../elsewhere' }],
    ['BAD_USER_INPUT', 'storagePath', { storageType: 'SYSTEM', storagePath: 'relative' }],
  ])('refuses what could not be saved either: %s, %s', async (code, field, input) => {
    await expect(storage(input)).rejects.toMatchObject({ code, field });
  });

  it.each<[string, string, (real: Storage) => Partial<Storage>]>([
    ['gives back other bytes', 'came back changed', () => ({ get: async () => Readable.from(['other']) })],
    [
      'cannot be listed',
      'no list',
      () => ({
        list: () => {
          throw new AppError('STORAGE_UNAVAILABLE', 'no list');
        },
      }),
    ],
    [
      'does not delete at first',
      'no delete',
      (real) => {
        let asked = 0;
        const refused = new AppError('STORAGE_NOT_WRITABLE', 'no delete');
        return { remove: (name) => ((asked += 1) === 1 ? Promise.reject(refused) : real.remove(name)) };
      },
    ],
  ])('notices a place that %s, and takes its probe away again', async (_title, message, change) => {
    const { models, log, places, configs, now } = app.app;
    const env = {
      ...held(),
      models,
      log,
      places,
      configs,
      now,
      engines: createEngines(),
      controlFile: null,
      exclude: [],
    };
    const tests = new ConfigTests({ ...env, storages: failing(change) });
    const found = await tests.storage({}, 1, NEVER);
    expect(found).toMatchObject({ ok: false, error: { message: expect.stringContaining(message) } });
    expect(await filesIn(app.backups)).toEqual([]);
    const storagePath = join(app.backups, 'made', 'for', 'it');
    const input = { storageType: 'SYSTEM', storagePath } as const;
    expect(await tests.storage(input, undefined, NEVER)).toMatchObject({ ok: false, warnings: [expect.any(String)] });
    await expect(stat(join(app.backups, 'made'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

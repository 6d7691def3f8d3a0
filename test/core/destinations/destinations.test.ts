import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { cp, mkdir, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { createWorld, NEVER, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const SECRET = 'canary-secret-access-key';
const folder = (path: string) => ({ storageType: 'SYSTEM' as const, values: { path } });
const create = (name: string, path: string) =>
  world.app.destinations.create({ name, ...folder(join(world.folder, path)) }, 'test', NEVER);
const rowOf = async (id: number) => (await world.app.destinations.get(id)).get({ plain: true });

describe('A destination', () => {
  it('is made with the first config, and named by its place', async () => {
    const [row, ...others] = await world.app.destinations.list();
    expect(others).toEqual([]);
    expect(row).toMatchObject({ storageType: 'LOCAL', storagePath: world.backups, name: null, offline: false });
  });

  it('is tested when it is created, and says what is free', async () => {
    const row = await create('Second disk', 'second');
    expect(row).toMatchObject({ name: 'Second disk', storagePath: join(world.folder, 'second'), checkError: null });
    expect(row.lastCheckedAt).toBeInstanceOf(Date);
    expect(row.free).toBeGreaterThan(0);
    expect(await readdir(world.folder)).not.toContain('second');
  });

  it('remembers what does not work, unless it may be away', async () => {
    const lost = { ...folder('/proc/nothing/here') };
    const row = await world.app.destinations.create({ name: 'Lost', ...lost }, 'test', NEVER);
    expect(row.checkError).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    const away = await world.app.destinations.update(row.id, { offline: true }, 'test', NEVER);
    expect(away).toMatchObject({ offline: true, checkError: null });
  });

  it('can be chosen for a config, and then holds its backups', async () => {
    const row = await create('Second', 'second');
    await world.app.configs.update(1, { destinationIds: [row.id] }, 'test');
    const backup = await world.backup();
    expect(backup).toMatchObject({ status: 'COMPLETED', filePath: join(world.folder, 'second', backup.fileName) });
    expect(await world.app.overview.usage()).toEqual([{ id: row.id, count: 1, used: backup.fileSize }]);
  });

  it.each([
    [{ destinationIds: [] }, 'BAD_USER_INPUT'],
    [{ destinationIds: [1, 1] }, 'BAD_USER_INPUT'],
    [{ destinationIds: [1, 99] }, 'NOT_FOUND'],
    [{ destinationIds: [99] }, 'NOT_FOUND'],
    [{ destinationIds: [1], storagePath: 'x' }, 'BAD_USER_INPUT'],
    [{ storageType: 'S3' as const, storagePath: 's3://nobody' }, 'BAD_USER_INPUT'],
    [{ storageType: 'S3' as const, storagePath: '/srv' }, 'BAD_USER_INPUT'],
  ])('of a config cannot be %j', async (input, code) => {
    await expect(world.app.configs.update(1, input, 'test')).rejects.toMatchObject({ code });
  });

  it('is refused where another one is, or under the name of another one', async () => {
    await create('Second', 'second');
    await expect(create('Third', 'second')).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    await expect(create('Second', 'third')).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'name' });
    const inside = { name: 'Own', ...folder(join(world.folder, 'data')) };
    await expect(world.app.destinations.create(inside, 'test', NEVER)).rejects.toMatchObject({
      code: 'PATH_NOT_ALLOWED',
    });
  });

  it('cannot be deleted while a config names it or backups lie there, and can afterwards', async () => {
    const row = await create('Second', 'second');
    await world.app.configs.update(1, { destinationIds: [row.id] }, 'test');
    const refused = () =>
      expect(world.app.destinations.remove(row.id, 'test')).rejects.toMatchObject({ code: 'DESTINATION_IN_USE' });
    await refused();
    const backup = await world.backup();
    await world.app.configs.update(1, { storageType: 'LOCAL', storagePath: '.' }, 'test');
    await refused();
    await world.app.backups.remove([backup.id], 'test', 'test');
    await world.app.destinations.remove(row.id, 'test');
    expect((await world.app.destinations.list()).map(({ id }) => id)).not.toContain(row.id);
    expect(await world.app.backups.get(backup.id)).toMatchObject({ status: 'DELETED', storageType: 'SYSTEM' });
    const again = await create('Second', 'second');
    expect(again.id).toBe(row.id);
  });

  it('moves only to a place where all its archives lie', async () => {
    const row = await create('Second', 'second');
    await world.app.configs.update(1, { destinationIds: [row.id] }, 'test');
    const backup = await world.backup();
    const [from, to] = [join(world.folder, 'second'), join(world.folder, 'third')];
    await mkdir(to);
    const move = () => world.app.destinations.update(row.id, folder(to), 'test', NEVER);
    await expect(move()).rejects.toMatchObject({ code: 'DESTINATION_IN_USE' });
    await cp(from, to, { recursive: true });
    await move();
    await rm(from, { recursive: true });
    expect(await world.app.configs.get(1)).toMatchObject({ storagePath: to });
    expect(await world.app.backups.get(backup.id)).toMatchObject({ filePath: join(to, backup.fileName) });
    expect(await world.restore({ backupId: backup.id })).toMatchObject({ status: 'COMPLETED' });
  });

  it('that is not saved can be tested, and leaves nothing', async () => {
    const test = await world.app.destinations.test(undefined, folder(join(world.folder, 'new')), NEVER);
    expect(test).toMatchObject({ ok: true, location: join(world.folder, 'new') });
    expect(await world.app.destinations.list()).toHaveLength(1);
  });
});

describe('A distant destination', () => {
  let server: Server;
  let endpoint: string;
  beforeEach(async () => {
    server = createServer((request, response) => {
      request.resume().once('end', () => response.writeHead(403).end());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const values = () => ({
    bucket: 'okpuja-backups',
    prefix: '/production/',
    endpoint,
    forcePathStyle: true,
    accessKeyId: 'id',
    secretAccessKey: SECRET,
  });
  const bucket = () =>
    world.app.destinations.create({ name: 'Bucket', storageType: 'S3', values: values() }, 'test', NEVER);

  it('is saved with its secrets sealed, and shows none of them', async () => {
    const row = await bucket();
    expect(row).toMatchObject({
      storagePath: 's3://okpuja-backups/production',
      checkError: { code: 'STORAGE_REFUSED' },
    });
    const saved = await rowOf(row.id);
    expect(saved.settings).toEqual({
      bucket: 'okpuja-backups',
      prefix: '/production/',
      endpoint,
      forcePathStyle: true,
    });
    const events = await world.app.models.AuditEvent.findAll();
    expect(JSON.stringify([saved, events])).not.toContain('canary');
  });

  it('keeps the secrets that a change leaves out, unless they would go to another machine', async () => {
    const { id } = await bucket();
    const change = (changed: object) =>
      world.app.destinations.update(id, { storageType: 'S3', values: changed as never }, 'test', NEVER);
    await change({ storageClass: 'STANDARD_IA' });
    expect((await rowOf(id)).settings).toMatchObject({ storageClass: 'STANDARD_IA', endpoint });
    await expect(change({ endpoint: 'https://elsewhere.example.org' })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'endpoint',
    });
    await change({ storageClass: null });
    expect((await rowOf(id)).settings).not.toHaveProperty('storageClass');
  });

  it('opens after its key was replaced, and not with a lost one', async () => {
    const { id } = await bucket();
    const before = (await rowOf(id)).secrets;
    expect(await world.app.destinations.rotateKey('test')).toEqual({ destinations: 1, keys: 0 });
    expect((await rowOf(id)).secrets).not.toBe(before);
    expect(await world.app.destinations.test(id, undefined, NEVER)).toMatchObject({
      error: { code: 'STORAGE_REFUSED' },
    });
    await rm(join(world.folder, 'data', 'secrets-key'));
    expect(await world.app.destinations.test(id, undefined, NEVER)).toMatchObject({
      error: { code: 'CONFIG_INVALID' },
    });
  });

  it.each([
    [{ bucket: 'a/b' }, 'bucket'],
    [{ bucket: null }, 'bucket'],
    [{ prefix: 'a/../b' }, 'prefix'],
    [{ endpoint: 'ftp://x' }, 'endpoint'],
    [{ endpoint: 'https://user:password@host' }, 'endpoint'],
    [{ secretAccessKey: null }, 'secretAccessKey'],
    [{ kmsKeyId: 'x' }, 'kmsKeyId'],
    [{ objectLockDays: 0 }, 'objectLockDays'],
    [{ bukket: 'x' }, 'bukket'],
    [{ bandwidthLimit: 1 }, 'bandwidthLimit'],
  ])('is refused with %j', async (wrong, field) => {
    const given = { storageType: 'S3' as const, values: { ...values(), ...wrong } as never };
    await expect(world.app.destinations.test(undefined, given, NEVER)).rejects.toMatchObject({ field });
  });

  it('fails a backup with its own words, and nothing is kept', async () => {
    const { id } = await bucket();
    await world.app.configs.update(1, { destinationIds: [id] }, 'test');
    expect(await world.backup()).toMatchObject({ status: 'FAILED', errorCode: 'STORAGE_REFUSED' });
  });
});

describe('The environment', () => {
  const env = { DB_BACKUP_STORAGE_TYPE: 'S3', S3_BUCKET: 'okpuja', AWS_REGION: 'eu-central-1', S3_PREFIX: 'x' };

  it('names a bucket as the place of its config, with no secret in the control database', async () => {
    const other = await createWorld({
      env: { ...env, AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: SECRET },
    });
    try {
      expect(other.app.environment).toMatchObject({ seed: { storageType: 'S3', storagePath: 's3://okpuja/x' } });
      await other.app.configs.update(1, { storageType: 'S3', storagePath: 's3://okpuja/x' }, 'test');
      const [, row] = await other.app.destinations.list();
      expect(row).toMatchObject({ storagePath: 's3://okpuja/x', settings: null, secrets: null });
    } finally {
      await other.close();
    }
  });

  it('says which variable is wrong', async () => {
    await expect(createWorld({ env: { ...env, S3_ENDPOINT: 'nonsense' } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('S3_ENDPOINT is not a URL'),
    });
  });
});

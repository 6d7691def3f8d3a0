import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DatabaseWatch } from '../../../src/core/configs/database-watch.js';
import type { FoundDatabase } from '../../../src/core/configs/server.js';
import { AppError } from '../../../src/errors.js';
import type { BackupConfigRow } from '../../../src/models/index.js';
import { createWorld, type World } from '../../support/world.js';

let world: World;
let shop: BackupConfigRow;
/** What each server has: the databases by name, or null for one that never answers. */
let has: Record<number, string[] | null>;
let refused: string[];
const watches: DatabaseWatch[] = [];

const urlOf = (name: string) => `postgres://user@db:5432/${name}`;

beforeEach(async () => {
  world = await createWorld();
  shop = await create('shop', { autoInclude: 'shop_*' });
  has = { [shop.id]: ['shop'] };
  refused = [];
});
afterEach(async () => {
  for (const watch of watches.splice(0)) await watch.stop();
  await world.close();
});

const create = (name: string, settings: object = {}, url = urlOf(name)) =>
  world.app.configs.create({ name, databaseUrl: url, ...settings }, 'test');

/** A watch of servers that only this test knows. */
function watchOf(patience = 60_000): DatabaseWatch {
  const { configs, engines, log, models, now } = world.app;
  const found = async (configId: number, signal: AbortSignal): Promise<FoundDatabase[]> => {
    signal.throwIfAborted();
    const names = has[configId];
    if (names === null) {
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    }
    const owners = new Map((await configs.list()).map((row) => [row.databaseKey, row.id]));
    return (names ?? []).map((name) => {
      const key = `POSTGRES:db:5432/${name}`;
      return { key, name, url: urlOf(name), databaseUrl: urlOf(name), size: 1, configId: owners.get(key) ?? null };
    });
  };
  const protect = async ({ configId, names, actor }: { configId: number; names: readonly string[]; actor: string }) => {
    const no = names.find((name) => refused.includes(name));
    if (no !== undefined) throw new AppError('DATABASE_UNREADABLE', `The user must not read ${no}.`);
    const inputs = names.map((name) => ({ name, databaseUrl: urlOf(name) }));
    return configs.createLike(await configs.get(configId), inputs, actor);
  };
  const servers = { found, protect } as unknown as World['app']['servers'];
  const watch = new DatabaseWatch({ configs, engines, log, models, now, servers }, patience);
  watches.push(watch);
  return watch;
}

const names = async () => (await world.app.configs.list()).map(({ name }) => name);
const said = async () => {
  const { reasons, notices } = await world.app.overview.read();
  return [...reasons, ...notices]
    .filter(({ code }) => code.startsWith('DATABASE'))
    .map(({ code, level, message, configId }) => ({ code, level, message, configId }));
};

describe('A database that appears on a protected server', () => {
  it('is named by the status until a config backs it up, or until it goes', async () => {
    const watch = watchOf();
    await watch.look();
    expect(await said()).toEqual([]);
    has[shop.id] = ['shop', 'wiki', 'crm'];
    await watch.look();
    const message = 'The server of "shop" has 2 databases that no config backs up: crm, wiki.';
    expect(await said()).toEqual([{ code: 'DATABASES_UNPROTECTED', level: 'OK', message, configId: shop.id }]);
    await create('crm');
    expect(await said()).toMatchObject([
      { message: expect.stringContaining('a database that no config backs up: wiki') },
    ]);
    has[shop.id] = ['shop', 'crm'];
    await watch.look();
    expect(await said()).toEqual([]);
  });

  it('gets a config where its name fits autoInclude, noted in the audit trail', async () => {
    has[shop.id] = ['shop', 'shop_2', 'wiki'];
    await watchOf().look();
    expect(await names()).toEqual(['App', 'shop', 'shop_2']);
    const event = await world.app.models.AuditEvent.findOne({ order: [['id', 'DESC']] });
    expect(event).toMatchObject({
      actor: 'system',
      action: 'config.create',
      details: { name: 'shop_2', like: shop.id },
    });
    expect(await said()).toMatchObject([{ message: expect.stringContaining('backs up: wiki.') }]);
  });

  it('gets none again once its config was deleted, until someone makes one', async () => {
    has[shop.id] = ['shop', 'shop_2'];
    const watch = watchOf();
    await watch.look();
    const made = (await world.app.configs.list()).at(-1);
    await world.app.configs.remove(made?.id ?? 0, 'admin');
    await watch.look();
    has[shop.id] = ['shop'];
    await watch.look();
    has[shop.id] = ['shop', 'shop_2'];
    await watch.look();
    expect([await names(), await said()]).toEqual([['App', 'shop'], []]);
    await create('shop_2');
    expect(await world.app.models.ServerDatabase.count()).toBe(0);
  });

  it('that cannot be read is a warning, keeps none of the others waiting, and is tried again', async () => {
    has[shop.id] = ['shop', 'shop_2', 'shop_3'];
    refused = ['shop_2'];
    const watch = watchOf();
    await watch.look();
    expect(await names()).toEqual(['App', 'shop', 'shop_3']);
    expect(await said()).toMatchObject([
      { code: 'DATABASE_NOT_INCLUDED', level: 'WARNING', message: expect.stringContaining('must not read shop_2') },
    ]);
    refused = [];
    await watch.look();
    expect([await names(), await said()]).toEqual([['App', 'shop', 'shop_3', 'shop_2'], []]);
  });
});

describe('A server that does not answer', () => {
  it('holds up neither who starts the look nor other servers, and what is known of it stays', async () => {
    const other = await create('other', {}, 'postgres://user@elsewhere:5432/other');
    has = { [shop.id]: ['shop', 'wiki'], [other.id]: [] };
    await watchOf().look();
    has = { [shop.id]: null, [other.id]: ['new'] };
    const watch = watchOf(200);
    const began = performance.now();
    watch.begin();
    expect(performance.now() - began).toBeLessThan(100);
    await watch.look();
    expect((await said()).map(({ configId }) => configId)).toEqual([shop.id, other.id]);
  });

  it('holds up no process that stops', async () => {
    has = { [shop.id]: null };
    const watch = watchOf();
    watch.begin();
    const began = performance.now();
    await watch.stop();
    expect(performance.now() - began).toBeLessThan(5_000);
    watch.begin();
    expect(await said()).toEqual([]);
  });
});

describe('Configs for several databases', () => {
  it('are made all or none', async () => {
    const { BackupConfig } = world.app.models;
    const make = () =>
      world.app.configs.createLike(
        shop,
        ['a', 'b'].map((name) => ({ name, databaseUrl: urlOf(name) })),
        'test',
      );
    BackupConfig.addHook('beforeCreate', 'fail', (row) => {
      if ((row as BackupConfigRow).name === 'b') throw new Error('the disk is full');
    });
    await expect(make()).rejects.toThrow('the disk is full');
    BackupConfig.removeHook('beforeCreate', 'fail');
    expect(await names()).toEqual(['App', 'shop']);
    await make();
    await expect(make()).rejects.toMatchObject({
      field: 'names',
      message: expect.stringMatching(/config \d+ backs up/),
    });
    expect(await names()).toEqual(['App', 'shop', 'a', 'b']);
  });

  it.each(['', ' ', 'a\0b'])('the pattern %j of names is refused', async (autoInclude) => {
    await expect(world.app.configs.update(shop.id, { autoInclude }, 'test')).rejects.toMatchObject({
      field: 'autoInclude',
    });
  });

  it('cannot be asked for beside a file', async () => {
    await expect(world.app.configs.update(1, { autoInclude: '*' }, 'test')).rejects.toMatchObject({
      ...{ field: 'autoInclude', message: expect.stringContaining('SQLITE') },
    });
  });
});

describe('The URL of a server', () => {
  const discover = (url: string) => world.app.servers.discover({ url }, new AbortController().signal);

  it('that is refused is named as what it is, not as the setting of a config', async () => {
    await expect(discover('postgres://user:***@db/')).rejects.toMatchObject({
      ...{ field: 'url', message: expect.stringContaining('***') },
    });
    for (const url of ['oracle://db', 'postgres://user@db/?sslmode=no', 'nonsense']) {
      const error = await discover(url).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ field: 'url' });
      expect(`${(error as AppError).message} ${(error as AppError).hint}`).not.toContain('databaseUrl');
    }
    const away = await discover('postgres://user@127.0.0.1:1/').catch((thrown: unknown) => thrown);
    expect(away).toMatchObject({ code: 'DATABASE_NOT_FOUND', hint: expect.stringContaining('in url') });
  });
});

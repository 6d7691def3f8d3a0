import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BSON, type Db, MongoClient } from 'mongodb';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeServerEngine, type Zoo } from '../contracts/server-engine.contract.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { fillZoo } from '../support/mongodb.js';
import { runsOf } from '../support/runs.js';
import { startMongo } from '../support/servers.js';
import { type TcpProxy, startTcpProxy } from '../support/tcp-proxy.js';
import { unpack } from '../support/unpack.js';

const server = await startMongo();
const missing = 'missing' in server ? server.missing : null;
const root = 'missing' in server ? '' : server.url;

(missing === null ? describe : describe.skip)(`A MongoDB database${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let app: TestApp;
  let client: MongoClient;
  let proxy: TcpProxy;
  const made: string[] = [];
  beforeAll(async () => {
    app = await createTestApp();
    client = await MongoClient.connect(root);
    const { hostname, port } = new URL(root);
    proxy = await startTcpProxy(hostname, Number(port || 27017));
  });
  afterAll(async () => {
    for (const name of made) await client.db(name).dropDatabase();
    await client?.close();
    await proxy?.close();
    await app?.close();
    if (!('missing' in server)) await server.stop();
  });

  const runs = runsOf(() => app);
  const { ask, configure, backUp } = runs;

  /** A database of this test, and its URL, also the one that leads through the proxy. */
  function database(name: string): { db: Db; url: string; proxied: string } {
    const own = `dbm_test_${process.pid}_${name}`;
    made.push(own);
    const url = new URL(root);
    url.pathname = `/${own}`;
    const proxied = new URL(url);
    proxied.host = `127.0.0.1:${proxy.port}`;
    proxied.searchParams.set('directConnection', 'true');
    return { db: client.db(own), url: url.href, proxied: proxied.href };
  }

  /** All that a database holds, as this product has no part in telling it: a hash of every document's bytes, and indexes. */
  async function stateOf(db: Db, except: string[] = []): Promise<string[]> {
    const state: string[] = [];
    for (const { name } of await db.listCollections({}, { nameOnly: true }).toArray()) {
      if (except.includes(name)) continue;
      const hashes: string[] = [];
      for await (const bytes of db.collection(name).find({}, { raw: true })) {
        hashes.push(
          createHash('sha256')
            .update(bytes as unknown as Uint8Array)
            .digest('hex'),
        );
      }
      const indexes = await db.collection(name).listIndexes().toArray();
      const shown = indexes.map((index) => BSON.EJSON.stringify(index, { relaxed: false })).sort();
      state.push(`${name} ${hashes.length} ${hashes.sort().join()} ${shown.join()}`);
    }
    return state.sort();
  }

  it('is found among the databases of its server, and another is backed up like it', async () => {
    const [one, two] = [database('many_1'), database('many_2')];
    for (const { db } of [one, two]) await db.collection('t').insertOne({ x: 1 });
    const configId = await configure('Many', one.url);
    const { discoverDatabases: found } = await ask<{ discoverDatabases: { name: string; configId: string | null }[] }>(
      'mutation($configId: ID) { discoverDatabases(configId: $configId) { name size configId } }',
      { configId },
    );
    expect(found.filter(({ name }) => name.includes('_many_'))).toMatchObject([
      { name: one.db.databaseName, configId },
      { name: two.db.databaseName, configId: null },
    ]);
    expect(found.map(({ name }) => name)).not.toContain('admin');
    const { protectDatabases: protecting } = await ask<{ protectDatabases: { id: string }[] }>(
      'mutation($configId: ID!, $names: [String!]!) { protectDatabases(configId: $configId, names: $names) { id } }',
      { configId, names: [two.db.databaseName] },
    );
    await backUp(protecting[0]?.id ?? '');
  });

  /** The database that a URL names. */
  const dbOf = (url: string) => client.db(decodeURIComponent(new URL(url).pathname.slice(1)));
  const namesIn = async (db: Db) =>
    (await db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);

  describeServerEngine({
    runs,
    make: async (name, collections) => {
      const { db, url } = database(name);
      for (const [collection, count] of Object.entries(collections)) {
        await db.createCollection(collection);
        if (count > 0) await db.collection(collection).insertMany(Array.from({ length: count }, (_, n) => ({ n })));
      }
      return url;
    },
    rowsOf: async (url) => {
      const db = dbOf(url);
      const names = await namesIn(db);
      const counts = await Promise.all(names.map((name) => db.collection(name).countDocuments()));
      return Object.fromEntries(names.map((name, index) => [name, counts[index] ?? 0]));
    },
    addTo: (url, collection) => dbOf(url).collection(collection).insertOne({ added: true }),
    removeRows: (url, collection) => dbOf(url).collection(collection).deleteMany({}),
    absent: (name) => database(name).url,
    stateOf: (url, except) => stateOf(dbOf(url), except),
    singleTables: false,
    leftovers: async (url) => {
      const { databases } = await client.db('admin').admin().listDatabases({ nameOnly: true });
      const beside = databases.map(({ name }) => name).filter((name) => /^dbm_(drill|look)_/.test(name));
      return [...beside, ...(await namesIn(dbOf(url))).filter((name) => /^dbm_/.test(name))];
    },
    emptyError: 'DATABASE_NOT_FOUND',
    zoo,
    unusable: async () => [['mongodb://127.0.0.1:1/none', 'DATABASE_NOT_FOUND']],
    rights: null,
    fragile: async () => {
      const { db, proxied } = database('fragile');
      await fillLarge(db);
      let isCut = false;
      const open = async () => {
        if (isCut) await proxy.open();
        isCut = false;
      };
      const stall = async (bytes: RegExp) => {
        const reached = proxy.stallAt(bytes);
        return { reached: () => reached, release: async () => undefined };
      };
      return {
        url: proxied,
        stallBackup: () => stall(/find.[^]*large/),
        // What a restore sends when it comes to another collection.
        stallRestore: () => stall(/dbm_new_restore_\w+_1/),
        stop: async (during) => {
          await proxy.cut();
          isCut = true;
          // A read is tried again where that can be done, and what a restore has made is dropped.
          if (during === 'restore') await open();
        },
        mend: open,
        close: async () => undefined,
      };
    },
    // mongo-java-server speaks it with a certificate of its own making only.
    tls: null,
    killed: {
      make: async () => {
        const { db, url } = database('killed');
        for (let n = 0; n < 12; n++) await db.collection(`c${n}`).insertMany([{ n }, { n: n + 1 }]);
        return url;
      },
      moments: 3,
      until: async (moment, isOver) => {
        const { db } = database('killed');
        const isThere = [
          async () => (await namesIn(db)).some((name) => name.startsWith('dbm_new_')),
          async () => (await namesIn(db)).filter((name) => name.startsWith('dbm_old_')).length > 6,
          async () => (await db.collection('dbm_switch').findOne({ phase: 'DONE' })) !== null,
        ][moment];
        while (!(await isThere?.()) && !isOver()) await sleep(1);
      },
    },
  });

  /** A database with every kind of value and collection that the test's server knows. */
  async function zoo(): Promise<Zoo> {
    const { db, url } = database('zoo');
    await fillZoo(db);
    return {
      url,
      busy: ['busy'],
      write: async (isOver) => {
        for (let n = 0; !isOver(); n++) {
          await db.collection<{ _id: number }>('busy').insertOne({ _id: n });
          await sleep(2);
        }
      },
      damage: async () => {
        await db.collection('types').deleteMany({});
        await db.collection('indexed').dropIndexes();
        await db.collection('日本 "x"').drop();
        await db.collection('later').insertOne({ later: true });
      },
      checkBackup: async ({ warnings }) =>
        expect(warnings).toEqual(
          process.env.MONGODB_TEST_URL
            ? expect.anything()
            : [expect.stringContaining('each collection was read at another moment')],
        ),
      checkPlan: ({ warnings }) =>
        expect(warnings).toContainEqual(expect.stringContaining('renames one collection at a time')),
      checkRestored: async () => undefined,
      checkUndone: async () => undefined,
      opensWithout: (backup) => looksLikeMongodump(backup, db),
    };
  }

  /** Names and fields are those of mongodump's own folder. */
  async function looksLikeMongodump(backup: string, db: Db): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'db-manager-'));
    try {
      const row = await app.app.backups.get(backup);
      await unpack(row.filePath, folder);
      const names = await readdir(join(folder, 'database.bson'));
      expect(names).toEqual(
        expect.arrayContaining([
          'types.bson',
          'types.metadata.json',
          '%E6%97%A5%E6%9C%AC%20%22x%22.bson',
          '%E6%97%A5%E6%9C%AC%20%22x%22.metadata.json',
          'a.b%2Fc%25%3A$.metadata.json'.replace('$', ''),
        ]),
      );
      const text = await readFile(join(folder, 'database.bson', 'indexed.metadata.json'), 'utf8');
      expect(Object.keys(JSON.parse(text))).toEqual(expect.arrayContaining(['indexes', 'collectionName', 'type']));
      expect(text).toMatch(/"key":\{"_id":\{"\$number(Int|Double|Long)":"1(\.0)?"\}\}/);
      const bytes = await readFile(join(folder, 'database.bson', 'types.bson'));
      let [at, count] = [0, 0];
      for (; at < bytes.length; count++) at += bytes.readInt32LE(at);
      expect([at, count]).toEqual([bytes.length, row.tables.find(({ name }) => name === 'types')?.rows]);
      expect(await db.collection('types').countDocuments()).toBe(0);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Enough that a backup takes more than one answer of the server. */
  async function fillLarge(db: Db): Promise<void> {
    const text = 'x'.repeat(10_000);
    for (let part = 0; part < 3; part++) {
      await db.collection('large').insertMany(Array.from({ length: 500 }, (_, n) => ({ n: part * 500 + n, text })));
    }
    await db.collection('small').insertOne({ x: 1 });
  }
});

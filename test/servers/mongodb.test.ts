import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BSON, type Db, MongoClient } from 'mongodb';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { start, translate } from '../cli/command.js';
import { describeServerEngine } from '../contracts/server-engine.contract.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { fillZoo } from '../support/mongodb.js';
import { runsOf } from '../support/runs.js';
import { startMongo } from '../support/servers.js';
import { type TcpProxy, startTcpProxy } from '../support/tcp-proxy.js';
import { unpack } from '../support/unpack.js';
import { filesIn, NEVER } from '../support/world.js';

const server = await startMongo();
const missing = 'missing' in server ? server.missing : null;
const root = 'missing' in server ? '' : server.url;

(missing === null ? describe : describe.skip)(`A MongoDB database${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let app: TestApp;
  let client: MongoClient;
  let proxy: TcpProxy;
  let absent: ReturnType<typeof test>;
  const made: string[] = [];
  beforeAll(async () => {
    app = await createTestApp();
    client = await MongoClient.connect(root);
    const { hostname, port } = new URL(root);
    proxy = await startTcpProxy(hostname, Number(port || 27017));
    // The driver looks for it for ten seconds.
    absent = test('mongodb://127.0.0.1:1/none');
    absent.catch(() => undefined);
  });
  afterAll(async () => {
    await absent?.catch(() => undefined);
    for (const name of made) await client.db(name).dropDatabase();
    await client?.close();
    await proxy?.close();
    await app?.close();
    if (!('missing' in server)) await server.stop();
  });

  const { ask, configure, test, follow, startBackup, backUp, startRestore, restore, undo } = runsOf(() => app);

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

  const leftovers = async (db: Db) =>
    (await db.listCollections({}, { nameOnly: true }).toArray())
      .map(({ name }) => name)
      .filter((name) => /^dbm_/.test(name));

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

  describeServerEngine({
    app: () => app,
    make: async (name, collections) => {
      const { db, url } = database(name);
      for (const [collection, count] of Object.entries(collections)) {
        await db.collection(collection).insertMany(Array.from({ length: count }, (_, n) => ({ n })));
      }
      return url;
    },
    rowsOf: async (url) => {
      const db = client.db(decodeURIComponent(new URL(url).pathname.slice(1)));
      const names = (await db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);
      const counts = await Promise.all(names.map((name) => db.collection(name).countDocuments()));
      return Object.fromEntries(names.map((name, index) => [name, counts[index] ?? 0]));
    },
    absent: (name) => database(name).url,
  });

  it('comes back byte for byte after a backup under a writer, and an undo takes that back', async () => {
    const { db, url } = database('zoo');
    await fillZoo(db);
    const config = await configure('Zoo', url);
    let isWriting = true;
    const writer = (async () => {
      for (let n = 0; isWriting; n++) {
        await db.collection<{ _id: number }>('busy').insertOne({ _id: n });
        await sleep(2);
      }
    })();
    const run = await backUp(config);
    isWriting = false;
    await writer;
    const whole = await stateOf(db, ['busy']);
    expect(run.warnings).toEqual(
      process.env.MONGODB_TEST_URL
        ? expect.anything()
        : [expect.stringContaining('each collection was read at another moment')],
    );
    await db.collection('types').deleteMany({});
    await db.collection('indexed').dropIndexes();
    await db.collection('日本 "x"').drop();
    await db.collection('later').insertOne({ later: true });
    const broken = await stateOf(db);

    const plan = await app.app.restores.plan({ backupId: run.id, confirm: true });
    expect(plan).toMatchObject({
      refusals: [],
      warnings: expect.arrayContaining([expect.stringContaining('renames one collection at a time')]),
    });
    const done = await restore({ backupId: run.id });
    expect(await stateOf(db, ['busy'])).toEqual(whole);
    expect(await leftovers(db)).toEqual([]);

    await undo(done.id);
    expect(await stateOf(db)).toEqual(broken);

    const { verifyBackup } = await ask<{ verifyBackup: object }>(
      'mutation($id: ID!) { verifyBackup(id: $id, level: DRILL) { verificationLevel errorMessage } }',
      { id: run.id },
    );
    expect(verifyBackup).toEqual({ verificationLevel: 'DRILL', errorMessage: null });
    expect(await stateOf(db)).toEqual(broken);
    await looksLikeMongodump(run.id, db);
  });

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

  it('goes into a new database, and from an upload only when someone answers for it', async () => {
    const { db, url } = database('source');
    await db.collection<{ _id: number }>('t').insertOne({ _id: 1 });
    const config = await configure('Elsewhere', url);
    const { id } = await backUp(config);
    const copy = database('copy');
    await restore({ backupId: id, targetDatabaseUrl: copy.url });
    expect(await stateOf(copy.db)).toEqual(await stateOf(db));
    const { filePath, fileName } = await app.app.backups.get(id);
    const upload = await app.app.backups.upload(createReadStream(filePath), fileName, undefined, 'test', NEVER);
    expect(upload).toMatchObject({ backupType: 'UPLOADED', configId: Number(config), tables: [{ name: 't' }] });
    const plan = await app.app.restores.plan({ backupId: upload.id, confirm: true });
    expect(plan.refusals).toEqual([expect.objectContaining({ code: 'BACKUP_FOREIGN', field: 'allowForeign' })]);
    await db.collection('t').deleteMany({});
    await restore({ backupId: upload.id, allowForeign: true });
    expect(await db.collection('t').find().toArray()).toEqual([{ _id: 1 }]);
  });

  it('is not backed up where it is empty or misspelt, and says so; an empty collection is', async () => {
    const { db, url } = database('empty');
    await db.createCollection('nothing');
    const config = await configure('Empty', url);
    await db.dropCollection('nothing');
    const none = await follow('backup', await startBackup(config));
    expect(none).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_NOT_FOUND' });
    await db.createCollection('nothing');
    const { id } = await backUp(config);
    await db.collection('nothing').insertOne({ x: 1 });
    await db.collection('later').insertOne({ x: 1 });
    await restore({ backupId: id });
    expect((await stateOf(db)).map((line) => line.split(' ').slice(0, 2))).toEqual([['nothing', '0']]);
  });

  it('refuses single collections, and a backup of another kind of database', async () => {
    const { db, url } = database('whole');
    await db.collection('t').insertOne({ x: 1 });
    const { id } = await backUp(await configure('Whole', url));
    const plan = await app.app.restores.plan({ backupId: id, confirm: true, tables: ['t'] });
    expect(plan.refusals).toEqual([expect.objectContaining({ code: 'BAD_USER_INPUT', field: 'tables' })]);
    const sqlite = await app.backup();
    const request = { backupId: sqlite.id, confirm: true, targetDatabaseUrl: url, overwrite: true };
    await expect(app.app.restores.plan(request)).rejects.toMatchObject({ field: 'targetDatabaseUrl' });
  });

  it('names a server that is absent, and tests one that is there', async () => {
    const { db, url } = database('tested');
    await db.collection('t').insertOne({ x: 1 });
    expect(await test(url)).toMatchObject({ ok: true, error: null });
    expect(await absent).toMatchObject({ ok: false, error: { code: 'DATABASE_NOT_FOUND' } });
  });

  /** What a restore sends when it comes to the second collection. */
  const SECOND = /dbm_new_restore_\w+_1/;

  /** Enough that a backup takes more than one answer of the server. */
  async function fillLarge(db: Db): Promise<void> {
    const text = 'x'.repeat(10_000);
    for (let part = 0; part < 3; part++) {
      await db.collection('large').insertMany(Array.from({ length: 500 }, (_, n) => ({ n: part * 500 + n, text })));
    }
    await db.collection('small').insertOne({ x: 1 });
  }

  it('fails with the reason when its server goes away, and stays as it was', async () => {
    const { db, proxied } = database('stopped');
    await fillLarge(db);
    const config = await configure('Stopped', proxied);
    const { id } = await backUp(config);
    const archives = await filesIn(app.backups);
    const reading = proxy.stallAt(/find.[^]*large/);
    const run = await startBackup(config);
    await reading;
    await proxy.cut();
    expect(await follow('backup', run)).toMatchObject({
      status: 'FAILED',
      errorCode: expect.stringMatching(/^DATABASE_/),
      errorHint: expect.stringMatching(/./),
    });
    expect(await filesIn(app.backups)).toEqual(archives);
    await proxy.open();
    await db.collection('small').insertOne({ x: 2 });
    const before = await stateOf(db);
    const loading = proxy.stallAt(SECOND);
    const restoring = await startRestore({ backupId: id });
    await loading;
    await proxy.cut();
    await proxy.open();
    expect(await follow('restore', restoring)).toMatchObject({
      status: 'FAILED',
      errorCode: expect.stringMatching(/^DATABASE_/),
    });
    expect(await stateOf(db)).toEqual(before);
  });

  it('stays as it was when a restore is cancelled while it loads', async () => {
    const { db, proxied } = database('cancelled');
    await fillLarge(db);
    const { id } = await backUp(await configure('Cancelled', proxied));
    await db.collection('small').insertOne({ x: 2 });
    const before = await stateOf(db);
    const loading = proxy.stallAt(SECOND);
    const restoring = await startRestore({ backupId: id });
    await loading;
    await ask('mutation($id: ID!) { cancelRestore(id: $id) { id } }', { id: restoring });
    expect(await follow('restore', restoring)).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    expect(await stateOf(db)).toEqual(before);
  });

  it('is old or new as a whole when the process is killed at the switch', async () => {
    const { db, url } = database('killed');
    for (let n = 0; n < 12; n++) await db.collection(`c${n}`).insertMany([{ n }, { n: n + 1 }]);
    const { id } = await backUp(await configure('Killed', url));
    const whole = await stateOf(db);
    const program = join(await translate(join(app.folder, 'program')), 'src/cli.js');
    const env = {
      DATA_DIR: join(app.folder, 'data'),
      DB_BACKUP_PATH: app.backups,
      LOG_LEVEL: 'silent',
      LEASE_SECONDS: '5',
    };
    const names = async () => (await db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);
    const seen = new Set<string>();
    for (const [round, isThere] of [
      async () => (await names()).some((name) => name.startsWith('dbm_new_')),
      async () => (await names()).filter((name) => name.startsWith('dbm_old_')).length > 6,
      async () => (await db.collection('dbm_switch').findOne({ phase: 'DONE' })) !== null,
    ].entries()) {
      await db.collection('c1').insertOne({ round });
      await db.collection(`extra${round}`).insertOne({ round });
      const broken = await stateOf(db);
      const running = start([program, 'restore', id, '--confirm'], { cwd: app.folder, env });
      while (!(await isThere()) && running.child.exitCode === null) await sleep(1);
      running.child.kill('SIGKILL');
      await running.ended;
      await app.app.models.sequelize.query('DELETE FROM leases');
      await app.app.restores.recover();
      await app.app.backups.recover();
      const row = await app.app.models.Restore.findOne({ order: [['createdAt', 'DESC']] });
      seen.add(row?.status ?? '');
      expect(row?.status).toMatch(/^(COMPLETED|FAILED)$/);
      expect(await stateOf(db)).toEqual(row?.status === 'COMPLETED' ? whole : broken);
      expect(await leftovers(db)).toEqual([]);
    }
    expect(seen).toEqual(new Set(['FAILED', 'COMPLETED']));
  });
});

import { addBackups } from '../support/records.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { listBackups } from '../../src/core/lists/lists.js';
import {
  type BackupFilter,
  BackupsDocument,
  type BackupOrder,
  ConfigDocument,
  ConfigPageDocument,
  type ConfigPageQuery,
  ConfigsDocument,
} from '../../src/client/index.js';
import type { BackupConfigRow, BackupRow } from '../../src/models/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';

const COUNT = 3_000;
const START = Date.parse('2025-01-01T00:00:00Z');

let app: TestApp;
let ids: string[];
beforeAll(async () => {
  app = await createTestApp({ work: false });
  const { models } = app.app;
  const rows = Array.from({ length: COUNT }, (_, i) => ({
    id: `backup_2025_${String(i).padStart(6, '0')}`,
    configId: 1,
    backupType: i % 10 === 0 ? ('MANUAL' as const) : ('AUTO' as const),
    mode: 'FULL' as const,
    status: i % 7 === 0 ? ('FAILED' as const) : ('COMPLETED' as const),
    createdBy: 'test',
    // Three of a kind: ties must not lose or repeat a row.
    createdAt: new Date(START + Math.floor(i / 3) * 1_001),
    engine: 'SQLITE' as const,
    databaseName: 'db.sqlite3',
    storageType: 'LOCAL' as const,
    storagePath: '/backups',
    fileName: `okpuja_${i}.zip`,
    filePath: `/backups/okpuja_${i}.zip`,
    fileSize: i % 7 === 0 ? null : (i % 50) * 1_000_000_000,
    note: i === 42 ? 'Before the 100% update_v2!' : null,
    errorMessage: i === 49 ? 'No space left' : null,
  }));
  await addBackups(models, rows);
  ids = rows.map((row) => row.id);
});
afterAll(() => app.close());

/** Only what is compared: whole backups would take most of the time of this file. */
const WALK = `query ($first: Int, $after: String, $orderBy: BackupOrder, $filter: BackupFilter) {
  backups(first: $first, after: $after, orderBy: $orderBy, filter: $filter) {
    nodes { id fileSize createdAt }
    pageInfo { hasPreviousPage hasNextPage endCursor }
  }
}`;
interface Page {
  nodes: { id: string; fileSize: number | null; createdAt: string }[];
  pageInfo: { hasPreviousPage: boolean; hasNextPage: boolean; endCursor: string | null };
}

async function walk(first: number, orderBy?: BackupOrder, filter?: BackupFilter): Promise<Page['nodes']> {
  const seen: Page['nodes'] = [];
  for (let after: string | null = null; ;) {
    const { data } = await send(app, WALK, { first, after, orderBy, filter });
    const { nodes, pageInfo } = data?.backups as Page;
    seen.push(...nodes);
    expect(pageInfo.hasPreviousPage).toBe(after !== null);
    if (!pageInfo.hasNextPage) return seen;
    expect(nodes).toHaveLength(first);
    after = pageInfo.endCursor;
  }
}

/** The SQL that the control database is asked while something is done. */
async function statements(work: () => Promise<unknown>): Promise<string[]> {
  const found: string[] = [];
  const { options } = app.app.models.sequelize as unknown as { options: { logging: unknown } };
  options.logging = (text: string) => found.push(text.replace(/^Executing \(.*?\): /, ''));
  await work();
  options.logging = false;
  return found;
}

describe('A list of thousands', () => {
  it.each(['CREATED_AT_DESC', 'CREATED_AT_ASC', 'FILE_SIZE_DESC', 'FILE_SIZE_ASC'] as const)(
    'read page by page in the order %s shows each row once, in order',
    async (order) => {
      const seen = await walk(437, order);
      expect(new Set(seen.map(({ id }) => id)).size).toBe(COUNT);
      expect(seen).toHaveLength(COUNT);
      const value = (row: (typeof seen)[number]) =>
        order.startsWith('FILE') ? (row.fileSize ?? -1) : Date.parse(row.createdAt);
      const sign = order.endsWith('DESC') ? -1 : 1;
      for (let i = 1; i < seen.length; i++) {
        const [one, two] = [seen[i - 1], seen[i]] as [(typeof seen)[number], (typeof seen)[number]];
        const step = sign * (value(two) - value(one));
        expect(step > 0 || (step === 0 && sign * (one.id < two.id ? 1 : -1) > 0)).toBe(true);
      }
    },
  );

  it('keeps its place while new backups come in', async () => {
    const client = clientOf(app);
    const { backups: one } = await client.request(BackupsDocument, { first: 100 });
    const fresh = await app.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const { backups: two } = await client.request(BackupsDocument, { first: 100, after: one.pageInfo.endCursor });
    expect([...one.nodes, ...two.nodes].map(({ id }) => id)).toEqual(ids.slice(-200).reverse());
    await fresh.destroy();
  });

  it('is read by its index, also in the order of sizes', async () => {
    const { models } = app.app;
    for (const order of ['FILE_SIZE_DESC', 'CREATED_AT_DESC'] as const) {
      const { cursors } = await listBackups(models, {}, order, { first: 10 });
      const [sql] = await statements(() => listBackups(models, {}, order, { first: 10, after: cursors[9] ?? null }));
      const [plan] = (await models.sequelize.query(`EXPLAIN QUERY PLAN ${sql}`)) as [{ detail: string }[], unknown];
      const text = plan.map((step) => step.detail).join('\n');
      expect(text).toMatch(/SEARCH .*USING (COVERING )?INDEX/);
      expect(text).not.toMatch(/TEMP B-TREE FOR ORDER BY/);
    }
  });

  it.each([
    ['CREATED_AT_DESC', {}],
    ['FILE_SIZE_ASC', { status: ['COMPLETED'] as const, backupType: ['AUTO'] as const }],
  ] as const)('is searched in one index that holds the text, in the order %s', async (order, filter) => {
    const { models } = app.app;
    const given = { ...filter, search: 'no such text' } as Parameters<typeof listBackups>[1];
    const [sql] = await statements(() => listBackups(models, given, order, { first: 10 }));
    const [plan] = (await models.sequelize.query(`EXPLAIN QUERY PLAN ${sql}`)) as [{ detail: string }[], unknown];
    expect(plan.map((step) => step.detail).join('\n')).toMatch(/SCAN Backup USING COVERING INDEX backups_search/);
  });

  it('leaves out what another backup of its chain builds on, where that is asked for', async () => {
    const { models } = app.app;
    const added = ['full', 'one', 'two', 'broken', 'three', 'other'].map((name, index) => {
      const isOwn = index > 0 && name !== 'other';
      const parent = { one: 'full', two: 'one', broken: 'two', three: 'two' }[name] ?? null;
      return {
        id: `chain_${index}_${name}`,
        configId: 1,
        backupType: 'MANUAL' as const,
        mode: isOwn ? ('INCREMENTAL' as const) : ('FULL' as const),
        status:
          name === 'broken' ? ('FAILED' as const) : name === 'one' ? ('DELETED' as const) : ('COMPLETED' as const),
        createdBy: 'test',
        createdAt: new Date(START + 9e9 + index),
        engine: 'SQLITE' as const,
        databaseName: 'db.sqlite3',
        storageType: 'LOCAL' as const,
        storagePath: '/backups',
        fileName: `chain_${name}.zip`,
        filePath: `/backups/chain_${name}.zip`,
        fileSize: 1,
        archiveId: name,
        parentArchiveId: parent,
        chainArchiveId: isOwn ? 'full' : null,
        chainPosition: isOwn ? index : 0,
      };
    });
    await addBackups(models, added);
    const named = async (filter: BackupFilter) =>
      (await walk(50, 'CREATED_AT_ASC', { search: 'chain_', ...filter })).map(({ id }) => id.split('_')[2]);
    expect(await named({})).toEqual(['full', 'one', 'two', 'broken', 'three', 'other']);
    expect(await named({ newestOfChain: true })).toEqual(['full', 'broken', 'three', 'other']);
    expect(await named({ mode: ['INCREMENTAL'] })).toEqual(['one', 'two', 'broken', 'three']);
    const [sql] = await statements(() =>
      listBackups(models, { newestOfChain: true }, 'CREATED_AT_DESC', { first: 10 }),
    );
    const [plan] = (await models.sequelize.query(`EXPLAIN QUERY PLAN ${sql}`)) as [{ detail: string }[], unknown];
    const text = plan.map(({ detail }) => detail).join('\n');
    expect(text).toMatch(/SEARCH next USING .*INDEX/);
    expect(text).not.toMatch(/SCAN next/);
    await models.Backup.destroy({ where: { id: added.map(({ id }) => id) } });
  });

  it('of configs gives each once, page by page, and is searched by name, path and media', async () => {
    const { BackupConfig } = app.app.models;
    const [first] = await BackupConfig.findAll();
    const values = { ...(first as BackupConfigRow).get({ plain: true }), id: undefined, mediaPaths: ['/srv/Überall'] };
    await BackupConfig.bulkCreate(
      Array.from({ length: 30 }, (_, i) => ({ ...values, name: `Filiale ${i}` })) as never[],
    );
    const client = clientOf(app);
    const seen: string[] = [];
    for (let after: string | null | undefined = null, more = true; more;) {
      const { configConnection }: ConfigPageQuery = await client.request(ConfigPageDocument, { first: 7, after });
      expect(configConnection.totalCount).toBe(31);
      seen.push(...configConnection.nodes.map(({ id }) => id));
      ({ endCursor: after, hasNextPage: more } = configConnection.pageInfo);
    }
    expect(seen).toEqual((await client.request(ConfigsDocument)).configs.map(({ id }) => id));
    const found = async (search: string) =>
      (await client.request(ConfigPageDocument, { search })).configConnection.totalCount;
    expect(await Promise.all(['filiale 2', 'überall', 'no such', '100%'].map(found))).toEqual([11, 30, 0, 0]);
    await BackupConfig.destroy({ where: { name: Array.from({ length: 30 }, (_, i) => `Filiale ${i}`) } });
  });

  it('of configs says the same in part as in whole', async () => {
    const whole = await clientOf(app).request(ConfigsDocument);
    const { data } = await send(
      app,
      '{ configs { ...P } } fragment P on BackupConfig { nextRuns isSample databaseUrl }',
    );
    const expected = whole.configs.map(({ nextRuns, isSample, databaseUrl }) => ({ nextRuns, isSample, databaseUrl }));
    expect(data).toEqual({ configs: expected });
    const first = await clientOf(app).request(ConfigDocument, { id: '1' });
    expect(whole.configs[0]).toEqual(first.config);
  });

  it('is counted only where the count is asked for', async () => {
    const counts = (sql: string[]) => sql.filter((text) => /count\(/i.test(text)).length;
    expect(counts(await statements(() => send(app, '{ backups(first: 1) { nodes { id } } }')))).toBe(0);
    let data: unknown;
    const sql = await statements(async () => ({ data } = await send(app, '{ backups(first: 1) { totalCount } }')));
    expect([counts(sql), data]).toEqual([1, { backups: { totalCount: COUNT } }]);
  });

  it('reads the configs of a page with one query', async () => {
    const query = '{ backups(first: 500) { nodes { config { name } } edges { node { config { id } } } } }';
    const sql = await statements(() => send(app, query));
    expect(sql.filter((text) => /FROM .backup_configs./.test(text))).toHaveLength(1);
  });

  it('returns the first and last position of a page, and neither for an empty one', async () => {
    const { data } = await send(
      app,
      '{ a: backups(first: 2) { edges { cursor } pageInfo { startCursor endCursor } } b: backups(filter: {search: "zzz"}) { pageInfo { startCursor endCursor hasNextPage } } }',
    );
    const page = data as { a: { edges: { cursor: string }[]; pageInfo: object }; b: object };
    expect(page.a.pageInfo).toEqual({ startCursor: page.a.edges[0]?.cursor, endCursor: page.a.edges[1]?.cursor });
    expect(page.b).toEqual({ pageInfo: { startCursor: null, endCursor: null, hasNextPage: false } });
  });
});

describe('A filter', () => {
  const at = (i: number) => new Date(START + Math.floor(i / 3) * 1_001);
  const cases: [string, BackupFilter, (i: number) => boolean][] = [
    ['of states', { status: ['FAILED'] }, (i) => i % 7 === 0],
    ['of reasons', { backupType: ['MANUAL', 'UPLOADED'] }, (i) => i % 10 === 0],
    ['of a config', { configId: '1' }, () => true],
    ['of another config', { configId: '2' }, () => false],
    ['of a storage', { storageType: ['LOCAL'] }, () => true],
    ['that is empty', { status: [], search: '  ' }, () => true],
    ['of nulls', { status: null, search: null, configId: null }, () => true],
    ['of a period, from the moment on', { createdAfter: at(300).toISOString() }, (i) => at(i) >= at(300)],
    ['of a period, before the moment', { createdBefore: at(300).toISOString() }, (i) => at(i) < at(300)],
    [
      'of a period in another zone',
      { createdBefore: '2025-01-01T05:31:00+05:30' },
      (i) => at(i) < new Date(START + 60_000),
    ],
    ['of several parts', { status: ['COMPLETED'], backupType: ['MANUAL'] }, (i) => i % 7 !== 0 && i % 10 === 0],
    ['of words in any case', { search: 'BEFORE the' }, (i) => i === 42],
    ['of an error message', { search: 'space' }, (i) => i === 49],
    ['of a part of the id', { search: '2025_00297' }, (i) => i >= 2970 && i < 2980],
    ['of a wildcard as it is written: %', { search: '100% upd' }, (i) => i === 42],
    ['of a wildcard as it is written: _', { search: 'update_v2!' }, (i) => i === 42],
    ['of a wildcard that matches nothing', { search: 'update%v2' }, () => false],
    ['of a quote', { search: "' OR 1=1 --" }, () => false],
  ];
  it.each(cases)('%s', async (_name, filter, expected) => {
    const seen = await walk(500, 'CREATED_AT_ASC', filter);
    expect(seen.map(({ id }) => id)).toEqual(ids.filter((_, i) => expected(i)));
  });
});

it('The trail of who did what is listed, newest first, and filtered', async () => {
  await app.app.configs.update(1, { schedule: '0 3 * * *' }, 'somebody');
  const client = clientOf(app);
  expect((await client.request(ConfigsDocument)).configs[0]?.schedule).toBe('0 3 * * *');
  const ask = async (filter: string) =>
    (await send(app, `{ auditEvents(filter: {${filter}}) { nodes { actor action subject details { name value } } } }`))
      .data;
  const event = {
    actor: 'somebody',
    action: 'config.update',
    subject: '1',
    details: [{ name: 'fields', value: '["schedule"]' }],
  };
  expect(await ask('actor: "somebody"')).toEqual({ auditEvents: { nodes: [event] } });
  expect(await ask('action: "config.update", subject: "1"')).toEqual({ auditEvents: { nodes: [event] } });
  const all = (await ask('action: "config"')) as { auditEvents: { nodes: { action: string }[] } };
  expect(all.auditEvents.nodes.map(({ action }) => action)).toEqual(['config.update', 'config.create']);
  expect(await ask('action: "conf"')).toEqual({ auditEvents: { nodes: [] } });
});

it('A size beyond 2^32 comes through exactly', async () => {
  const row = await app.app.models.Backup.findByPk(ids[1]);
  await (row as BackupRow).update({ fileSize: 2 ** 53 - 1 });
  const { text } = await send(app, `{ backup(id: "${ids[1]}") { fileSize fileSizeHuman } }`);
  expect(text).toContain('"fileSize":9007199254740991');
});

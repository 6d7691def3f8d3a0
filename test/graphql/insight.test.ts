import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf } from '../support/operations.js';
import { contentHash, exec } from '../support/sqlite.js';

let app: TestApp;
let client: api.Client;
let [first, second] = ['', ''];
beforeAll(async () => {
  app = await createTestApp({ work: false });
  client = clientOf(app);
  await exec(app.database, 'CREATE TABLE booking (id INTEGER PRIMARY KEY, guest TEXT, paid REAL)');
  await exec(app.database, "INSERT INTO booking VALUES (1, 'Asha', 10.5), (2, 'Bram', NULL), (3, 'Chen', 7)");
  first = (await app.backup()).id;
  await exec(app.database, "DELETE FROM booking WHERE id = 2; UPDATE booking SET paid = 8 WHERE guest = 'Chen'");
  await writeFile(join(app.media, 'new.txt'), 'new');
  await rm(join(app.media, 'empty.txt'));
  second = (await app.backup()).id;
});
afterAll(() => app.close());

const compare = async (variables: api.CompareBackupsQueryVariables) =>
  (await client.request(api.CompareBackupsDocument, variables)).compareBackups;
const query = async (sql: string, variables: Partial<api.QueryBackupQueryVariables> = {}) =>
  (await client.request(api.QueryBackupDocument, { id: first, sql, ...variables })).queryBackup;

describe('Two backups compared', () => {
  it('show the rows and files that were removed, changed and added between them', async () => {
    const { tables, schemaChanges, media } = await compare({ from: first, to: second });
    expect(schemaChanges).toEqual([]);
    const differing = tables.filter(({ added, removed, changed }) => added + removed + changed > 0);
    expect(differing).toEqual([
      {
        ...{ name: 'booking', added: 0, removed: 1, changed: 1, unchanged: 1, schemaChanges: [] },
        samples: [
          { key: { id: 2 }, before: { id: 2, guest: 'Bram', paid: null }, after: null },
          { key: { id: 3 }, before: { paid: 7 }, after: { paid: 8 } },
        ],
      },
    ]);
    expect(media).toMatchObject({
      ...{ added: 1, removed: 1, changed: 0 },
      samples: [
        { path: 'media/empty.txt', before: 0, after: null },
        { path: 'media/new.txt', before: null, after: 3 },
      ],
    });
  });

  it('of which one is the live state show what came since, and leave that as it is', async () => {
    await exec(app.database, "INSERT INTO booking VALUES (9, 'Eva', 1)");
    await writeFile(join(app.media, 'new.txt'), 'NEW');
    const before = await contentHash(app.database);
    const { tables, media } = await compare({ from: second, tables: ['booking'], samples: 1 });
    expect(tables).toMatchObject([{ name: 'booking', added: 1, removed: 0, changed: 0, unchanged: 2 }]);
    expect(media).toMatchObject({ added: 0, removed: 0, changed: 1 });
    expect(await contentHash(app.database)).toBe(before);
  });

  it.each([
    ['to', 'NOT_FOUND', { to: 'backup_20250724_143022_a1b2c3d4' }],
    ['tables', 'BAD_USER_INPUT', { tables: ['nothing'] }],
    ['samples', 'BAD_USER_INPUT', { samples: 101 }],
  ])('are refused with a wrong %s', async (field, code, variables) => {
    await expect(compare({ from: first, ...variables })).rejects.toMatchObject({
      code,
      ...(code === 'NOT_FOUND' ? {} : { field }),
    });
  });
});

describe('A query of a backup', () => {
  it('gives rows of that state, whatever the live database holds now', async () => {
    expect(await query('SELECT guest, paid FROM booking ORDER BY id', { limit: 2 })).toMatchObject({
      columns: ['guest', 'paid'],
      rows: [
        ['Asha', 10.5],
        ['Bram', null],
      ],
      truncated: true,
    });
  });

  it('is written to the audit trail, with the start of its text', async () => {
    const long = `SELECT 1 -- ${'x'.repeat(1_000)}`;
    await query(long);
    const event = await app.app.models.AuditEvent.findOne({
      where: { action: 'backup.query' },
      order: [['id', 'DESC']],
    });
    expect(event?.toJSON()).toMatchObject({ subject: first });
    expect(JSON.stringify(event?.toJSON())).toContain(long.slice(0, 500));
    expect(JSON.stringify(event?.toJSON())).not.toContain(long.slice(0, 501));
  });

  it.each<[string, { sql?: string; limit?: number }]>([
    ['sql', { sql: '  ' }],
    ['sql', { sql: 'DROP TABLE booking' }],
    ['limit', { limit: 0 }],
    ['limit', { limit: 1_001 }],
  ])('is refused with a wrong %s: %o', async (field, { sql = 'SELECT 1', ...variables }) => {
    await expect(query(sql, variables)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field });
  });

  it('leaves its private copy for the next one, and nothing when the process ends', async () => {
    const work = join(app.folder, 'data', 'tmp');
    const copies = async () => (await readdir(work)).filter((name) => name.startsWith('look_'));
    await query('SELECT 1');
    const [own] = await copies();
    expect((await query('SELECT count(*) FROM booking')).rows).toEqual([[3]]);
    expect(await copies()).toContain(own);
    expect((await copies()).length).toBeLessThanOrEqual(2);
    await app.app.backups.recover();
    expect(await copies()).toContain(own);
    await app.app.insight.close();
    expect(await copies()).toEqual([]);
  });
});

describe('Rows and media files of a backup', () => {
  it('are looked at for those without each other, and nothing is changed', async () => {
    await exec(
      app.database,
      `CREATE TABLE picture (id INTEGER PRIMARY KEY, file varchar(100));
       INSERT INTO picture VALUES (1, 'uploads/a photo.txt'), (2, 'uploads/lost.jpg'), (3, 'images/ünï.txt');`,
    );
    const { id } = await app.backup();
    const before = await contentHash(app.database);
    const { fileReferences } = await client.request(api.FileReferencesDocument, { id });
    expect(fileReferences).toEqual({
      columns: [
        {
          ...{ table: 'picture', column: 'file', rows: 3, missing: 1 },
          samples: [{ key: { id: 2 }, path: 'uploads/lost.jpg' }],
        },
      ],
      unreferenced: 1,
      unreferencedSamples: ['media/new.txt'],
    });
    expect(await contentHash(app.database)).toBe(before);
    const wrong = client.request(api.FileReferencesDocument, { id, columns: ['picture.nothing'] });
    await expect(wrong).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'columns' });
  });
});

describe('The backups of a config', () => {
  const history = async (variables: Partial<api.RowHistoryQueryVariables>) => {
    const wanted = { configId: '1', table: 'booking', key: { id: 2 }, ...variables };
    return (await client.request(api.RowHistoryDocument, wanted)).rowHistory;
  };
  const change = async (sql: string) =>
    (await client.request(api.FindChangeDocument, { configId: '1', sql })).findChange;

  it('show what became of one row, and where it went', async () => {
    expect(await history({})).toMatchObject([
      { backup: { id: first }, lastBackup: { id: first }, row: { id: 2, guest: 'Bram', paid: null }, changed: [] },
      { backup: { id: second }, row: null, changed: [] },
    ]);
    expect(await history({ key: { id: 3 }, every: true })).toMatchObject([
      { backup: { id: first }, row: { paid: 7 } },
      { backup: { id: second }, row: { guest: 'Chen', paid: 8 }, changed: ['paid'] },
    ]);
  });

  it('show where the answer to a query changed, also if it could not be asked before', async () => {
    expect(await change('SELECT paid FROM booking WHERE id = 3')).toMatchObject({
      ...{ before: { id: first }, after: { id: second }, answerBefore: 7, answerAfter: 8, unreadable: [] },
    });
    const { before, answerBefore, answerAfter } = (await change('SELECT count(*) FROM picture')) ?? {};
    expect([before?.id, answerBefore, answerAfter]).toEqual([second, null, 3]);
  });

  it('suggest invariants: tables that lost no row so far, as long as the config has none such', async () => {
    const suggest = async () =>
      (await client.request(api.SuggestInvariantsDocument, { configId: '1' })).suggestInvariants;
    const picture: api.InvariantInput = {
      ...{ name: 'No row of picture is lost', sql: 'SELECT count(*) FROM "picture"' },
      ...{ expect: 'NOT_LESS_THAN_BEFORE' as const, value: null },
    };
    const suggested = await suggest();
    expect(suggested).toContainEqual(picture);
    // The second backup had a booking less.
    expect(suggested.map(({ name }) => name)).not.toContain('No row of booking is lost');
    await client.request(api.UpdateConfigDocument, { id: '1', input: { invariants: [picture] } });
    expect(await suggest()).not.toContainEqual(picture);
  });

  it('that cannot be read are named, and the others are asked', async () => {
    const { fileName } = await app.app.backups.get(first);
    await rm(join(app.backups, fileName));
    const [version] = await history({});
    expect(version).toMatchObject({ backup: { id: second }, row: null, unreadable: [first] });
  });

  it.each<[string, Partial<api.RowHistoryQueryVariables>]>([
    ['configId', { configId: '99' }],
    ['table', { table: 'nothing' }],
    ['key', { key: {} }],
    ['key', { key: [1] }],
    ['key', { key: { guest: { a: 1 } } }],
  ])('are not asked with a wrong %s: %o', async (field, variables) => {
    await expect(history(variables)).rejects.toMatchObject({ field });
  });

  it.each([
    'SELECT id FROM booking',
    `SELECT printf('%.600c', 'x')`,
    'SELECT zeroblob(600)',
    'SELECT nothing FROM booking',
  ])('are not asked for what cannot be compared: %s', async (sql) => {
    await expect(change(sql)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'sql' });
  });
});

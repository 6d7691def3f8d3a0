import { readFile, rename, truncate } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf, send, sendFile } from '../support/operations.js';
import { writeTree } from '../support/world.js';

let app: TestApp;
let client: api.Client;
let id: string;
const paths: string[] = [];
beforeAll(async () => {
  app = await createTestApp({ work: false });
  client = clientOf(app);
  const tree = Object.fromEntries(Array.from({ length: 1_200 }, (_, i) => [`photos/${i % 7}/IMG_${i}.jpg`, `${i}`]));
  await writeTree(app.media, tree);
  ({ id } = await app.backup());
  for (const path of ['empty.txt', 'images/ünï.txt', 'uploads/a photo.txt', ...Object.keys(tree)]) {
    paths.push(`media/${path}`);
  }
});
afterAll(() => app.close());

const page = async (variables: Omit<api.BackupMediaQueryVariables, 'id'> = {}, of = id) =>
  (await client.request(api.BackupMediaDocument, { id: of, ...variables })).backupMedia;

async function walk(first: number, search?: string) {
  const seen: api.BackupMediaQuery['backupMedia']['nodes'] = [];
  for (let after: string | null | undefined = null; ;) {
    const { nodes, pageInfo } = await page({ first, after, search });
    seen.push(...nodes);
    expect(pageInfo.hasPreviousPage).toBe(after !== null);
    if (!pageInfo.hasNextPage) return seen;
    expect(nodes).toHaveLength(first);
    after = pageInfo.endCursor;
  }
}

describe('The media of a backup', () => {
  it('are listed page by page, each once, with size and time, without database and metadata', async () => {
    const seen = await walk(500);
    expect(seen.map(({ path }) => path).sort()).toEqual([...paths].sort());
    expect(await page()).toMatchObject({ totalCount: paths.length, nodes: { length: 50 } });
    const photo = seen.find(({ path }) => path === 'media/uploads/a photo.txt');
    expect(photo?.size).toBe('first'.length);
    expect(Math.abs(Date.now() - Date.parse(photo?.modifiedAt ?? ''))).toBeLessThan(60_000);
  });

  it('are searched by a part of the path in any case', async () => {
    const expected = paths.filter((path) => path.includes('/3/')).sort();
    expect((await walk(100, 'Photos/3/img')).map(({ path }) => path).sort()).toEqual(expected);
    expect(await page({ search: 'ÜNÏ' })).toMatchObject({ totalCount: 1, nodes: [{ path: 'media/images/ünï.txt' }] });
    expect(await page({ search: 'database.sqlite3' })).toMatchObject({ totalCount: 0, nodes: [] });
    expect(await page({ search: '%' })).toMatchObject({ totalCount: 0, pageInfo: { endCursor: null } });
  });

  it('of an archive of the older Django system are listed too', async () => {
    const zip = await readFile(new URL('../fixtures/django-1.0.zip', import.meta.url));
    const query = 'mutation($file: Upload!) { uploadBackup(file: $file) { id } }';
    const { data } = await sendFile(app, query, new Blob([zip]), 'old.zip');
    const { uploadBackup } = data as { uploadBackup: { id: string } };
    const { nodes } = await page({}, uploadBackup.id);
    expect(nodes.map(({ path }) => path).sort()).toEqual(['media/images/दीपक.txt', 'media/uploads/puja list.txt']);
  });

  it('are counted also where nothing else is asked for', async () => {
    const { data } = await send(app, `{ backupMedia(id: "${id}", first: 1) { totalCount } }`);
    expect(data).toEqual({ backupMedia: { totalCount: paths.length } });
  });

  it.each<[string, Omit<api.BackupMediaQueryVariables, 'id'>]>([
    ['first', { first: 0 }],
    ['first', { first: 501 }],
    ['after', { after: 'nonsense' }],
    ['search', { search: 'x'.repeat(201) }],
  ])('are refused for a wrong %s', async (field, variables) => {
    await expect(page(variables)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field });
  });
});

describe('A backup without an archive that could be read', () => {
  it.each<[string, () => Promise<string>]>([
    ['NOT_FOUND', async () => 'backup_20250101_000000_00000000'],
    ['NOT_FOUND', async () => '../etc/passwd'],
    ['BACKUP_NOT_COMPLETED', async () => (await app.app.backups.create({ backupType: 'MANUAL' }, 'test')).id],
    [
      'BACKUP_DELETED',
      async () => {
        const row = await app.backup();
        await app.app.backups.remove([row.id], 'test');
        return row.id;
      },
    ],
    [
      'ARCHIVE_MISSING',
      async () => {
        const row = await app.backup();
        await rename(row.filePath, `${row.filePath}.away`);
        return row.id;
      },
    ],
    [
      'ARCHIVE_CORRUPT',
      async () => {
        const row = await app.backup();
        await truncate(row.filePath, (row.fileSize ?? 0) - 100);
        return row.id;
      },
    ],
  ])('says so: %s', async (code, make) => {
    await expect(page({}, await make())).rejects.toMatchObject({ code });
  });
});

import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestApp, PASSWORD, type TestApp } from '../support/app.js';
import { mountSmallDisk, noSmallDisk, type SmallDisk } from '../support/small-disk.js';
import { NEVER } from '../support/world.js';

const onSmallDisk = noSmallDisk === null ? it : it.skip;
const why = noSmallDisk === null ? '' : ` (skipped: ${noSmallDisk})`;

let disk: SmallDisk | null = null;
let test: TestApp;
beforeEach(() => {
  disk = noSmallDisk === null ? mountSmallDisk() : null;
});
afterEach(async () => {
  jest.restoreAllMocks();
  try {
    await disk?.free();
    await test?.close();
  } finally {
    // Whatever failed, no mount stays behind.
    await disk?.remove();
  }
});

const begin = async () => {
  const env = disk === null ? {} : { DATA_DIR: join(disk.folder, 'data') };
  test = await createTestApp({ env, work: false });
};

const get = (path: string) => fetch(`${test.url}${path}`, { headers: { Authorization: `Bearer ${test.token}` } });

async function graphql(query: string): Promise<{ code: string | null; data: Record<string, unknown> | null }> {
  const response = await fetch(`${test.url}/graphql`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${test.token}` },
    body: JSON.stringify({ query }),
  });
  const { data, errors } = (await response.json()) as {
    data: Record<string, unknown> | null;
    errors?: { extensions: { code: string } }[];
  };
  return { code: errors?.[0]?.extensions.code ?? null, data };
}

const login = () => graphql(`mutation { login(email: "admin@example.org", password: "${PASSWORD}") { token } }`);
const createBackup = () => graphql('mutation { createBackup(input: {}) { id } }');
const actions = async () => (await test.app.models.AuditEvent.findAll()).map(({ action }) => action);

describe('When the disk of DATA_DIR', () => {
  onSmallDisk(`is full, reading, download and login work, and what must be written says why not${why}`, async () => {
    await begin();
    const backup = await test.backup();
    await disk?.fill();
    expect(await createBackup()).toMatchObject({ code: 'CONTROL_DATABASE_FAILED' });
    expect(await login()).toMatchObject({ code: null, data: { login: { token: expect.any(String) } } });
    expect(await graphql('{ backups { nodes { id } } }')).toMatchObject({ code: null });
    const download = await get(`/api/db-manager/backups/${backup.id}/download/`);
    expect(download.status).toBe(200);
    expect((await download.arrayBuffer()).byteLength).toBe(backup.fileSize);
    const link = await graphql(`mutation { createDownloadLink(id: "${backup.id}") { url } }`);
    expect(link.code).toBeNull();
    const ready = await get('/readyz');
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ status: 'not ready', reason: expect.stringMatching(/space|control/) });
    expect((await get('/healthz')).status).toBe(200);

    const before = await actions();
    expect(before).not.toContain('session.login');
    await disk?.free();
    expect((await get('/readyz')).status).toBe(200);
    expect(await createBackup()).toMatchObject({ code: null });
    expect(await actions()).toEqual(expect.arrayContaining(['session.login', 'backup.download', 'backup.link']));
  });

  onSmallDisk(`fills up in a run, the run fails for that reason once that can be written${why}`, async () => {
    await begin();
    const { Backup } = test.app.models;
    const update = Backup.update.bind(Backup);
    jest.spyOn(Backup, 'update').mockImplementation((async (values: { phase?: string }, options: never) => {
      const result = await update(values as never, options);
      if (values.phase === 'archive') await disk?.fill();
      return result;
    }) as never);
    const row = await test.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const run = test.app.backups.run(row.id, NEVER);
    await sleep(2_500);
    expect(await row.reload()).toMatchObject({ status: 'RUNNING' });
    await disk?.free();
    await run;
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'CONTROL_DATABASE_FAILED' });
    expect(row.errorMessage).toContain('disk is full');
  });

  onSmallDisk(`has no inodes left, runs fail with STORAGE_FULL and the server is not ready${why}`, async () => {
    await begin();
    await disk?.fillInodes();
    expect(await login()).toMatchObject({ code: null });
    const row = await test.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await test.app.backups.run(row.id, NEVER);
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'STORAGE_FULL' });
    const ready = await get('/readyz');
    expect({ status: ready.status, body: await ready.json() }).toEqual({
      status: 503,
      body: { status: 'not ready', reason: 'no space is left in DATA_DIR' },
    });
  });
});

describe('When DATA_DIR is deleted while the server runs', () => {
  it('everything says so, the server is not ready, and no second control database appears', async () => {
    await begin();
    const { dataDir } = test.app.environment;
    const inside = disk === null ? dataDir : join(disk.folder, 'data');
    await rm(inside, { recursive: true });
    for (const answer of [await createBackup(), await login(), await graphql('{ me { email } }')]) {
      expect(answer.code).toBe('CONTROL_DATABASE_FAILED');
    }
    expect((await get('/readyz')).status).toBe(503);
    expect((await get('/healthz')).status).toBe(200);
    expect(existsSync(join(inside, 'db-manager.sqlite3'))).toBe(false);
  });

  it('an empty file in its place is not taken for the control database', async () => {
    await begin();
    const file = join(test.app.environment.dataDir, 'db-manager.sqlite3');
    for (const end of ['', '-wal', '-shm']) await rm(`${file}${end}`, { force: true });
    const other = await test.again();
    expect(await createBackup()).toMatchObject({ code: 'CONTROL_DATABASE_FAILED' });
    expect(await other.models.Backup.count()).toBe(0);
  });
});

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestApp, type TestApp } from '../support/app.js';
import { at, query } from '../support/postgres.js';
import { runsOf } from '../support/runs.js';
import { startPostgres } from '../support/servers.js';

/** Of a country that writes 12,34 where PostgreSQL's own locale writes 12.34. */
const LOCALE = 'es_AR.UTF-8';
const locales = mkdtempSync(join(tmpdir(), 'db-manager-locales-'));
chmodSync(locales, 0o755);
const made = spawnSync('localedef', ['-i', 'es_AR', '-f', 'UTF-8', join(locales, LOCALE)]).status;
const server =
  made === 0
    ? await startPostgres('root-secret', { LOCPATH: locales })
    : { missing: `no locale ${LOCALE} (Debian: locales)` };
const missing = 'missing' in server ? server.missing : null;
const root = 'missing' in server ? '' : server.url;
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
  rmSync(locales, { recursive: true, force: true });
});

(missing === null ? describe : describe.skip)(`Amounts of money${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let app: TestApp;
  const { configure, backUp, restore } = runsOf(() => app);
  const url = at(root, 'till');
  let backupId: string;
  beforeAll(async () => {
    app = await createTestApp();
    await query(root, 'CREATE DATABASE till');
    await query(root, `ALTER DATABASE till SET lc_monetary = '${LOCALE}'`);
    await query(
      url,
      'CREATE TABLE sale (id int PRIMARY KEY, paid money); INSERT INTO sale VALUES (1, 12.34::numeric::money), (2, 5.5::numeric::money)',
    );
    ({ id: backupId } = await backUp(await configure('Till', url)));
  });
  afterAll(() => app?.close());

  const amounts = async (at: string) =>
    (await query<{ paid: string }>(at, 'SELECT paid::numeric::text AS paid FROM sale ORDER BY id')).map(
      ({ paid }) => paid,
    );

  it('are the same after a restore, also in a database with another locale', async () => {
    await query(url, 'DELETE FROM sale');
    await restore({ backupId });
    expect(await amounts(url)).toEqual(['12.34', '5.50']);
    await restore({ backupId, targetDatabaseUrl: at(root, 'elsewhere') });
    expect(await amounts(at(root, 'elsewhere'))).toEqual(['12.34', '5.50']);
  });

  it('are the same where single tables or rows come back, and those that did not change stay', async () => {
    await query(url, 'UPDATE sale SET paid = 1.25::numeric::money WHERE id = 1');
    await restore({ backupId, tables: ['sale'] });
    expect(await amounts(url)).toEqual(['12.34', '5.50']);
    await query(url, 'DELETE FROM sale WHERE id = 1');
    await restore({ backupId, tables: ['sale'], rows: 'CHANGED' });
    expect(await amounts(url)).toEqual(['12.34', '5.50']);
    const { tables } = await app.app.insight.compare(
      { from: backupId, to: null, tables: null, samples: 1 },
      'test',
      new AbortController().signal,
    );
    expect(tables).toMatchObject([{ name: 'sale', added: 0, removed: 0, changed: 0, unchanged: 2 }]);
  });
});

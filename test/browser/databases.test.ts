import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { at, query } from '../support/postgres.js';
import { startPostgres } from '../support/servers.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const server = missingBrowser === null ? await startPostgres() : { missing: missingBrowser };
const missing = 'missing' in server ? server.missing : null;
const walk = missing === null ? describe : describe.skip;

let app: TestApp;
let browser: TestBrowser;
let visit: Visit;

beforeAll(async () => {
  if ('missing' in server) return;
  for (const name of ['shop', 'wiki', 'crm']) await query(server.url, `CREATE DATABASE ${name}`);
  app = await createTestApp();
  const input = { name: 'Shop', databaseUrl: at(server.url, 'shop'), schedule: '15 * * * *', autoBackupEnabled: false };
  const { id } = await app.app.configs.create(input, 'test');
  browser = await startBrowser();
  visit = await browser.visit(`${app.url}/configs/${id}`);
  await visit.signIn();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
  if (!('missing' in server)) await server.stop();
});

walk(`The page of a config of a server${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  it('finds the other databases of the server, and backs up the chosen ones like this one', async () => {
    const { page } = visit;
    const card = page.getByRole('region', { name: 'Other databases of this server' });
    const found = card.getByRole('checkbox');
    await card.getByRole('button', { name: 'Find databases' }).click();
    await card.getByText('Backed up').waitFor();
    expect(await found.count()).toBe(3);
    expect(await card.getByRole('checkbox', { name: /^shop/ }).isDisabled()).toBe(true);
    expect(await card.getByRole('button', { name: 'Back up the chosen ones' }).isDisabled()).toBe(true);
    expect(await visit.barriers()).toEqual([]);
    await card.getByRole('checkbox', { name: /^wiki/ }).check();
    await visit.picture('other-databases');
    await card.getByRole('button', { name: 'Back up 1 database' }).click();
    await page.getByText('1 database backed up like this one from now on.').waitFor();
    await card.getByRole('button', { name: 'Choose all' }).click();
    await card.getByRole('button', { name: 'Back up 1 database' }).click();
    await card.getByText('All databases of the server are backed up already.').waitFor();
    const configs = await app.app.configs.list();
    expect(configs.slice(-3).map(({ name, schedule }) => [name, schedule])).toEqual([
      ['Shop', '15 * * * *'],
      ['wiki', '15 * * * *'],
      ['crm', '15 * * * *'],
    ]);
    expect(visit.troubles).toEqual([]);
  });
});

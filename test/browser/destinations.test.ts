import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { startReceiver } from '../support/receivers.js';
import { NEVER } from '../support/world.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const walk = missingBrowser === null ? describe : describe.skip;
const title = (text: string) => (missingBrowser === null ? text : `${text} (skipped: ${missingBrowser})`);

let app: TestApp;
let browser: TestBrowser;
let visit: Visit;
/** Refuses everything. */
let bucket: Server;

beforeAll(async () => {
  if (missingBrowser !== null) return;
  bucket = createServer((request, response) => {
    request.resume().once('end', () => response.writeHead(403).end());
  }).listen(0, '127.0.0.1');
  await once(bucket, 'listening');
  app = await createTestApp({ work: false });
  browser = await startBrowser();
  visit = await browser.visit(`${app.url}/destinations`);
  await visit.signIn();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
  bucket?.closeAllConnections();
  bucket?.close();
});

const dialog = () => visit.page.getByRole('dialog');
const button = (name: string) => visit.page.getByRole('button', { name, exact: true });
const inDialog = (name: string) => dialog().getByRole('button', { name, exact: true });
const text = (value: string | RegExp) => visit.page.getByText(value).first().waitFor();

walk(title('The destinations page'), () => {
  it('adds a folder after a test of it, and lists it with what is free', async () => {
    await text(app.backups);
    await button('Add destination').click();
    await dialog().getByLabel('Kind').click();
    await visit.page.getByRole('option', { name: 'Folder on this server' }).click();
    await dialog().getByLabel('Name').fill('Second disk');
    await dialog().getByLabel('Folder', { exact: true }).fill(join(app.folder, 'second'));
    await inDialog('Test').click();
    await dialog().getByText('Archives can be stored here').waitFor();
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('destination-form');
    await inDialog('Add destination').click();
    await dialog().waitFor({ state: 'detached' });
    await text('Second disk');
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('destinations');
  });

  it('shows what does not work of a bucket, and never its secrets', async () => {
    await button('Add destination').click();
    await dialog().getByLabel('Name').fill('Bucket');
    await dialog().getByLabel('Bucket').fill('okpuja-backups');
    const { port } = bucket.address() as AddressInfo;
    await dialog().getByLabel('Endpoint').fill(`http://127.0.0.1:${port}`);
    await dialog().getByLabel('Access key ID').fill('id');
    await dialog().getByLabel('Secret access key').fill('canary');
    await inDialog('More settings').click();
    await dialog().getByRole('switch', { name: 'Path style' }).check();
    await inDialog('Add destination').click();
    await dialog().waitFor({ state: 'detached' });
    await text(/Cannot use s3:\/\/okpuja-backups/);
    await button('Edit Bucket').click();
    expect(await dialog().getByLabel('Bucket').inputValue()).toBe('okpuja-backups');
    expect(await dialog().getByLabel('Secret access key').inputValue()).toBe('');
    await dialog().getByLabel('Name').fill('Off-site');
    await inDialog('Save').click();
    await dialog().waitFor({ state: 'detached' });
    await text('Off-site');
    expect(await visit.page.content()).not.toContain('canary');
  });

  it('offers the bucket where a config is edited', async () => {
    await visit.page.goto(`${app.url}/configs/1`);
    await visit.page.getByRole('radio', { name: 'Off-site' }).click();
    await visit.page.getByText('S3 bucket · s3://okpuja-backups').waitFor();
    await visit.page.getByRole('button', { name: 'Discard' }).first().click();
  });

  it('copies a backup to the destinations that its config names, and to others on request', async () => {
    await visit.page.goto(`${app.url}/configs/1`);
    await visit.page.getByPlaceholder('Choose destinations').click();
    await visit.page.getByRole('option', { name: 'Off-site' }).click();
    await visit.page.keyboard.press('Escape');
    await visit.page.getByLabel('Minimum copies').waitFor();
    await visit.page.getByRole('button', { name: 'Save' }).first().click();
    await text('Saved');
    const { id } = await app.backup();
    await app.app.copies.runDue(NEVER);
    await visit.page.goto(`${app.url}/backups/${id}`);
    await button('Try again').waitFor();
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('copies');
    await button('Copy now').click();
    await text('Waiting');
    await app.app.copies.runDue(NEVER);
    await visit.page.reload();
    // The backup itself, the copy of its run and the new one.
    await visit.page.getByText('Completed', { exact: true }).nth(2).waitFor();
    await app.app.backups.remove([id], 'test');
  });

  it('consolidates an incremental backup on its page, and leads to the full one', async () => {
    await app.app.configs.update(1, { incremental: true }, 'test');
    await app.backup();
    const { id } = await app.backup();
    await visit.page.goto(`${app.url}/backups/${id}`);
    await button('Consolidate …').click();
    await inDialog('Consolidate').waitFor();
    expect(await visit.barriers()).toEqual([]);
    await inDialog('Consolidate').click();
    await visit.page.waitForURL((url) => !url.pathname.endsWith(id));
    await app.app.backups.run(visit.page.url().split('/').at(-1) ?? '', NEVER);
    await text(`Consolidated from ${id}.`);
    await app.app.configs.update(1, { incremental: false }, 'test');
  });

  it('tests and removes a destination', async () => {
    await visit.page.goto(`${app.url}/destinations`);
    await button('Test Second disk').click();
    await text('Second disk works.');
    await button('Remove Second disk').click();
    await inDialog('Remove destination').click();
    await text('Second disk was removed.');
    await button('Test Second disk').waitFor({ state: 'detached' });
    expect(visit.troubles).toEqual([]);
  });
});

walk(title('The page of notifications'), () => {
  it('adds a channel, tests it, shows what fails and never its URL, and removes it', async () => {
    const receiver = await startReceiver();
    await visit.page.goto(`${app.url}/notifications`);
    await text('No channels yet');
    expect(await visit.barriers()).toEqual([]);
    await button('Add channel').click();
    await dialog().getByLabel('Kind').click();
    await visit.page.getByRole('option', { name: 'Webhook (JSON)' }).click();
    await dialog().getByLabel('Name').fill('On call');
    await dialog().getByLabel('URL').fill(`${receiver.url}/hook/canary-path`);
    await dialog().getByLabel('Signing secret').fill('canary-secret');
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('channel-form');
    await inDialog('Add channel').click();
    await dialog().waitFor({ state: 'detached' });
    await text('Every problem and its end');
    await button('Test On call').click();
    await text('On call took the message.');
    receiver.answer = 500;
    await button('Test On call').click();
    await visit.page
      .locator('#content')
      .getByText(/answered 500/)
      .waitFor();
    // The message about it fades in and out.
    expect(await visit.barriers('#content')).toEqual([]);
    await visit.picture('notifications');
    await button('Edit On call').click();
    await dialog().getByLabel('Name').fill('Nobody');
    await inDialog('Save').click();
    await text('Nobody');
    expect(receiver.received.map(({ path }) => path)).toEqual(['/hook/canary-path', '/hook/canary-path']);
    expect(await visit.page.content()).not.toContain('canary');
    await button('Remove Nobody').click();
    await inDialog('Remove channel').click();
    await text('No channels yet');
    await receiver.close();
  });
});

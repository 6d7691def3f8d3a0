import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const walk = missingBrowser === null ? describe : describe.skip;
const title = (text: string) => (missingBrowser === null ? text : `${text} (skipped: ${missingBrowser})`);

let app: TestApp;
let browser: TestBrowser;
let visit: Visit;
let identity: string;

beforeAll(async () => {
  if (missingBrowser !== null) return;
  app = await createTestApp();
  browser = await startBrowser();
  visit = await browser.visit(`${app.url}/keys`);
  await visit.signIn();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
});

const dialog = () => visit.page.getByRole('dialog');
const button = (name: string) => visit.page.getByRole('button', { name, exact: true });
const inDialog = (name: string) => dialog().getByRole('button', { name, exact: true });
const text = (value: string | RegExp) => visit.page.getByText(value).first().waitFor();

walk(title('The page of users'), () => {
  it('makes an API token, shows it once, and revokes it', async () => {
    await visit.page.goto(`${app.url}/users`);
    await button('Add token').click();
    await dialog().getByLabel('Name').fill('Deployment');
    await dialog().getByLabel('Back up').check();
    expect(await visit.barriers()).toEqual([]);
    await inDialog('Add token').click();
    const token = await dialog().getByLabel('API token').innerText();
    const create = { query: 'mutation { createBackup(input: {}) { id } }' };
    const answer = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      body: JSON.stringify(create),
    });
    expect(await answer.json()).toMatchObject({ data: { createBackup: { id: expect.stringMatching(/^backup_/) } } });
    await inDialog('I have it').click();
    await text('By admin@example.org');
    expect(await visit.page.content()).not.toContain(token);
    await visit.picture('api-tokens');
    await button('Revoke Deployment').click();
    await inDialog('Revoke token').click();
    await text('None yet. A program');
    await visit.page.goto(`${app.url}/keys`);
  });
});

walk(title('The page of encryption keys'), () => {
  it('lets go of a generated key only after its identity was downloaded', async () => {
    await text('No encryption keys yet');
    await button('Add key').click();
    await dialog().getByLabel('Name').fill('Office safe');
    expect(await visit.barriers()).toEqual([]);
    await inDialog('Add key').click();
    await dialog().getByText('It is shown this once').waitFor();
    expect(await inDialog('Done').isDisabled()).toBe(true);
    await visit.page.keyboard.press('Escape');
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('key-ceremony');
    const saving = visit.page.waitForEvent('download');
    await inDialog('Download identity').click();
    const saved = await saving;
    expect(saved.suggestedFilename()).toBe('Office-safe.txt');
    const file = await readFile((await saved.path()) ?? '', 'utf8');
    identity = file.split('\n').find((line) => line.startsWith('AGE-SECRET-KEY-1')) ?? '';
    expect(identity).not.toBe('');
    await inDialog('Done').click();
    await dialog().waitFor({ state: 'detached' });
    await text('Office safe');
    expect(await visit.page.content()).not.toContain(identity);
    await visit.picture('keys');
  });

  it('offers the key where a config is edited, and backups are encrypted for it', async () => {
    await visit.page.goto(`${app.url}/configs/1`);
    await visit.page.getByLabel('Encryption keys').first().click();
    await visit.page.getByRole('option', { name: 'Office safe' }).click();
    await button('Save').first().click();
    await visit.page.getByText('Saved', { exact: true }).first().waitFor();
    const { id } = await app.backup();
    await visit.page.goto(`${app.url}/backups/${id}`);
    await text('For Office safe');
    expect(await visit.barriers()).toEqual([]);
  });

  it('encrypts a backup for other keys once its identity is given', async () => {
    const held = await app.app.keys.create({ name: 'Held here', generate: true, keepHere: true }, 'test');
    const { id } = await app.backup();
    await visit.page.goto(`${app.url}/backups/${id}`);
    await button('More').click();
    await visit.page.getByRole('menuitem', { name: 'Encrypt for other keys …' }).click();
    await visit.page.getByRole('menu').waitFor({ state: 'detached' });
    expect(await visit.barriers()).toEqual([]);
    await dialog().getByLabel('Keys from now on').first().click();
    await visit.page.getByRole('option', { name: 'Held here' }).click();
    await visit.page.keyboard.press('Escape');
    await inDialog('Encrypt').click();
    await dialog().getByRole('alert').waitFor();
    await dialog().getByLabel('Identity or passphrase').fill(identity);
    await inDialog('Encrypt').click();
    await text('The backup is encrypted for these keys now.');
    await text('For Held here');
    expect((await app.app.keys.ofBackup(id)).map((key) => key.id)).toEqual([held.key.id]);
    visit.troubles.splice(0);
  });

  it('removes a key that nothing needs, once that was confirmed', async () => {
    await app.app.keys.create({ name: 'Never used', generate: true }, 'test');
    await visit.page.goto(`${app.url}/keys`);
    await button('Remove Never used').click();
    await inDialog('Remove key').click();
    await text('Never used was removed.');
    expect((await app.app.keys.list()).map(({ name }) => name)).not.toContain('Never used');
  });

  it('asks for the identity where an encrypted backup is restored', async () => {
    const { id, fileName } = await app.backup();
    await visit.page.goto(`${app.url}/backups/${id}/restore`);
    await text('Enter the identity or passphrase that opens the backup.');
    expect(await visit.barriers()).toEqual([]);
    await visit.page.getByLabel('Identity or passphrase').fill(identity);
    await text('Ready to restore');
    await visit.page.getByLabel('Type the file name to confirm').fill(fileName);
    await button('Restore now').click();
    await visit.page.waitForURL(/\/restores\//);
    await text('Completed');
    expect(visit.troubles).toEqual([]);
  });

  it('asks for the identity where a restore is undone', async () => {
    await visit.page.getByRole('button', { name: 'Undo …' }).click();
    await inDialog('Undo restore').click();
    await dialog().getByLabel('Identity or passphrase').fill(identity);
    expect(await visit.barriers()).toEqual([]);
    const here = visit.page.url();
    await inDialog('Undo restore').click();
    await visit.page.waitForURL((url) => url.href !== here);
    await text('Completed');
    visit.troubles.splice(0);
  });

  it('asks for the identity where an encrypted archive is uploaded', async () => {
    const row = await app.backup();
    await visit.page.goto(`${app.url}/upload`);
    await visit.page.locator('input[type=file]').setInputFiles(row.filePath);
    await visit.page.getByLabel('Identity or passphrase').fill(identity);
    expect(await visit.barriers()).toEqual([]);
    await button('Decrypt').click();
    await text('Uploaded and verified.');
    visit.troubles.splice(0);
  });
});

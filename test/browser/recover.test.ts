import { hostname, tmpdir } from 'node:os';
import { copyFile, mkdtemp, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { all, contentHash, exec } from '../support/sqlite.js';
import { readTree, writeTree } from '../support/world.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const walk = missingBrowser === null ? describe : describe.skip;
const title = (text: string) => (missingBrowser === null ? text : `${text} (skipped: ${missingBrowser})`);

/** What an application held when its machine was lost, and the archive that is left of it. */
interface Lost {
  archive: string;
  database: string;
  media: string;
  hash: string;
  files: Record<string, string>;
}

let folder: string;
let lost: Lost;
let other: Lost;
let app: TestApp;
let browser: TestBrowser;
let visit: Visit;

/** Backs up an application on a machine of its own; then that machine is gone. */
async function lose(name: string, sql: string, files: Record<string, string>): Promise<Lost> {
  const source = await createTestApp({ work: false });
  try {
    await exec(source.database, sql);
    await writeTree(source.media, files);
    await source.app.configs.update(1, { name }, 'test');
    const backup = await source.backup();
    const archive = join(folder, `${name.toLowerCase().replaceAll(' ', '-')}.zip`);
    await copyFile(backup.filePath, archive);
    const { database, media } = source;
    return { archive, database, media, hash: await contentHash(database), files: await readTree(media) };
  } finally {
    await source.close();
  }
}

const OTHER_TABLES = ['client', 'invoice', 'item', 'article'];

beforeAll(async () => {
  if (missingBrowser !== null) return;
  folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-recover-')));
  lost = await lose(
    'Puja shop',
    `CREATE TABLE guest (id INTEGER PRIMARY KEY, name); INSERT INTO guest VALUES (1, 'チヨ')`,
    {
      'images/garland.txt': 'flowers',
    },
  );
  const tables = OTHER_TABLES.map((name) => `CREATE TABLE ${name} (id INTEGER PRIMARY KEY);`).join(' ');
  other = await lose('Ledger', `DROP TABLE entry; DROP TABLE account; DROP TABLE head; ${tables}`, {});
  // Nothing but the product: a fresh installation.
  app = await createTestApp();
  await app.app.configs.remove(1, 'test');
  browser = await startBrowser();
  visit = await browser.visit(app.url);
  await visit.signIn();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  visit?.troubles.splice(0);
});

const button = (name: string | RegExp) => visit.page.getByRole('button', { name }).filter({ visible: true });
const link = (name: string | RegExp) =>
  visit.page.locator('main').getByRole('link', { name }).filter({ visible: true });
const text = (value: string | RegExp) => visit.page.getByText(value).filter({ visible: true }).first().waitFor();
const step = (name: string) => visit.page.getByRole('region', { name });
const field = (name: string) => visit.page.getByLabel(name, { exact: true });
const heading = (name: string | RegExp) => visit.page.getByRole('heading', { name, level: 1 }).waitFor();
const open = (path: string) => visit.page.goto(app.url + path);
const choose = (file: string) => visit.page.locator('input[type=file]').setInputFiles(file);
const quiet = () => expect(visit.troubles).toEqual([]);
const place = (...names: string[]) => join(folder, 'new', ...names);

walk(title('A fresh installation after the loss of a machine'), () => {
  it('shows what an uploaded archive is, and suggests the places that it names', async () => {
    await text('Nothing is protected yet');
    await link('Recover from an archive').click();
    await heading('Recover from an archive');
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('recover-archive');
    await choose(lost.archive);
    const archive = step('1. Archive');
    await archive.getByText('Puja shop', { exact: true }).waitFor({ timeout: 60_000 });
    await archive.getByText(hostname(), { exact: true }).waitFor();
    await archive.getByText(`sqlite:${lost.database}`).waitFor();
    await archive.getByText(lost.media).waitFor();
    await archive.getByText(/^4 tables with \d+ rows?$/).waitFor();
    await archive.getByText(String(Object.keys(lost.files).length), { exact: true }).waitFor();
    expect(await field('Name').inputValue()).toBe('Puja shop');
    expect(await field('Database file').inputValue()).toBe(lost.database);
    expect(await field('Media folder').inputValue()).toBe(lost.media);
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('recover-destination');
    quiet();
  });

  it('says at the field what is wrong with a place, and makes no config', async () => {
    await field('Database file').fill('relative.sqlite3');
    await button('Continue').click();
    await text(/^This is not an absolute path/);
    await field('Database file').fill(app.app.environment.controlDatabaseUrl.slice('sqlite:'.length));
    await visit.page.getByText(/^This is not an absolute path/).waitFor({ state: 'detached' });
    await button('Continue').click();
    await visit.page.locator('.mantine-InputWrapper-error').waitFor();
    await field('Database file').fill(place('db', 'db.sqlite3'));
    await field('Media folder').fill('media');
    await button('Continue').click();
    await text(/^This is not an absolute path/);
    expect(await app.app.configs.list()).toEqual([]);
  });

  it('lets a folder be browsed for', async () => {
    await button('Browse … for media folder').click();
    const dialog = visit.page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Parent folder' }).waitFor();
    await dialog.getByLabel('Folder', { exact: true }).fill(folder);
    await dialog.getByRole('button', { name: 'Go', exact: true }).click();
    await dialog.getByText('puja-shop.zip').waitFor();
    await dialog.getByRole('button', { name: 'Use this folder' }).click();
    expect(await field('Media folder').inputValue()).toBe(folder);
    await field('Media folder').fill(place('media'));
  });

  it('restores database and media to the chosen places, and backs them up from now on', async () => {
    await button('Continue').click();
    await text('Ready to restore');
    await text(/\(will be created\)/);
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('recover-plan');
    await button('Restore now').click();
    await text('Puja shop is restored');
    expect(await contentHash(place('db', 'db.sqlite3'))).toBe(lost.hash);
    expect(await readTree(place('media'))).toEqual(lost.files);
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('recover-done');
    const [config] = await app.app.configs.list();
    expect(config).toMatchObject({
      name: 'Puja shop',
      databaseUrl: `sqlite:${place('db', 'db.sqlite3')}`,
      mediaPaths: [place('media')],
    });
    await link('Go to overview').click();
    await visit.page.getByTestId(`config-${config?.id}`).waitFor();
    quiet();
  });

  it('leads an archive on the server, of an application that has a config by now, to its restore', async () => {
    await open('/recover');
    await visit.page.getByText('On this server', { exact: true }).click();
    await visit.page.getByRole('button', { name: 'Parent folder' }).waitFor();
    await field('Folder or ZIP file').fill(folder);
    await button(/^Go$/).click();
    await button(/^puja-shop\.zip ZIP file/).click();
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('recover-server');
    await button('Use this archive').click();
    await step('2. Restore')
      .getByText(/already has a config here/)
      .waitFor({ timeout: 60_000 });
    await button('Restore …').click();
    await heading('Restore');
    await visit.page.getByLabel('Original location: Puja shop').waitFor();
    await text('Ready to restore');
    quiet();
  });

  it('says what is wrong with a file of the server that is no archive', async () => {
    await writeTree(folder, { 'junk.zip': 'no archive' });
    await open('/recover');
    await visit.page.getByText('On this server', { exact: true }).click();
    await visit.page.getByRole('button', { name: 'Parent folder' }).waitFor();
    await field('Folder or ZIP file').fill(join(folder, 'junk.zip'));
    await button(/^Go$/).click();
    await button('Use this archive').click();
    await visit.page.getByRole('alert').waitFor();
    await visit.page.getByRole('button', { name: 'junk.zip ZIP file' }).waitFor();
  });
});

walk(title('A backup of another application'), () => {
  let id: string;

  it('is uploaded without a config, and the lists say so and whose it is', async () => {
    await open('/upload');
    await visit.page.getByLabel('Config').first().waitFor();
    await choose(other.archive);
    const card = visit.page.getByTestId('ledger.zip');
    await card.getByText('Uploaded and verified.').waitFor({ timeout: 60_000 });
    await card.getByText('No config', { exact: true }).waitFor();
    await card.getByText('Backup of Ledger').waitFor();
    await card.getByRole('link', { name: 'Show backup' }).click();
    await heading(/^Ledger, /);
    id = visit.page.url().split('/').at(-1) ?? '';
    await text('This backup has no config');
    await visit.page
      .getByRole('row', { name: /^Its database/ })
      .getByText(`sqlite:${other.database}`)
      .waitFor();
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('backup-without-config');
    await open('/backups');
    const row = visit.page.getByTestId(id);
    await row.getByText(/^Ledger, /).waitFor();
    await row.getByText('No config', { exact: true }).waitFor();
    quiet();
  });

  it('without a config asks for a target, and offers to recover the application', async () => {
    await open(`/backups/${id}/restore`);
    await text('Enter the database to restore into.');
    expect(await visit.page.getByLabel(/^Original location/).isDisabled()).toBe(true);
    await link('Recover from an archive').click();
    await heading('Recover from an archive');
    expect(await field('Name').inputValue()).toBe('Ledger');
    quiet();
  });

  it('filed under a config stays marked, and replaces its data only after an explicit word', async () => {
    await button('File under an existing config …').click();
    const dialog = visit.page.getByRole('dialog');
    await dialog.getByRole('combobox', { name: 'Config' }).click();
    await visit.page.getByRole('option', { name: 'Puja shop' }).click();
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('file-under');
    await dialog.getByRole('button', { name: 'File backup' }).click();
    await heading('Restore');
    await text('From another application');
    const warning = visit.page.getByRole('alert').filter({ hasText: 'Data of another application' });
    await warning
      .getByText(/made of another application, "Ledger".*It would replace the data of "Puja shop"/)
      .waitFor();
    await warning.getByText(/tables in common/).waitFor();
    expect(await visit.page.getByText('Ready to restore').count()).toBe(0);
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('restore-foreign');
    const allow = visit.page.getByLabel('Replace the current data with the data of this backup');
    await allow.check();
    await text('Ready to restore');
    // Another choice is confirmed anew.
    await visit.page.getByLabel('Database', { exact: true }).first().check();
    await warning.getByText(/It would replace/).waitFor();
    expect(await allow.isChecked()).toBe(false);
    expect(await visit.page.getByLabel('Type the file name to confirm').isDisabled()).toBe(true);
    await allow.check();
    await text('Ready to restore');
    const row = await app.app.backups.get(id);
    await visit.page.getByLabel('Type the file name to confirm').fill(row.fileName);
    await button('Restore now').click();
    await visit.page.getByText('Restored', { exact: true }).waitFor({ timeout: 60_000 });
    expect(await contentHash(place('db', 'db.sqlite3'))).toBe(other.hash);
    quiet();
  });

  it('filed as one of the config’s own is not marked any more, and can be taken out again', async () => {
    const file = async (option: string, own: boolean) => {
      await open(`/backups/${id}`);
      await button('More').click();
      await visit.page.getByRole('menuitem', { name: 'File under a config …' }).click();
      const dialog = visit.page.getByRole('dialog');
      await dialog.getByRole('combobox', { name: 'Config' }).click();
      await visit.page.getByRole('option', { name: option }).click();
      if (own) await dialog.getByLabel(/a backup of this config/).check();
      await dialog.getByRole('button', { name: 'File backup' }).click();
      await dialog.waitFor({ state: 'detached' });
    };
    await file('Puja shop', true);
    await heading(/^Puja shop, /);
    await visit.page.getByText('From another application').waitFor({ state: 'detached' });
    expect(await app.app.backups.get(id)).toMatchObject({
      applicationId: (await app.app.configs.list())[0]?.applicationId,
    });
    await file('No config', false);
    await text('This backup has no config');
    expect(await app.app.backups.get(id)).toMatchObject({ configId: null });
  });

  it('can be filed under a config already when it is uploaded', async () => {
    await open('/upload');
    await visit.page.getByRole('combobox', { name: 'Config' }).click();
    await visit.page.getByRole('option', { name: 'Puja shop' }).click();
    await choose(other.archive);
    const card = visit.page.getByTestId('ledger.zip');
    await card.getByText('Uploaded and verified.').waitFor({ timeout: 60_000 });
    await card.getByText('From another application').waitFor();
    await card.getByText('Filed under Puja shop').waitFor();
    expect(await all(place('db', 'db.sqlite3'), 'SELECT count(*) AS n FROM client')).toEqual([{ n: 0 }]);
  });
});

walk(title('Recovering on a phone'), () => {
  it('fits the screen at every step', async () => {
    const phone = await browser.visit(app.url, {
      viewport: { width: 360, height: 740 },
      hasTouch: true,
      isMobile: true,
    });
    await phone.signIn();
    const strangers = await app.app.models.Backup.findAll({ where: { configId: null, status: 'COMPLETED' } });
    for (const path of ['/recover', `/recover/${strangers[0]?.id}`, `/backups/${strangers[0]?.id}`]) {
      await phone.page.goto(app.url + path);
      await phone.page.getByRole('heading', { level: 1 }).waitFor();
      await phone.page.waitForFunction(() => document.querySelector('[aria-label="Loading"]') === null);
      const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect({ path, wide: wide > 0, barriers: await phone.barriers() }).toEqual({ path, wide: false, barriers: [] });
      await phone.picture(`recover-phone${path.replaceAll('/', '-').slice(0, 9)}`);
    }
  });
});

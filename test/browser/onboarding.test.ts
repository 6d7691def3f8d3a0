import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createSample } from '../../src/sample/index.js';
import { createTestApp, PASSWORD, type TestApp } from '../support/app.js';
import { all, exec } from '../support/sqlite.js';
import { readTree, writeTree } from '../support/world.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const walk = missingBrowser === null ? describe : describe.skip;
const title = (text: string) => (missingBrowser === null ? text : `${text} (skipped: ${missingBrowser})`);

let app: TestApp;
let browser: TestBrowser;
let visit: Visit;
let project: string;

beforeAll(async () => {
  if (missingBrowser !== null) return;
  app = await createTestApp();
  await app.app.configs.remove(1, 'test');
  const sample = await createSample(join(app.folder, 'data', 'sample'));
  await app.app.configs.create({ ...sample, name: 'Sample application' }, 'test', { origin: 'SAMPLE' });
  project = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-project-')));
  await writeTree(project, {
    'shop/manage.py': 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n',
    'shop/shop/settings.py':
      'BASE_DIR = Path(__file__).resolve().parent.parent\nMEDIA_ROOT = BASE_DIR / "files"\n' +
      'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}\n',
    'shop/files/photo.txt': 'a photo',
    'shop/other/b.txt': 'another file',
  });
  await exec(join(project, 'shop', 'db.sqlite3'), 'CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1)');
  browser = await startBrowser();
  visit = await browser.visit(app.url);
  await visit.signIn();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
  if (project !== undefined) await rm(project, { recursive: true, force: true });
});

const button = (name: string | RegExp) => visit.page.getByRole('button', { name }).filter({ visible: true });
const text = (value: string | RegExp) => visit.page.getByText(value).first().waitFor();
const step = (name: string | RegExp) => visit.page.getByRole('region', { name });

walk(title('A newcomer with the sample'), () => {
  it('sees that it is the sample, and is led to protecting the own application', async () => {
    await text('This is the sample application');
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('onboarding-sample');
    await visit.page.getByRole('link', { name: 'Protect your application' }).click();
    await visit.page.getByRole('heading', { name: 'Protect your application', level: 1 }).waitFor();
    expect(visit.troubles).toEqual([]);
  });

  it('finds the database by browsing, and a Django project with its media folder is recognised', async () => {
    await visit.page.getByRole('button', { name: 'Parent folder' }).waitFor();
    await visit.page.getByLabel('Folder', { exact: true }).fill(project);
    await button(/^Go$/).click();
    await button(/^shop$/).click();
    await text('Django project found');
    await visit.page.getByRole('button', { name: /^db\.sqlite3 SQLite database/ }).waitFor();
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('onboarding-browse');
    await button('Use db.sqlite3').click();
    await step('2. Media folders')
      .getByText(join(project, 'shop', 'files'))
      .waitFor();
    expect(await visit.page.getByLabel('Name', { exact: true }).inputValue()).toBe('shop');
    expect(visit.troubles).toEqual([]);
  });

  it('changes the media folders by browsing, too', async () => {
    await button('Add folder').click();
    const dialog = visit.page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'other' }).click();
    await dialog.getByText('b.txt').waitFor();
    await dialog.getByRole('button', { name: 'Use this folder' }).click();
    const other = join(project, 'shop', 'other');
    await step('2. Media folders').getByText(other).waitFor();
    await button(`Remove ${other}`).click();
    await step('2. Media folders').getByText(other).waitFor({ state: 'detached' });
  });

  it('is shown what a test finds, before anything is saved', async () => {
    await button(/^Test$/).click();
    await text('Test passed');
    await text(/db\.sqlite3: 1 table/);
    await text(/files: 1 file/);
    expect(await app.app.configs.list()).toHaveLength(1);
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('onboarding-test');
  });

  it('saves, follows the first backup live, and the sample is gone', async () => {
    await button('Save and back up').click();
    await text('shop is protected');
    await text(/The first backup is verified: 1 table, 1 media file/);
    const configs = await app.app.configs.list();
    expect(configs.map(({ name, databaseUrl, mediaPaths }) => ({ name, databaseUrl, mediaPaths }))).toEqual([
      {
        name: 'shop',
        databaseUrl: `sqlite:${join(project, 'shop', 'db.sqlite3')}`,
        mediaPaths: [join(project, 'shop', 'files')],
      },
    ]);
    await visit.picture('onboarding-done');
    await visit.page.getByRole('link', { name: 'Go to overview' }).click();
    await visit.page.getByTestId(`config-${configs[0]?.id}`).getByText('Protected').waitFor();
    expect(await visit.page.getByText('This is the sample application').count()).toBe(0);
    expect(visit.troubles).toEqual([]);
  });

  it('sees next to the field what is wrong: a missing folder, a name that is taken', async () => {
    await visit.page.goto(`${app.url}/protect`);
    await visit.page.getByRole('button', { name: 'Parent folder' }).waitFor();
    await visit.page.getByLabel('Folder', { exact: true }).fill(join(project, 'none'));
    await button(/^Go$/).click();
    await text(/there is no folder/);
    await button('Start over').click();
    await visit.page.getByText(/there is no folder/).waitFor({ state: 'detached' });
    await visit.page.getByRole('button', { name: 'Parent folder' }).waitFor();
    await visit.page.getByLabel('Folder', { exact: true }).fill(join(project, 'shop'));
    await button(/^Go$/).click();
    await button('Use db.sqlite3').click();
    await button('Save and back up').click();
    await text(/is the name of another config/i);
    expect(await app.app.configs.list()).toHaveLength(1);
  });
});

walk(title('Single media files'), () => {
  it('are found, chosen and restored alone', async () => {
    const backup = await app.app.models.Backup.findOne({ where: { status: 'COMPLETED' } });
    await writeTree(project, { 'shop/files/photo.txt': 'spoilt' });
    await exec(join(project, 'shop', 'db.sqlite3'), 'INSERT INTO orders VALUES (2)');
    await visit.page.goto(`${app.url}/backups/${backup?.id}/restore`);
    await visit.page.getByLabel('Selected media files').check();
    await text('Choose at least one file.');
    await visit.page.getByLabel('Search media files').fill('PHOTO');
    await visit.page.getByLabel(/^media\/.*photo\.txt$/).check();
    await text('1 selected:');
    await text('Ready to restore');
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('restore-files');
    await visit.page.getByLabel('Type the file name to confirm').fill(backup?.fileName ?? '');
    await button('Restore now').click();
    await visit.page.getByText('Restored', { exact: true }).waitFor({ timeout: 60_000 });
    expect((await readTree(join(project, 'shop', 'files')))['photo.txt']).toBe('a photo');
    expect(await all(join(project, 'shop', 'db.sqlite3'), 'SELECT count(*) AS n FROM orders')).toEqual([{ n: 2 }]);
  });
});

walk(title('Users'), () => {
  const NEXT = 'another long password';

  it('change their own password, stay signed in, and all their other sessions end', async () => {
    const other = await browser.visit(app.url);
    await other.signIn();
    await button(/^Account/).click();
    await visit.page.getByRole('menuitem', { name: 'Users and password' }).click();
    const field = (name: string) => visit.page.getByLabel(name, { exact: true });
    await field('Current password').fill('a wrong password');
    await field('New password').fill(NEXT);
    await field('Repeat new password').fill('something else');
    await button('Change password').click();
    await text('The passwords do not match.');
    await field('Repeat new password').fill(NEXT);
    await button('Change password').click();
    await text('Is not the password of this user.');
    await field('Current password').fill(PASSWORD);
    await button('Change password').click();
    await text('Your password was changed. All other sessions were signed out.');
    await visit.page.reload();
    await visit.page.getByRole('heading', { name: 'Users', level: 1 }).waitFor();
    await other.page.reload();
    await other.page
      .getByText('Your session has ended')
      .or(other.page.getByRole('button', { name: 'Sign in' }))
      .first()
      .waitFor();
    expect(await app.app.auth.users.check('admin@example.org', NEXT)).not.toBeNull();
  });

  it('remove others, but not the last admin', async () => {
    await text('Last admin');
    const second = await app.app.auth.users.create('second@example.org', PASSWORD, 'ADMIN');
    await visit.page.reload();
    await button('Remove second@example.org').click();
    expect(await visit.barriers()).toEqual([]);
    await visit.page.getByRole('dialog').getByRole('button', { name: 'Remove user' }).click();
    await text('second@example.org was removed.');
    expect(await app.app.auth.users.find(second.id)).toBeNull();
    await text('Last admin');
    expect(await button(/^Remove /).count()).toBe(0);
    await visit.page.goto(`${app.url}/activity`);
    await text('removed a user');
  });
});

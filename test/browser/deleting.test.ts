import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, PASSWORD, type TestApp } from '../support/app.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const walk = missingBrowser === null ? describe : describe.skip;
const title = (text: string) => (missingBrowser === null ? text : `${text} (skipped: ${missingBrowser})`);

let app: TestApp;
let browser: TestBrowser;
let visit: Visit;

beforeAll(async () => {
  if (missingBrowser !== null) return;
  app = await createTestApp({ env: { CONFIRM_WITH_PASSWORD: 'true', DELETION_DELAY_HOURS: '24' } });
  browser = await startBrowser();
  visit = await browser.visit(`${app.url}/backups`);
  await visit.signIn();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
});

const dialog = () => visit.page.getByRole('dialog', { name: 'Delete this backup?' });
const asking = () => visit.page.getByRole('dialog', { name: 'Confirm with your password' });
async function erase(id: string): Promise<void> {
  await visit.page.goto(`${app.url}/backups/${id}`);
  await visit.page.getByRole('button', { name: 'More', exact: true }).click();
  await visit.page.getByRole('menuitem', { name: 'Delete …' }).click();
  await dialog().getByRole('button', { name: 'Delete', exact: true }).click();
}
async function answer(password: string): Promise<void> {
  await asking().getByLabel('Password', { exact: true }).fill(password);
  await asking().getByRole('button', { name: 'Confirm' }).click();
}

walk(title('Where the server asks for the password again, and deletions wait'), () => {
  it('the page does nothing without it', async () => {
    const { id } = await app.backup();
    await erase(id);
    await asking().getByRole('button', { name: 'Cancel' }).click();
    await visit.page.getByText('your password was not given').first().waitFor();
    expect((await app.app.backups.get(id)).status).toBe('COMPLETED');
  });

  it('the page asks for it in a dialog, and goes on by itself', async () => {
    const { id } = await app.backup();
    await erase(id);
    await answer('not this one');
    await asking().getByText('is not the password of this user').waitFor();
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('confirm-password');
    await answer(PASSWORD);
    await asking().waitFor({ state: 'detached' });
    await visit.page.getByText('is to be deleted.').first().waitFor();
    expect((await app.app.backups.get(id)).deleteAfter).toEqual(expect.any(Date));
  });

  it('the page shows that a deletion waits, and takes it back', async () => {
    const { id } = await app.backup();
    await app.app.backups.remove([id], 'ada');
    await visit.page.goto(`${app.url}/backups`);
    await visit.page.getByText('To be deleted', { exact: true }).filter({ visible: true }).first().waitFor();
    await visit.page.goto(`${app.url}/backups/${id}`);
    await visit.page.getByText('Until then Keep in the menu').waitFor();
    expect(await visit.barriers()).toEqual([]);
    await visit.picture('deletion-waits');
    await visit.page.getByRole('button', { name: 'More', exact: true }).click();
    await visit.page.getByRole('menuitem', { name: 'Keep' }).click();
    await visit.page.getByText('Until then Keep in the menu').waitFor({ state: 'detached' });
    expect((await app.app.backups.get(id)).deleteAfter).toBeNull();
  });
});

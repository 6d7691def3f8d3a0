import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const explorer = missingBrowser === null ? describe : describe.skip;
const title = (text: string) => (missingBrowser === null ? text : `${text} (skipped: ${missingBrowser})`);

let app: TestApp;
let browser: TestBrowser;
let visit: Visit;

beforeAll(async () => {
  if (missingBrowser !== null) return;
  app = await createTestApp();
  browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
});
beforeEach(async () => {
  if (missingBrowser === null) visit = await browser.visit(app.url);
});

const result = () => visit.page.locator('section.result-window, .result-window').first();
const run = () => visit.page.getByRole('button', { name: /^Execute query/ }).click();
const example = (name: string) =>
  visit.page.getByRole('region', { name: 'Examples' }).getByRole('button', { name, exact: true }).click();
const says = (text: string | RegExp) => result().getByText(text).first().waitFor();

explorer(title('The API explorer'), () => {
  it('is one click from the admin page and runs an example, asking no other server', async () => {
    await visit.signIn();
    await visit.page.getByRole('button', { name: /^Account/ }).click();
    await visit.page.getByRole('menuitem', { name: 'API explorer' }).click();
    await visit.page.getByText('Signed in as admin@example.org').waitFor();
    await example('Me');
    await run();
    await says(/admin@example\.org/);
    expect(visit.troubles).toEqual([]);
    await visit.picture('explorer');
  });

  it('fills in the values of an example, and shows the events of a subscription', async () => {
    const backup = await app.backup();
    await visit.signIn();
    await visit.page.goto(`${app.url}/graphql`);
    await example('SchedulePreview');
    await run();
    await says(/nextRuns/);
    await example('BackupProgress');
    await visit.page.getByRole('button', { name: 'Variables' }).click();
    const variables = visit.page.locator('.graphiql-editor-tool .monaco-editor').first();
    await variables.click();
    await visit.page.keyboard.press('Control+A');
    await visit.page.keyboard.insertText(JSON.stringify({ id: backup.id }));
    await run();
    await says(/backupProgress/);
    await says(/COMPLETED/);
    expect(visit.troubles).toEqual([]);
  });

  it('says so when no one is signed in or the session has ended, and stores nothing', async () => {
    await visit.page.goto(`${app.url}/graphql`);
    await visit.page.getByText('Not signed in.').waitFor();
    await example('Me');
    await run();
    await says(/UNAUTHENTICATED/);
    await visit.page.getByRole('link', { name: 'Sign in' }).click();
    await visit.signIn();
    await visit.page.goto(`${app.url}/graphql`);
    await visit.page.getByText('Signed in as admin@example.org').waitFor();
    await app.app.auth.users.changePassword(app.admin.id, 'correct horse battery');
    await example('Me');
    await run();
    await visit.page.getByText('Your session has ended.').waitFor();
    expect(await visit.page.evaluate(() => [localStorage.length, document.cookie])).toEqual([0, '']);
  });

  it('offers completions and documentation of the schema without asking for it', async () => {
    const asked: string[] = [];
    visit.page.on('request', (request) => asked.push(request.postData() ?? ''));
    await visit.page.goto(`${app.url}/graphql`);
    await visit.page.getByRole('button', { name: /Documentation Explorer/ }).click();
    await visit.page.getByText('Mutation', { exact: true }).first().click();
    await visit.page.getByText('createBackup').first().waitFor();
    expect(asked.filter((body) => body.includes('__schema'))).toEqual([]);
    expect(visit.troubles).toEqual([]);
  });

  it('leads to Apollo Sandbox', async () => {
    await visit.page.goto(`${app.url}/graphql`);
    const link = visit.page.getByRole('link', { name: /^Apollo Sandbox/ });
    const answer = await fetch(new URL((await link.getAttribute('href')) ?? '', app.url), {
      headers: { Accept: 'text/html' },
    });
    expect(await answer.text()).toContain('embeddable-sandbox');
  });

  it('is readable in light and dark colours and on a phone', async () => {
    for (const how of [{}, { colorScheme: 'dark' as const }, { viewport: { width: 360, height: 740 } }]) {
      const other = await browser.visit(`${app.url}/graphql`, how);
      await other.page.getByRole('button', { name: 'Me', exact: true }).waitFor();
      await other.page.locator('.monaco-editor .view-line').first().waitFor();
      const barriers = await other.barriers('.explorer-bar, .explorer-examples');
      expect({ how, barriers, troubles: other.troubles }).toEqual({ how, barriers: [], troubles: [] });
      await other.picture(`explorer-${how === undefined ? '' : (Object.keys(how)[0] ?? 'light')}`);
    }
  });
});

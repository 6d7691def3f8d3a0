import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { all, exec } from '../support/sqlite.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const walk = missingBrowser === null ? describe : describe.skip;

let app: TestApp;
let browser: TestBrowser;
let visit: Visit;
let [backupId, fileName] = ['', ''];

beforeAll(async () => {
  if (missingBrowser !== null) return;
  app = await createTestApp();
  await exec(app.database, 'CREATE TABLE booking (id INTEGER PRIMARY KEY, guest TEXT, nights INT)');
  await exec(app.database, "INSERT INTO booking VALUES (1, 'Asha', 2), (2, 'Bram, the \"Old\"', 1), (3, 'Chen', NULL)");
  await exec(app.database, 'CREATE TABLE picture (id INTEGER PRIMARY KEY, file varchar(100))');
  await exec(app.database, "INSERT INTO picture VALUES (1, 'uploads/a photo.txt'), (2, 'uploads/lost.jpg')");
  ({ id: backupId, fileName } = await app.backup());
  await exec(app.database, 'DELETE FROM booking WHERE id = 2; UPDATE booking SET nights = 4 WHERE id = 3');
  browser = await startBrowser();
  visit = await browser.visit(`${app.url}/backups/${backupId}`);
  await visit.signIn();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
});

walk(`A backup on the page${missingBrowser === null ? '' : ` (skipped: ${missingBrowser})`}`, () => {
  it('is drilled: the page says what came back, and hands out the signed report', async () => {
    const { page } = visit;
    await page.getByRole('button', { name: 'More' }).click();
    await page.getByRole('menuitem', { name: 'Drill a restore' }).click();
    const runs = page.getByRole('table', { name: 'Verifications' });
    await runs.getByText(/^Restored .+ with \d+ media files? in [\d.]+ s$/).waitFor();
    expect(await runs.getByRole('row').first().innerText()).toMatch(/^Completed\s+Drill/);
    const download = page.waitForEvent('download');
    await runs.getByRole('button', { name: 'Report to print' }).click();
    const report = await readFile(await (await download).path(), 'utf8');
    expect(report).toMatch(/PASSED[^]*Signature[^]*booking/);
    expect(report).toContain(backupId);
    await visit.picture('drill');
    expect(await visit.barriers()).toEqual([]);
    await page.goto(`${app.url}/`);
    await page.getByText(/^Drilled: the state of .+, a full restore takes about/).waitFor();
    await page.goto(`${app.url}/backups/${backupId}`);
  });

  it('is compared with what is live, row by row', async () => {
    const { page } = visit;
    await page.getByRole('button', { name: 'More' }).click();
    await page.getByRole('menuitem', { name: 'Compare …' }).click();
    await page.getByRole('button', { name: 'Compare', exact: true }).click();
    await page.getByText('1 table with differences').waitFor();
    expect(await page.getByRole('row', { name: 'booking' }).innerText()).toMatch(/^booking\s+1\s+1\s+0\s+1$/);
    const rows = page.getByRole('table', { name: 'Rows of booking' }).getByRole('row');
    expect(await rows.nth(1).innerText()).toMatch(/id: 2[^]*guest: Bram, the "Old"[^]*Removed/);
    expect(await rows.nth(2).innerText()).toMatch(/id: 3[^]*nights: NULL[^]*nights: 4/);
    await page.getByRole('button', { name: 'Check files' }).click();
    const columns = page.getByRole('table', { name: 'Columns that name files' });
    await columns.waitFor();
    expect(await columns.getByRole('row').nth(1).innerText()).toMatch(
      /^picture.file\s+2\s+1\s+id: 2\s+file: uploads\/lost.jpg/,
    );
    await page.getByText('Files that no row names: 2, such as').waitFor();
    await visit.picture('compare');
    expect(await visit.barriers()).toEqual([]);
  });

  it('gives rows back that are gone, and those that differ where that is chosen', async () => {
    const { page } = visit;
    await page.getByRole('link', { name: 'Bring back rows …' }).click();
    const rows = page.getByRole('table', { name: 'Rows that come back' });
    await rows.getByRole('row', { name: 'booking' }).waitFor();
    expect(await rows.getByRole('row', { name: 'booking' }).innerText()).toMatch(/^booking\s+1\s+0\s+2$/);
    await page.getByRole('combobox', { name: 'Rows' }).click();
    await page.getByRole('option', { name: /^Missing and changed/ }).click();
    await rows.getByText(/^1$/).nth(1).waitFor();
    expect(await page.getByRole('table', { name: 'Rows of booking' }).innerText()).toMatch(
      /Bram[^]*nights: 4\s+nights: NULL/,
    );
    await visit.picture('bring-back');
    expect(await visit.barriers()).toEqual([]);
    await page.getByRole('textbox', { name: 'Type the file name to confirm' }).fill(fileName);
    await page.getByRole('button', { name: 'Restore now' }).click();
    await page.getByText('missing and changed rows of the tables booking').first().waitFor();
    await page.getByText('Completed', { exact: true }).first().waitFor();
    expect(await all(app.database, 'SELECT * FROM booking WHERE id > 1')).toEqual([
      { id: 2, guest: 'Bram, the "Old"', nights: 1 },
      { id: 3, guest: 'Chen', nights: null },
    ]);
    await page.goto(`${app.url}/backups/${backupId}/compare`);
  });

  it('is queried, by a table or a SELECT, and gives the rows as a file', async () => {
    const { page } = visit;
    await page.getByRole('link', { name: 'Backup', exact: true }).click();
    await page.getByRole('button', { name: 'More' }).click();
    await page.getByRole('menuitem', { name: 'Query …' }).click();
    await page.getByRole('combobox', { name: 'Show a table' }).click();
    await page.getByRole('option', { name: 'booking (3)' }).click();
    await page.getByText('Rows 1 to 3 of booking').waitFor();
    await visit.picture('query');
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download CSV' }).click();
    expect(await readFile(await (await download).path(), 'utf8')).toBe(
      'id,guest,nights\r\n1,Asha,2\r\n2,"Bram, the ""Old""",1\r\n3,Chen,',
    );
    const guests = page.getByRole('table', { name: 'Result' });
    await page.getByRole('button', { name: 'guest' }).click();
    await page.getByRole('button', { name: 'guest ↑' }).click();
    await page.getByRole('columnheader', { name: 'guest ↓' }).waitFor();
    await guests.getByRole('row').nth(1).filter({ hasText: 'Chen' }).waitFor();
    await page.getByRole('combobox', { name: 'Column' }).click();
    await page.getByRole('option', { name: 'guest', exact: true }).click();
    await page.getByRole('textbox', { name: 'Contains' }).fill('A');
    await page.getByRole('button', { name: 'Filter' }).click();
    await page.getByText('Rows 1 to 2 of booking').waitFor();
    expect(await guests.innerText()).toMatch(/Bram[^]*Asha/);
    expect(await page.getByRole('button', { name: 'Next rows' }).isDisabled()).toBe(true);
    const statement = page.getByRole('textbox', { name: 'SELECT' });
    await statement.fill('DELETE FROM booking');
    await page.getByRole('button', { name: 'Run' }).click();
    await page.getByText(/syntax error/).waitFor();
    await statement.fill('SELECT max(nights) AS longest FROM booking');
    await statement.press('Control+Enter');
    await page.getByText(/^1 row in/).waitFor();
    expect(await page.getByRole('table', { name: 'Result' }).innerText()).toMatch(/longest\s+2/);
    await exec(app.database, 'UPDATE booking SET nights = 5 WHERE id = 1');
    await app.backup();
    await page.getByRole('button', { name: 'When did the answer change?' }).click();
    await page.getByText(/^The last change/).waitFor();
    expect(await page.getByRole('row', { name: /^After/ }).innerText()).toMatch(/5$/);
    await page.getByRole('combobox', { name: 'Table', exact: true }).click();
    await page.getByRole('option', { name: 'booking', exact: true }).click();
    await page.getByRole('textbox', { name: 'Primary key' }).fill('id=1');
    await page.getByRole('button', { name: 'Show its history' }).click();
    const history = page.getByRole('table', { name: 'History of the row' });
    await history.waitFor();
    expect(await history.getByRole('row').nth(1).innerText()).toMatch(/guest: Asha[^]*nights: 2/);
    expect(await history.getByRole('row').nth(2).innerText()).toMatch(/nights: 5/);
    await visit.picture('history');
    expect(await visit.barriers()).toEqual([]);
    expect(visit.troubles).toEqual([]);
  });
});

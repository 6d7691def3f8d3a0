import { Op } from 'sequelize';
import { createHash } from 'node:crypto';
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { buildSchema, type GraphQLObjectType } from 'graphql';
import type { Page, Route } from 'playwright-core';
import { Hold, verificationLease } from '../../src/core/runs/hold.js';
import { createTestApp, PASSWORD, type TestApp } from '../support/app.js';
import { all, contentHash, exec } from '../support/sqlite.js';
import { readTree, writeTree } from '../support/world.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

/** Bytes in the database beside its tables: enough for a backup to be seen while it runs. */
const BALLAST = 64 * 1024 * 1024;

const journey = missingBrowser === null ? describe : describe.skip;
const title = (text: string) => (missingBrowser === null ? text : `${text} (skipped: ${missingBrowser})`);

let app: TestApp;
let browser: TestBrowser;
let visit: Visit;
/** How far the server's clock has gone on, in milliseconds. */
let ahead = 0;
let page: Page;
/** Every field of the API that the page has used. */
const answered = new Set<string>();

/** A test moves the clock ahead, and the schedule may make a backup of that day. */
const newest = async () =>
  (await app.app.models.Backup.findOne({
    where: { createdAt: { [Op.lte]: new Date(Date.now() + 1_000) } },
    order: [['createdAt', 'DESC']],
  }))!;
const open = (path: string) => page.goto(app.url + path);
const heading = (name: string | RegExp) => page.getByRole('heading', { name, level: 1 }).waitFor();
const button = (name: string | RegExp) => page.getByRole('button', { name }).filter({ visible: true });
const text = (value: string | RegExp) => page.getByText(value).first().waitFor();
const dialog = () => page.getByRole('dialog');

/** What lies between a browser and a server: it can be cut, or fall silent, while both live. */
async function startWire(port: number) {
  const open = new Set<Socket>();
  const answers = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => open.delete(one));
      one.pipe(other);
    }
    answers.add(far);
    far.on('close', () => answers.delete(far));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => open.forEach((socket) => socket.destroy());
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    /** What the server says on the connections that are open does not arrive any more. */
    mute: () => answers.forEach((far) => far.unpipe().pause()),
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Keeps back what the page asks with one operation, as a slow line or a busy server would. */
async function hold(page: Page, operation: string) {
  const held: Route[] = [];
  let begin = () => {};
  const begun = new Promise<void>((resolve) => (begin = resolve));
  let over = false;
  const keep = async (route: Route) => {
    const asked = new RegExp(`(query|mutation) ${operation}\\b`).test(route.request().postData() ?? '');
    if (over || !asked) return route.fallback();
    held.push(route);
    begin();
  };
  await page.route('**/graphql', keep);
  return {
    /** Resolves as soon as it was asked for. */
    begun,
    count: () => held.length,
    /** Lets it go on, changed if it is to be. */
    async release(change?: (route: Route) => Promise<void>) {
      over = true;
      for (const route of held) await (change ?? ((each) => each.continue()))(route);
      await page.unroute('**/graphql', keep);
    },
  };
}

/** Notes what the server has answered to the page, without an error. */
function listen(page: Page): void {
  page.on('response', (response) => {
    if (!response.url().endsWith('/graphql')) return;
    const noted = response.json() as Promise<{ data?: object | null }>;
    noted.then(({ data }) => Object.keys(data ?? {}).forEach((field) => answered.add(field))).catch(() => undefined);
  });
}

beforeAll(async () => {
  if (missingBrowser !== null) return;
  app = await createTestApp({ now: () => new Date(Date.now() + ahead) });
  await exec(
    app.database,
    `CREATE TABLE ballast (bytes BLOB);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${BALLAST / 1_048_576})
     INSERT INTO ballast SELECT hex(randomblob(524288)) FROM n;
     CREATE TABLE guest (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
     INSERT INTO guest (name) VALUES ('Asha'), ('Björn'), ('チヨ');`,
  );
  browser = await startBrowser();
  visit = await browser.visit(app.url);
  page = visit.page;
  listen(page);
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
});
beforeEach(() => {
  visit?.troubles.splice(0);
});

/** No console error, no failed request, nothing from another host. */
const quiet = () => expect(visit.troubles).toEqual([]);

journey(title('A stranger at the admin page'), () => {
  it('sees what is wrong with a password, and signs in with the right one', async () => {
    await page.getByLabel('E-mail', { exact: true }).fill('admin@example.org');
    await page.getByLabel('Password', { exact: true }).fill('a wrong password');
    await button('Sign in').click();
    await page.getByRole('alert').waitFor();
    await visit.signIn();
    await heading('Overview');
    quiet();
  });

  it('makes the first backup with one click and watches it', async () => {
    await text('At risk');
    await text(/there is no backup yet/);
    await button('Back up now').click();
    const progress = page.getByTestId(/^progress-backup_/);
    await progress.waitFor();
    const seen = new Set<string>();
    while ((await newest()).status !== 'COMPLETED') {
      seen.add((await progress.innerText({ timeout: 1_000 }).catch(() => '')) || 'nothing');
      await page.waitForTimeout(100);
    }
    expect([...seen].join('\n')).toMatch(/Writing the archive …/);
    expect([...seen].join('\n')).toMatch(/\d+ %/);
    expect([...seen].join('\n')).toMatch(/[\d.]+ (KiB|MiB) of [\d.]+ MiB · [\d.]+ MiB\/s/);
    expect([...seen].join('\n')).toMatch(/left/);
    await text('Protected');
    await progress.waitFor({ state: 'detached' });
    await visit.picture('overview');
    quiet();
  });

  it('downloads it, and has the very bytes that are stored', async () => {
    const row = await newest();
    await page.locator(`main a[href="/backups/${row.id}"]`).filter({ visible: true }).click();
    await heading(/^App, /);
    await text(row.fileName);
    const [download] = await Promise.all([page.waitForEvent('download'), button('Download').click()]);
    expect(download.suggestedFilename()).toBe(row.fileName);
    const bytes = await readFile(await download.path());
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(row.checksum);
    quiet();
  });

  it('sees what is in it, how its run went and how it was proven', async () => {
    const row = await newest();
    for (const { name } of row.tables) await page.getByRole('cell', { name, exact: true }).waitFor();
    await page.getByRole('cell', { name: 'media/uploads/a photo.txt' }).waitFor();
    await page.getByLabel('Search media files').fill('ÜNÏ');
    await page.getByRole('cell', { name: 'media/uploads/a photo.txt' }).waitFor({ state: 'detached' });
    await page.getByRole('cell', { name: 'media/images/ünï.txt' }).waitFor();
    await text('Verifying the archive');
    await text(new RegExp(row.checksum ?? 'none'));
    await visit.picture('backup');
    quiet();
  });

  it('verifies it again, pins it and unpins it', async () => {
    const { id } = await newest();
    const more = async (name: string | RegExp) => {
      await button('More').click();
      await page.getByRole('menuitem', { name }).click();
    };
    await more('Verify content');
    await text('The database was extracted and checked: just now.');
    expect(await page.getByRole('button', { name: 'Download' }).count()).toBe(1);
    await more(/^Pin/);
    await text('By admin@example.org: never deleted automatically');
    expect((await app.app.backups.get(id)).pinned).toBe(true);
    await more(/^Unpin/);
    await page.getByText('never deleted automatically').waitFor({ state: 'detached' });
    quiet();
  });

  it('shows a verification that waits, and cancels it', async () => {
    const { id } = await newest();
    const { models, log } = app.app;
    const held = (await Hold.take({ models, log, leaseMs: 60_000 }, [verificationLease(id)])) as Hold;
    await button('More').click();
    await page.getByRole('menuitem', { name: 'Verify archive' }).click();
    await text('Waiting for a worker …');
    await button('Cancel verification').click();
    await text('The run was cancelled by admin@example.org.');
    await held.release();
    expect(await app.app.backups.get(id)).toMatchObject({ errorCode: null, verificationLevel: 'CONTENT' });
    quiet();
  });
});

journey(title('On the day the data is gone'), () => {
  let before: string;
  let after: string;

  it('the last state is back after three clicks and the name typed', async () => {
    const row = await newest();
    before = await contentHash(app.database);
    await exec(app.database, `DELETE FROM guest; INSERT INTO guest (name) VALUES ('nobody')`);
    await writeTree(app.media, { 'uploads/a photo.txt': 'spoilt' });
    after = await contentHash(app.database);
    await open('/');
    let clicks = 0;
    const click = async (name: string) => {
      clicks += 1;
      await page.getByRole('link', { name }).or(button(name)).filter({ visible: true }).first().click();
    };
    await click('Restore …');
    await text('Ready to restore');
    await page.getByRole('cell', { name: 'guest', exact: true }).waitFor();
    await visit.picture('restore');
    expect(await button('Restore now').isDisabled()).toBe(true);
    await page.getByLabel('Type the file name to confirm').fill(row.fileName.slice(0, -1));
    expect(await button('Restore now').isDisabled()).toBe(true);
    await page.getByLabel('Type the file name to confirm').fill(row.fileName);
    await click('Restore now');
    await page.getByTestId(/^progress-restore_/).waitFor();
    await page.getByText('Restored', { exact: true }).waitFor({ timeout: 60_000 });
    expect(clicks).toBeLessThanOrEqual(4);
    expect(await contentHash(app.database)).toBe(before);
    expect((await readTree(app.media))['uploads/a photo.txt']).toBe('first');
    quiet();
  });

  it('the restore itself can be undone', async () => {
    await button('Undo …').click();
    await dialog().getByRole('button', { name: 'Undo restore' }).click();
    await heading(/^Undo of a restore/);
    await page.getByText('Restored', { exact: true }).waitFor({ timeout: 60_000 });
    expect(await contentHash(app.database)).toBe(after);
    expect((await readTree(app.media))['uploads/a photo.txt']).toBe('spoilt');
    quiet();
  });

  it('one table alone comes back, and a plan that would be refused says why', async () => {
    const row = await app.app.models.Backup.findOne({ where: { backupType: 'MANUAL' } });
    await open(`/backups/${row?.id}/restore`);
    await page.getByLabel('Selected tables').check();
    await text('Choose at least one table.');
    await page.getByRole('combobox', { name: 'Tables' }).click();
    await page.getByRole('option', { name: /^guest/ }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('cell', { name: 'guest', exact: true }).waitFor();
    await page.getByLabel('Another location').check();
    await page.getByRole('textbox', { name: 'Database' }).fill('sqlite:relative/path.sqlite3');
    await page.getByRole('alert').first().waitFor();
    expect(await button('Restore now').isDisabled()).toBe(true);
    await page.getByLabel(/^Original location/).check();
    await text('Ready to restore');
    await page.getByLabel('Type the file name to confirm').fill(row?.fileName ?? '');
    await button('Restore now').click();
    await page.getByText('Restored', { exact: true }).waitFor({ timeout: 60_000 });
    expect(await all(app.database, 'SELECT name FROM guest ORDER BY id')).toEqual([
      { name: 'Asha' },
      { name: 'Björn' },
      { name: 'チヨ' },
    ]);
    expect((await readTree(app.media))['uploads/a photo.txt']).toBe('spoilt');
  });

  it('the state of yesterday is four clicks and the name away', async () => {
    const row = await app.backup();
    const yesterday = new Date(Date.now() - 86_400_000);
    await row.update({ createdAt: yesterday });
    await open('/');
    const date = `${yesterday.getDate()} ${yesterday.toLocaleString('en', { month: 'short' })} ${yesterday.getFullYear()}`;
    await page.getByRole('link', { name: new RegExp(`${date}: 1 completed`) }).click();
    await button(`Actions for ${row.fileName}`).click();
    await page.getByRole('menuitem', { name: 'Restore …' }).click();
    await page.getByLabel('Type the file name to confirm').fill(row.fileName);
    await button('Restore now').click();
    await page.getByText('Restored', { exact: true }).waitFor({ timeout: 60_000 });
    await row.update({ createdAt: new Date() });
    quiet();
  });

  it('a restore does not promise to be undone when its safety backup is gone', async () => {
    const restore = await app.app.models.Restore.findOne({ order: [['createdAt', 'DESC']] });
    const safety = restore?.safetyBackupId ?? '';
    await open(`/backups/${safety}`);
    await text('For now: retention may delete it later');
    await button('More').click();
    await page.getByRole('menuitem', { name: 'Pin permanently' }).click();
    await text('By admin@example.org: never deleted automatically');
    await app.app.backups.pin(safety, false, 'test');
    await app.app.backups.remove([safety], 'test');
    await open(`/restores/${restore?.id}`);
    await text(/can no longer be undone/);
    expect(await button('Undo …').count()).toBe(0);
    quiet();
  });

  it('why a backup failed and what to do stands on the first page', async () => {
    await rename(app.database, `${app.database}.away`);
    await open('/');
    await button('Back up now').click();
    await text('At risk');
    const row = await newest();
    expect(row.status).toBe('FAILED');
    await page
      .getByText(row.errorMessage ?? 'none')
      .first()
      .waitFor();
    await page
      .getByText(row.errorHint ?? 'none')
      .first()
      .waitFor();
    await page.getByRole('link', { name: 'Show failed backup' }).click();
    await heading(/^App, /);
    await text(`Code ${row.errorCode}`);
    await visit.picture('failed');
    await rename(`${app.database}.away`, app.database);
    quiet();
  });
});

journey(title('The list of backups'), () => {
  it('deletes one only after it was confirmed', async () => {
    await open('/');
    await button('Back up now').click();
    await text('Protected');
    const row = await newest();
    await open('/backups');
    const actions = () => page.getByRole('button', { name: `Actions for ${row.fileName}` }).click();
    await actions();
    await page.getByRole('menuitem', { name: 'Delete …' }).click();
    await dialog().getByRole('button', { name: 'Cancel' }).click();
    expect((await row.reload()).status).toBe('COMPLETED');
    await actions();
    await page.getByRole('menuitem', { name: 'Delete …' }).click();
    const held = await hold(page, 'DeleteBackup');
    await dialog().getByRole('button', { name: 'Delete' }).click();
    await held.begun;
    // What is being done is not called off by leaving its dialog.
    await page.keyboard.press('Escape');
    for (const name of ['Cancel', 'Close'])
      expect(await dialog().getByRole('button', { name }).isDisabled()).toBe(true);
    await held.release();
    await dialog().waitFor({ state: 'detached' });
    await page.getByTestId(row.id).getByText('Deleted').filter({ visible: true }).waitFor();
    expect((await row.reload()).status).toBe('DELETED');
    expect(await readdir(app.backups)).not.toContain(row.fileName);
    await open(`/backups/${row.id}`);
    await text('No archive');
    expect(await button('More').count()).toBe(0);
    quiet();
  });

  it('verifies and deletes several at once', async () => {
    const rows = [await app.backup(), await app.backup()];
    await open('/backups?status=COMPLETED&backupType=MANUAL');
    for (const { fileName } of rows) await page.getByLabel(`Select ${fileName}`).check();
    await text('2 backups selected');
    await visit.picture('backups');
    await button('Verify').click();
    await text('2 backups verified.');
    await button('Delete …').click();
    const confirm = dialog().getByRole('button', { name: 'Delete 2 backups' });
    expect(await confirm.isDisabled()).toBe(true);
    await dialog().getByLabel('Type 2 to confirm').fill('2');
    await confirm.click();
    await text('2 backups were deleted.');
    for (const row of rows) expect((await row.reload()).status).toBe('DELETED');
    quiet();
  });

  it('shows on the first page that an archive was damaged', async () => {
    const row = await app.backup();
    const bytes = await readFile(row.filePath);
    bytes.writeUInt8(bytes.readUInt8(2_000) ^ 0xff, 2_000);
    await writeFile(row.filePath, bytes);
    await open('/backups');
    await button(`Actions for ${row.fileName}`).click();
    await page.getByRole('menuitem', { name: 'Verify archive' }).click();
    await page.getByTestId(row.id).getByText('Damaged', { exact: true }).filter({ visible: true }).waitFor();
    await open('/');
    await text('At risk');
    await page.getByRole('link', { name: 'Show backup', exact: true }).click();
    await text(/^Not verified\./);
    await app.app.backups.remove([row.id], 'test');
    quiet();
  });

  it('says how it is unlike those before it, until that is acknowledged', async () => {
    const row = await app.backup();
    const message = 'Table "guest" is empty: it had 3 rows before.';
    const anomalies = [{ code: 'TABLE_EMPTIED' as const, message, table: 'guest', before: 3, after: 0 }];
    await row.update({ suspicious: true, anomalies });
    await open('/backups');
    await page.getByTestId(row.id).getByText('Suspicious', { exact: true }).filter({ visible: true }).waitFor();
    await open('/');
    await text('At risk');
    await open(`/backups/${row.id}`);
    await text(message);
    await button('Acknowledge …').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Acknowledge', exact: true }).click();
    await text('Anomalies, acknowledged');
    expect((await row.reload()).suspicious).toBe(false);
    await app.app.backups.remove([row.id], 'test');
    quiet();
  });

  it('is found by text, status, type and day, and a link to it shows the same', async () => {
    const failed = await app.app.models.Backup.findOne({ where: { status: 'FAILED' } });
    await open('/backups');
    const search = page.getByLabel('Search name, note or error');
    await search.fill(`${failed?.id} `);
    await text('1–1 of 1 backup');
    expect(await search.inputValue()).toBe(`${failed?.id} `);
    await open('/backups?status=FAILED');
    await page
      .getByTestId(failed?.id ?? '')
      .getByText(failed?.errorHint ?? 'none')
      .waitFor();
    await open('/backups?day=2001-01-01');
    await text('No backups match the filter');
    await page.getByRole('link', { name: 'Show all' }).click();
    await page.getByTestId(failed?.id ?? '').waitFor();
    quiet();
  });

  it('offers to try again what was tried: an upload that failed is not a backup that failed', async () => {
    const failed = await app.app.models.Backup.findOne({ where: { status: 'FAILED' } });
    await open(`/backups/${failed?.id}`);
    await button('Back up again').waitFor();
    await failed?.update({ backupType: 'UPLOADED' });
    await page.reload();
    await page.getByRole('link', { name: 'Upload again' }).waitFor();
    expect(await button('Back up again').count()).toBe(0);
    await failed?.update({ backupType: 'MANUAL' });
    quiet();
  });

  it('lets a waiting or running backup be cancelled', async () => {
    await open('/');
    await button('Back up now').click();
    await page.getByTestId(/^progress-backup_/).waitFor();
    const row = await newest();
    await open(`/backups/${row.id}`);
    await button('More').click();
    await page.getByRole('menuitem', { name: 'Cancel …' }).click();
    await dialog().getByRole('button', { name: 'Cancel backup' }).click();
    await text('Code CANCELLED');
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    quiet();
  });
});

journey(title('An upload'), () => {
  it('brings a downloaded archive back, and a file that is none is refused with the reason', async () => {
    const row = await app.backup();
    const path = join(app.folder, 'downloaded.zip');
    await writeFile(path, await readFile(row.filePath));
    await writeFile(join(app.folder, 'junk.zip'), 'this is no archive');
    await open('/upload');
    await page.locator('input[type=file]').setInputFiles(path);
    await page.getByTestId('downloaded.zip').getByText('Uploaded and verified.').waitFor({ timeout: 60_000 });
    // It is dated by its data, so it is not the newest.
    const uploaded = (await app.app.models.Backup.findOne({ where: { backupType: 'UPLOADED', status: 'COMPLETED' } }))!;
    expect(uploaded).toMatchObject({
      configId: row.configId,
      status: 'COMPLETED',
      backupType: 'UPLOADED',
      checksum: row.checksum,
    });
    await page.locator(`a[href="/backups/${uploaded.id}"]`).waitFor();
    await visit.picture('upload');
    quiet();
    await page.locator('input[type=file]').setInputFiles(join(app.folder, 'junk.zip'));
    await page.getByTestId('junk.zip').getByRole('alert').waitFor();
  });

  it('that is lost does not stop those behind it; one that is never answered can be cancelled', async () => {
    const path = join(app.folder, 'downloaded.zip');
    const second = join(app.folder, 'second.zip');
    await writeFile(second, await readFile(path));
    const wire = await startWire(Number(new URL(app.url).port));
    const other = await browser.visit(wire.url);
    await other.signIn();
    await other.page.goto(`${wire.url}/upload`);
    const files = other.page.locator('input[type=file]');
    const card = (name: string) => other.page.getByTestId(name);
    let lost = 0;
    await other.page.route('**/graphql', (route) => {
      const upload = route.request().headers()['content-type']?.startsWith('multipart/');
      return upload && lost++ === 0 ? route.abort() : route.fallback();
    });
    await files.setInputFiles([path, second]);
    await card('downloaded.zip')
      .getByText(/Then upload the file again/)
      .waitFor();
    await card('downloaded.zip').getByRole('button', { name: 'Try again' }).waitFor();
    await card('second.zip').getByText('Uploaded and verified.').waitFor();
    await card('second.zip')
      .getByRole('button', { name: /^Remove from list/ })
      .click();
    wire.mute();
    await card('downloaded.zip').getByRole('button', { name: 'Try again' }).click();
    await card('downloaded.zip').getByText('Sent. The server').last().waitFor();
    await card('downloaded.zip')
      .getByRole('button', { name: /^Cancel/ })
      .click();
    await card('downloaded.zip').waitFor({ state: 'detached' });
    await other.page.getByText(/it may still appear under Backups/).waitFor();
    await wire.close();
  });
});

journey(title('The configs'), () => {
  const field = (name: string) => page.getByLabel(name, { exact: true });
  const saved = (id: number) => app.app.configs.get(id);

  it('are made from a form that tests the database and the storage before anything is saved', async () => {
    const [config] = await app.app.configs.list();
    await open('/configs');
    await page.getByRole('link', { name: 'New config' }).click();
    await field('Name').fill('Second');
    await field('Database').fill(`sqlite:${app.database}.wrong`);
    await button('Test connection').click();
    await page
      .getByRole('alert')
      .getByText(/Not there/)
      .waitFor();
    await field('Database').fill(`sqlite:${app.database}`);
    await button('Add folder').click();
    await field('Media folder 1').fill(app.media);
    await button('Test connection').click();
    await text('The database can be backed up');
    await field('Folder on this server').check();
    await field('Folder').fill(join(app.folder, 'disk'));
    await button('Test storage').click();
    await text('Archives can be stored here');
    await text(/did not exist and was made/);
    expect(await app.app.configs.list()).toHaveLength(1);
    await field('Frequency').selectOption('Every week');
    await field('On').selectOption('Friday');
    await field('At').fill('03:30');
    await text(/Every Friday at 03:30/);
    await field('Frequency').selectOption('Custom (cron)');
    await field('Cron expression').fill('61 3 * * 5');
    await text(/is not a cron expression/);
    await field('Cron expression').fill('30 3 * * 5');
    await text(/Every Friday at 03:30/);
    await field('Backups folder').check();
    await field('Folder').fill('second');
    await button('Test storage').click();
    await text('Archives can be stored here');
    await button('Add config').click();
    await heading('Second');
    const made = (await app.app.configs.list()).find(({ id }) => id !== config?.id);
    expect(made).toMatchObject({
      archivePrefix: 'second',
      schedule: '30 3 * * 5',
      storageType: 'LOCAL',
      mediaPaths: [app.media],
    });
    await visit.picture('config');
    quiet();
  });

  it('say at the field what is wrong with it, and change nothing', async () => {
    await open('/configs/1');
    await field('Maximum age (days)').fill('0');
    await button('Save').click();
    await text(/Maximum age \(days\) is invalid/);
    expect(await field('Maximum age (days)').evaluate((element) => element === document.activeElement)).toBe(true);
    expect((await saved(1)).backupRetentionDays).toBe(30);
    await button('Discard').click();
    expect(await field('Maximum age (days)').inputValue()).toBe('30');
    await field('Maximum total size').fill('10 G8');
    await text(/such as 10 GB/);
    expect(await button('Run automatic backup now').isDisabled()).toBe(true);
    await button('Save').click();
    await text(/Maximum total size is invalid/);
    expect(await field('Maximum total size').inputValue()).toBe('10 G8');
    await field('Maximum total size').fill('10GB');
    await text('10,000,000,000 bytes.');
    await button('Discard').click();
    expect(await field('Maximum total size').inputValue()).toBe('');
    expect((await saved(1)).maxTotalSize).toBe(null);
    await field('As of').fill('20261-01-01');
    await text(/Not a valid date/);
    await field('As of').fill('2099-01-01');
    await text('The end of that day.');
  });

  it('take a prefix for the names of archives, and go without one when it is taken away', async () => {
    const save = async (prefix: string) => {
      await field('Archive name prefix').fill(prefix);
      await button('Save').click();
    };
    await open('/configs/1');
    await button('Advanced').click();
    await save('no prefix!');
    await text(/Archive name prefix is invalid/);
    await save('shop');
    await page.getByText('Saved', { exact: true }).first().waitFor();
    expect((await saved(1)).archivePrefix).toBe('shop');
    await save('');
    await page.getByText('Saved', { exact: true }).first().waitFor();
    await page.getByRole('paragraph').filter({ hasText: 'Unsaved changes' }).waitFor({ state: 'detached' });
    expect((await saved(1)).archivePrefix).toBe(null);
  });

  it('take invariants, which are tried out when they are saved', async () => {
    await open('/configs/1');
    await button('Add invariant').click();
    const invariant = page.getByTestId('invariant-0');
    await invariant.getByLabel('Name').fill('Accounts');
    await invariant.getByLabel('Value').fill('50');
    await invariant.getByLabel('SQL').fill('DELETE FROM account');
    await button('Save').click();
    await text(/"Accounts" could not be checked/);
    await invariant.getByLabel('SQL').fill('SELECT count(*) FROM account');
    await button('Save').click();
    await page.getByText('Saved', { exact: true }).first().waitFor();
    const [kept] = (await saved(1)).invariants;
    expect(kept).toEqual({ name: 'Accounts', sql: 'SELECT count(*) FROM account', expect: 'EQUALS', value: '50' });
    await button('Remove invariant').click();
    await button('Save').click();
    // The word of the first time may still be there.
    while ((await saved(1)).invariants.length > 0) await page.waitForTimeout(100);
    quiet();
  });

  it('take a number as it is typed, also with zeros before it on the way', async () => {
    await open('/configs/1');
    await field('Maximum number of backups').fill('100');
    // The input puts the caret to its end a moment after it was filled.
    while ((await field('Maximum number of backups').inputValue()) === '100') {
      await page.keyboard.press('Home');
      await page.keyboard.press('Delete');
    }
    expect(await field('Maximum number of backups').inputValue()).toBe('00');
    await page.keyboard.type('2');
    await button('Save').click();
    await page.getByText('Saved', { exact: true }).first().waitFor();
    expect((await saved(1)).maxBackupFiles).toBe(200);
    await app.app.configs.update(1, { maxBackupFiles: 30 }, 'test');
    quiet();
  });

  it('show what other rules would delete while they are typed, save them, and clean up by them', async () => {
    const [old, kept] = [await app.backup(), await app.backup()];
    await open('/configs/1');
    const rules = page.getByRole('region', { name: 'Retention' });
    await rules.getByText('0 backups', { exact: true }).waitFor();
    await field('Maximum number of backups').fill('1');
    await rules.getByText(/^Deleted \([1-9]/).waitFor();
    const plan = rules.getByRole('list', { name: 'Backups of the plan' });
    await plan.locator(`a[href="/backups/${old.id}"]`).waitFor();
    await visit.picture('simulator');
    expect((await saved(1)).maxBackupFiles).toBe(30);
    await button('Save').click();
    await page.getByText('Saved', { exact: true }).first().waitFor();
    expect((await saved(1)).maxBackupFiles).toBe(1);
    await button('Clean up now …').click();
    const { deleteCount } = await app.app.cleanup.plan(await app.app.configs.get(1));
    expect(deleteCount).toBeGreaterThan(0);
    await dialog().getByLabel(`Type ${deleteCount} to confirm`).fill(String(deleteCount));
    const held = await hold(page, 'CleanupBackups');
    await dialog()
      .getByRole('button', { name: /^Delete/ })
      .click();
    await held.begun;
    await page.keyboard.press('Escape');
    await held.release();
    await dialog()
      .getByText(/deleted, .* freed/)
      .waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.textContent);
    expect(await focused()).toBe('Close');
    await page.keyboard.press('Enter');
    await dialog().waitFor({ state: 'detached' });
    await page.waitForFunction(() => document.activeElement?.textContent === 'Clean up now …');
    expect([(await old.reload()).status, (await kept.reload()).status]).toEqual(['DELETED', 'COMPLETED']);
    expect((await app.app.cleanup.plan(await app.app.configs.get(1))).deleteCount).toBe(0);
    quiet();
  });

  it('make their automatic backup now, and go when their name was typed; their backups stay', async () => {
    const second = (await app.app.configs.list()).find(({ name }) => name === 'Second');
    await open(`/configs/${second?.id}`);
    await button('Run automatic backup now').click();
    await text('Automatic backup requested.');
    const row = await newest();
    expect(row).toMatchObject({ backupType: 'AUTO', configId: second?.id });
    await page.getByRole('link', { name: 'Show the run' }).click();
    await heading(/^Second, /);
    await text('Completed');
    await open(`/configs/${second?.id}`);
    await button('Delete config …').click();
    await dialog().getByLabel('Type Second to confirm').fill('Second');
    await dialog().getByRole('button', { name: 'Delete config', exact: true }).click();
    await heading('Configs');
    expect(await app.app.configs.list()).toHaveLength(1);
    expect(await row.reload()).toMatchObject({ status: 'COMPLETED', configId: null });
    quiet();
  });

  it('that another user deletes discard what was typed and not saved, and say so', async () => {
    const third = await app.app.configs.create({ name: 'Third', databaseUrl: `sqlite:${app.database}` }, 'test');
    await open(`/configs/${third.id}`);
    await field('Name').fill('Third with another name');
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Configs', exact: true }).click();
    await text('Unsaved changes to Third');
    await app.app.configs.remove(third.id, 'test');
    await page.getByRole('link', { name: 'Back to the changes' }).click();
    await text('Your changes were not saved');
    await page.getByText('Unsaved changes to Third').waitFor({ state: 'detached' });
    // Nothing holds the tab any more.
    await open('/configs');
    await heading('Configs');
    quiet();
  });
});

journey(title('A restore that has changed nothing yet'), () => {
  it('can be called off, and what everybody did stands under restores and activity', async () => {
    const row = await app.backup();
    const before = await contentHash(app.database);
    await open(`/backups/${row.id}/restore`);
    await page.getByLabel('Type the file name to confirm').fill(row.fileName);
    await button('Restore now').click();
    await button('Cancel restore').click();
    await text('Code CANCELLED');
    expect(await contentHash(app.database)).toBe(before);
    await open('/restores?status=FAILED');
    await page.locator(`main a[href="/backups/${row.id}"]`).first().waitFor();
    await open('/activity');
    await text('cancelled a restore');
    quiet();
  });
});

journey(title('A session that ends'), () => {
  it('asks for the password over the page, and nothing that was typed is lost', async () => {
    await open('/configs/1');
    const name = page.getByLabel('Name', { exact: true });
    await name.fill('A name not saved yet');
    await app.app.auth.users.changePassword(app.admin.id, PASSWORD);
    await button('Test connection').click();
    await dialog().getByText('Your session has ended').waitFor();
    await visit.picture('session-ended');
    await dialog().getByLabel('Password', { exact: true }).fill(PASSWORD);
    await dialog().getByRole('button', { name: 'Sign in' }).click();
    await dialog().waitFor({ state: 'detached' });
    expect(await name.inputValue()).toBe('A name not saved yet');
    await open('/');
    await heading('Overview');
  });

  it('sends an upload again after the next sign-in', async () => {
    await open('/upload');
    await page.locator('input[type=file]').waitFor({ state: 'attached' });
    await app.app.auth.users.changePassword(app.admin.id, PASSWORD);
    await page.locator('input[type=file]').setInputFiles(join(app.folder, 'downloaded.zip'));
    await dialog().getByText('Your session has ended').waitFor();
    await dialog().getByLabel('Password', { exact: true }).fill(PASSWORD);
    await dialog().getByRole('button', { name: 'Sign in' }).click();
    await page.getByTestId('downloaded.zip').getByText('Uploaded and verified.').waitFor();
  });

  it('a token whose time is over leads to the sign-in, and to sign out is one click', async () => {
    await open('/');
    await heading('Overview');
    ahead = 13 * 3_600_000;
    await dialog().getByText('Your session has ended').waitFor();
    ahead = 0;
    await page.reload();
    await button('Sign in').waitFor();
    visit.troubles.splice(0);
    await visit.signIn();
    await button(/^Account/).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await button('Sign in').waitFor();
    expect(await page.evaluate(() => [sessionStorage.length, document.cookie])).toEqual([0, '']);
    await visit.signIn();
    quiet();
  });
});

journey(title('An answer that does not come'), () => {
  /** Lets one operation fail, as a proxy or a broken line would, or answers it in place of the server. */
  const instead = (operation: string, json?: object) =>
    page.route('**/graphql', (route) => {
      if (!route.request().postData()?.includes(` ${operation}(`)) return route.fallback();
      return json === undefined ? route.abort() : route.fulfill({ json });
    });

  it('never leaves an old plan, or an old refusal, to be confirmed for another choice', async () => {
    const row = await app.backup();
    const name = page.getByLabel('Type the file name to confirm');
    await open(`/backups/${row.id}/restore`);
    // The clock was ahead a moment ago: a backup that was due then may still hold the database, which a plan refuses.
    const ready = page.getByText('Ready to restore').first();
    await ready.waitFor({ timeout: 20_000 }).catch(() => page.reload());
    await text('Ready to restore');
    await name.fill(row.fileName);
    expect(await button('Restore now').isEnabled()).toBe(true);
    let held = await hold(page, 'RestorePlan');
    await page.getByLabel('Database', { exact: true }).and(page.getByRole('radio')).check();
    await held.begun;
    expect(await page.getByText('Ready to restore').count()).toBe(0);
    expect(await name.inputValue()).toBe('');
    await held.release();
    await text('Ready to restore');
    await instead('RestorePlan');
    await page.getByLabel('Media files', { exact: true }).check();
    await text('The server cannot be reached');
    await page.getByText('Ready to restore').waitFor({ state: 'detached' });
    await name.fill(row.fileName);
    expect(await button('Restore now').isDisabled()).toBe(true);
    await page.unrouteAll();
    await text('Ready to restore');
    expect(await button('Restore now').isEnabled()).toBe(true);
    await page.getByLabel('Another location').check();
    await page.getByRole('textbox', { name: 'Database' }).fill('sqlite:relative/path.sqlite3');
    await page.getByRole('alert').first().waitFor();
    held = await hold(page, 'RestorePlan');
    await page.getByRole('textbox', { name: 'Database' }).fill('sqlite:another/path.sqlite3');
    await held.begun;
    expect(await page.getByRole('alert').count()).toBe(0);
    await held.release();
    await page.getByLabel(/^Original location/).check();
    await text('Ready to restore');
    await name.fill(row.fileName);
    await instead('RestoreBackup');
    await button('Restore now').click();
    await text(/It is unknown whether this was done/);
    await page.unrouteAll();
    expect(await app.app.models.Restore.count({ where: { backupId: row.id } })).toBe(0);
  });

  it('does not make a good backup look damaged', async () => {
    const row = await app.backup();
    await open('/backups?status=COMPLETED');
    await page.getByLabel(`Select ${row.fileName}`).check();
    await instead('VerifyBackup');
    await button('Verify').click();
    await text('1 backup could not be verified');
    expect(await page.getByText('not intact').count()).toBe(0);
    await page.unrouteAll();
    await button('Verify').click();
    await text('1 backup verified.');
  });

  it('does not stop the verification of several backups, and every damaged one is shown', async () => {
    const [sound, gone, damaged] = [await app.backup(), await app.backup(), await app.backup()];
    await writeFile(damaged.filePath, 'no archive');
    await open('/backups?status=COMPLETED');
    for (const { fileName } of [sound, gone, damaged]) await page.getByLabel(`Select ${fileName}`).check();
    const held = await hold(page, 'Backups');
    await app.app.backups.remove([gone.id], 'test');
    await button('Verify').click();
    const told = (title: string, id: string) =>
      page.getByRole('alert').filter({ hasText: title }).filter({ hasText: id }).waitFor();
    await told('1 backup is not intact', damaged.id);
    await told('1 backup could not be verified', gone.id);
    await held.release();
    await page.getByRole('link', { name: 'Overview' }).click();
    await heading('Overview');
    await told('1 backup is not intact', damaged.id);
    await app.app.backups.remove([damaged.id], 'test');
  });

  it('is waited for while it may still come, and said to be missing when it does not', async () => {
    const other = await browser.visit(app.url);
    await other.page.clock.install();
    await other.page.addInitScript(() => {
      // By the clock of the test.
      AbortSignal.timeout = (ms) => {
        const end = new AbortController();
        setTimeout(() => end.abort(new DOMException('late', 'TimeoutError')), ms);
        return end.signal;
      };
    });
    await other.page.goto(app.url);
    await other.signIn();
    await other.page.getByRole('columnheader', { name: 'Last backup' }).waitFor();
    let held = await hold(other.page, 'Status');
    await other.page.clock.runFor(6_000);
    await held.begun;
    await other.page.clock.runFor(30_000);
    expect(held.count()).toBe(1);
    const message = 'It took its time.';
    await held.release(async (route) => {
      const { data } = (await (await route.fetch()).json()) as { data: { status: object } };
      const reasons = [{ level: 'WARNING', code: 'SLOW', message, hint: '', configId: null }];
      await route.fulfill({ json: { data: { status: { ...data.status, health: 'WARNING', reasons } } } });
    });
    await other.page.getByText(message).waitFor();
    held = await hold(other.page, 'Status');
    await other.page.clock.runFor(6_000);
    await held.begun;
    await other.page.clock.runFor(60_000);
    await other.page.getByText('The server did not answer in time.').waitFor();
    await other.page.getByText(message).waitFor();
    await held.release();
    await other.page.clock.runFor(6_000);
    await other.page.getByText('The server did not answer in time.').waitFor({ state: 'detached' });
  });

  it('does not hide that the server fails behind what it said before', async () => {
    await open('/');
    await page.getByRole('columnheader', { name: 'Last backup' }).waitFor();
    const error = {
      message: 'The control database is full.',
      extensions: { code: 'STORAGE_FULL', hint: 'Free space.' },
    };
    await page.route('**/graphql', (route) =>
      route.request().postData()?.includes('query Status')
        ? route.fulfill({ json: { data: null, errors: [error] } })
        : route.fallback(),
    );
    await text('The control database is full.');
    await page.getByRole('columnheader', { name: 'Last backup' }).waitFor();
    await page.unrouteAll();
    await page.getByText('The control database is full.').waitFor({ state: 'detached' });
  });
});

journey(title('A connection that breaks'), () => {
  it('does not end what is shown live', async () => {
    const wire = await startWire(Number(new URL(app.url).port));
    const other = await browser.visit(wire.url);
    await other.signIn();
    await other.page.getByRole('button', { name: 'Back up now' }).filter({ visible: true }).click();
    const progress = other.page.getByTestId(/^progress-backup_/);
    await progress.getByText('Writing the archive …').waitFor();
    const sockets: string[] = [];
    other.page.on('websocket', (socket) => sockets.push(socket.url()));
    wire.cut();
    // Whether a later phase is seen depends on how soon the page is connected again; that the run has ended, it must learn.
    await progress.waitFor({ state: 'detached' });
    await other.page.getByRole('heading', { name: 'Protected', exact: true }).waitFor();
    expect(sockets.length).toBeGreaterThan(0);
    expect((await newest()).status).toBe('COMPLETED');
    await wire.close();
  });

  it('for longer is said at once on the page of a run, too', async () => {
    const wire = await startWire(Number(new URL(app.url).port));
    const other = await browser.visit(wire.url);
    await other.signIn();
    await other.page.getByRole('button', { name: 'Back up now' }).filter({ visible: true }).click();
    await other.page.getByTestId(/^progress-backup_/).waitFor();
    await other.page.goto(`${wire.url}/backups/${(await newest()).id}`);
    await other.page.getByTestId(/^progress-backup_/).waitFor();
    await wire.close();
    await other.page.getByText('The server cannot be reached', { exact: true }).waitFor();
    while ((await newest()).status === 'RUNNING') await page.waitForTimeout(200);
  });

  it('is shown only if the server itself is away, whatever a proxy refuses or hides', async () => {
    const other = await browser.visit(app.url);
    const banner = other.page.getByText('The server cannot be reached', { exact: true });
    let tries = 0;
    await other.page.routeWebSocket('**/graphql', (socket) => {
      tries += 1;
      void socket.close({ code: 1013 });
    });
    await other.page.reload();
    await other.signIn();
    await other.page.evaluate(() => {
      const seen = () => document.body.innerText.includes('The server cannot be reached');
      const note = () => seen() && Object.assign(window, { bannerSeen: true });
      new MutationObserver(note).observe(document.body, { childList: true, subtree: true });
    });
    const looked = other.page.waitForResponse('**/healthz');
    await other.page.getByRole('button', { name: 'Back up now' }).filter({ visible: true }).click();
    await other.page.getByTestId(/^progress-backup_/).waitFor();
    await looked;
    await other.page.getByTestId(/^progress-backup_/).waitFor({ state: 'detached' });
    expect(tries).toBeGreaterThan(0);
    expect(await other.page.evaluate(() => 'bannerSeen' in window)).toBe(false);
    await other.page.route('**/healthz', (route) => route.fulfill({ status: 404 }));
    await other.page.route('**/graphql', (route) => route.abort());
    await other.page.getByRole('link', { name: 'Backups', exact: true }).click();
    await banner.waitFor();
    await other.page.unroute('**/graphql');
    await banner.waitFor({ state: 'detached' });
  });
});

journey(title('A server that is gone for a moment'), () => {
  it('is named, looked for, and the page goes on when it is back', async () => {
    await open('/');
    await page.getByRole('columnheader', { name: 'Last backup' }).waitFor();
    await page.context().setOffline(true);
    await page.getByText('The server cannot be reached').waitFor({ timeout: 30_000 });
    await visit.picture('offline');
    await page.context().setOffline(false);
    await page.getByText('The server cannot be reached').waitFor({ state: 'detached', timeout: 30_000 });
    await page.getByRole('columnheader', { name: 'Last backup' }).waitFor();
  });

  it('loads a page that was opened meanwhile, and says when its version is gone', async () => {
    const other = await browser.visit(app.url);
    const go = (name: string) => other.page.getByRole('link', { name, exact: true }).click();
    const arrived = (name: string) => other.page.getByRole('heading', { name, level: 1 }).waitFor();
    await other.signIn();
    await arrived('Overview');
    await other.page.context().setOffline(true);
    await go('Activity');
    await other.page.getByText('The server cannot be reached').first().waitFor();
    await other.page.context().setOffline(false);
    await arrived('Activity');
    await other.page.route('**/assets/restores-*.js', (route) => route.fulfill({ status: 404 }));
    await go('Restores');
    await other.page.getByText('db-manager was updated').waitFor();
    await other.page.unrouteAll();
    await other.page.getByRole('button', { name: 'Reload' }).click();
    await arrived('Restores');
  });
});

journey(title('All together'), () => {
  it('the page has used every mutation and every query of the API but one', async () => {
    const schema = buildSchema(await readFile(new URL('../../schema/schema.graphql', import.meta.url), 'utf8'));
    const fieldsOf = (type: 'Query' | 'Mutation') =>
      Object.keys((schema.getType(type) as GraphQLObjectType).getFields()).filter((field) => !answered.has(field));
    // Those are walked in the other files of this folder.
    expect(fieldsOf('Mutation').sort()).toEqual([
      'assignBackup',
      'changePassword',
      'confirmPassword',
      'consolidateBackup',
      'copyBackup',
      'createApiToken',
      'createChannel',
      'createConfigFromBackup',
      'createDestination',
      'createEncryptionKey',
      'deleteChannel',
      'deleteDestination',
      'deleteEncryptionKey',
      'discoverDatabases',
      'importBackup',
      'keepBackup',
      'protectDatabases',
      'removeUser',
      'revokeApiToken',
      'rewrapBackup',
      'testChannel',
      'testDestination',
      'updateChannel',
      'updateDestination',
    ]);
    // Who one is, the page knows from the sign-in. Backups are compared and queried in insight.test.ts.
    expect(fieldsOf('Query').sort()).toEqual([
      'apiTokens',
      'browseFolder',
      'channels',
      'compareBackups',
      'destination',
      'fileReferences',
      'findChange',
      'me',
      'queryBackup',
      'rowHistory',
      'suggestInvariants',
      'users',
    ]);
  });
});

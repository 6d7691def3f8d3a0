import { addCopies } from '../support/records.js';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

/** Script and style of the first load, compressed, in bytes. */
const BUDGET = 250 * 1024;
const MANY = 100_000;

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const DARK = { colorScheme: 'dark' as const };

const look = missingBrowser === null ? describe : describe.skip;
const title = (text: string) => (missingBrowser === null ? text : `${text} (skipped: ${missingBrowser})`);

let app: TestApp;
let browser: TestBrowser;
let pages: [name: string, path: string, heading: string | RegExp][];

beforeAll(async () => {
  if (missingBrowser !== null) return;
  app = await createTestApp();
  const backup = await app.backup();
  const restore = await app.restore({ backupId: backup.id });
  const config = await app.app.configs.get();
  const url = config.databaseUrl;
  await app.app.models.BackupConfig.update({ databaseUrl: `${url}-missing` }, { where: { id: config.id } });
  const failed = await app.backup();
  await app.app.models.BackupConfig.update({ databaseUrl: url }, { where: { id: config.id } });
  pages = [
    ['overview', '/', 'Overview'],
    ['backups', '/backups', 'Backups'],
    ['backup', `/backups/${backup.id}`, /^App, /],
    ['failed backup', `/backups/${failed.id}`, /^App, /],
    ['restore', `/backups/${backup.id}/restore`, 'Restore'],
    ['restores', '/restores', 'Restores'],
    ['restore run', `/restores/${restore.id}`, /^Restore of/],
    ['configs', '/configs', 'Configs'],
    ['config', `/configs/${config.id}`, /./],
    ['new config', '/configs/new', /./],
    ['upload', '/upload', /Upload/],
    ['activity', '/activity', 'Activity'],
    ['protect', '/protect', 'Protect your application'],
    ['recover', '/recover', 'Recover from an archive'],
    ['recover backup', `/recover/${backup.id}`, 'Recover from an archive'],
    ['destinations', '/destinations', 'Destinations'],
    ['encryption keys', '/keys', 'Encryption keys'],
    ['users', '/users', 'Users'],
    ['no such page', '/backups/none/at/all', 'Page not found'],
    ['no such backup', '/backups/none', 'Backup not found'],
    ['restore of no backup', '/backups/none/restore', 'Backup not found'],
    ['restore of a failed backup', `/backups/${failed.id}/restore`, 'Restore'],
    ['no such restore', '/restores/none', 'Restore not found'],
    ['no such config', '/configs/none', 'Config not found'],
  ];
  browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  await app?.close();
});

async function show(visit: Visit, path: string, heading: string | RegExp): Promise<void> {
  await visit.page.goto(app.url + path);
  await visit.page.getByRole('heading', { name: heading, level: 1 }).waitFor();
  await visit.page.waitForFunction(() => document.querySelector('[aria-label="Loading"]') === null);
  await visit.page.waitForTimeout(200);
}

/** Buttons and badges whose text does not fit into them, or that reach beyond the screen. */
const clipped = ({ page }: Visit) =>
  page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('main button, main a, main .mantine-Badge-label')]
      .filter((element) => {
        const { width, right } = element.getBoundingClientRect();
        if (width === 0 || element.closest('.mantine-ScrollArea-root')) return false;
        const label = element.querySelector<HTMLElement>('.mantine-Button-label') ?? element;
        return right > window.innerWidth + 1 || label.scrollWidth > label.clientWidth + 1;
      })
      .filter((element) => getComputedStyle(element).display !== 'inline')
      .map((element) => element.outerHTML.slice(0, 160)),
  );

look(title('Every page'), () => {
  it.each([
    ['in light colours on a desk', {}, ''],
    ['in dark colours on a desk', DARK, '-dark'],
    ['on a phone', PHONE, '-phone'],
  ])(
    '%s, is without barriers, errors and requests to others, and no wider than the screen',
    async (_how, how, mark) => {
      const visit = await browser.visit(app.url, how);
      expect({ page: 'sign in', barriers: await visit.barriers() }).toEqual({ page: 'sign in', barriers: [] });
      await visit.picture(`look-sign-in${mark}`);
      await visit.signIn();
      for (const [name, path, heading] of pages) {
        await show(visit, path, heading);
        await visit.picture(`look-${name.replaceAll(' ', '-')}${mark}`);
        const wide = await visit.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        // An address that leads nowhere is answered so, with the page.
        const troubles = visit.troubles.filter((each) => !/404.*\/backups\/none\/at\/all|status of 404/.test(each));
        expect({
          name,
          wide: wide > 0,
          barriers: await visit.barriers(),
          clipped: await clipped(visit),
          troubles,
        }).toEqual({
          name,
          wide: false,
          barriers: [],
          clipped: [],
          troubles: [],
        });
      }
    },
  );

  it('has a title of its own, and one way to the content by keyboard', async () => {
    const visit = await browser.visit(app.url);
    await visit.signIn();
    const titles = new Set<string>();
    for (const [, path, heading] of pages) {
      await show(visit, path, heading);
      titles.add(await visit.page.title());
    }
    // The two backups of one minute, the steps of recovering, and what is not found twice, may share theirs.
    expect(titles.size).toBeGreaterThanOrEqual(pages.length - 5);
    await show(visit, '/', 'Overview');
    await visit.page.keyboard.press('Tab');
    expect(await visit.page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to content');
    await visit.page.keyboard.press('Enter');
    await visit.page.keyboard.press('Tab');
    expect(await visit.page.evaluate(() => document.activeElement?.closest('main') !== null)).toBe(true);
  });

  it('does not move while it loads', async () => {
    const visit = await browser.visit(app.url);
    await visit.signIn();
    for (const [name, path, heading] of pages) {
      await visit.page.addInitScript(() => {
        const shifts: number[] = [];
        Object.assign(window, { shifts });
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) shifts.push((entry as unknown as { value: number }).value);
        }).observe({ type: 'layout-shift', buffered: true });
      });
      await show(visit, path, heading);
      const shifts = await visit.page.evaluate(() => (window as unknown as { shifts: number[] }).shifts);
      // Chromium calls up to 0.1 good.
      expect({ name, good: shifts.reduce((sum, value) => sum + value, 0) < 0.1 }).toEqual({ name, good: true });
    }
  });
});

look(title('An installation with nothing in it'), () => {
  it('says on every page what to do first', async () => {
    const empty = await createTestApp({ work: false });
    try {
      await empty.app.configs.remove(1, 'test');
      const visit = await browser.visit(empty.url);
      await visit.signIn();
      const says: [path: string, what: string | RegExp][] = [
        ['/', 'Nothing is protected yet'],
        ['/backups', 'No backups yet'],
        ['/restores', 'No restores yet'],
        ['/configs', /no config|nothing is protected/i],
        ['/activity', 'signed in'],
      ];
      for (const [path, what] of says) {
        await visit.page.goto(empty.url + path);
        await visit.page.getByText(what).first().waitFor();
        expect({ path, barriers: await visit.barriers() }).toEqual({ path, barriers: [] });
      }
      await visit.page.goto(empty.url);
      await visit.page.getByRole('link', { name: 'Add config' }).click();
      await visit.page.getByRole('heading', { name: 'New config' }).waitFor();
      expect(visit.troubles).toEqual([]);
    } finally {
      await empty.close();
    }
  });
});

look(title('A fault in the page itself'), () => {
  it('is said in its place, and the other pages go on', async () => {
    const visit = await browser.visit(app.url);
    await visit.signIn();
    await visit.page.route('**/graphql', (route) =>
      route.request().postData()?.includes('query Backups')
        ? route.fulfill({ json: { data: { backups: { nodes: [null], totalCount: 1, pageInfo: {} } } } })
        : route.continue(),
    );
    const nav = visit.page.getByRole('navigation', { name: 'Pages' });
    await nav.getByRole('link', { name: 'Backups' }).click();
    await visit.page.getByText('This page stopped working').waitFor();
    await nav.getByRole('link', { name: 'Configs' }).click();
    await visit.page.getByRole('heading', { name: 'Configs', level: 1 }).waitFor();
  });
});

look(title('The size of the page'), () => {
  it('is within its budget at the first load, and what other pages need comes later', async () => {
    const visit = await browser.visit('about:blank');
    const sizes = new Map<string, number>();
    const bodies: Promise<void>[] = [];
    visit.page.on('response', (response) => {
      if (!/\.(js|css)$/.test(response.url())) return;
      bodies.push(response.body().then((body) => void sizes.set(response.url(), gzipSync(body).length)));
    });
    await visit.page.goto(app.url);
    await visit.signIn();
    await visit.page.getByRole('heading', { name: 'Overview' }).waitFor();
    await Promise.all(bodies);
    const first = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    expect(sizes.size).toBeGreaterThan(1);
    expect(first).toBeLessThan(BUDGET);
    await visit.page.getByRole('link', { name: 'Backups', exact: true }).click();
    await visit.page.getByRole('heading', { name: 'Backups', level: 1 }).waitFor();
    await Promise.all(bodies);
    expect([...sizes.keys()].some((url) => /\/backups-[\w-]+\.js$/.test(url))).toBe(true);
  });
});

look(title('A list of a hundred thousand backups'), () => {
  it('shows a page at a time, sorts, searches and leafs through all of them', async () => {
    await app.app.models.sequelize.query(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MANY})
       INSERT INTO backups (id, "configId", "backupType", mode, status, "createdAt", "completedAt", engine,
         "databaseName", "fileName", "fileSize")
       SELECT 'backup_many_' || i, 1, 'AUTO', 'FULL', 'COMPLETED', at, at, 'SQLITE', 'db.sqlite3',
         'many_' || i || '.zip', 1000000 + i
       FROM (SELECT i, strftime('%Y-%m-%d %H:%M:%S.000 +00:00', 'now', '-' || (i * 5) || ' minutes') AS at FROM n)`,
    );
    await addCopies(app.app.models, '/gone');
    const visit = await browser.visit(app.url, { viewport: { width: 1280, height: 860 } });
    const { page } = visit;
    await visit.signIn();
    await page.goto(`${app.url}/backups`);
    await page.getByText(/^1–25 of 100,00\d backups$/).waitFor();
    await page.getByRole('button', { name: 'Size' }).click();
    await page.getByText(`many_${MANY}.zip`).waitFor();
    for (let leaf = 2; leaf <= 5; leaf++) {
      await page.getByRole('button', { name: 'Next' }).click();
      await page.getByText(new RegExp(`^${(leaf - 1) * 25 + 1}–${leaf * 25} of`)).waitFor();
    }
    await page.getByRole('button', { name: 'Previous' }).click();
    await page.getByText(/^76–100 of/).waitFor();
    // While another order is on its way, the rows that are still there lead nowhere.
    let release = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    await page.route('**/graphql', async (route) => {
      if (route.request().postData()?.includes('query Backups')) await released;
      await route.fallback();
    });
    await page.getByRole('button', { name: 'Size' }).click();
    await page.getByRole('button', { name: 'Next', disabled: true }).waitFor();
    release();
    await page.getByText(/^1–25 of/).waitFor();
    await page.unrouteAll();
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText(/^26–50 of/).waitFor();
    await page.getByLabel('Search name, note or error').fill('many_77777.zip');
    await page.getByText('1–1 of 1 backup').waitFor();
    await page.goto(app.url);
    await page.getByText('Storage used').waitFor();
    await page.getByRole('img', { name: /^Size of backups from/ }).waitFor();
    expect(visit.troubles).toEqual([]);
  });
});

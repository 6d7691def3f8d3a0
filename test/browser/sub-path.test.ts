import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { freePort } from '../support/servers.js';
import { missingBrowser, startBrowser, type TestBrowser, type Visit } from './browser.js';

const hasNginx = spawnSync('nginx', ['-v']).error === undefined;
const missing = missingBrowser ?? (hasNginx ? null : 'there is no nginx on the PATH (Debian: nginx)');
const journey = missing === null ? describe : describe.skip;
const title = (text: string) => (missing === null ? text : `${text} (skipped: ${missing})`);

let app: TestApp;
let browser: TestBrowser;
let nginx: ChildProcess | undefined;
/** Where the proxy that keeps the sub-path listens, and the one that takes it away. */
let keeps: string;
let strips: string;

/** As docs/operations.md shows them. The first does not even pass on the host: PUBLIC_URL names it. */
const configuration = (folder: string, ports: { keeps: number; strips: number }) => `
daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/nginx-body;
  proxy_temp_path ${folder}/nginx-proxy;
  fastcgi_temp_path ${folder}/nginx-fastcgi;
  uwsgi_temp_path ${folder}/nginx-uwsgi;
  scgi_temp_path ${folder}/nginx-scgi;
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $connection_upgrade;
  proxy_request_buffering off;
  client_max_body_size 0;
  server {
    listen 127.0.0.1:${ports.keeps};
    location /backups/ { proxy_pass ${app.url}; }
  }
  server {
    listen 127.0.0.1:${ports.strips};
    location /backups/ {
      proxy_pass ${app.url}/;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-Prefix /backups;
    }
  }
}
`;

beforeAll(async () => {
  if (missing !== null) return;
  const ports = { keeps: await freePort(), strips: await freePort() };
  [keeps, strips] = [`http://127.0.0.1:${ports.keeps}`, `http://127.0.0.1:${ports.strips}`];
  app = await createTestApp({ env: { PUBLIC_URL: `${keeps}/backups/` } });
  const file = join(app.folder, 'nginx.conf');
  await writeFile(file, configuration(app.folder, ports));
  nginx = spawn('nginx', ['-c', file, '-e', join(app.folder, 'nginx.log')], { stdio: 'inherit' });
  await listening(ports.strips);
  browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  if (nginx !== undefined && nginx.exitCode === null) {
    nginx.kill();
    await once(nginx, 'exit');
  }
  await app?.close();
});

async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise((resolve) => {
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    if (nginx?.exitCode !== null) throw new Error('nginx has ended: see the lines above.');
    await sleep(50);
  }
}

const newest = async () => (await app.app.models.Backup.findOne({ order: [['createdAt', 'DESC']] }))!;
const heading = (visit: Visit, name: string | RegExp) => visit.page.getByRole('heading', { name, level: 1 }).waitFor();
const button = (visit: Visit, name: string) => visit.page.getByRole('button', { name }).filter({ visible: true });

/** Backs up and watches it, opens the backup, loads that address anew, and downloads the archive. */
async function backUp(url: string): Promise<Visit> {
  const visit = await browser.visit(`${url}/backups/`);
  await visit.signIn();
  await button(visit, 'Back up now').first().click();
  const progress = visit.page.getByTestId(/^progress-backup_/);
  await progress.waitFor();
  await progress.waitFor({ state: 'detached' });
  const { id, fileName, checksum } = await newest();
  await visit.page.locator(`main a[href="/backups/backups/${id}"]`).filter({ visible: true }).first().click();
  await heading(visit, /^App, /);
  expect(visit.page.url()).toBe(`${url}/backups/backups/${id}`);
  await visit.page.reload();
  await heading(visit, /^App, /);
  await visit.page.getByText(fileName).first().waitFor();
  const [download] = await Promise.all([visit.page.waitForEvent('download'), button(visit, 'Download').click()]);
  const bytes = await readFile(await download.path());
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(checksum);
  return visit;
}

/** Opens the API explorer from the page, runs an example, and comes back. */
async function explore({ page }: Visit): Promise<void> {
  await page.getByRole('button', { name: /^Account/ }).click();
  await page.getByRole('menuitem', { name: 'API explorer' }).click();
  const examples = page.getByRole('region', { name: 'Examples' });
  await examples.getByRole('button', { name: 'Me', exact: true }).click();
  expect(page.url()).toBe(`${keeps}/backups/graphql`);
  await page.getByRole('button', { name: /^Execute query/ }).click();
  await page
    .locator('.result-window')
    .getByText(/admin@example\.org/)
    .first()
    .waitFor();
  await page.getByRole('link', { name: 'Admin page' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
  expect(page.url()).toBe(`${keeps}/backups/`);
}

journey(title('Below a sub-path'), () => {
  it('behind a proxy that keeps it, page and API explorer work: progress, download, upload', async () => {
    const visit = await backUp(keeps);
    const path = join(app.folder, 'downloaded.zip');
    await writeFile(path, await readFile((await newest()).filePath));
    await visit.page.goto(`${keeps}/backups/upload`);
    await visit.page.locator('input[type=file]').setInputFiles(path);
    await visit.page.getByTestId('downloaded.zip').getByText('Uploaded and verified.').waitFor();
    await explore(visit);
    expect(visit.troubles).toEqual([]);
  });

  it('behind a proxy that takes it away, the page does the same', async () => {
    const visit = await backUp(strips);
    expect(visit.troubles).toEqual([]);
  });

  it('who comes past the proxy finds the page at the root', async () => {
    const visit = await browser.visit(app.url);
    await visit.signIn();
    await visit.page.getByRole('link', { name: 'Configs' }).first().click();
    await heading(visit, 'Configs');
    expect(visit.page.url()).toBe(`${app.url}/configs`);
    expect(visit.troubles).toEqual([]);
  });
});

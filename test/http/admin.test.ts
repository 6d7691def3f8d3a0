import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import express from 'express';
import { admin, localExplorer } from '../../src/http/admin.js';
import { errorHandler, unknownRoute } from '../../src/http/error-handler.js';
import { createLog } from '../../src/log.js';
import { writeTree } from '../support/world.js';

let folder: string;
let server: Server;
let url: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'db-manager-admin-'));
  await mkdir(join(folder, 'empty'));
  await writeTree(join(folder, 'built'), {
    'index.html':
      '<meta property="csp-nonce" nonce="__CSP_NONCE__"><meta name="api-explorer" content="__API_EXPLORER__">' +
      '<meta name="base-path" content="__BASE_PATH__"><script nonce="__CSP_NONCE__" src="./assets/a.js">',
    'graphql.html': '<meta property="csp-nonce" nonce="__CSP_NONCE__"><title>API explorer</title>',
    'favicon.svg': '<svg/>',
    'assets/a.js': `${'// the same again\n'.repeat(500)}`,
    'secret.txt': 'not a file of the page',
  });
  const app = express();
  app.use('/nothing-built', admin({ explorer: 'off', basePath: '', folder: join(folder, 'empty') }));
  app.get('/graphql', localExplorer({ explorer: 'local', basePath: '', folder: join(folder, 'built') }));
  app.use('/below', admin({ explorer: 'local', basePath: '/sub/path', folder: join(folder, 'built') }));
  app.use(admin({ explorer: 'local', basePath: '', folder: join(folder, 'built') }));
  app.use(unknownRoute);
  app.use(errorHandler(createLog('silent'), '/graphql', ''));
  server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

describe('The admin page', () => {
  it.each([
    '/',
    '/backups',
    '/backups/backup_1/restore',
    '/backups/backup_1/compare',
    '/backups/backup_1/query',
    '/restores/x',
    '/configs/new',
    '/protect',
    '/upload',
    '/notifications',
    '/activity',
    '/users',
  ])('answers %s with its document, a nonce of its own and a policy of this server alone', async (path) => {
    const [one, other] = await Promise.all([fetch(url + path), fetch(url + path)]);
    expect(one.headers.get('content-type')).toMatch(/^text\/html/);
    expect(one.headers.get('cache-control')).toBe('no-store');
    const policy = one.headers.get('content-security-policy') ?? '';
    const nonce = /'nonce-([^']+)'/.exec(policy)?.[1];
    expect(policy).toMatch(/^default-src 'none'; script-src 'self'; /);
    expect(policy).not.toMatch(/unsafe|http|\*/);
    const page = await one.text();
    expect(page.match(/nonce="([^"]+)"/g)).toEqual([`nonce="${nonce}"`, `nonce="${nonce}"`]);
    expect(other.headers.get('content-security-policy')).not.toBe(policy);
  });

  it('names its files and itself by the sub-path below which it is reached', async () => {
    const documents = await Promise.all(['/', '/below/'].map(async (path) => (await fetch(url + path)).text()));
    expect(documents[0]).toMatch(/name="base-path" content=""><script [^>]*src="\/assets\/a\.js"/);
    expect(documents[1]).toMatch(
      /name="base-path" content="\/sub\/path"><script [^>]*src="\/sub\/path\/assets\/a\.js"/,
    );
  });

  it('sends its files compressed and cached for a year: their names change with their content', async () => {
    const answer = await fetch(`${url}/assets/a.js`, { headers: { 'Accept-Encoding': 'gzip' } });
    expect(answer.headers.get('content-encoding')).toBe('gzip');
    expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect((await answer.text()).length).toBe(9000);
  });

  it.each(['/nowhere', '/backups/x/y/z', '/backups/x/y', '/index.php', '/secret.txt', '/%E0%A4%A', '/api-docs'])(
    'answers a browser that opens %s with its document and status 404, and a program with JSON',
    async (path) => {
      const page = await fetch(url + path, { headers: { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } });
      expect([page.status, page.headers.get('content-type')]).toEqual([404, expect.stringMatching(/^text\/html/)]);
      for (const accept of ['*/*', 'application/json', 'application/json, text/html']) {
        const answer = await fetch(url + path, { headers: { Accept: accept } });
        expect(answer.headers.get('content-type')).toMatch(/json/);
        expect(answer.status).toBe(page.status);
      }
    },
  );

  it('leaves what is missing below /api and /assets to those who serve it', async () => {
    for (const path of ['/api', '/api/none', '/assets/none.js']) {
      const answer = await fetch(url + path, { headers: { Accept: 'text/html' } });
      const isAdmin = (await answer.text()).includes('id="root"');
      expect([path, answer.status, isAdmin]).toEqual([path, 404, false]);
    }
  });

  it('says in its document whether there is an API explorer to link to', async () => {
    expect(await (await fetch(url)).text()).toContain('<meta name="api-explorer" content="on">');
  });

  it('serves no other file and no other address', async () => {
    for (const path of [
      '/secret.txt',
      '/assets/',
      '/assets/..%2fsecret.txt',
      '/assets/none.js',
      '/api',
      '/backup',
      '/retention',
    ]) {
      expect([path, (await fetch(url + path)).status]).toEqual([path, 404]);
    }
    expect((await fetch(url, { method: 'POST' })).status).toBe(404);
  });

  it('is joined by an API explorer for browsers, under a policy of this server alone', async () => {
    const answer = await fetch(`${url}/graphql`, { headers: { Accept: 'text/html' } });
    expect(await answer.text()).toContain('<title>API explorer</title>');
    const policy = answer.headers.get('content-security-policy') ?? '';
    expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self' 'nonce-[^']+'; /);
    expect(policy).toMatch(/worker-src 'self'/);
    expect(policy).not.toMatch(/http|\*|unsafe-eval|style-src[^-;][^;]*unsafe|script-src[^;]*unsafe/);
    for (const [path, accept] of [
      ['/graphql', '*/*'],
      ['/graphql', 'application/json'],
      ['/graphql?explorer=apollo', 'text/html'],
    ] as const) {
      const other = await fetch(url + path, { headers: { Accept: accept } });
      expect(await other.text()).not.toContain('<title>API explorer</title>');
    }
  });

  it('says what to do where it is not built', async () => {
    const answer = await fetch(`${url}/nothing-built/`);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toEqual({
      code: 'NOT_FOUND',
      message: 'The admin page is not built.',
      hint: 'Run `npm run build`, then load the page again.',
    });
  });
});

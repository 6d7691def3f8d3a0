import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import express from 'express';
import { admin } from '../../src/http/admin.js';
import { errorHandler } from '../../src/http/error-handler.js';
import { createLog } from '../../src/log.js';
import { writeTree } from '../support/world.js';

let folder: string;
let server: Server;
let url: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'db-manager-admin-'));
  await mkdir(join(folder, 'empty'));
  await writeTree(join(folder, 'built'), {
    'index.html': '<meta property="csp-nonce" nonce="__CSP_NONCE__"><script nonce="__CSP_NONCE__" src="/assets/a.js">',
    'favicon.svg': '<svg/>',
    'assets/a.js': `${'// the same again\n'.repeat(500)}`,
    'secret.txt': 'not a file of the page',
  });
  const app = express();
  app.use('/nothing-built', admin(join(folder, 'empty')));
  app.use(admin(join(folder, 'built')));
  app.use(errorHandler(createLog('silent'), '/graphql'));
  server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

describe('The admin page', () => {
  test.each(['/', '/backups', '/backups/backup_1/restore', '/restores/x', '/configs/new', '/upload', '/activity'])(
    'answers %s with its document, a nonce of its own and a policy of this server alone',
    async (path) => {
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
    },
  );

  test('sends its files compressed, to be kept for a year, because their names change with their content', async () => {
    const answer = await fetch(`${url}/assets/a.js`, { headers: { 'Accept-Encoding': 'gzip' } });
    expect(answer.headers.get('content-encoding')).toBe('gzip');
    expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect((await answer.text()).length).toBe(9000);
  });

  test('serves no other file and no other address', async () => {
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

  test('says what to do where it is not built', async () => {
    const answer = await fetch(`${url}/nothing-built/`);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toEqual({
      code: 'NOT_FOUND',
      message: 'The admin page is not built.',
      hint: 'Run `npm run build`, then load the page again.',
    });
  });
});

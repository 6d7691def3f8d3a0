import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { withoutBase } from '../../src/http/base-path.js';
import { createTestApp, type TestApp } from '../support/app.js';

describe('The address of a request', () => {
  it.each([
    ['/backups', '/'],
    ['/backups?day=1', '/?day=1'],
    ['/backups/', '/'],
    ['/backups/graphql', '/graphql'],
    ['/backups/backups/x?a=/backups', '/backups/x?a=/backups'],
    // Of this machine itself, or of a proxy that has taken the sub-path away.
    ['/graphql', '/graphql'],
    ['/', '/'],
    // Another name that begins alike.
    ['/backups-of-others', '/backups-of-others'],
  ])('%s is %s below /backups, and itself at the root', (url, own) => {
    expect(withoutBase({ url, headers: {} }, '/backups')).toBe(own);
    expect(withoutBase({ url, headers: {} }, '')).toBe(url);
  });

  it('is left alone where a proxy says that it has taken the sub-path away', () => {
    const from = (prefix: string) =>
      withoutBase({ url: '/backups/x', headers: { 'x-forwarded-prefix': prefix } }, '/backups');
    expect([from('/backups'), from('/other')]).toEqual(['/backups/x', '/x']);
  });
});

describe('A server below a sub-path', () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await createTestApp({ env: { PUBLIC_URL: 'https://example.org/backups/' } });
  });
  afterAll(() => app.close());

  const ask = async (path: string, query: string) => {
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${app.token}` };
    const answer = await fetch(`${app.url}${path}`, { method: 'POST', headers, body: JSON.stringify({ query }) });
    return (await answer.json()) as { data: Record<string, Record<string, string>> };
  };

  it('answers below it and without it, with links that lead there from outside', async () => {
    const { id } = await app.backup();
    const query = `mutation { createDownloadLink(id: "${id}") { url } }`;
    for (const path of ['/backups/graphql', '/graphql']) {
      const { url = '' } = (await ask(path, query)).data.createDownloadLink ?? {};
      expect(url).toMatch(new RegExp(`^/backups/api/db-manager/backups/${id}/download/\\?ticket=`));
      expect((await fetch(app.url + url)).status).toBe(200);
    }
    const about = await fetch(`${app.url}/backups/api/openapi.json`);
    expect(await about.json()).toMatchObject({ servers: [{ url: '/backups' }] });
    const wrong = await fetch(`${app.url}/backups/api/none`, { headers: { Accept: 'text/html' } });
    expect(await wrong.text()).toContain('<a href="/backups/">');
  });

  it('opens a WebSocket for its own public address, and for no other', async () => {
    const opened = (path: string, origin: string) =>
      new Promise((resolve) => {
        const url = `${app.url.replace('http', 'ws')}${path}`;
        const socket = new WebSocket(url, 'graphql-transport-ws', { headers: { Origin: origin } });
        socket.on('open', () => resolve(true)).on('error', () => resolve(false));
        socket.on('open', () => socket.terminate());
      });
    expect(await opened('/backups/graphql', 'https://example.org')).toBe(true);
    expect(await opened('/graphql', 'https://example.org')).toBe(true);
    expect(await opened('/backups/graphql', 'https://example.com')).toBe(false);
    expect(await opened('/other/graphql', 'https://example.org')).toBe(false);
  });
});

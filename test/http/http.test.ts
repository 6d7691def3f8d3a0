import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ERRORS } from '../../src/errors.js';
import { HTTP_STATUS } from '../../src/http/index.js';
import { createTestApp, type TestApp } from '../support/app.js';

let app: TestApp;
beforeAll(async () => {
  app = await createTestApp({ work: false });
});
afterAll(() => app.close());

it('answers health and readiness without a token', async () => {
  for (const [path, status] of [
    ['/healthz', 'ok'],
    ['/readyz', 'ready'],
  ] as const) {
    const response = await fetch(app.url + path);
    expect([response.status, await response.json()]).toEqual([200, { status }]);
    expect(response.headers.get('cache-control')).toBe('no-store');
  }
});

it('A server whose control database does not answer is alive but not ready', async () => {
  const { sequelize } = app.app.models;
  const query = sequelize.query.bind(sequelize);
  sequelize.query = (() => Promise.reject(new Error('gone to /secret/path'))) as typeof query;
  const response = await fetch(`${app.url}/readyz`);
  const body = await response.text();
  expect((await fetch(`${app.url}/healthz`)).status).toBe(200);
  sequelize.query = query;
  expect(response.status).toBe(503);
  expect(body).not.toMatch(/secret/);
});

it('An address that is none is 404 as JSON, with the addresses that are', async () => {
  for (const [method, path] of [
    ['GET', '/nothing'],
    ['POST', '/'],
    ['DELETE', '/api/db-manager/backups/x/download/'],
    ['GET', '/api/db-manager/'],
  ] as const) {
    const response = await fetch(app.url + path, { method });
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      code: 'NOT_FOUND',
      message: expect.any(String),
      hint: expect.stringMatching(/graphql/),
    });
  }
});

it('Every error of the catalogue has its HTTP status', () => {
  expect(Object.keys(HTTP_STATUS).sort()).toEqual(Object.keys(ERRORS).sort());
  for (const status of Object.values(HTTP_STATUS)) expect(status).toBeGreaterThanOrEqual(400);
});

describe('A browser that asks for what is not there', () => {
  const asBrowser = { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

  it.each(['/api/', '/api/db-manager/nope', '/api/<b>x', '/api/db-manager/backups/nope/download/'])(
    'gets a page at %s, not JSON',
    async (path) => {
      const response = await fetch(app.url + path, { headers: asBrowser });
      const text = await response.text();
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.headers.get('content-type')).toMatch(/^text\/html/);
      expect(text).toMatch(/<h1>.*<\/h1>[^]*href="\/"/);
      expect(text).not.toMatch(/"code"|<b>/);
    },
  );

  it('and a program that takes anything gets JSON', async () => {
    for (const headers of [{}, { Accept: '*/*' }, { Accept: 'application/json' }] as Record<string, string>[]) {
      const response = await fetch(`${app.url}/api/nope`, { headers });
      expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    }
  });
});

describe('What a browser may do', () => {
  it('is nothing, with any answer but the page of the Sandbox', async () => {
    for (const path of ['/healthz', '/nothing', '/api/db-manager/backups/x/download/']) {
      const policy = (await fetch(app.url + path)).headers.get('content-security-policy');
      expect(policy).toBe("default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'");
    }
    const answer = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"query":"{ __typename }"}',
    });
    expect(answer.headers.get('content-security-policy')).not.toMatch(/apollographql/);
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
    expect(answer.headers.get('x-powered-by')).toBeNull();
    expect(answer.headers.get('set-cookie')).toBeNull();
  });

  it('is to load the Sandbox at /graphql where it is asked for by a link or by the environment', async () => {
    const apollo = await createTestApp({ work: false, env: { GRAPHQL_EXPLORER: 'apollo' } });
    const former = await createTestApp({ work: false, env: { GRAPHQL_SANDBOX: 'true', NODE_ENV: 'production' } });
    try {
      for (const address of [`${app.url}/graphql?explorer=apollo`, `${apollo.url}/graphql`, `${former.url}/graphql`]) {
        const response = await fetch(address, { headers: { Accept: 'text/html' } });
        expect(response.headers.get('content-type')).toMatch(/html/);
        const page = await response.text();
        const policy = response.headers.get('content-security-policy') ?? '';
        const hosts = [...page.matchAll(/<script[^>]* src="(https:\/\/[^/"]+)/g)].map((match) => match[1]);
        expect(hosts.length).toBeGreaterThan(0);
        for (const host of hosts) expect(policy).toContain(host);
        expect(page).toContain('"runTelemetry":false');
      }
    } finally {
      await Promise.all([apollo.close(), former.close()]);
    }
  });

  it.each([
    [{ GRAPHQL_EXPLORER: 'off' }, /json/],
    [{ GRAPHQL_SANDBOX: 'false' }, /json/],
    [{ GRAPHQL_EXPLORER: 'local', GRAPHQL_SANDBOX: 'false' }, /html|built/],
  ])('is at /graphql what the environment says: %j', async (env, type) => {
    const other = await createTestApp({ work: false, env });
    try {
      const response = await fetch(`${other.url}/graphql`, { headers: { Accept: 'text/html' } });
      expect(`${response.headers.get('content-type')} ${await response.text()}`).toMatch(type);
      expect(response.headers.get('content-security-policy')).not.toMatch(/apollo/);
    } finally {
      await other.close();
    }
  });

  it('is not more in production', async () => {
    const closed = await createTestApp({ work: false, env: { NODE_ENV: 'production' } });
    try {
      const response = await fetch(`${closed.url}/graphql`, { headers: { Accept: 'text/html' } });
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.headers.get('content-type')).toMatch(/json/);
      expect(response.headers.get('content-security-policy')).not.toMatch(/apollo/);
    } finally {
      await closed.close();
    }
  });
});

describe('A server that stops', () => {
  it('lets answers under way end, and is not ready any more', async () => {
    const stopping = await createTestApp({ work: false });
    const { configs } = stopping.app;
    const columns = configs.columns.bind(configs);
    let begun: () => void;
    const under = new Promise<void>((resolve) => (begun = resolve));
    configs.columns = async (names) => {
      begun();
      await new Promise((resolve) => setTimeout(resolve, 500));
      return columns(names);
    };
    const answer = fetch(`${stopping.url}/graphql`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${stopping.token}` },
      body: '{"query":"{ configs { name } }"}',
    });
    await under;
    const stopped = stopping.stopServing(5_000);
    await expect(fetch(`${stopping.url}/healthz`)).rejects.toThrow();
    expect(await (await answer).json()).toEqual({ data: { configs: [{ name: 'App' }] } });
    await stopped;
    await stopping.close();
  });

  it('cuts off what does not end within the deadline', async () => {
    const stopping = await createTestApp({ work: false });
    const { configs } = stopping.app;
    configs.columns = () => new Promise(() => undefined);
    const answer = fetch(`${stopping.url}/graphql`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${stopping.token}` },
      body: '{"query":"{ configs { name } }"}',
    });
    const failed = expect(answer).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 200));
    await stopping.stopServing(300);
    await failed;
    await stopping.close();
  });
});

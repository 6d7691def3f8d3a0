import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { openApiDocument } from '../../src/http/openapi.js';
import { createTestApp, type TestApp } from '../support/app.js';

const LISTED = 'https://admin.example.org';
const OTHER = 'https://evil.example.org';

let closed: TestApp;
let open: TestApp;
let id: string;
beforeAll(async () => {
  closed = await createTestApp({ work: false });
  open = await createTestApp({ work: false, env: { CORS_ORIGINS: `${LISTED}, http://localhost:5173` } });
  ({ id } = await open.backup());
});
afterAll(async () => {
  await closed.close();
  await open.close();
});

interface Answer {
  status: number | undefined;
  headers: Record<string, string | string[] | undefined>;
}

/** As a browser sends it: `fetch` would not let a test name its origin. */
function ask(app: TestApp, method: string, path: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(app.url + path, { method, headers }, (response) => {
      response.resume();
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers }));
    });
    request.on('error', reject).end(method === 'POST' ? '{"query":"{ me { email } }"}' : undefined);
  });
}

const preflight = (app: TestApp, origin: string, path: string, method = 'POST') =>
  ask(app, 'OPTIONS', path, {
    Origin: origin,
    'Access-Control-Request-Method': method,
    'Access-Control-Request-Headers': 'authorization,content-type',
  });

const corsOf = ({ headers }: Answer) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('access-control-')));

/** The status that the server refuses a WebSocket with, or 'open'. */
function socket(app: TestApp, headers: Record<string, string>): Promise<number | 'open' | undefined> {
  return new Promise((resolve) => {
    const opened = new WebSocket(`${app.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws', { headers });
    opened.on('unexpected-response', (_request, response) => resolve(response.statusCode));
    opened.on('open', () => {
      resolve('open');
      opened.close();
    });
    opened.on('error', () => undefined);
  });
}

describe('Where nothing is configured', () => {
  it('no page of another server may use the API', async () => {
    for (const path of ['/graphql', `/api/db-manager/backups/${id}/download/`, '/healthz']) {
      expect(corsOf(await preflight(closed, LISTED, path))).toEqual({});
      const json = { Origin: LISTED, 'Content-Type': 'application/json' };
      expect(corsOf(await ask(closed, 'POST', path, json))).toEqual({});
    }
  });

  it('a page of this server or a program may open a WebSocket, a page of another server may not', async () => {
    expect(await socket(closed, {})).toBe('open');
    expect(await socket(closed, { Origin: closed.url })).toBe('open');
    expect(await socket(closed, { Origin: 'https://ADMIN.example.org', Host: 'admin.example.org' })).toBe('open');
    for (const origin of [
      LISTED,
      OTHER,
      'null',
      'nonsense',
      closed.url.replace(/\d+$/, '1'),
      `${closed.url}.example.org`,
    ]) {
      expect([origin, await socket(closed, { Origin: origin })]).toEqual([origin, 403]);
    }
  });
});

describe('A page of a server that is listed', () => {
  it('may send what the API needs, with a token but without cookies', async () => {
    for (const [path, method] of [
      ['/graphql', 'POST'],
      [`/api/db-manager/backups/${id}/download/`, 'GET'],
    ] as const) {
      const answer = await preflight(open, LISTED, path, method);
      expect(answer.status).toBe(204);
      expect(corsOf(answer)).toEqual({
        'access-control-allow-origin': LISTED,
        'access-control-allow-methods': 'GET,HEAD,POST',
        'access-control-allow-headers':
          'Authorization,Content-Type,Apollo-Require-Preflight,X-Confirmation,Range,If-Range,If-None-Match,Encryption-Identity',
        'access-control-expose-headers': 'Content-Disposition,Content-Length,Content-Range,ETag',
        'access-control-max-age': '600',
      });
      expect(answer.headers.vary).toMatch(/Origin/);
    }
  });

  it('may send every header that the description of the REST routes names', async () => {
    const { paths } = openApiDocument('1.2.3');
    const described = Object.values(paths)
      .flatMap(({ get, post }) => [...(get?.parameters ?? []), ...(post?.parameters ?? [])])
      .flatMap((parameter) => (parameter.in === 'header' ? [parameter.name.toLowerCase()] : []));
    expect(described).toEqual(expect.arrayContaining(['range', 'if-range', 'if-none-match']));
    const { headers } = await preflight(open, LISTED, `/api/db-manager/backups/${id}/download/`, 'GET');
    const allowed = String(headers['access-control-allow-headers']).toLowerCase().split(',');
    expect(described.filter((name) => !allowed.includes(name))).toEqual([]);
  });

  it('may read the answers, errors too', async () => {
    const headers = { Origin: LISTED, Authorization: `Bearer ${open.token}`, 'Content-Type': 'application/json' };
    const readable = {
      'access-control-allow-origin': LISTED,
      'access-control-expose-headers': 'Content-Disposition,Content-Length,Content-Range,ETag',
    };
    const path = `/api/db-manager/backups/${id}/download/`;
    for (const [method, at, sent, status] of [
      ['POST', '/graphql', headers, 200],
      ['GET', path, headers, 200],
      ['GET', path, { ...headers, Range: 'bytes=0-1' }, 206],
      ['GET', path, { Origin: LISTED }, 401],
      ['GET', '/api/nothing', headers, 404],
    ] as const) {
      const answer = await ask(open, method, at, sent);
      expect([at, answer.status, corsOf(answer)]).toEqual([at, status, readable]);
    }
  });

  it('may open a WebSocket', async () => {
    expect(await socket(open, { Origin: LISTED })).toBe('open');
    expect(await socket(open, { Origin: 'http://localhost:5173' })).toBe('open');
  });

  it('may do no more than the API: other addresses are not for it', async () => {
    for (const path of ['/healthz', '/readyz', '/', '/nothing']) {
      expect(corsOf(await ask(open, 'GET', path, { Origin: LISTED }))).toEqual({});
    }
  });
});

it('A page of a server that is not listed may do nothing, however its name looks', async () => {
  for (const origin of [OTHER, 'http://admin.example.org', `${LISTED}.evil.org`, `${LISTED}:444`, 'null']) {
    expect((await preflight(open, origin, '/graphql')).headers['access-control-allow-origin']).toBeUndefined();
    expect(await socket(open, { Origin: origin })).toBe(403);
  }
});

import { rename, rm, truncate } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import express from 'express';
import { createApp, createServer } from '../../src/app.js';
import { ERRORS } from '../../src/errors.js';
import { openApiDocument } from '../../src/http/openapi.js';
import type { BackupRow } from '../../src/models/index.js';
import { createTestApp, PASSWORD, type TestApp } from '../support/app.js';

const document = openApiDocument('1.2.3');
/** For a browser: no part of the API. */
const SANDBOX = 'GET /graphql';
const DOWNLOAD = '/api/db-manager/backups/{id}/download/';
const KIT = '/api/db-manager/recovery-kit/';
const REPORT = '/api/db-manager/verifications/{id}/report/';
const REPORT_KEY = '/api/db-manager/drill-key.pem';

let app: TestApp;
let row: BackupRow;
beforeAll(async () => {
  app = await createTestApp({ work: false });
  row = await app.backup();
});
afterAll(() => app.close());

const copy = <T>(value: T) => JSON.parse(JSON.stringify(value)) as T;

it('The description is OpenAPI 3.1, and every server shows its own without a token', async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(copy(document) as never);
  expect({ valid, errors }).toEqual({ valid: true, errors: undefined });
  expect(validator.version).toBe('3.1');
  const response = await fetch(`${app.url}/api/openapi.json`);
  expect(response.status).toBe(200);
  const shown = (await response.json()) as typeof document;
  expect(shown.info.version).toMatch(/^\d+\.\d+\.\d+/);
  expect({ ...shown, info: document.info }).toEqual(copy(document));
});

it('Every example of an error is one of the catalogue, and fits its own schema', () => {
  const answers = Object.values(document.paths).flatMap(({ get, post }) =>
    Object.values((get ?? post)?.responses ?? {}).map(({ content }) => content?.['application/json']),
  );
  const examples = answers.flatMap((body) => Object.values(body?.examples ?? {}));
  const fits = new Ajv2020().compile(document.components.schemas.Error ?? {});
  expect(examples.length).toBeGreaterThan(8);
  for (const { value } of examples) {
    expect(fits(value)).toBe(true);
    expect(Object.keys(ERRORS)).toContain((value as { code: string }).code);
  }
});

interface Layer {
  route?: { path: string | string[]; methods: Record<string, boolean> };
  handle: { stack?: Layer[] };
}

/** What Express was told: the routes of its routers, below the paths at which those are mounted. */
async function routesOfServer(): Promise<string[]> {
  const { prototype } = express.Router as unknown as { prototype: { use: (...args: unknown[]) => unknown } };
  const use = prototype.use;
  const mounted = new Map<unknown, string[]>();
  const routers: { stack?: Layer[] }[] = [];
  prototype.use = function (this: { stack?: Layer[] }, ...args) {
    routers.push(this);
    const paths = typeof args[0] === 'string' || Array.isArray(args[0]) ? [args[0]].flat() : [''];
    for (const handler of args.flat()) if (typeof handler === 'function') mounted.set(handler, paths as string[]);
    return use.apply(this, args);
  };
  try {
    const other = await createApp({ ...app.app.environment, corsOrigins: ['https://other.example.org'] });
    await createServer(other);
    await other.close(0);
  } finally {
    prototype.use = use;
  }
  // The admin page, with all the addresses that it routes itself, is for people.
  const isPage = (stack: Layer[]) => stack.some(({ route }) => route?.path === '/favicon.svg');
  const walk = (stack: Layer[], prefix: string): string[] =>
    (isPage(stack) ? [] : stack).flatMap(({ route, handle }) => {
      if (route !== undefined) {
        const methods = Object.keys(route.methods).map((method) => method.toUpperCase());
        return [route.path].flat().flatMap((path) => methods.map((method) => `${method} ${prefix}${path}`));
      }
      return (mounted.get(handle) ?? []).flatMap((path) => walk(handle.stack ?? [], prefix + path));
    });
  const outermost = routers.find((router) => !mounted.has(router));
  return walk(outermost?.stack ?? [], '').map((route) => route.replace(/\/+/g, '/'));
}

it('Every route of the server is described, and nothing else', async () => {
  const canonical = (route: string) => route.replace(/:(\w+)/g, '{$1}').replace(/(?<! )\/$/, '');
  const real = (await routesOfServer()).filter((route) => route !== SANDBOX).map(canonical);
  const described = Object.entries(document.paths).flatMap(([path, operations]) =>
    // Express answers HEAD by the route of GET.
    (['get', 'post'] as const)
      .filter((method) => operations[method])
      .map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(real.sort()).toEqual(described.map(canonical).sort());
});

describe('What a real server answers is as described', () => {
  const ajv = new Ajv2020({ strict: false });
  ajv.addSchema(copy(document), 'document');
  const seen = new Set<string>();

  /** Asks as any client could, and holds the answer against the description of its operation. */
  async function ask(
    method: 'GET' | 'HEAD' | 'POST',
    path: string,
    status: number,
    { url = path, headers = {}, body }: { url?: string; headers?: Record<string, string>; body?: string } = {},
  ): Promise<void> {
    const { answered, type, text, given } = await new Promise<{
      answered: number | undefined;
      type: string | undefined;
      text: string;
      given: Record<string, unknown>;
    }>((resolve, reject) => {
      const request = httpRequest(app.url + url, { method, headers }, (response) => {
        let text = '';
        response.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
        response.on('end', () =>
          resolve({
            answered: response.statusCode,
            type: response.headers['content-type']?.split(';')[0],
            text: Buffer.from(text, 'latin1').toString(),
            given: response.headers,
          }),
        );
      });
      request.on('error', reject).end(body);
    });
    expect([method, url, answered]).toEqual([method, url, status]);
    const operation = document.paths[path]?.[method.toLowerCase() as 'get'];
    const answer = operation?.responses[String(status)];
    expect([method, path, status, answer]).toEqual([method, path, status, expect.any(Object)]);
    for (const name of Object.keys(answer?.headers ?? {})) expect(Object.keys(given)).toContain(name.toLowerCase());
    seen.add(`${method} ${path} ${status}`);
    if (method === 'HEAD' || answer?.content === undefined) return expect(text).toBe('');
    expect(Object.keys(answer.content)).toContain(type);
    if (type !== 'application/json') return;
    const pointer = ['paths', path, method.toLowerCase(), 'responses', status, 'content', type, 'schema']
      .map((part) =>
        String(part).replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D'),
      )
      .join('/');
    const fits = ajv.getSchema(`document#/${pointer}`);
    expect(fits?.(JSON.parse(text))).toBe(true);
    const codes = Object.keys(answer.content[type]?.examples ?? {});
    if (codes.length > 0) expect(codes).toContain((JSON.parse(text) as { code: string }).code);
  }

  const token = () => ({ Authorization: `Bearer ${app.token}` });
  const of = (id: string) => DOWNLOAD.replace('{id}', id);

  it.each(['GET', 'HEAD'] as const)('to %s of a download', async (method) => {
    const { backups, auth, configs } = app.app;
    await ask(method, DOWNLOAD, 200, { url: of(row.id), headers: token() });
    const { ticket } = await auth.issueTicket(await auth.authenticate(app.token), row.id);
    await ask(method, DOWNLOAD, 200, { url: `${of(row.id)}?ticket=${ticket}` });
    await ask(method, DOWNLOAD, 304, {
      url: of(row.id),
      headers: { ...token(), 'If-None-Match': '*', 'Cache-Control': 'max-age=0' },
    });
    await ask(method, DOWNLOAD, 400, { url: of('%E0%A4%A'), headers: token() });
    await ask(method, DOWNLOAD, 401, { url: of(row.id) });
    await ask(method, DOWNLOAD, 401, { url: `${of(row.id)}?ticket=x` });
    const user = await auth.users.create(`${method}@example.org`, PASSWORD, 'USER');
    const stranger = `Bearer ${auth.sessionOf(user).token}`;
    await ask(method, DOWNLOAD, 403, { url: of(row.id), headers: { Authorization: stranger } });
    await ask(method, DOWNLOAD, 404, { url: of('nothing'), headers: token() });
    const waiting = await backups.create({ backupType: 'MANUAL' }, 'test');
    await ask(method, DOWNLOAD, 409, { url: of(waiting.id), headers: token() });
    await backups.cancel(waiting.id, 'test');
    const gone = await app.backup();
    await backups.remove([gone.id], 'test');
    await ask(method, DOWNLOAD, 410, { url: of(gone.id), headers: token() });
    const lost = await app.backup();
    await rm(lost.filePath);
    await ask(method, DOWNLOAD, 410, { url: of(lost.id), headers: token() });
    const cut = await app.backup();
    await truncate(cut.filePath, 100);
    await ask(method, DOWNLOAD, 422, { url: of(cut.id), headers: token() });
    await rename(app.backups, `${app.backups}-away`);
    await ask(method, DOWNLOAD, 503, { url: of(row.id), headers: token() });
    await rename(`${app.backups}-away`, app.backups);
    const open = backups.open.bind(backups);
    backups.open = () => Promise.reject(new Error('unexpected'));
    await ask(method, DOWNLOAD, 500, { url: of(row.id), headers: token() });
    backups.open = open;
    expect(await configs.list()).toHaveLength(1);
  });

  it('to GET of parts of a download', async () => {
    await ask('GET', DOWNLOAD, 206, { url: of(row.id), headers: { ...token(), Range: 'bytes=0-9' } });
    await ask('GET', DOWNLOAD, 416, { url: of(row.id), headers: { ...token(), Range: 'bytes=999999999-' } });
  });

  it('to GET of a recovery kit', async () => {
    const { auth, recoveryKits } = app.app;
    await ask('GET', KIT, 200, { headers: token() });
    await ask('GET', KIT, 401);
    const user = await auth.users.create('kit@example.org', PASSWORD, 'USER');
    await ask('GET', KIT, 403, { headers: { Authorization: `Bearer ${auth.sessionOf(user).token}` } });
    const make = recoveryKits.make.bind(recoveryKits);
    recoveryKits.make = () => Promise.reject(new Error('unexpected'));
    await ask('GET', KIT, 500, { headers: token() });
    recoveryKits.make = make;
  });

  it('to GET of the report of a drill, and of its key', async () => {
    const { auth, reports, verifications } = app.app;
    const url = (id: string, query = '') => ({ url: `${REPORT.replace('{id}', id)}${query}` });
    await ask('GET', REPORT_KEY, 404);
    const { id } = await verifications.create({ backupId: row.id, level: 'DRILL' }, 'test');
    await ask('GET', REPORT, 404, { ...url(id), headers: token() });
    await verifications.run(id, new AbortController().signal);
    await ask('GET', REPORT, 200, { ...url(id), headers: token() });
    await ask('GET', REPORT, 200, { ...url(id), headers: { ...token(), Accept: 'text/html' } });
    await ask('GET', REPORT, 200, { ...url(id, '?part=signature'), headers: token() });
    await ask('GET', REPORT, 400, { ...url(id, '?part=key'), headers: token() });
    await ask('GET', REPORT, 401, url(id));
    const user = await auth.users.create('report@example.org', PASSWORD, 'USER');
    await ask('GET', REPORT, 403, { ...url(id), headers: { Authorization: `Bearer ${auth.sessionOf(user).token}` } });
    await ask('GET', REPORT_KEY, 200);
    const { key } = await reports.get(id);
    await ask('GET', REPORT_KEY, 200, { url: `${REPORT_KEY}?key=${key}` });
    await ask('GET', REPORT_KEY, 404, { url: `${REPORT_KEY}?key=${'0'.repeat(64)}` });
    await ask('GET', REPORT_KEY, 400, { url: `${REPORT_KEY}?key=x` });
    const { get, publicKey } = reports;
    const fail = () => Promise.reject(new Error('unexpected'));
    Object.assign(reports, { get: fail, publicKey: fail });
    await ask('GET', REPORT, 500, { ...url(id), headers: token() });
    await ask('GET', REPORT_KEY, 500);
    Object.assign(reports, { get, publicKey });
  });

  it('to GET of metrics', async () => {
    const { auth, overview } = app.app;
    await ask('GET', '/metrics', 200, { headers: token() });
    await ask('GET', '/metrics', 401);
    const user = await auth.users.create('metrics@example.org', PASSWORD, 'USER');
    await ask('GET', '/metrics', 403, { headers: { Authorization: `Bearer ${auth.sessionOf(user).token}` } });
    const usage = overview.usage.bind(overview);
    overview.usage = () => Promise.reject(new Error('unexpected'));
    await ask('GET', '/metrics', 500, { headers: token() });
    overview.usage = usage;
  });

  it('to messages of assistants', async () => {
    const made = { name: 'assistant', scopes: ['READ' as const], expiresAt: null };
    const { token: key } = await app.app.auth.addApiToken(made, { id: app.admin.id, email: app.admin.email });
    const Accept = 'application/json, text/event-stream';
    const headers = { 'Content-Type': 'application/json', Accept, Authorization: `Bearer ${key}` };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
    await ask('POST', '/api/mcp', 200, { headers, body });
    const said = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' });
    await ask('POST', '/api/mcp', 202, { headers, body: said });
    await ask('POST', '/api/mcp', 400, { headers, body: '{' });
    await ask('POST', '/api/mcp', 406, { headers: { ...headers, Accept: 'application/json' }, body });
    await ask('POST', '/api/mcp', 413, { headers, body: `"${'x'.repeat(300_000)}"` });
    await ask('POST', '/api/mcp', 401, { body });
    await ask('POST', '/api/mcp', 403, { headers: { ...headers, ...token() }, body });
  });

  it('to questions about its health', async () => {
    await ask('GET', '/healthz', 200);
    await ask('GET', '/readyz', 200);
    const { sequelize } = app.app.models;
    const query = sequelize.query.bind(sequelize);
    sequelize.query = (() => Promise.reject(new Error('gone'))) as typeof query;
    await ask('GET', '/readyz', 503);
    sequelize.query = query;
    await ask('GET', '/api/openapi.json', 200);
  });

  it('to GraphQL', async () => {
    const json = { 'Content-Type': 'application/json' };
    const post = (status: number, body: unknown, headers: Record<string, string> = {}) =>
      ask('POST', '/graphql', status, { body: JSON.stringify(body), headers: { ...json, ...headers } });
    await post(200, { query: '{ me { email } }' }, token());
    await post(200, { query: '{ me { email } }' });
    await post(400, { query: '{ nothing }' });
    await post(400, { query: `{ ${Array.from({ length: 40 }, (_, i) => `a${i}: me { id }`).join(' ')} }` }, token());
    await ask('POST', '/graphql', 400, { body: '{', headers: json });
    await post(413, { query: `# ${'x'.repeat(300_000)}` });
    const form = { 'Content-Type': 'multipart/form-data; boundary=x', 'apollo-require-preflight': 'true' };
    await ask('POST', '/graphql', 401, { headers: form });
    const user = await app.app.auth.users.create('stranger@example.org', PASSWORD, 'USER');
    const { token: other } = app.app.auth.sessionOf(user);
    await ask('POST', '/graphql', 403, { headers: { ...form, Authorization: `Bearer ${other}` } });
  });

  it('and every answer that is described was seen', () => {
    const described = Object.entries(document.paths).flatMap(([path, operations]) =>
      (['get', 'head', 'post'] as const).flatMap((method) =>
        Object.keys(operations[method]?.responses ?? {}).map((status) => `${method.toUpperCase()} ${path} ${status}`),
      ),
    );
    expect(described.filter((answer) => !seen.has(answer))).toEqual([]);
  });
});

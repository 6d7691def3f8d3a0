import { request as httpRequest } from 'node:http';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLSchema,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  getNamedType,
  OperationTypeNode,
} from 'graphql';
import type { ApiTokenInput } from '../../src/auth/index.js';
import { type Scope, SCOPES } from '../../src/models/index.js';
import { scopeOf } from '../../src/graphql/scopes.js';
import { createSchema } from '../../src/graphql/schema.js';
import { claims, createTestApp, forge, HOST_KEYS, PASSWORD, type TestApp } from '../support/app.js';
import { send, sendFile, socketOf } from '../support/operations.js';

let app: TestApp;
let schema: GraphQLSchema;
let backupId: string;
const tokens: Record<string, string | null> = {};

const CASES: [name: string, code: string][] = [
  ['no token', 'UNAUTHENTICATED'],
  ["a user's token who is not an admin", 'FORBIDDEN'],
  ["a host application's token without the admin claim", 'FORBIDDEN'],
  ['an expired token', 'UNAUTHENTICATED'],
  ['a token without an end', 'UNAUTHENTICATED'],
  ['a token signed with another secret', 'UNAUTHENTICATED'],
  ['a token of alg none', 'UNAUTHENTICATED'],
  ['a token of HS256 signed with the public key', 'UNAUTHENTICATED'],
  ['a token of HS512', 'UNAUTHENTICATED'],
  ['a token signed before the password was changed', 'UNAUTHENTICATED'],
  ['a token of a user who does not exist', 'UNAUTHENTICATED'],
  ['a token that is no token', 'UNAUTHENTICATED'],
  ['an API token that was revoked', 'UNAUTHENTICATED'],
  ['an API token that has expired', 'UNAUTHENTICATED'],
];

beforeAll(async () => {
  app = await createTestApp({ work: false });
  schema = await createSchema();
  backupId = (await app.backup()).id;
  const { users } = app.app.auth;
  const user = await users.create('user@example.org', PASSWORD, 'USER');
  const leaver = await users.create('leaver@example.org', PASSWORD, 'ADMIN');
  const own = claims({ iss: 'db-manager' });
  const values: (string | null)[] = [
    null,
    app.app.auth.sessionOf(user).token,
    forge({ alg: 'RS256' }, claims({ is_staff: false }), HOST_KEYS.privateKey),
    forge({ alg: 'HS256' }, { ...own, exp: 1_600_000_000 }),
    forge({ alg: 'HS256' }, { ...own, exp: undefined }),
    forge({ alg: 'HS256' }, own, 'another secret of more than 32 characters'),
    forge({ alg: 'none' }, own, null),
    forge({ alg: 'HS256' }, claims({ is_staff: true }), HOST_KEYS.publicKey),
    forge({ alg: 'HS512' }, own),
    app.app.auth.sessionOf(leaver).token,
    forge({ alg: 'HS256' }, { ...own, sub: '999' }),
    'not.a.token',
    await apiToken('revoked'),
    await apiToken('expired', { expiresAt: new Date(app.app.now().getTime() + 3_600_000) }),
  ];
  CASES.forEach(([name], index) => (tokens[name] = values[index] ?? null));
  await users.changePassword(leaver.id, 'another long password');
  const { ApiToken } = app.app.models;
  const revoked = await ApiToken.findOne({ where: { name: 'revoked' }, rejectOnEmpty: true });
  await app.app.auth.revokeApiToken(revoked.id, 'test');
  await ApiToken.update({ expiresAt: app.app.now() }, { where: { name: 'expired' } });
});
afterAll(() => app.close());

/** An API token with these scopes, all of them if left out. */
async function apiToken(
  name: string,
  { scopes = SCOPES, expiresAt = null, userId = null }: Partial<ApiTokenInput> & { userId?: number | null } = {},
) {
  const made = await app.app.auth.addApiToken({ name, scopes, expiresAt }, { id: userId, email: 'admin@example.org' });
  return made.token;
}

/** A document that asks for one root field, with values that pass validation for its required arguments. */
function documentFor(operation: string, field: GraphQLField<unknown, unknown>) {
  const needed = field.args.filter((arg) => isNonNullType(arg.type));
  const declared = needed.map((arg) => `$${arg.name}: ${String(arg.type)}`).join(', ');
  const passed = needed.map((arg) => `${arg.name}: $${arg.name}`).join(', ');
  const call = `${field.name}${passed ? `(${passed})` : ''}`;
  const selection = isCompositeType(getNamedType(field.type)) ? '{ __typename }' : '';
  const variables = Object.fromEntries(needed.map((arg: GraphQLArgument) => [arg.name, sampleOf(arg.type)]));
  return { query: `${operation}${declared ? `(${declared})` : ''} { ${call} ${selection} }`, variables };
}

function sampleOf(type: GraphQLInputType): unknown {
  if (isNonNullType(type)) return sampleOf(type.ofType);
  if (isListType(type)) return [sampleOf(type.ofType)];
  if (isInputObjectType(type)) {
    const needed = Object.values(type.getFields()).filter((field) => isNonNullType(field.type));
    return Object.fromEntries(needed.map((field) => [field.name, sampleOf(field.type)]));
  }
  if (isEnumType(type)) return type.getValues()[0]?.value;
  return { Boolean: true, Int: 1, Float: 1, ID: backupId, DateTime: new Date().toISOString() }[type.name] ?? 'text';
}

function rootFields(type: keyof typeof OperationTypeNode) {
  const fields = Object.values(schema.getRootType(OperationTypeNode[type])?.getFields() ?? {});
  return fields.filter((field) => field.name !== 'login');
}

describe.each(CASES)('Whoever comes with %s', (name, code) => {
  it(`is refused every query and mutation with ${code}`, async () => {
    const fields = [
      ...rootFields('QUERY').map((field) => documentFor('query', field)),
      ...rootFields('MUTATION').map((field) => documentFor('mutation', field)),
    ].filter(({ variables }) => !('file' in variables));
    expect(fields.length).toBeGreaterThan(20);
    for (const { query, variables } of fields) {
      const answer = await send(app, query, variables, tokens[name]);
      const codes = answer.errors.map((error) => error.extensions.code);
      expect({ query, codes, data: answer.data && Object.values(answer.data).some((value) => value !== null) }).toEqual(
        {
          query,
          codes: [code],
          data: answer.data === null ? null : false,
        },
      );
    }
  });

  it('is refused every subscription, already when the socket opens', async () => {
    for (const field of rootFields('SUBSCRIPTION')) {
      const { client, closed } = socketOf(app, tokens[name] ? { Authorization: `Bearer ${tokens[name]}` } : {});
      const outcome = new Promise((resolve) => {
        client.subscribe(documentFor('subscription', field), {
          next: (value) => resolve(value),
          error: () => resolve('refused'),
          complete: () => resolve('completed'),
        });
      });
      expect(await outcome).toBe('refused');
      expect(await closed).toBe(code === 'FORBIDDEN' ? 4403 : 4401);
      await client.dispose();
    }
  });

  it('is refused every REST route that gives something away', async () => {
    const path = `${app.url}/api/db-manager/backups/${backupId}/download`;
    for (const [method, url] of [
      ['GET', `${path}/`],
      ['GET', path],
      ['HEAD', `${path}/`],
      ['GET', `${app.url}/api/db-manager/backups/unknown/download/`],
    ] as const) {
      const headers: Record<string, string> = tokens[name] ? { Authorization: `Bearer ${tokens[name]}` } : {};
      const response = await fetch(url, { method, headers });
      const body = await response.text();
      expect(response.status).toBe(code === 'FORBIDDEN' ? 403 : 401);
      if (method !== 'HEAD') {
        expect(JSON.parse(body)).toEqual({ code, message: expect.any(String), hint: expect.any(String) });
      }
    }
  });

  it('is refused an upload', async () => {
    const query = 'mutation($file: Upload!) { uploadBackup(file: $file) { id } }';
    const answer = await sendFile(app, query, new Blob(['x']), 'x.zip', { token: tokens[name] ?? null });
    expect(answer.status).toBe(code === 'FORBIDDEN' ? 403 : 401);
    expect(answer.errors.map((error) => error.extensions.code)).toEqual([code]);
  });
});

it('refuses an upload without a token before reading its body', async () => {
  const answered = await new Promise<{ status: number | undefined; sent: boolean }>((resolve, reject) => {
    const request = httpRequest(`${app.url}/graphql`, {
      method: 'POST',
      headers: {
        'Content-Type': 'multipart/form-data; boundary=x',
        'Content-Length': String(10 ** 9),
        'apollo-require-preflight': 'true',
      },
    });
    request.on('error', reject);
    // Only the head goes out: the answer comes although not one byte of the body does.
    request.flushHeaders();
    request.on('response', (response) => {
      response.resume();
      resolve({ status: response.statusCode, sent: false });
      request.destroy();
    });
  });
  expect(answered).toEqual({ status: 401, sent: false });
  expect(await readdir(join(app.folder, 'data', 'tmp'))).toEqual([]);
});

it('A token that stops working closes the door of a socket that is already open', async () => {
  const { users } = app.app.auth;
  const user = await users.create('second@example.org', PASSWORD, 'ADMIN');
  const { client } = socketOf(app, { token: app.app.auth.sessionOf(user).token });
  const ask = () =>
    new Promise<unknown>((resolve) => {
      client.subscribe({ query: '{ me { email } }' }, { next: resolve, error: resolve, complete: () => undefined });
    });
  const waiting = await app.app.backups.create({ backupType: 'MANUAL' }, 'test');
  const events: unknown[] = [];
  const ended = new Promise<void>((resolve) => {
    const query = 'subscription($id: ID!) { backupProgress(id: $id) { status } }';
    client.subscribe(
      { query, variables: { id: waiting.id } },
      { next: (event) => events.push(event), error: () => resolve(), complete: resolve },
    );
  });
  expect(await ask()).toEqual({ data: { me: { email: 'second@example.org' } } });
  await users.changePassword(user.id, 'another long password');
  expect(await ask()).toMatchObject([{ extensions: { code: 'UNAUTHENTICATED' } }]);
  await app.app.backups.cancel(waiting.id, 'test');
  await ended;
  expect(events).toEqual([
    { data: { backupProgress: { status: 'PENDING' } } },
    {
      data: null,
      errors: [expect.objectContaining({ extensions: expect.objectContaining({ code: 'UNAUTHENTICATED' }) })],
    },
  ]);
  await client.dispose();
});

it('What needs no token gives nothing away', async () => {
  for (const path of ['/healthz', '/readyz', '/nothing-here']) {
    const text = await (await fetch(app.url + path)).text();
    expect(text).not.toMatch(/sqlite|backup_\d|\/tmp|node/i);
  }
});

describe('An API token', () => {
  const everyField = () =>
    (['QUERY', 'MUTATION'] as const).flatMap((type) =>
      rootFields(type)
        .map((field) => ({ ...documentFor(type.toLowerCase(), field), name: field.name }))
        .filter(({ variables }) => !('file' in variables))
        .map((document) => ({ ...document, scope: scopeOf(type === 'QUERY' ? 'Query' : 'Mutation', document.name) })),
    );
  /** What each of them answers. */
  async function answers(token: string, documents: ReturnType<typeof everyField>) {
    const found: Record<string, string> = {};
    for (const { name, query, variables } of documents) {
      const [error] = (await send(app, query, variables, token)).errors;
      found[name] = error === undefined ? 'done' : `${error.extensions.code}: ${error.message}`;
    }
    return found;
  }

  it.each(SCOPES)('without the scope %s is refused every field that needs it', async (scope) => {
    const token = await apiToken(`all but ${scope}`, { scopes: SCOPES.filter((other) => other !== scope) });
    const documents = everyField().filter((document) => document.scope === scope);
    expect(documents.length).toBeGreaterThanOrEqual(3);
    const refused = documents.map(({ name }) => [
      name,
      expect.stringMatching(`^FORBIDDEN: .*lacks the scope ${scope}`),
    ]);
    expect(await answers(token, documents)).toEqual(Object.fromEntries(refused));
  });

  it.each(['READ', 'BACKUP', 'RESTORE'] as const)('with the scope %s alone is let in by its fields', async (scope) => {
    const token = await apiToken(`only ${scope}`, { scopes: [scope] });
    const found = await answers(
      token,
      everyField().filter((document) => document.scope === scope),
    );
    expect(Object.entries(found).filter(([, text]) => /^(FORBIDDEN|UNAUTHENTICATED)/.test(text))).toEqual([]);
  });

  it('needs READ for downloads, metrics and progress, BACKUP for uploads, ADMIN for the kit', async () => {
    const routes: [Scope, string][] = [
      ['READ', `/api/db-manager/backups/${backupId}/download/`],
      ['READ', '/metrics'],
      ['ADMIN', '/api/db-manager/recovery-kit/'],
    ];
    for (const scope of SCOPES) {
      const token = await apiToken(`routes ${scope}`, { scopes: [scope] });
      for (const [needed, path] of routes) {
        const { status } = await fetch(app.url + path, { headers: { Authorization: `Bearer ${token}` } });
        expect([scope, path, status]).toEqual([scope, path, scope === needed ? 200 : 403]);
      }
      const query = 'mutation($file: Upload!) { uploadBackup(file: $file) { id } }';
      const { status } = await sendFile(app, query, new Blob(['x']), 'x.zip', { token });
      expect([scope, status]).toEqual([scope, scope === 'BACKUP' ? 200 : 403]);
      const { client } = socketOf(app, { token });
      const outcome = new Promise<unknown>((resolve) => {
        const subscription = `subscription { backupProgress(id: "${backupId}") { status } }`;
        client.subscribe({ query: subscription }, { next: resolve, error: resolve, complete: () => undefined });
      });
      expect(JSON.stringify(await outcome).includes('FORBIDDEN')).toBe(scope !== 'READ');
      await client.dispose();
    }
  });

  it('cannot make another one, and its use is noted', async () => {
    const token = await apiToken('every scope');
    const query = 'mutation { createApiToken(input: {name: "more", scopes: [ADMIN]}) { token } }';
    const { errors } = await send(app, query, {}, token);
    expect(errors[0]).toMatchObject({ message: 'An API token cannot make API tokens.' });
    const row = await app.app.models.ApiToken.findOne({ where: { name: 'every scope' } });
    expect(row?.lastUsedAt).toEqual(expect.any(Date));
    expect(JSON.stringify(row)).not.toContain(token.slice(4));
  });

  it('is shown once to the admin who makes it, and works until it is revoked', async () => {
    const create =
      'mutation($input: ApiTokenInput!) { createApiToken(input: $input) { token apiToken { id createdBy } } }';
    const make = async (input: object) => send(app, create, { input }, app.token);
    const { data } = await make({ name: ' Deployment ', scopes: ['READ'] });
    const { token, apiToken: made } = (data as { createApiToken: { token: string; apiToken: { id: string } } })
      .createApiToken;
    expect(made).toMatchObject({ createdBy: 'admin@example.org' });
    expect((await send(app, '{ status { health } }', {}, token)).errors).toEqual([]);
    for (const [field, input] of [
      ['name', { name: 'Deployment', scopes: ['READ'] }],
      ['name', { name: ' ', scopes: ['READ'] }],
      ['scopes', { name: 'x', scopes: [] }],
      ['expiresAt', { name: 'x', scopes: ['READ'], expiresAt: '2020-01-01T00:00:00Z' }],
    ] as const) {
      expect((await make(input)).errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field });
    }
    await send(app, 'mutation($id: ID!) { revokeApiToken(id: $id) { id } }', { id: made.id }, app.token);
    const after = await send(app, '{ status { health } }', {}, token);
    expect(after.errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });

  it('that is revoked takes its download links with it', async () => {
    const token = await apiToken('links');
    const query = `mutation { createDownloadLink(id: "${backupId}") { url } }`;
    const { data } = await send(app, query, {}, token);
    const { url } = (data as { createDownloadLink: { url: string } }).createDownloadLink;
    expect((await fetch(new URL(url, app.url))).status).toBe(200);
    const row = await app.app.models.ApiToken.findOne({ where: { name: 'links' }, rejectOnEmpty: true });
    await app.app.auth.revokeApiToken(row.id, 'test');
    expect((await fetch(new URL(url, app.url))).status).toBe(401);
  });

  it('stops working when the user who made it is removed', async () => {
    const { users } = app.app.auth;
    const maker = await users.create('maker@example.org', PASSWORD, 'ADMIN');
    const token = await apiToken("maker's", { userId: maker.id });
    expect((await send(app, '{ me { email } }', {}, token)).errors).toEqual([]);
    await app.app.auth.removeUser(maker.id, 'test');
    expect((await send(app, '{ me { email } }', {}, token)).errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });
});

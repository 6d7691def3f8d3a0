import { Writable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { buildSchema, type DocumentNode, getIntrospectionQuery, getOperationAST, parse } from 'graphql';
import { exceededLimit } from '../../src/graphql/limits.js';
import { createLog } from '../../src/log.js';
import { createTestApp, PASSWORD, type TestApp } from '../support/app.js';
import { send } from '../support/operations.js';

let app: TestApp;
let logged = '';
beforeAll(async () => {
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      logged += chunk.toString();
      done();
    },
  });
  app = await createTestApp({ work: false, log: createLog('info', destination) });
});
afterAll(() => app.close());

async function errorOf(query: string, variables: object = {}) {
  const { errors, text, status } = await send(app, query, variables);
  expect(text).not.toMatch(/stacktrace|node_modules|\.ts:\d/);
  expect(errors).toHaveLength(1);
  return { ...errors[0]?.extensions, message: errors[0]?.message, status };
}

describe('An error names the field that it is about', () => {
  it.each([
    ['a page that is too large', '{ backups(first: 501) { totalCount } }', {}, 'first'],
    ['a page of nothing', '{ restores(first: 0) { totalCount } }', {}, 'first'],
    ['a cursor of nowhere', '{ auditEvents(after: "x") { totalCount } }', {}, 'after'],
    [
      'a cursor of another list',
      `{ backups(after: "${Buffer.from('["x",1]').toString('base64url')}") { totalCount } }`,
      {},
      'after',
    ],
    [
      'a cursor of the list of another kind of record',
      `{ auditEvents(after: "${Buffer.from('[1,"backup_1"]').toString('base64url')}") { totalCount } }`,
      {},
      'after',
    ],
    ['a NUL in an argument', 'mutation { login(email: "a\\u0000", password: "x") { token } }', {}, 'email'],
    [
      'a NUL in a field of a literal',
      '{ a: auditEvents(filter: {action: "x", actor: "a\\u{0}"}) { totalCount } }',
      {},
      'actor',
    ],
    [
      'a NUL in a default of the document',
      'query($s: String = "\\u0000") { auditEvents(filter: {subject: $s}) { totalCount } }',
      {},
      's',
    ],
    [
      'a NUL in a search',
      'query($f: BackupFilter) { backups(filter: $f) { totalCount } }',
      { f: { status: ['FAILED'], search: 'a\0b' } },
      'search',
    ],
    [
      'a NUL in a note',
      'mutation($i: CreateBackupInput!) { createBackup(input: $i) { id } }',
      { i: { note: '\0' } },
      'note',
    ],
    [
      'a NUL in the name of a config',
      'mutation($i: BackupConfigInput!) { updateConfig(id: 1, input: $i) { id } }',
      { i: { name: 'App\0' } },
      'name',
    ],
    [
      'a NUL in a list of ids',
      'mutation($ids: [ID!]!) { deleteBackups(ids: $ids) { id } }',
      { ids: ['a', 'b\0'] },
      'ids',
    ],
    ['a variable of another type', 'query($n: Int) { backups(first: $n) { totalCount } }', { n: 'many' }, 'n'],
    [
      'a value that is no enum',
      'query($f: BackupFilter) { backups(filter: $f) { totalCount } }',
      { f: { status: ['DONE'] } },
      'status',
    ],
    [
      'a time that is none',
      'query($f: BackupFilter) { backups(filter: $f) { totalCount } }',
      { f: { createdAfter: 'today' } },
      'createdAfter',
    ],
    [
      'a time that no database reads',
      'query($f: BackupFilter) { backups(filter: $f) { totalCount } }',
      { f: { createdAfter: '0000-01-01T00:00:00Z' } },
      'createdAfter',
    ],
    [
      'a field that no input has',
      'query($f: BackupFilter) { backups(filter: $f) { totalCount } }',
      { f: { colour: 1 } },
      'f',
    ],
    ['a variable that is missing', 'query($id: ID!) { backup(id: $id) { id } }', {}, 'id'],
    [
      'a text that is too long',
      'query($f: BackupFilter) { backups(filter: $f) { totalCount } }',
      { f: { search: 'x'.repeat(201) } },
      'search',
    ],
    [
      'a schedule of four fields',
      'mutation($i: BackupConfigInput!) { updateConfig(id: 1, input: $i) { id } }',
      { i: { schedule: '0 2 * *' } },
      'schedule',
    ],
    [
      'a retention of nothing',
      'mutation($i: BackupConfigInput!) { updateConfig(id: 1, input: $i) { id } }',
      { i: { maxBackupFiles: 0 } },
      'maxBackupFiles',
    ],
    ['a config without a name', 'mutation { createConfig(input: {}) { id } }', {}, 'name'],
    [
      'a backup type that is not made by hand',
      'mutation { createBackup(input: { backupType: SAFETY }) { id } }',
      {},
      'backupType',
    ],
    ['an empty list of ids', 'mutation { deleteBackups(ids: []) { id } }', {}, 'ids'],
  ])('%s', async (_name, query, variables, field) => {
    expect(await errorOf(query, variables)).toMatchObject({
      code: 'BAD_USER_INPUT',
      field,
      hint: expect.stringMatching(/.{10}/),
    });
  });

  it.each([
    ['createBackup(input: { configId: "99" }) { id }', 'configId'],
    ['createBackup(input: { configId: "1 OR 1=1" }) { id }', 'configId'],
    ['updateConfig(id: "-1", input: {}) { id }', 'id'],
    ['deleteConfig(id: "1e9") { id }', 'id'],
    ['cancelBackup(id: "../../etc/passwd") { id }', 'id'],
    ['deleteBackups(ids: ["a b"]) { id }', 'ids'],
    ['undoRestore(id: "%") { id }', 'id'],
  ])('an id that nothing has: %s', async (call, field) => {
    expect(await errorOf(`mutation { ${call} }`)).toMatchObject({ code: 'NOT_FOUND', field });
  });

  it('a record that is only looked for and not there is null, not an error', async () => {
    const { data } = await send(app, '{ backup(id: "../x") { id } restore(id: "x") { id } config(id: "x") { id } }');
    expect(data).toEqual({ backup: null, restore: null, config: null });
  });

  it('a restore without confirmation', async () => {
    const { id } = await app.backup();
    const query = `mutation { restoreBackup(input: { backupId: "${id}", confirm: false }) { id } }`;
    expect(await errorOf(query)).toMatchObject({ code: 'CONFIRMATION_REQUIRED', field: 'confirm' });
  });
});

describe('A document that does not fit', () => {
  it('keeps the code of GraphQL, with a hint', async () => {
    expect(await errorOf('{ backups {')).toMatchObject({
      code: 'GRAPHQL_PARSE_FAILED',
      hint: expect.any(String),
      status: 400,
    });
    expect(await errorOf('{ nothing }')).toMatchObject({
      code: 'GRAPHQL_VALIDATION_FAILED',
      hint: expect.any(String),
      status: 400,
    });
  });

  it('is distinguished from a request that holds none', async () => {
    expect(await errorOf('')).toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(await errorOf('query A { me { id } } query B { me { id } }')).toMatchObject({ code: 'BAD_USER_INPUT' });
  });

  it('is refused as a batch', async () => {
    const response = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify([{ query: '{ __typename }' }, { query: '{ __typename }' }]),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] });
  });

  it('is refused from a form of another site', async () => {
    const response = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain' },
      body: JSON.stringify({ query: '{ __typename }' }),
    });
    expect(response.status).toBe(400);
  });

  it('that is not JSON or too large is refused in the form of GraphQL', async () => {
    const post = (body: string) =>
      fetch(`${app.url}/graphql`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    const broken = await post('{"query":');
    expect([broken.status, await broken.json()]).toMatchObject([
      400,
      { errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] },
    ]);
    const large = await post(JSON.stringify({ query: `{ me { id } } # ${'x'.repeat(300_000)}` }));
    expect([large.status, await large.json()]).toMatchObject([
      413,
      { errors: [{ extensions: { code: 'PAYLOAD_TOO_LARGE' } }] },
    ]);
  });
});

describe('A value that does not fit', () => {
  it.each([
    ['a number for a password', 'mutation { login(email: "a", password: 48151623) { token } }', {}],
    ['a word for a password', 'mutation { login(email: "a", password: s48151623) { token } }', {}],
    ['a value without its name', 'mutation { login("s48151623") { token } }', {}],
    [
      'a variable of another type',
      'mutation($p: String!) { login(email: "a", password: $p) { token } }',
      { p: 48151623 },
    ],
    ['an object', 'mutation($p: String!) { login(email: "a", password: $p) { token } }', { p: { x: 's48151623' } }],
    [
      'an enum value',
      'mutation($i: CreateBackupInput!) { createBackup(input: $i) { id } }',
      { i: { storageType: 's48151623' } },
    ],
    ['a date', '{ backups(filter: {createdAfter: "s48151623"}) { totalCount } }', {}],
    [
      'a date in a variable',
      'query($d: DateTimeISO) { backups(filter: {createdAfter: $d}) { totalCount } }',
      { d: 's48151623' },
    ],
    [
      'the URL of a database',
      'mutation { createConfig(input: {name: "x", databaseUrl: "sqlite://me:s48151623@h/x"}) { id } }',
      {},
    ],
    [
      'a stray URL',
      'mutation { createConfig(input: {name: "x", databaseUrl: "postgres:/me:s48151623@h/x"}) { id } }',
      {},
    ],
  ])('is never repeated: %s', async (_name, query, variables) => {
    const { text } = await send(app, query, variables);
    expect(text).toContain('"errors"');
    expect(text).not.toContain('48151623');
  });

  it('is not repeated where the body is not JSON', async () => {
    const response = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"query": s48151623}',
    });
    expect(await response.text()).not.toContain('48151623');
  });
});

describe('Without a valid token', () => {
  const ask = (query: string, headers: Record<string, string> = {}) =>
    fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ query }),
    }).then(async (response) => ({
      status: response.status,
      code: ((await response.json()) as { errors?: { extensions: { code: string } }[] }).errors?.[0]?.extensions.code,
    }));
  const long = `{ backups { nodes { ${'id '.repeat(700)} } } }`;

  it('a long document is refused before it is parsed; with one it is answered', async () => {
    expect(await ask(long)).toEqual({ status: 400, code: 'QUERY_TOO_COMPLEX' });
    expect(await ask(long, { Authorization: 'Bearer x.y.z' })).toMatchObject({ code: 'QUERY_TOO_COMPLEX' });
    expect(await ask(long, { Authorization: `Bearer ${app.token}` })).toEqual({ status: 200, code: undefined });
    const address = `${app.url}/graphql?query=${encodeURIComponent(long)}`;
    const get = await fetch(address, { headers: { 'apollo-require-preflight': 'true' } });
    expect(await get.text()).toContain('QUERY_TOO_COMPLEX');
  });

  it('an address has a budget; a login, the introspection and everyone with a token have room', async () => {
    const other = await createTestApp({ work: false });
    const url = app.url;
    try {
      app.url = other.url;
      expect((await ask(getIntrospectionQuery())).code).toBeUndefined();
      const short = `{ me { ${'email '.repeat(500)} } }`;
      let refused: Awaited<ReturnType<typeof ask>> | null = null;
      for (let i = 0; i < 100 && refused?.code !== 'RATE_LIMITED'; i++) refused = await ask(short);
      expect(refused).toEqual({ status: 429, code: 'RATE_LIMITED' });
      expect(await ask(short, { Authorization: `Bearer ${other.token}` })).toEqual({ status: 200, code: undefined });
    } finally {
      app.url = url;
      await other.close();
    }
  });
});

describe('What went wrong inside', () => {
  it('is logged once and masked, and its words are not shown', async () => {
    const { configs } = app.app;
    const columns = configs.columns.bind(configs);
    configs.columns = () => Promise.reject(new Error('lost postgres://me:secret@db/x'));
    logged = '';
    const error = await errorOf('{ configs { id } }');
    configs.columns = columns;
    expect(error).toMatchObject({ code: 'INTERNAL_ERROR', message: 'An unexpected error happened.' });
    expect(logged.trim().split('\n')).toHaveLength(1);
    expect(logged).toMatch(/postgres:\/\/me:\*\*\*@db/);
    expect(logged).not.toMatch(/secret/);
  });

  it('is not logged where the user is at fault', async () => {
    logged = '';
    await errorOf('{ backups(first: 0) { totalCount } }');
    await send(app, '{ me { id } }', {}, null);
    expect(logged).toBe('');
  });
});

describe('The limits', () => {
  const many = (count: number, text: (index: number) => string) =>
    Array.from({ length: count }, (_, i) => text(i)).join(' ');

  it.each([
    ['aliases', `{ ${many(40, (i) => `a${i}: me { id }`)} }`],
    [
      'cost',
      `{ ${many(10, (i) => `a${i}: restores(first: 500) { nodes { backup { id tables { name rowCount } } safetyBackup { id tables { name rowCount } } } }`)} }`,
    ],
    ['tokens', `{ me { ${many(3_100, () => 'id')} } }`],
  ])('refuse a request that is beyond them and name the limit: %s', async (name, query) => {
    expect(await errorOf(query)).toMatchObject({
      code: 'QUERY_TOO_COMPLEX',
      message: expect.stringMatching(name),
      hint: expect.any(String),
      status: 400,
    });
  });

  it('hold for depth too, should the schema ever have a path that long', () => {
    const schema = buildSchema('type Query { me: Person } type Person { friend: Person name: String }');
    const nested = (depth: number) =>
      parse(`{ me ${'{ friend '.repeat(depth - 2)} { name } ${'}'.repeat(depth - 2)} }`);
    const check = (document: DocumentNode) => exceededLimit(schema, document, getOperationAST(document) as never, {});
    expect(check(nested(16))).toBeNull();
    expect(check(nested(17))).toMatchObject({
      code: 'QUERY_TOO_COMPLEX',
      message: expect.stringMatching(/depth.*17.*16/),
    });
  });

  it('count the page size that comes in a variable', async () => {
    const query = `query($n: Int) { ${many(9, (i) => `a${i}: backups(first: $n) { nodes { ${many(30, () => 'id')} tables { name } } }`)} }`;
    expect(await errorOf(query, { n: 500 })).toMatchObject({ code: 'QUERY_TOO_COMPLEX' });
    expect((await send(app, query, { n: 1 })).errors).toEqual([]);
  });

  it('count through fragments inside fragments without losing time', async () => {
    const fragments = many(24, (i) => `fragment f${i} on Backup { ...f${i + 1} ... on Backup { ...f${i + 1} } }`);
    // Each fragment asks for the next one twice: counted path by path, this would never end.
    const { errors } = await send(
      app,
      `{ backups(first: 500) { nodes { ...f0 } } } ${fragments} fragment f24 on Backup { id }`,
    );
    expect(errors[0]?.extensions.code).toBe('QUERY_TOO_COMPLEX');
  });

  it('let the largest page of every list pass, and the introspection of the Sandbox', async () => {
    const query = `{
      backups(first: 500) { totalCount edges { cursor node { id tables { name rowCount } phases { phase at } config { id name } } } }
      auditEvents(first: 500) { nodes { id details { name value } } }
    }`;
    expect((await send(app, query)).errors).toEqual([]);
    const { data } = await send(
      app,
      getIntrospectionQuery({ descriptions: true, inputValueDeprecation: true, oneOf: true }),
    );
    expect(Object.keys(data ?? {})).toEqual(['__schema']);
  });

  it('hold for many logins in one request too', async () => {
    const login = (i: number) => `a${i}: login(email: "x${i}@example.org", password: "${PASSWORD}") { token }`;
    expect(await errorOf(`mutation { ${many(40, login)} }`)).toMatchObject({ code: 'QUERY_TOO_COMPLEX' });
  });
});

it('A server whose schema is private answers neither introspection nor with suggestions', async () => {
  const closed = await createTestApp({
    work: false,
    env: { GRAPHQL_INTROSPECTION: 'false', GRAPHQL_EXPLORER: 'off' },
  });
  try {
    expect((await send(closed, '{ __schema { types { name } } }')).errors[0]?.extensions.code).toBe(
      'GRAPHQL_VALIDATION_FAILED',
    );
    expect((await send(closed, '{ backup { id } }')).text).not.toMatch(/Did you mean|backups/);
    const page = await fetch(`${closed.url}/graphql`, { headers: { Accept: 'text/html' } });
    expect(page.status).toBe(400);
  } finally {
    await closed.close();
  }
});

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { ExecutionResult } from 'graphql';
import { WebSocket } from 'ws';
import {
  BackupProgressDocument,
  CancelVerificationDocument,
  CreateBackupDocument,
  RestoreBackupDocument,
  RestoreProgressDocument,
  StartVerificationDocument,
  VerificationProgressDocument,
  VerificationsDocument,
} from '../../src/client/index.js';
import { createServer } from '../../src/app.js';
import { claims, createTestApp, forge, type TestApp } from '../support/app.js';
import { clientOf, collect, socketOf } from '../support/operations.js';

let app: TestApp;
/** One whose backups wait for ever, because no worker runs. */
let idle: TestApp;
beforeAll(async () => {
  app = await createTestApp();
  idle = await createTestApp({ work: false });
});
afterAll(async () => {
  await app.close();
  await idle.close();
});

/** A verification that no worker begins. */
async function waitingVerification(): Promise<string> {
  const { id: backupId } = await idle.backup();
  const request = { backupId, level: 'ARCHIVE' as const };
  return (await clientOf(idle).request(StartVerificationDocument, request)).startVerification.id;
}

const rising = (values: number[]) => values.every((value, i) => i === 0 || value >= (values[i - 1] ?? 0));

describe('Progress', () => {
  it('of a backup begins with the present state, goes on with each change, and ends with the run', async () => {
    const { createBackup } = await clientOf(app).request(CreateBackupDocument, { input: {} });
    const { client } = socketOf(app, { Authorization: `Bearer ${app.token}` });
    const events = (await collect(client, BackupProgressDocument, createBackup.id)).map(
      (event) => event.backupProgress,
    );
    await client.dispose();
    expect(['PENDING', 'RUNNING', 'COMPLETED']).toContain(events[0]?.status);
    expect(events.at(-1)).toMatchObject({
      status: 'COMPLETED',
      progress: 1,
      phase: null,
      downloadUrl: expect.any(String),
    });
    expect(events.at(-1)?.phases.map(({ phase }) => phase)).toEqual(['check', 'snapshot', 'archive', 'verify', 'done']);
    expect(rising(events.map(({ progress }) => progress))).toBe(true);
  });

  it('of a restore shows its safety backup and ends with the run', async () => {
    const { id: backupId } = await app.backup();
    const request = { input: { backupId, confirm: true } };
    const { restoreBackup } = await clientOf(app).request(RestoreBackupDocument, request);
    const { client } = socketOf(app, { token: app.token });
    const events = (await collect(client, RestoreProgressDocument, restoreBackup.id)).map(
      (event) => event.restoreProgress,
    );
    await client.dispose();
    expect(events.at(-1)).toMatchObject({
      status: 'COMPLETED',
      progress: 1,
      safetyBackup: { pinned: true },
      targetDatabaseUrl: `sqlite:${app.database}`,
    });
  });

  it('of a verification ends with the run, which the history then has', async () => {
    const { id: backupId } = await app.backup();
    const { startVerification } = await clientOf(app).request(StartVerificationDocument, {
      backupId,
      level: 'CONTENT',
    });
    const { client } = socketOf(app, { token: app.token });
    const events = (await collect(client, VerificationProgressDocument, startVerification.id)).map(
      (event) => event.verificationProgress,
    );
    await client.dispose();
    expect(events.at(-1)).toMatchObject({ status: 'COMPLETED', progress: 1, backup: { id: backupId } });
    const { verifications } = await clientOf(app).request(VerificationsDocument, { configId: '1', backupId });
    expect(verifications).toMatchObject({
      totalCount: 1,
      nodes: [{ id: startVerification.id, level: 'CONTENT', createdBy: 'admin@example.org', destination: null }],
    });
    const elsewhere = await clientOf(app).request(VerificationsDocument, { configId: '2' });
    expect(elsewhere.verifications.totalCount).toBe(0);
    const { cancelVerification } = await clientOf(idle).request(CancelVerificationDocument, {
      id: await waitingVerification(),
    });
    expect(cancelVerification).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
  });

  it('of a run that has ended is sent once', async () => {
    const { id } = await app.backup();
    const { client } = socketOf(app, { authorization: app.token });
    const events = await collect(client, BackupProgressDocument, id);
    await client.dispose();
    expect(events.map((event) => event.backupProgress.status)).toEqual(['COMPLETED']);
  });

  it('shows each change that another node makes on the row', async () => {
    const row = await idle.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const { client } = socketOf(idle, { token: idle.token });
    const events: [string, number][] = [];
    const ended = new Promise<void>((resolve) => {
      client.subscribe(
        { query: 'subscription($id: ID!) { backupProgress(id: $id) { status progress } }', variables: { id: row.id } },
        {
          next({ data }) {
            const { backupProgress: event } = data as { backupProgress: { status: string; progress: number } };
            events.push([event.status, event.progress]);
          },
          error: () => resolve(),
          complete: resolve,
        },
      );
    });
    const until = async (count: number) => {
      while (events.length < count) await sleep(20);
    };
    await until(1);
    await row.update({ status: 'RUNNING', leaseHolder: 'elsewhere' });
    await until(2);
    await row.update({ progress: 0.5 });
    await until(3);
    await row.update({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    await ended;
    await client.dispose();
    expect(events).toEqual([
      ['PENDING', 0],
      ['RUNNING', 0],
      ['RUNNING', 0.5],
      ['FAILED', 0.5],
    ]);
  });

  it.each(['backup_20250101_000000_00000000', '../x'])('of a run that is not there is NOT_FOUND: %s', async (id) => {
    const { client } = socketOf(app, { token: app.token });
    await expect(collect(client, BackupProgressDocument, id)).rejects.toMatchObject([
      { extensions: { code: 'NOT_FOUND' } },
    ]);
    await client.dispose();
  });
});

describe('A socket', () => {
  it('is closed with 4401 when its token expires', async () => {
    const row = await idle.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const now = Math.floor(Date.now() / 1000);
    const token = forge({ alg: 'HS256' }, claims({ iss: 'db-manager', sub: String(idle.admin.id), exp: now + 2 }));
    const { client, closed } = socketOf(idle, { Authorization: `Bearer ${token}` });
    let first: unknown;
    client.subscribe(
      { query: 'subscription($id: ID!) { backupProgress(id: $id) { status } }', variables: { id: row.id } },
      { next: (event) => (first = event), error: () => undefined, complete: () => undefined },
    );
    expect(await closed).toBe(4401);
    expect(first).toEqual({ data: { backupProgress: { status: 'PENDING' } } });
    await idle.app.backups.cancel(row.id, 'test');
    await client.dispose();
  });

  it('that sends no token in time, or speaks before it has, is closed', async () => {
    const open = (protocol: string) => {
      const socket = new WebSocket(`${idle.url.replace('http', 'ws')}/graphql`, protocol);
      socket.on('error', () => undefined);
      return { socket, closed: new Promise<number>((resolve) => socket.on('close', resolve)) };
    };
    const hasty = open('graphql-transport-ws');
    hasty.socket.on('open', () => hasty.socket.send('{"id":"1","type":"subscribe","payload":{"query":"{me{id}}"}}'));
    expect(await hasty.closed).toBe(4401);
    expect(await open('graphql-ws').closed).not.toBe(1000);
    const silent = open('graphql-transport-ws');
    expect(await silent.closed).toBe(4408);
  });

  it('that sends nonsense is closed, and the server goes on', async () => {
    const socket = new WebSocket(`${idle.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const closed = new Promise<number>((resolve) => socket.on('close', resolve));
    socket.on('open', () => socket.send('x'.repeat(10)));
    expect(await closed).toBe(4400);
    const large = new WebSocket(`${idle.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const tooLarge = new Promise<number>((resolve) => large.on('close', resolve));
    large.on('open', () => large.send('x'.repeat(400_000)));
    expect(await tooLarge).toBe(1009);
    expect((await fetch(`${idle.url}/healthz`)).status).toBe(200);
  });

  it('at another address is refused', async () => {
    const socket = new WebSocket(`${idle.url.replace('http', 'ws')}/elsewhere`, 'graphql-transport-ws');
    const status = await new Promise((resolve) =>
      socket.on('unexpected-response', (_, answer) => resolve(answer.statusCode)),
    );
    socket.on('error', () => undefined);
    socket.terminate();
    expect(status).toBe(404);
  });

  it.each([
    ['a broken document', '{ me {', 'GRAPHQL_PARSE_FAILED'],
    ['a document of another schema', '{ nothing }', 'GRAPHQL_VALIDATION_FAILED'],
    [
      'a document beyond the limits',
      `{ ${Array.from({ length: 40 }, (_, i) => `a${i}: me { id }`).join(' ')} }`,
      'QUERY_TOO_COMPLEX',
    ],
    ['a text with a NUL', '{ auditEvents(filter: { actor: "\\u0000" }) { totalCount } }', 'BAD_USER_INPUT'],
    ['a document of too many words', `{ me { ${'id '.repeat(3_100)} } }`, 'QUERY_TOO_COMPLEX'],
  ])('refuses %s with the codes of HTTP', async (_name, query, code) => {
    const { client } = socketOf(idle, { token: idle.token });
    const errors = await new Promise((resolve) => {
      client.subscribe({ query }, { next: resolve, error: resolve, complete: () => resolve(null) });
    });
    expect(errors).toMatchObject([{ extensions: { code, hint: expect.any(String) } }]);
    await client.dispose();
  });

  const one = 'query($id: ID!) { backup(id: $id) { id } }';
  const many = 'mutation($ids: [ID!]!) { deleteBackups(ids: $ids) { id } }';
  it.each([
    ['of another type', one, { id: { secret: 'hunter2' } }, 'id'],
    ['that is missing', one, {}, 'id'],
    ['of very many faults', many, { ids: Array(60).fill({ secret: 'hunter2' }) }, 'ids'],
  ])('refuses a variable %s and names it; nothing of it is logged', async (_name, query, variables, field) => {
    const logged = jest.spyOn(idle.app.log, 'error');
    const { client } = socketOf(idle, { token: idle.token });
    const { value } = await client.iterate({ query, variables }).next();
    await client.dispose();
    const { errors = [] } = value as ExecutionResult;
    expect(errors[0]?.extensions).toEqual({ code: 'BAD_USER_INPUT', field, hint: expect.any(String) });
    expect(new Set(errors.map(({ extensions }) => extensions.code))).toEqual(new Set(['BAD_USER_INPUT']));
    expect(logged).not.toHaveBeenCalled();
    logged.mockRestore();
  });

  it('holds no more than its share of operations', async () => {
    const row = await idle.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const { client } = socketOf(idle, { token: idle.token });
    const outcomes = await Promise.all(
      Array.from(
        { length: 55 },
        () =>
          new Promise<string>((resolve) => {
            client.subscribe(
              { query: 'subscription($id: ID!) { backupProgress(id: $id) { id } }', variables: { id: row.id } },
              {
                next: () => resolve('open'),
                error: (errors) => resolve((errors as { extensions: { code: string } }[])[0]?.extensions.code ?? '?'),
                complete: () => undefined,
              },
            );
          }),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === 'QUERY_TOO_COMPLEX').length).toBeGreaterThanOrEqual(5);
    expect(outcomes).toContain('open');
    await idle.app.backups.cancel(row.id, 'test');
    await client.dispose();
  });

  it('that goes while its token is looked at leaves nothing behind', async () => {
    const { auth } = idle.app;
    const authenticate = auth.authenticate.bind(auth);
    let asked = () => {};
    let gone = () => {};
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const isGone = new Promise<void>((resolve) => (gone = resolve));
    auth.authenticate = async (token) => {
      asked();
      await isGone;
      return authenticate(token);
    };
    const timers = jest.spyOn(globalThis, 'setTimeout');
    const socket = new WebSocket(`${idle.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.on('open', () => socket.send(JSON.stringify({ type: 'connection_init', payload: { token: idle.token } })));
    await isAsked;
    socket.close();
    await closed;
    gone();
    auth.authenticate = authenticate;
    // The next one is let in only after the first has been dealt with.
    const { client } = socketOf(idle, { token: idle.token });
    for await (const answer of client.iterate({ query: '{ me { id } }' })) expect(answer.errors).toBeUndefined();
    await client.dispose();
    const lifetime = idle.app.environment.auth.ttlMinutes * 60_000;
    const untilExpiry = timers.mock.calls.filter(([, wait]) => (wait ?? 0) > lifetime / 2);
    timers.mockRestore();
    expect(untilExpiry).toHaveLength(1);
  });

  it('is closed when the server stops, and no new one is let in', async () => {
    const server = await createServer(idle.app);
    const url = await server.listen(0, '127.0.0.1');
    const row = await idle.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const { client, closed } = socketOf({ ...idle, url }, { token: idle.token });
    const first = new Promise((resolve) => {
      client.subscribe(
        { query: 'subscription($id: ID!) { backupProgress(id: $id) { id } }', variables: { id: row.id } },
        { next: resolve, error: () => undefined, complete: () => undefined },
      );
    });
    await first;
    await server.close(1_000);
    expect([1001, 1006]).toContain(await closed);
    await idle.app.backups.cancel(row.id, 'test');
    await client.dispose();
  });
});

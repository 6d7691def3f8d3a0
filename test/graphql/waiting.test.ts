import { getEventListeners, once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import express from 'express';
import { createGraphql, type Graphql } from '../../src/graphql/server.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { send, socketOf } from '../support/operations.js';

const stopping = new AbortController();
const server = createServer();

let app: TestApp;
let graphql: Graphql;
beforeAll(async () => {
  const around = await createTestApp({ work: false });
  const about = {
    version: '1',
    sampleUrl: '',
    basePath: '',
    startedAt: new Date(),
    controlDatabase: 'SQLITE',
    jobStore: 'CONTROL_DATABASE',
  } as const;
  graphql = await createGraphql(
    { ...around.app, about, stopping: stopping.signal },
    { ...around.app.environment.graphql, maxUploadBytes: 1_000_000, corsOrigins: [], trustProxy: [] },
  );
  server.on('request', express().use('/graphql', graphql.router));
  graphql.attach(server, '/graphql');
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  app = { ...around, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
});
afterAll(async () => {
  await graphql.stop();
  server.close();
  server.closeAllConnections();
  await app.close();
});

/** How many the process's signal knows: those that listen, and those made from it by `AbortSignal.any`. */
function known(): number {
  const kept = Object.getOwnPropertySymbols(stopping.signal).filter(({ description }) =>
    description?.endsWith('DependantSignals'),
  );
  const made = kept.map((symbol) => (stopping.signal as unknown as Record<symbol, Set<unknown>>)[symbol]?.size ?? 0);
  return made.reduce((sum, size) => sum + size, getEventListeners(stopping.signal, 'abort').length);
}

/** Resolves once nobody is known any more; a connection that is closed is so on both sides only a little later. */
async function forgotten(): Promise<void> {
  while (known() > 0) await new Promise((resolve) => setImmediate(resolve));
}

it('keeps nothing in memory for clients that have gone', async () => {
  for (let i = 0; i < 20; i++) expect((await send(app, '{ me { id } }')).errors).toEqual([]);
  await forgotten();
  const { client } = socketOf(app, { token: app.token });
  for (let i = 0; i < 20; i++) {
    for await (const { errors } of client.iterate({ query: '{ me { id } }' })) expect(errors).toBeUndefined();
    expect(known()).toBeLessThan(2);
  }
  await client.dispose();
  await forgotten();
});

it('aborts the work for a request whose client has gone or that waits when the process stops', async () => {
  const { configs } = app.app;
  const signals: AbortSignal[] = [];
  let asked = () => {};
  app.app.configTests.storage = async (_input, _id, signal) => {
    signals.push(signal);
    asked();
    await once(signal, 'abort');
    throw signal.reason;
  };
  const ask = async () => {
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${app.token}` };
    const request = httpRequest(`${app.url}/graphql`, { method: 'POST', headers }).on('error', () => undefined);
    request.end(JSON.stringify({ query: 'mutation { testStorage(input: {}) { ok } }' }));
    await isAsked;
    return request;
  };
  (await ask()).destroy();
  await once(signals[0] as AbortSignal, 'abort');
  expect(signals[0]?.reason).toMatchObject({ code: 'CANCELLED' });
  await ask();
  stopping.abort(new Error('enough'));
  expect(signals[1]?.reason).toMatchObject({ message: 'enough' });
  expect(await configs.list()).toHaveLength(1);
});

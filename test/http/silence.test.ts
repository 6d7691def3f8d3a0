import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Router } from 'express';
import { createHttp, type HttpParts, type HttpServer } from '../../src/http/index.js';
import { createWorld, type World } from '../support/world.js';

/** How long the server of this file waits for a client that says nothing. */
const PATIENCE = 200;

let world: World;
let server: Server;
let http: HttpServer;
let url: URL;
let broken: Promise<unknown>;
beforeAll(async () => {
  world = await createWorld();
  const router = Router();
  broken = new Promise((resolve) => {
    router.post('/', (request, response) => {
      request.once('error', resolve);
      request.resume().once('end', () => {
        void sleep(4 * PATIENCE).then(() => response.json({ done: true }));
      });
    });
  });
  const graphql: HttpParts['graphql'] = { router, attach: (made) => (server = made), stop: async () => undefined };
  const about = { version: '1.2.3', metricsToken: null, ping: async () => undefined };
  const parts = { explorer: 'off' as const, corsOrigins: [], basePath: '', assistant: Router(), ...about };
  const stopping = new AbortController().signal;
  http = createHttp({ ...world.app, ...parts, graphql, stopping, patience: PATIENCE });
  url = new URL(await http.listen(0, '127.0.0.1'));
});
afterAll(async () => {
  await http.close(0);
  await world.close();
});

const HEAD = 'POST /graphql HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n';

async function send(text: string): Promise<Socket> {
  const socket = connect({ host: url.hostname, port: Number(url.port) });
  await once(socket, 'connect');
  socket.write(text);
  return socket;
}

it('A request may take any time as a whole, its headers may not', () => {
  expect(server).toMatchObject({ requestTimeout: 0, headersTimeout: 60_000, timeout: 0 });
});

it('cuts off a client that falls silent within its body, and fails the reader of that body', async () => {
  const socket = await send(`${HEAD}12345`);
  socket.resume();
  await once(socket, 'close');
  expect(await broken).toMatchObject({ code: 'ECONNRESET' });
});

it('A client that has sent all is not cut off while its answer is made', async () => {
  const socket = await send(`${HEAD}1234567890`);
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\{"done":true\}$/);
});

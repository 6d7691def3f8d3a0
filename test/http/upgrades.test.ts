import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';

let app: TestApp;
beforeAll(async () => {
  app = await createTestApp({ work: false });
});
afterAll(() => app.close());

/** A connection that stays open on this side when the server ends its own. */
async function connectTo(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  socket.setEncoding('latin1').on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

const head = (line: string, headers: Record<string, string>) =>
  [line, ...Object.entries({ Host: 'x', ...headers }).map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n');

const WEBSOCKET = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};
const foreign = head('GET /elsewhere HTTP/1.1', WEBSOCKET);
const otherPage = head('GET /graphql HTTP/1.1', { ...WEBSOCKET, Origin: 'https://evil.example.org' });

describe.each([
  ['at another address', foreign, 404],
  ['from the page of another server', otherPage, 403],
])('A WebSocket %s', (_name, request, status) => {
  it('is refused, and a client that then breaks the connection breaks nothing else', async () => {
    const socket = await connectTo(app.url);
    socket.write(request);
    let answer = '';
    socket.on('data', (chunk: string) => (answer += chunk));
    await once(socket, 'end');
    socket.resetAndDestroy();
    await once(socket, 'close');
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*\r\n\r\n$`));
    for (let i = 0; i < 3; i++) expect((await fetch(`${app.url}/healthz`)).status).toBe(200);
  });

  it('is refused, and a client that never closes does not keep the server from ending', async () => {
    const stopping = await createTestApp({ work: false });
    const socket = await connectTo(stopping.url);
    socket.write(request);
    socket.resume();
    await once(socket, 'end');
    await stopping.stopServing(600_000);
    socket.destroy();
    await stopping.close();
  });
});

describe('A request that offers another protocol, as many clients do for HTTP/2, is answered in this one', () => {
  const H2C = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAoAAA' };
  const asked = async (request: string) => {
    const socket = await connectTo(app.url);
    socket.write(request);
    const [first] = (await once(socket, 'data')) as [string];
    socket.end();
    return first + (await text(socket));
  };

  it('about its health', async () => {
    const answer = await asked(head('GET /healthz HTTP/1.1', H2C));
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\{"status":"ok"\}$/);
  });

  it('for a download', async () => {
    const row = await app.backup();
    const authorization = { Authorization: `Bearer ${app.token}` };
    const answer = await asked(
      head(`GET /api/db-manager/backups/${row.id}/download/ HTTP/1.1`, { ...H2C, ...authorization }),
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    const body = answer.slice(answer.indexOf('\r\n\r\n') + 4);
    expect(Buffer.from(body, 'latin1').equals(await readFile(row.filePath))).toBe(true);
  });

  it('with its body', async () => {
    const body = '{"query":"{ me { email } }"}';
    const headers = {
      ...H2C,
      Authorization: `Bearer ${app.token}`,
      'Content-Type': 'application/json',
      'Content-Length': String(body.length),
    };
    const answer = await asked(head('POST /graphql HTTP/1.1', headers) + body);
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\{"data":\{"me":\{"email":"admin@example\.org"\}\}\}\s*$/);
  });
});

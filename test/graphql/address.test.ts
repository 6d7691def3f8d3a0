import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { addressOf } from '../../src/graphql/address.js';

describe('The address of a client', () => {
  let ask: (trusted: string[], forwarded?: string) => Promise<string>;
  let close: () => void;
  beforeAll(async () => {
    let find: ReturnType<typeof addressOf>;
    const server = createServer((request, response) => response.end(find(request)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    close = () => server.close();
    ask = async (trusted, forwarded) => {
      find = addressOf(trusted);
      const headers = forwarded === undefined ? undefined : { 'x-forwarded-for': forwarded };
      return (await fetch(`http://127.0.0.1:${port}`, { headers })).text();
    };
  });
  afterAll(() => close());

  it.each([
    ['is that of the socket where no proxy is trusted, whatever is written', [], '203.0.113.7', '127.0.0.1'],
    ['is that of the socket where a trusted proxy says nothing', ['loopback'], undefined, '127.0.0.1'],
    ['is that of the socket where it is none of the proxies', ['10.0.0.0/8'], '203.0.113.7', '127.0.0.1'],
    ['is what a trusted proxy has seen', ['loopback'], '203.0.113.7', '203.0.113.7'],
    ['is not what the client itself has written', ['loopback'], '198.51.100.1, 203.0.113.7', '203.0.113.7'],
    ['is found behind several proxies', ['127.0.0.1', '10.0.0.0/8'], '203.0.113.7, 10.1.2.3', '203.0.113.7'],
  ])('%s', async (_title, trusted, forwarded, found) => {
    expect(await ask(trusted, forwarded)).toBe(found);
  });
});

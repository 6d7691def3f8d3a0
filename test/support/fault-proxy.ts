import { once } from 'node:events';
import { createServer, request as sendRequest, type IncomingMessage, type ServerResponse } from 'node:http';

/** What the proxy does to a request instead of passing it through unchanged. */
export type Fault =
  /** Answers with this status and, as S3 does, a code. */
  | { kind: 'answer'; status: number; code: string }
  /** Passes the request on and closes the connection before the answer. */
  | { kind: 'lose answer' }
  /** Closes the connection after so many bytes of the request's body. */
  | { kind: 'cut request'; after: number }
  /** Closes the connection after so many bytes of the answer's body. */
  | { kind: 'cut answer'; after: number }
  /** Passes so many bytes of the answer's body and then nothing, while the connection stays. */
  | { kind: 'stall'; after: number };

/** A request as the proxy saw it. */
export interface Seen {
  method: string;
  url: string;
  bytes: number;
}

/** An HTTP proxy in front of a server, which does damage on demand. */
export interface FaultProxy {
  url: string;
  seen: Seen[];
  /** Asked for each request; undefined lets it through. */
  fault: (request: { method: string; url: string }) => Fault | undefined;
  close(): Promise<void>;
}

/** @param target `http://host:port` of the real server */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const upstream = new URL(target);
  const proxy: FaultProxy = { url: '', seen: [], fault: () => undefined, close: async () => undefined };
  const server = createServer((request, response) => {
    const [method, url] = [request.method ?? '', request.url ?? ''];
    const seen = { method, url, bytes: 0 };
    proxy.seen.push(seen);
    request.on('data', (chunk: Buffer) => (seen.bytes += chunk.length));
    pass(upstream, request, response, proxy.fault({ method, url }), seen);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port.');
  proxy.url = `http://127.0.0.1:${address.port}`;
  proxy.close = async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  return proxy;
}

function pass(upstream: URL, request: IncomingMessage, response: ServerResponse, fault: Fault | undefined, seen: Seen) {
  if (fault?.kind === 'answer') {
    request.resume().once('end', () => {
      response.writeHead(fault.status, { 'content-type': 'application/xml' });
      response.end(
        seen.method === 'HEAD' ? '' : `<Error><Code>${fault.code}</Code><Message>injected</Message></Error>`,
      );
    });
    return;
  }
  if (fault?.kind === 'cut request') {
    request.on('data', () => void (seen.bytes >= fault.after && request.socket.destroy()));
    return;
  }
  const { hostname, port } = upstream;
  const onward = sendRequest({ hostname, port, method: seen.method, path: seen.url, headers: request.headers });
  onward.on('error', () => request.socket.destroy());
  onward.on('response', (answer) => {
    if (fault?.kind === 'lose answer') {
      answer.resume().once('end', () => request.socket.destroy());
      return;
    }
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    forward(answer, response, fault);
  });
  request.pipe(onward);
}

/** Bytes of an answer, up to where the fault is. */
function forward(answer: IncomingMessage, response: ServerResponse, fault: Fault | undefined): void {
  if (fault?.kind !== 'cut answer' && fault?.kind !== 'stall') {
    answer.pipe(response);
    return;
  }
  let left = fault.after;
  response.flushHeaders();
  answer.on('data', (chunk: Buffer) => {
    if (left > 0) response.write(chunk.subarray(0, left));
    left -= chunk.length;
    if (left <= 0 && fault.kind === 'cut answer') setImmediate(() => response.destroy());
  });
}

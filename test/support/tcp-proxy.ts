import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** Connections to a server that can be held up, be cut and be refused. */
export interface TcpProxy {
  port: number;
  /** Passes nothing on of the connection that next sends such bytes. @returns once it does */
  stallAt(bytes: RegExp): Promise<void>;
  /** Ends all connections, and refuses new ones until `open`. */
  cut(): Promise<void>;
  open(): Promise<void>;
  close(): Promise<void>;
}

/** @param host and `port` of the real server */
export async function startTcpProxy(host: string, port: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    return socket;
  };
  let stall: { bytes: RegExp; reached: () => void } | null = null;
  const server = createServer((near) => {
    const far = keep(connect(port, host));
    keep(near).on('data', (chunk: Buffer) => {
      if (stall?.bytes.test(chunk.toString('latin1')) !== true) return void far.write(chunk);
      near.pause();
      stall.reached();
      stall = null;
    });
    far.on('data', (chunk: Buffer) => near.write(chunk));
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  const listen = async (at: number) => {
    server.listen(at, '127.0.0.1');
    await once(server, 'listening');
  };
  const proxy: TcpProxy = {
    port: 0,
    stallAt: (bytes) => new Promise((reached) => (stall = { bytes, reached })),
    cut: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    open: () => listen(proxy.port),
    close: async () => {
      if (server.listening) await proxy.cut();
    },
  };
  await listen(0);
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port.');
  proxy.port = address.port;
  return proxy;
}

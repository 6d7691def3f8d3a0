import { IncomingMessage } from 'node:http';

/**
 * A request that counts as an upgrade only if it asks for a WebSocket. As soon as a server takes upgrades of one kind, Node
 * hands it those of every kind, as bare sockets. But many clients offer HTTP/2 with each request (`Upgrade: h2c`: Java's own,
 * curl --http2), and an offer may be left alone: the request is then answered as any other, with its body, in HTTP/1.1.
 */
export class Request extends IncomingMessage {
  declare private offered: boolean | null;

  /** Set by Node's parser as it sees the headers, and read right after. */
  get upgrade(): boolean {
    return this.offered === true && this.headers.upgrade?.toLowerCase() === 'websocket';
  }

  set upgrade(offered: boolean | null) {
    this.offered = offered;
  }
}

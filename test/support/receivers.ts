import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { SMTPServer } from 'smtp-server';

/** A request as a receiver got it. */
export interface Received {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** An HTTP server on loopback that does with each request what it is told to. */
export interface Receiver {
  url: string;
  received: Received[];
  /** What is answered from now on. 'hang': nothing. */
  answer: number | 'hang' | ((response: ServerResponse) => void);
  close(): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const receiver: Receiver = { url: '', received: [], answer: 200, close: async () => undefined };
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const { method = '', url = '', headers } = request;
      receiver.received.push({ method, path: url, headers, body });
      if (receiver.answer === 'hang') return;
      if (typeof receiver.answer === 'function') return receiver.answer(response);
      response.statusCode = receiver.answer;
      response.end(receiver.answer === 200 ? 'ok' : `no: ${url} ${headers.authorization ?? ''}`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  receiver.close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return receiver;
}

/** A real SMTP server on loopback. */
export interface MailServer {
  port: number;
  /** Whole mails, as they came over the line. */
  mails: { to: string[]; text: string }[];
  /** Refuses every mail from now on. */
  refuses: boolean;
  /** Addresses that it refuses. */
  unknown: string[];
  close(): Promise<void>;
}

/** @param login what it asks for; left out: anyone may send */
export async function startMailServer(login?: { user: string; password: string }): Promise<MailServer> {
  const mails: MailServer['mails'] = [];
  const mailServer: MailServer = { port: 0, mails, refuses: false, unknown: [], close: async () => undefined };
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS', ...(login === undefined ? ['AUTH'] : [])],
    authOptional: login === undefined,
    allowInsecureAuth: true,
    onAuth({ username, password }, _session, callback) {
      const isRight = username === login?.user && password === login?.password;
      callback(isRight ? null : new Error('535 wrong login'), isRight ? { user: username } : undefined);
    },
    onRcptTo({ address }, _session, callback) {
      callback(mailServer.unknown.includes(address) ? new Error('550 no such user') : null);
    },
    onData(stream, session, callback) {
      void text(stream).then((mail) => {
        if (mailServer.refuses) return callback(new Error('450 not now'));
        mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), text: mail });
        return callback();
      });
    },
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  mailServer.port = (server.server.address() as AddressInfo).port;
  mailServer.close = () => new Promise((resolve) => server.close(() => resolve()));
  return mailServer;
}

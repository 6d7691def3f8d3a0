import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import express, { type Request as ExpressRequest, type RequestHandler, type Router } from 'express';
import helmet from 'helmet';
import { AppError } from '../errors.js';
import { admin, type AdminSettings, asksForApollo, localExplorer } from './admin.js';
import { withoutBase } from './base-path.js';
import { crossOrigin } from './cors.js';
import { type DownloadParts, downloads } from './download.js';
import { drillReports, type ReportParts } from './drill-report.js';
import { type KitParts, recoveryKit } from './recovery-kit.js';
import { errorHandler, unknownRoute } from './error-handler.js';
import { health, type Readiness } from './health.js';
import { metrics, type MetricsParts } from './metrics.js';
import { openApi } from './openapi.js';
import { endSilent } from './silence.js';
import { Request } from './upgrades.js';

export { HTTP_STATUS } from './error-handler.js';

const GRAPHQL = '/graphql';

/**
 * An upload may take hours, so a request has no time of its own as a whole (Node's default is five minutes), only its
 * headers have: what ends a client that does not go on is `PATIENCE`. Without its own line, `headersTimeout` would be 0 too.
 */
const SERVER = { requestTimeout: 0, headersTimeout: 60_000, IncomingMessage: Request } as const;

/** Longer than a phone needs to find its way back into a network, in milliseconds. */
const PATIENCE = 120_000;

/** What the routes are made of. */
export interface HttpParts extends DownloadParts, KitParts, ReportParts, MetricsParts, Readiness {
  /** The API, served at /graphql. */
  graphql: { router: Router; attach(server: Server, path: string): void; stop(): Promise<void> };
  /** What assistants use, below /api. */
  assistant: Router;
  /** What /graphql shows to a browser: the explorer of this server, Apollo Sandbox, or nothing. */
  explorer: AdminSettings['explorer'];
  /** Web pages of other servers that may use the API. */
  corsOrigins: string[];
  /** As `Environment.basePath`. */
  basePath: string;
  /** How long a client that owes the rest of its request may send nothing, in milliseconds. */
  patience?: number;
}

/** A server that listens, or will. */
export interface HttpServer {
  /** @returns the address that it listens on, such as http://127.0.0.1:4000 @throws AppError CONFIG_INVALID if the address cannot be used */
  listen(port: number, host: string): Promise<string>;
  /** Takes no more connections, closes WebSockets, lets answers under way end within the deadline, then cuts them off. */
  close(deadlineMs: number): Promise<void>;
}

export function createHttp(parts: HttpParts): HttpServer {
  const app = express();
  app.disable('x-powered-by');
  app.set('query parser', 'simple');
  // Answers are not to be kept, so they need no hash; the archives bring their own.
  app.disable('etag');
  app.use(endSilent(parts.patience ?? PATIENCE));
  app.use(helmet({ contentSecurityPolicy: { useDefaults: false, directives: STRICT }, hsts: false }));
  if (parts.explorer === 'local') app.get(GRAPHQL, localExplorer(parts), onlyForApollo(allowSandbox));
  if (parts.explorer === 'apollo') app.get(GRAPHQL, allowSandbox);
  app.use(health(parts), metrics(parts));
  if (parts.corsOrigins.length > 0) app.use([GRAPHQL, '/api'], crossOrigin(parts.corsOrigins));
  app.use('/api', parts.assistant);
  app.use('/api', openApi(parts.version, parts.basePath));
  app.use('/api/db-manager', downloads(parts), recoveryKit(parts), drillReports(parts));
  app.use(GRAPHQL, parts.graphql.router);
  app.use(admin(parts));
  app.use(unknownRoute);
  app.use(errorHandler(parts.log, GRAPHQL, parts.basePath));

  const fromBase = (request: IncomingMessage) => {
    request.url = withoutBase(request, parts.basePath);
  };
  const server = createServer(SERVER, (request, response) => {
    fromBase(request);
    app(request, response);
  });
  server.on('upgrade', fromBase);
  parts.graphql.attach(server, GRAPHQL);
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  let closing: Promise<void> | null = null;
  const close = async (deadlineMs: number) => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    await parts.graphql.stop();
    // Not `closeAllConnections`, which forgets those that asked for an upgrade.
    const cutOff = setTimeout(() => sockets.forEach((socket) => socket.destroy()), deadlineMs);
    await closed;
    clearTimeout(cutOff);
  };
  return {
    listen: (port, host) => listen(server, port, host),
    close: (deadlineMs) => (closing ??= close(deadlineMs)),
  };
}

/** Nothing that this server sends may load or run anything, but for the pages that say so. */
const STRICT = { defaultSrc: ["'none'"], baseUri: ["'none'"], formAction: ["'none'"], frameAncestors: ["'none'"] };

/** Sandbox comes from Apollo's servers. Its page has a nonce for its own scripts in a policy of its own, which counts too. */
const allowSandbox: RequestHandler = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      ...STRICT,
      scriptSrc: ["'unsafe-inline'", 'https://embeddable-sandbox.cdn.apollographql.com'],
      styleSrc: ["'unsafe-inline'", 'https://embeddable-sandbox.cdn.apollographql.com', 'https://fonts.googleapis.com'],
      fontSrc: ['https://fonts.gstatic.com'],
      imgSrc: ['https://apollo-server-landing-page.cdn.apollographql.com'],
      manifestSrc: ['https://apollo-server-landing-page.cdn.apollographql.com'],
      frameSrc: ['https://sandbox.embed.apollographql.com'],
      connectSrc: ["'self'"],
    },
  },
  crossOriginEmbedderPolicy: false,
  hsts: false,
});

/** The wide policy goes with the page that needs it, not with other answers at its address. */
const onlyForApollo =
  (handler: RequestHandler): RequestHandler =>
  (request, response, next) =>
    asksForApollo(request as ExpressRequest) ? handler(request, response, next) : next();

function listen(server: Server, port: number, host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error) =>
      reject(
        new AppError('CONFIG_INVALID', `Cannot listen on ${host}, port ${port}: ${cause.message}`, {
          hint: 'Set PORT and HOST to an address of this machine that is free.',
          cause,
        }),
      );
    server.once('error', fail);
    server.listen(port, host, () => {
      server.removeListener('error', fail);
      const address = server.address() as AddressInfo;
      const name = address.family === 'IPv6' ? `[${address.address}]` : address.address;
      resolve(`http://${name}:${address.port}`);
    });
  });
}

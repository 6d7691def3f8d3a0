import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  execute,
  type ExecutionArgs,
  getOperationAST,
  GraphQLError,
  type GraphQLFormattedError,
  type GraphQLSchema,
  NoSchemaIntrospectionCustomRule,
  parse,
  specifiedRules,
  subscribe,
  validate,
} from 'graphql';
import { CloseCode, type Context, type SubscribePayload } from 'graphql-ws';
import { type Extra, useServer } from 'graphql-ws/use/ws';
import { WebSocket, WebSocketServer } from 'ws';
import { requireAdmin } from '../auth/index.js';
import { AppError, isOurs, toAppError } from '../errors.js';
import { nulCharacter } from './characters.js';
import { createContext, type Services } from './context.js';
import { toGraphqlError } from './errors.js';
import { exceededLimit, LIMITS } from './limits.js';
import { type Waiting, waitUntil } from './waiting.js';

/** How many operations one socket may have open. */
const MAX_OPERATIONS = 50;

/** The longest time that a timer takes, in milliseconds. */
const MAX_DELAY = 2 ** 31 - 1;

export interface SubscriptionSettings {
  introspection: boolean;
  maxBodyBytes: number;
  corsOrigins: string[];
  formatError(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError;
}

type SocketExtra = Extra & Record<PropertyKey, unknown> & { waiting?: Waiting; expiry?: NodeJS.Timeout };
type Socket = Context<Record<string, unknown>, SocketExtra>;

/**
 * Operations over WebSocket (protocol graphql-transport-ws). The token comes in the connection's parameters and is
 * checked when the socket opens and again at each operation and event; when it expires the socket is closed (4401).
 */
export function createSubscriptions(schema: GraphQLSchema, services: Services, settings: SubscriptionSettings) {
  const { auth, log } = services;
  const sockets = new WebSocketServer({ noServer: true, maxPayload: settings.maxBodyBytes });
  const rules = settings.introspection ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
  const format = (errors: readonly (GraphQLError | GraphQLFormattedError)[]) =>
    errors.map((error) => settings.formatError(error instanceof GraphQLError ? error.toJSON() : error, error));
  const authenticate = (socket: Socket) => auth.authenticate(tokenOf(socket.connectionParams));

  const prepare = (socket: Socket, payload: SubscribePayload): ExecutionArgs => {
    const { operationName, variables } = payload;
    if (Object.keys(socket.subscriptions).length > MAX_OPERATIONS) {
      throw new AppError('QUERY_TOO_COMPLEX', `The socket has more than ${MAX_OPERATIONS} operations open.`);
    }
    const document = parse(payload.query, { maxTokens: LIMITS.tokens });
    const [invalid] = validate(schema, document, rules);
    if (invalid !== undefined) throw withCode(invalid, 'GRAPHQL_VALIDATION_FAILED');
    const operation = getOperationAST(document, operationName);
    if (!operation) throw new AppError('BAD_USER_INPUT', 'operationName: names no operation of the document.');
    const refused =
      exceededLimit(schema, document, operation, variables ?? {}) ?? nulCharacter(document, variables ?? {});
    if (refused !== null) throw refused;
    const { request, waiting } = socket.extra;
    const contextValue = createContext(services, () => authenticate(socket), {
      address: request.socket.remoteAddress ?? 'unknown',
      signal: waiting?.signal ?? AbortSignal.abort(),
    });
    return { schema, document, operationName, variableValues: variables, contextValue } as ExecutionArgs;
  };

  const ended = useServer<Record<string, unknown>, SocketExtra>(
    {
      execute,
      subscribe,
      isProd: true,
      async onConnect(socket) {
        try {
          const { expiresAt } = requireAdmin(await authenticate(socket));
          const { extra } = socket;
          // It went while its token was looked at: `onClose` has run, so nothing would end what begins here.
          if (extra.socket.readyState !== WebSocket.OPEN) return false;
          extra.waiting = waitUntil(services.stopping);
          const close = () => extra.socket.close(CloseCode.Unauthorized, 'UNAUTHENTICATED: the token has expired');
          const wait = Math.min(MAX_DELAY, Math.max(0, expiresAt.getTime() - services.now().getTime()));
          extra.expiry = setTimeout(close, wait).unref();
          return true;
        } catch (thrown) {
          const { code, message } = reported(thrown);
          const forbidden = code === 'FORBIDDEN';
          socket.extra.socket.close(
            forbidden ? CloseCode.Forbidden : CloseCode.Unauthorized,
            `${code}: ${message}`.slice(0, 120),
          );
          return false;
        }
      },
      async onSubscribe(socket, _id, payload) {
        try {
          requireAdmin(await authenticate(socket));
          return prepare(socket, payload);
        } catch (thrown) {
          if (thrown instanceof GraphQLError) return [withCode(thrown, 'GRAPHQL_PARSE_FAILED')];
          return [toGraphqlError(reported(thrown))];
        }
      },
      onNext: (_socket, _id, _payload, _args, { errors, ...result }) => ({
        ...result,
        ...(errors ? { errors: format(errors) } : {}),
      }),
      onError: (_socket, _id, _payload, errors) => format(errors),
      onClose({ extra }) {
        clearTimeout(extra.expiry);
        extra.waiting?.end();
      },
    },
    sockets,
  );

  function reported(thrown: unknown): AppError {
    const error = toAppError(thrown);
    if (isOurs(error)) log.error({ err: thrown }, 'an operation over WebSocket failed');
    return error;
  }

  return {
    attach(server: Server, path: string) {
      server.on('upgrade', (request, socket, head) => {
        const asked = request.url?.split('?')[0]?.replace(/\/$/, '');
        if (asked !== path || services.stopping.aborted) {
          refuse(socket, '404 Not Found');
          return;
        }
        if (!mayOpen(request, settings.corsOrigins)) {
          refuse(socket, '403 Forbidden');
          return;
        }
        sockets.handleUpgrade(request, socket, head, (opened) => {
          sockets.emit('connection', opened, request);
          // In place of graphql-ws's own listener, which writes to the console; ws closes the socket itself.
          opened.removeAllListeners('error').on('error', (err) => log.warn({ err }, 'a WebSocket was not well-formed'));
        });
      });
    },
    async stop() {
      const open = [...sockets.clients];
      await Promise.race([ended.dispose(), new Promise((resolve) => setTimeout(resolve, 1_000).unref())]);
      for (const socket of open) socket.terminate();
    },
  };
}

/**
 * Answers in place of an upgrade and ends the connection. Node has let go of its socket: nobody else listens for its errors,
 * which would end the process, nor closes it when the client does not.
 */
function refuse(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
}

/** CORS does not hold for WebSockets: a browser opens one to any server, and only tells whose page it is. */
function mayOpen({ headers: { origin, host } }: IncomingMessage, others: string[]): boolean {
  if (origin === undefined || others.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
}

function withCode(error: GraphQLError, code: string): GraphQLError {
  if (error.extensions.code !== undefined) return error;
  return new GraphQLError(error.message, {
    nodes: error.nodes,
    source: error.source,
    positions: error.positions,
    extensions: { code },
  });
}

function tokenOf(parameters: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const token = parameters?.Authorization ?? parameters?.authorization ?? parameters?.token;
  return typeof token === 'string' ? token : undefined;
}

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
  type ValidationRule,
} from 'graphql';
import { CloseCode, type Context, type SubscribePayload } from 'graphql-ws';
import { type Extra, useServer } from 'graphql-ws/use/ws';
import { WebSocket, WebSocketServer } from 'ws';
import { type Actor, requireAdmin } from '../auth/index.js';
import { AppError, isOurs, toAppError } from '../errors.js';
import type { Log } from '../log.js';
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
  addressOf(request: IncomingMessage): string;
  formatError(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError;
}

type SocketExtra = Extra & Record<PropertyKey, unknown> & { waiting?: Waiting; expiry?: NodeJS.Timeout };
type Socket = Context<Record<string, unknown>, SocketExtra>;

/**
 * Operations over WebSocket (protocol graphql-transport-ws). The token comes in the connection's parameters and is
 * checked when the socket opens and again at each operation and event; when it expires the socket is closed (4401).
 */
export function createSubscriptions(schema: GraphQLSchema, services: Services, settings: SubscriptionSettings) {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: settings.maxBodyBytes });
  const operations = new Operations(schema, services, settings);
  const protocol = useServer<Record<string, unknown>, SocketExtra>(
    {
      execute,
      subscribe,
      isProd: true,
      onConnect: (socket) => operations.open(socket),
      onSubscribe: (socket, _id, payload) => operations.begin(socket, payload),
      onNext: (_socket, _id, _payload, _args, { errors, ...result }) => ({
        ...result,
        ...(errors ? { errors: operations.format(errors) } : {}),
      }),
      onError: (_socket, _id, _payload, errors) => operations.format(errors),
      onClose({ extra }) {
        clearTimeout(extra.expiry);
        extra.waiting?.end();
      },
    },
    sockets,
  );
  return {
    attach(server: Server, path: string) {
      server.on('upgrade', (request, socket, head) => {
        const refusal = refusalOf(request, path, services.stopping, settings.corsOrigins);
        if (refusal !== null) refuse(socket, refusal);
        else upgrade(sockets, request, socket, head, services.log);
      });
    },
    async stop() {
      const open = [...sockets.clients];
      await Promise.race([protocol.dispose(), new Promise((resolve) => setTimeout(resolve, 1_000).unref())]);
      for (const socket of open) socket.terminate();
    },
  };
}

/** Who may open a socket, and what may run on it. */
class Operations {
  private readonly rules: readonly ValidationRule[];

  constructor(
    private readonly schema: GraphQLSchema,
    private readonly services: Services,
    private readonly settings: SubscriptionSettings,
  ) {
    this.rules = settings.introspection ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
  }

  /** Lets an admin's socket in until the token expires, and closes any other. @returns whether it may stay */
  async open({ connectionParams, extra }: Socket): Promise<boolean> {
    const { services } = this;
    try {
      const { expiresAt } = requireAdmin(await this.actorOf(connectionParams), null);
      // It went while its token was looked at: `onClose` has run, so nothing would end what begins here.
      if (extra.socket.readyState !== WebSocket.OPEN) return false;
      extra.waiting = waitUntil(services.stopping);
      const close = () => extra.socket.close(CloseCode.Unauthorized, 'UNAUTHENTICATED: the token has expired');
      const wait = Math.min(MAX_DELAY, Math.max(0, expiresAt.getTime() - services.now().getTime()));
      extra.expiry = setTimeout(close, wait).unref();
      return true;
    } catch (thrown) {
      const { code, message } = this.reported(thrown);
      const closeCode = code === 'FORBIDDEN' ? CloseCode.Forbidden : CloseCode.Unauthorized;
      extra.socket.close(closeCode, `${code}: ${message}`.slice(0, 120));
      return false;
    }
  }

  /** What to execute, or why it is refused. */
  async begin(socket: Socket, payload: SubscribePayload): Promise<ExecutionArgs | GraphQLError[]> {
    try {
      requireAdmin(await this.actorOf(socket.connectionParams), null);
      return this.prepare(socket, payload);
    } catch (thrown) {
      if (thrown instanceof GraphQLError) return [withCode(thrown, 'GRAPHQL_PARSE_FAILED')];
      return [toGraphqlError(this.reported(thrown))];
    }
  }

  /** Errors as the API answers them. */
  format(errors: readonly (GraphQLError | GraphQLFormattedError)[]): GraphQLFormattedError[] {
    return errors.map((error) =>
      this.settings.formatError(error instanceof GraphQLError ? error.toJSON() : error, error),
    );
  }

  private prepare({ connectionParams, extra, subscriptions }: Socket, payload: SubscribePayload): ExecutionArgs {
    const { schema } = this;
    const { operationName, variables } = payload;
    if (Object.keys(subscriptions).length > MAX_OPERATIONS) {
      throw new AppError('QUERY_TOO_COMPLEX', `The socket has more than ${MAX_OPERATIONS} operations open.`);
    }
    const document = parse(payload.query, { maxTokens: LIMITS.tokens });
    const [invalid] = validate(schema, document, this.rules);
    if (invalid !== undefined) throw withCode(invalid, 'GRAPHQL_VALIDATION_FAILED');
    const operation = getOperationAST(document, operationName);
    if (!operation) throw new AppError('BAD_USER_INPUT', 'operationName: names no operation of the document.');
    const refused =
      exceededLimit(schema, document, operation, variables ?? {}) ?? nulCharacter(document, variables ?? {});
    if (refused !== null) throw refused;
    const contextValue = createContext(this.services, () => this.actorOf(connectionParams), {
      address: this.settings.addressOf(extra.request),
      signal: extra.waiting?.signal ?? AbortSignal.abort(),
    });
    return { schema, document, operationName, variableValues: variables, contextValue } as ExecutionArgs;
  }

  private actorOf(parameters: Socket['connectionParams']): Promise<Actor> {
    return this.services.auth.authenticate(tokenOf(parameters));
  }

  private reported(thrown: unknown): AppError {
    const error = toAppError(thrown);
    if (isOurs(error)) this.services.log.error({ err: thrown }, 'an operation over WebSocket failed');
    return error;
  }
}

/** The status that refuses a request for a socket, or null. */
function refusalOf(request: IncomingMessage, path: string, stopping: AbortSignal, corsOrigins: string[]) {
  const asked = request.url?.split('?')[0]?.replace(/\/$/, '');
  if (asked !== path || stopping.aborted) return '404 Not Found';
  return mayOpen(request, corsOrigins) ? null : '403 Forbidden';
}

function upgrade(sockets: WebSocketServer, request: IncomingMessage, socket: Duplex, head: Buffer, log: Log): void {
  sockets.handleUpgrade(request, socket, head, (opened) => {
    sockets.emit('connection', opened, request);
    // In place of graphql-ws's own listener, which writes to the console; ws closes the socket itself.
    opened.removeAllListeners('error').on('error', (err) => log.warn({ err }, 'a WebSocket was not well-formed'));
  });
}

/**
 * Answers in place of an upgrade and ends the connection. Node has let go of its socket: nothing else listens for its errors,
 * which would end the process, nor closes it when the client does not.
 */
function refuse(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
}

/** CORS does not hold for WebSockets: a browser opens one to any server and only sends the page's origin. */
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

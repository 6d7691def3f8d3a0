import type { IncomingMessage, Server } from 'node:http';
import { ApolloServer } from '@apollo/server';
import { ApolloServerPluginLandingPageDisabled } from '@apollo/server/plugin/disabled';
import { ApolloServerPluginLandingPageLocalDefault } from '@apollo/server/plugin/landingPage/default';
import { expressMiddleware } from '@as-integrations/express5';
import express, { type Router } from 'express';
import { CONFIRMATION_HEADER } from '../auth/index.js';
import type { GraphQLFormattedError } from 'graphql';
import { AppError } from '../errors.js';
import { anonymousLimit } from './anonymous.js';
import { nulCharacter } from './characters.js';
import { createContext, type GraphqlContext, type Services } from './context.js';
import { errorFormatter, toGraphqlError } from './errors.js';
import { exceededLimit, LIMITS } from './limits.js';
import { multipart, type MultipartLimits } from './multipart.js';
import { addressOf } from './address.js';
import { createSchema } from './schema.js';
import { createSubscriptions } from './subscriptions.js';
import { waitUntil } from './waiting.js';

/** How the API may be used. */
export interface GraphqlSettings extends MultipartLimits {
  /** What a browser that asks for the API's address gets; the local explorer is served before it comes here. */
  explorer: 'local' | 'apollo' | 'off';
  introspection: boolean;
  /** Web pages of other servers that may open a WebSocket. */
  corsOrigins: string[];
  /** As `Environment.trustProxy`. */
  trustProxy: string[];
}

/** One operation of the API. */
export interface Question {
  query: string;
  variables: Record<string, unknown>;
}

/** Who asks. */
export interface Caller {
  /** Says by its headers who that is. */
  request: IncomingMessage;
  /** Aborts when nobody waits for the answer any more. */
  signal: AbortSignal;
}

/** What the API answers, errors in the form that clients see. */
export interface Answer {
  data?: Record<string, unknown> | null;
  errors?: readonly GraphQLFormattedError[];
}

/** The API over HTTP and WebSocket. */
export interface Graphql {
  /** To be mounted at the API's address. */
  router: Router;
  /** Runs one query or mutation for a caller that comes by another door than the router, with the same guards. */
  ask(question: Question, caller: Caller): Promise<Answer>;
  /** Serves subscriptions on WebSockets that a client opens at `path`. */
  attach(server: Server, path: string): void;
  /** Closes all sockets and takes no more operations. */
  stop(): Promise<void>;
}

export async function createGraphql(services: Services, settings: GraphqlSettings): Promise<Graphql> {
  const { log, auth } = services;
  const schema = await createSchema();
  const formatError = errorFormatter(log);
  const apollo = new ApolloServer<GraphqlContext>({
    schema,
    formatError,
    introspection: settings.introspection,
    hideSchemaDetailsFromClientErrors: !settings.introspection,
    parseOptions: { maxTokens: LIMITS.tokens },
    persistedQueries: false,
    csrfPrevention: true,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    // Nothing may depend on the variable NODE_ENV: what differs is in the settings.
    nodeEnv: 'production',
    logger: log,
    plugins: [
      settings.explorer === 'off'
        ? ApolloServerPluginLandingPageDisabled()
        : ApolloServerPluginLandingPageLocalDefault({ embed: { runTelemetry: false } }),
      {
        async requestDidStart() {
          return {
            async didResolveOperation({ document, operation, request }) {
              if (operation === undefined) return;
              const variables = request.variables ?? {};
              const error = exceededLimit(schema, document, operation, variables) ?? nulCharacter(document, variables);
              if (error !== null) throw toGraphqlError(error, 400);
            },
          };
        },
      },
    ],
  });
  await apollo.start();
  const address = addressOf(settings.trustProxy);
  const subscriptions = createSubscriptions(schema, services, { ...settings, formatError, addressOf: address });

  const router = express.Router();
  router.post('/', multipart(auth, settings));
  router.use(express.json({ limit: settings.maxBodyBytes }));
  router.use(anonymousLimit(auth, address));
  router.use(
    '/',
    expressMiddleware(apollo, {
      context: async ({ req, res }) => {
        const waiting = waitUntil(services.stopping);
        const gone = () => waiting.end(new AppError('CANCELLED', 'Nobody waits for the answer any more.'));
        if (res.closed) gone();
        else res.once('close', gone);
        let actor: ReturnType<typeof auth.authenticate> | undefined;
        return createContext(services, () => (actor ??= auth.authenticate(req.headers.authorization)), {
          address: address(req),
          signal: waiting.signal,
          confirmation: req.get(CONFIRMATION_HEADER),
        });
      },
    }),
  );
  return {
    router,
    async ask(question, { request, signal }) {
      let actor: ReturnType<typeof auth.authenticate> | undefined;
      const contextValue = createContext(services, () => (actor ??= auth.authenticate(request.headers.authorization)), {
        address: address(request),
        signal: AbortSignal.any([signal, services.stopping]),
      });
      const { body } = await apollo.executeOperation(question, { contextValue });
      return body.kind === 'single' ? body.singleResult : body.initialResult;
    },
    attach: (server, path) => subscriptions.attach(server, path),
    async stop() {
      await subscriptions.stop();
      await apollo.stop();
    },
  };
}

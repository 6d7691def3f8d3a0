import express, { type NextFunction, type Request, type Response, Router } from 'express';
import { type Actor, type Auth, requireAdmin } from '../auth/index.js';
import { AppError } from '../errors.js';
import type { Graphql } from '../graphql/server.js';

/** What the door is made of. */
export interface AssistantParts {
  auth: Auth;
  ask: Graphql['ask'];
  /** Largest message, in bytes. */
  maxBodyBytes: number;
  version: string;
}

/**
 * POST /mcp: the Model Context Protocol over streamable HTTP, for API tokens. Each request stands alone, so that any node
 * answers any of them, and nothing is kept. The protocol itself is loaded when the first one comes.
 */
export function assistantDoor({ auth, ask, maxBodyBytes, version }: AssistantParts): Router {
  const router = Router();
  const enter = async (request: Request, _response: Response, next: NextFunction) => {
    assertProgram(await auth.authenticate(request.get('authorization')));
    next();
  };
  router.post('/mcp', enter, express.json({ limit: maxBodyBytes }), async (request: Request, response: Response) => {
    if (Array.isArray(request.body)) {
      throw new AppError('BAD_USER_INPUT', 'Send one message in each request.', { field: 'body' });
    }
    const gone = new AbortController();
    const { openDoor } = await import('./server.js');
    const { transport, close } = await openDoor({
      version,
      ask: (question) => ask(question, { request, signal: gone.signal }),
    });
    response.once('close', () => {
      gone.abort(new AppError('CANCELLED', 'Nobody waits for the answer any more.'));
      void close();
    });
    response.set('Cache-Control', 'no-store');
    await transport.handleRequest(request, response, request.body);
  });
  // The protocol asks for this answer where there is no stream of messages from the server.
  router.use('/mcp', (_request, response) => {
    response.status(405).set('Allow', 'POST').end();
  });
  return router;
}

/** A person's session may do everything: what an assistant may do must be said. @throws AppError FORBIDDEN */
function assertProgram(actor: Actor): void {
  if (requireAdmin(actor, null).scopes !== null) return;
  throw new AppError('FORBIDDEN', 'An assistant needs an API token with the scopes that it may use.', {
    hint: 'Make one: npx db-manager tokens add assistant --scope READ',
  });
}

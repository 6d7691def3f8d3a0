import { Router } from 'express';

/** What readiness depends on. */
export interface Readiness {
  /** Fails if the control database does not answer. */
  ping(): Promise<unknown>;
  /** Aborts when the process must stop. */
  stopping: AbortSignal;
}

/** Liveness and readiness, for whatever supervises the process; no token, and nothing to learn from them. */
export function health({ ping, stopping }: Readiness): Router {
  const router = Router();
  router.get('/healthz', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ status: 'ok' });
  });
  router.get('/readyz', async (_request, response) => {
    response.set('Cache-Control', 'no-store');
    const problem = stopping.aborted
      ? 'stopping'
      : await ping().then(
          () => null,
          () => 'the control database does not answer',
        );
    if (problem === null) response.json({ status: 'ready' });
    else response.status(503).json({ status: 'not ready', reason: problem });
  });
  return router;
}

import { Router } from 'express';
import { type ErrorCode, toAppError } from '../errors.js';

/** What readiness depends on. */
export interface Readiness {
  /** Fails if the control database or the work folder cannot be written. */
  ping(): Promise<unknown>;
  /** Aborts when the process must stop. */
  stopping: AbortSignal;
}

/** What may be said to anyone; the log has the rest. */
const REASONS: Partial<Record<ErrorCode, string>> = {
  STORAGE_FULL: 'no space is left in DATA_DIR',
  STORAGE_NOT_WRITABLE: 'DATA_DIR cannot be written',
};

/** Liveness and readiness, for whatever supervises the process; no token, and nothing to learn from them. */
export function health({ ping, stopping }: Readiness): Router {
  const router = Router();
  let looking: Promise<string | null> | null = null;
  // However many ask at once, one look answers them all.
  const look = () =>
    (looking ??= ping()
      .then(
        () => null,
        (error: unknown) => REASONS[toAppError(error).code] ?? 'the control database cannot be used',
      )
      .finally(() => (looking = null)));
  router.get('/healthz', (_request, response) => {
    response.set('Cache-Control', 'no-store').json({ status: 'ok' });
  });
  router.get('/readyz', async (_request, response) => {
    response.set('Cache-Control', 'no-store');
    const problem = stopping.aborted ? 'stopping' : await look();
    if (problem === null) response.json({ status: 'ready' });
    else response.status(503).json({ status: 'not ready', reason: problem });
  });
  return router;
}

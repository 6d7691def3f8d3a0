import { setMaxListeners } from 'node:events';

/** The time in which somebody waits for answers: that of a request, or of a socket. */
export interface Waiting {
  /** Aborts when nobody waits any more, or the process must stop. */
  signal: AbortSignal;
  /** Nobody waits any more. It must be called once, or the process would remember this caller for as long as it lives. */
  end(reason?: unknown): void;
}

/**
 * Somebody begins to wait. `AbortSignal.any` would do for one, but leaves a trace on the process's own signal for each.
 * @param stopping aborts when the process must stop
 */
export function waitUntil(stopping: AbortSignal): Waiting {
  const controller = new AbortController();
  const stop = () => controller.abort(stopping.reason);
  // As many listen as there are operations under way.
  setMaxListeners(0, controller.signal, stopping);
  if (stopping.aborted) stop();
  else stopping.addEventListener('abort', stop, { once: true });
  return {
    signal: controller.signal,
    end(reason) {
      stopping.removeEventListener('abort', stop);
      controller.abort(reason);
    },
  };
}

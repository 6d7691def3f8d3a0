import { setMaxListeners } from 'node:events';

/** The time during which a caller waits for answers: that of a request, or of a socket. */
export interface Waiting {
  /** Aborts when the caller is gone or the process must stop. */
  signal: AbortSignal;
  /** Call once when the caller is gone; otherwise the process would remember it for ever. */
  end(reason?: unknown): void;
}

/**
 * Begins the wait of a caller. `AbortSignal.any` would do for one, but leaves a trace on the process's own signal for each.
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

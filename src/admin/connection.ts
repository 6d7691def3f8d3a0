import { askAgain } from './session.js';
import { createStore, useStore } from './store.js';

/** How often a server that was lost is looked for, in milliseconds. */
const LOOK_EVERY = 2_000;

const lost = createStore(false);

/** Notes that the server cannot be reached, and looks for it until it is back; then the page asks again for all it shows. */
export function connectionLost(): void {
  if (lost.get()) return;
  lost.set(true);
  const timer = setInterval(() => {
    fetch('/healthz', { cache: 'no-store' })
      .then((answer) => {
        if (!answer.ok || !lost.get()) return;
        clearInterval(timer);
        lost.set(false);
        askAgain();
      })
      .catch(() => undefined);
  }, LOOK_EVERY);
}

/** Whether the server cannot be reached just now. */
export function useConnectionLost(): boolean {
  return useStore(lost);
}

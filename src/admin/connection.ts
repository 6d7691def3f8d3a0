import { useSyncExternalStore } from 'react';
import { askAgain } from './session.js';

/** How often a server that was lost is looked for, in milliseconds. */
const LOOK_EVERY = 2_000;

let lost = false;
const listeners = new Set<() => void>();

/** Notes that the server cannot be reached, and looks for it until it is back; then the page asks again for all it shows. */
export function connectionLost(): void {
  if (lost) return;
  change(true);
  const timer = setInterval(() => {
    fetch('/healthz', { cache: 'no-store' })
      .then((answer) => {
        if (!answer.ok || !lost) return;
        clearInterval(timer);
        change(false);
        askAgain();
      })
      .catch(() => undefined);
  }, LOOK_EVERY);
}

/** Whether the server cannot be reached just now. */
export function useConnectionLost(): boolean {
  return useSyncExternalStore(subscribe, () => lost);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function change(value: boolean): void {
  lost = value;
  for (const listener of listeners) listener();
}

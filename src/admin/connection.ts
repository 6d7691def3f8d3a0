import { askAgain } from './session.js';
import { createStore, useStore } from './store.js';

/** How often a server that was lost is looked for, in milliseconds. */
const LOOK_EVERY = 2_000;
/** How long it has for its answer then, in milliseconds. */
const PATIENCE = 5_000;

/** Whether the server can be reached; `doubted`: something failed, and that is being looked into. */
export type Connection = 'there' | 'doubted' | 'lost';

const connection = createStore<Connection>('there');

/** Something did not reach the server, or lost it. Only what looks for the server itself finds out whether it is gone. */
export function connectionLost(): void {
  if (connection.get() !== 'there') return;
  connection.set('doubted');
  void find();
}

/** The server has answered: so it is there, whatever else hides it. */
export function connectionFound(): void {
  if (connection.get() === 'lost') back();
}

/** Looks for the server, and resolves as soon as it can be reached. */
export function whenThere(): Promise<void> {
  connectionLost();
  return new Promise((resolve) => {
    const end = connection.subscribe(() => {
      if (connection.get() !== 'there') return;
      end();
      resolve();
    });
  });
}

/** Whether the server can be reached just now. */
export function useConnection(): Connection {
  return useStore(connection);
}

async function find(): Promise<void> {
  if (await answers()) return connection.set('there');
  connection.set('lost');
  while (connection.get() === 'lost') {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
    if (connection.get() === 'lost' && (await answers())) connectionFound();
  }
}

const answers = () =>
  fetch('/healthz', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) }).then(
    ({ ok }) => ok,
    () => false,
  );

function back(): void {
  connection.set('there');
  askAgain();
}

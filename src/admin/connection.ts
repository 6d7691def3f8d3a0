import { type ComponentType, lazy } from 'react';
import { BASE } from './base.js';
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
  fetch(`${BASE}/healthz`, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) }).then(
    ({ ok }) => ok,
    () => false,
  );

function back(): void {
  connection.set('there');
  askAgain();
}

/** So often it is tried to load a file while the server can be reached. */
const TRIES = 3;

/** A page's file cannot be loaded although the server can be reached: most likely it is of a build that is gone. */
export class PageGone extends Error {}

/** A page in a file of its own, loaded when it is opened. Where the server is away, it comes as soon as the server is back. */
export const page = <Props>(load: () => Promise<{ default: ComponentType<Props> }>) => lazy(() => attempt(load, 1));

async function attempt<Loaded>(load: () => Promise<Loaded>, count: number): Promise<Loaded> {
  try {
    return await load();
  } catch (cause) {
    if (count === TRIES) throw new PageGone('The file of this page cannot be loaded.', { cause });
    await whenThere();
    return attempt(load, count + 1);
  }
}

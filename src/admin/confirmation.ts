import { onSignOut } from './session.js';
import { createStore, useStore } from './store.js';

/** What the server calls the proof that a person has just typed their password. Kept in memory, until the server refuses it. */
let confirmation: string | null = null;

/** Someone waits for the password. */
interface Asking {
  answered: Promise<boolean>;
  settle: (isGiven: boolean) => void;
}

const asking = createStore<Asking | null>(null);

/** The header of requests, once the password has been typed. */
export const confirmationHeader = (): Record<string, string> =>
  confirmation === null ? {} : { 'X-Confirmation': confirmation };

/** Has the password typed in a dialog; those that ask at the same time share it. @returns false if it was not given */
export function askForPassword(): Promise<boolean> {
  const present = asking.get();
  if (present !== null) return present.answered;
  let settle: Asking['settle'] = () => undefined;
  const answered = new Promise<boolean>((resolve) => (settle = resolve));
  asking.set({ answered, settle });
  return answered;
}

/** Ends the question. @param token what the server gave for the password; null if it was not typed */
export function endAsking(token: string | null): void {
  const present = asking.get();
  confirmation = token;
  asking.set(null);
  present?.settle(token !== null);
}

export const useIsAsking = (): boolean => useStore(asking, (present) => present !== null);

onSignOut(() => endAsking(null));

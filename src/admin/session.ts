import { createStore, useStore } from './store.js';

/** Who is signed in, and their token. Only the server decides when it has expired: clocks differ. */
export interface Session {
  token: string;
  email: string;
}

/** `ended`: there was a session and the server no longer accepts it; the page waits behind the sign-in. */
export interface SessionState {
  session: Session | null;
  ended: boolean;
  /** Grows whenever what is on the screen should be asked for again: the server is back. */
  generation: number;
}

/** Kept for this tab only: no cookie, nothing that outlives the tab. */
const KEY = 'db-manager.session';

const state = createStore<SessionState>({ session: read(), ended: false, generation: 0 });
const leaving = new Set<() => void>();
const coming = new Set<() => void>();

export const currentToken = (): string | null => state.get().session?.token ?? null;

export function signIn(session: Session): void {
  sessionStorage.setItem(KEY, JSON.stringify(session));
  state.set({ ...state.get(), session, ended: false });
  for (const listener of coming) listener();
}

export function signOut(): void {
  // With what the API explorer keeps there.
  sessionStorage.clear();
  for (const listener of leaving) listener();
  state.set({ ...state.get(), session: null, ended: false });
}

/** Calls back at each sign-out, so that nothing stays in memory for the next user. */
export function onSignOut(listener: () => void): void {
  leaving.add(listener);
}

/** Calls back at each sign-in. */
export function onSignIn(listener: () => void): void {
  coming.add(listener);
}

/** The server refuses this token. What is on the screen stays. An older session's token means nothing any more. */
export function endSession(token: string | null): void {
  const { session, ended } = state.get();
  if (session === null || ended || session.token !== token) return;
  sessionStorage.removeItem(KEY);
  state.set({ ...state.get(), ended: true });
}

/** All that is on the screen is asked for again. */
export function askAgain(): void {
  state.set({ ...state.get(), generation: state.get().generation + 1 });
}

export function useSession(): SessionState {
  return useStore(state);
}

function read(): Session | null {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Session | null;
  } catch {
    return null;
  }
}

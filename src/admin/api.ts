import { notifications } from '@mantine/notifications';
import {
  cacheExchange,
  Client,
  type CombinedError,
  fetchExchange,
  makeOperation,
  mapExchange,
  type OperationContext,
  type OperationResult,
  type OperationResultSource,
  subscriptionExchange,
  type TypedDocumentNode,
} from '@urql/core';
import { createClient as createSocket } from 'graphql-ws';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { useClient, useQuery } from 'urql';
import type { TypedDocumentString } from '../client/generated/graphql.js';
import { BASE } from './base.js';
import { askForPassword, confirmationHeader } from './confirmation.js';
import { connectionFound, connectionLost } from './connection.js';
import { currentToken, endSession, onSignOut, useSession } from './session.js';

/** What went wrong, and what to do about it: an error of the server's catalogue, or OFFLINE. */
export interface Problem {
  code: string;
  message: string;
  hint: string;
  /** The input field that it is about, if it is about one. */
  field?: string;
}

/** The socket's close codes for a token that is no longer accepted, and for a socket that is no longer needed. */
const UNAUTHORIZED = 4401;
const NORMAL = 1000;
const codeOf = (closed: unknown) => (closed as Partial<CloseEvent>).code;
/** Between two tries to open the socket again, in milliseconds. */
const LONGEST_WAIT = 5_000;
/** How long a question has for its answer, in milliseconds: a line that is dead without a sign is not waited for. */
const PATIENCE = 60_000;
/** How often a question that did not reach the server is asked again, in milliseconds. */
const RETRY_EVERY = 5_000;

/**
 * A client for one session: queries and mutations over HTTP, subscriptions over one WebSocket that opens when needed.
 * @param token null before sign-in
 */
export function createApi(token: string | null): Client {
  const address = new URL(`${BASE}/graphql`, window.location.href);
  const socketAddress = new URL(address);
  socketAddress.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = createSocket({
    url: socketAddress.href,
    connectionParams: { Authorization: authorization(token) },
    // A run may take longer than any network holds: connect again for as long as the page is open.
    retryAttempts: Infinity,
    retryWait: (retries) => new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** retries, LONGEST_WAIT))),
    shouldRetry: (closed) => codeOf(closed) !== UNAUTHORIZED,
    on: {
      closed(closed) {
        if (codeOf(closed) === UNAUTHORIZED) endSession(token);
        else if (codeOf(closed) !== NORMAL) connectionLost();
      },
    },
  });
  return new Client({
    url: address.href,
    preferGetMethod: false,
    fetchOptions: () => ({ headers: { ...headers(token), ...confirmationHeader() }, credentials: 'omit' }),
    exchanges: [
      cacheExchange,
      // Behind the cache: what comes back here has come from the server.
      mapExchange({
        onOperation: (operation) =>
          operation.kind === 'query' && operation.context.patient !== true
            ? makeOperation('query', operation, { ...operation.context, fetch: impatient })
            : operation,
        onResult({ error }) {
          if (error?.networkError) connectionLost();
          else connectionFound();
          if (error !== undefined && problemOf(error).code === 'UNAUTHENTICATED') endSession(token);
        },
      }),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables }) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}

/** As `fetch`, for what a page asks by itself: what a person wants done or looked for may take as long as it takes. */
const impatient: typeof fetch = (address, { signal, ...options } = {}) =>
  fetch(address, {
    ...options,
    signal: AbortSignal.any([AbortSignal.timeout(PATIENCE), ...(signal ? [signal] : [])]),
  });

/** The headers that every request carries. The second shows the server that no plain form sent it. */
export function headers(token: string | null = currentToken()): Record<string, string> {
  const value = authorization(token);
  return { ...(value === undefined ? {} : { Authorization: value }), 'Apollo-Require-Preflight': 'true' };
}

const authorization = (token: string | null) => (token === null ? undefined : `Bearer ${token}`);

/** The generated document as urql wants it: it reads a text as it reads a tree. */
export function textOf<Result, Variables>(
  document: TypedDocumentString<Result, Variables>,
): TypedDocumentNode<Result, Variables & Record<string, unknown>> {
  return document.toString() as unknown as TypedDocumentNode<Result, Variables & Record<string, unknown>>;
}

export const OFFLINE: Problem = {
  code: 'OFFLINE',
  message: 'The server cannot be reached.',
  hint: 'Check that it is running and that this device is online.',
};

const LATE: Problem = {
  code: 'OFFLINE',
  message: 'The server did not answer in time.',
  hint: 'It may be overloaded, or the connection may be broken.',
};

/** The error of a query that did not reach the server. */
const AGAIN = 'This page tries again automatically.';
/** The error of a mutation whose answer was lost. */
export const UNSURE = 'It is unknown whether this was done: check Backups, Restores or Activity before you try again.';

const UNCONFIRMED: Problem = {
  code: 'CONFIRMATION_REQUIRED',
  message: 'Nothing was done: your password was not given.',
  hint: 'Try again, and type it.',
};

/** The server wants the password before it does this; a dialog of its own asks for other confirmations. */
function asksForPassword(error: CombinedError | undefined): boolean {
  const { code, field } = error === undefined ? OFFLINE : problemOf(error);
  return code === 'CONFIRMATION_REQUIRED' && field === 'X-Confirmation';
}

/** A problem of the connection, with what follows from it; any other problem as it is. */
export const withAdvice = (problem: Problem, advice: string): Problem =>
  problem.code === 'OFFLINE' ? { ...problem, hint: `${problem.hint} ${advice}` } : problem;

/** An error as the server's answer holds it. */
export type ServerError = Pick<CombinedError['graphQLErrors'][number], 'message' | 'extensions'>;

export const problemOf = ({ graphQLErrors, networkError, response }: CombinedError): Problem =>
  networkError?.name === 'TimeoutError' ? LATE : problemFrom(graphQLErrors, (response as Response | undefined)?.status);

/**
 * The first of the server's errors; without one, the server was not reached.
 * @param status of an answer that is none of the server's, but of something between
 */
export function problemFrom([first]: readonly ServerError[], status = 0): Problem {
  if (first === undefined) return status < 400 ? OFFLINE : between(status);
  const { code = 'INTERNAL_ERROR', hint = '', field } = first.extensions as Partial<Problem>;
  return { code, message: first.message, hint, ...(field === undefined ? {} : { field }) };
}

function between(status: number): Problem {
  const hint = 'Check the settings and the log of the proxy in front of the server.';
  if (status !== 413) return { code: 'OFFLINE', message: `A proxy in front of the server answered ${status}.`, hint };
  const message = 'A proxy in front of the server refuses a file of this size.';
  return { code: 'PAYLOAD_TOO_LARGE', message, hint: 'Raise the limit of the proxy in front of the server.' };
}

/** What a query has answered so far. */
export interface Answer<Result> {
  /** Of the present variables; while others are being asked for, what was there before. */
  data: Result | undefined;
  /** Why the last try to ask failed: to ask just this, and since the server was last found again. */
  problem: Problem | null;
  /** The present question has its answer: what is shown belongs to it. */
  current: boolean;
  /** There is nothing to show yet. */
  loading: boolean;
  /** What is shown is being asked for again. */
  refreshing: boolean;
  refresh: () => void;
}

export interface AskOptions {
  /** Asks nothing. */
  pause?: boolean;
  /** Asked again so often while the page is seen, in milliseconds from the last answer. */
  every?: number;
  /** Asked again when it changes. */
  after?: string;
  /** What was answered to the same question some time ago will not do. */
  fresh?: boolean;
}

/** Asks, keeps what the last answer was, and asks again after each mutation of what it shows. */
export function useApi<Result, Variables>(
  document: TypedDocumentString<Result, Variables>,
  variables: Variables,
  { pause = false, every, after, fresh = false }: AskOptions = {},
): Answer<Result> {
  const [result, execute] = useQuery({
    query: textOf(document),
    variables: variables as Variables & Record<string, unknown>,
    pause,
    requestPolicy: fresh ? 'network-only' : 'cache-and-network',
  });
  const { generation } = useSession();
  const question = JSON.stringify(variables);
  const current = result.operation !== undefined && JSON.stringify(result.operation.variables) === question;
  // An answer that is an error leaves what was shown before, and what people have typed there; but never what was
  // answered to another question.
  const [kept, setKept] = useState<{ question: string; data: Result }>();
  const last: Result | undefined = result.data ?? undefined;
  if (last !== undefined && current && kept?.data !== last) setKept({ question, data: last });
  const data = last ?? (kept?.question === question ? kept.data : undefined);
  // An error from before the server was found again says nothing any more.
  const [failed, setFailed] = useState<{ error: CombinedError; generation: number }>();
  const { error } = result;
  if (error !== undefined && failed?.error !== error) setFailed({ error, generation });
  const holds = error !== undefined && current && failed?.generation === generation;
  const problem = holds ? withAdvice(problemOf(error), AGAIN) : null;
  const refreshing = result.fetching || result.stale;
  const pace = problem?.code === 'OFFLINE' ? Math.min(every ?? RETRY_EVERY, RETRY_EVERY) : every;
  // One that is under way is left to end: to ask once more would break it off, so a slow server would never answer.
  useAgain(execute, pause || refreshing ? undefined : pace);
  const due = `${generation} ${after ?? ''}`;
  const seen = useRef(due);
  useEffect(() => {
    if (seen.current !== due && !pause) execute({ requestPolicy: 'network-only' });
    seen.current = due;
  }, [due, pause, execute]);
  return {
    data,
    problem,
    current,
    loading: data === undefined && problem === null && !pause,
    refreshing,
    refresh: () => execute({ requestPolicy: 'network-only' }),
  };
}

/** Asks again and again while the page is seen, and at once when it is seen again. */
function useAgain(execute: (options: Partial<OperationContext>) => void, every: number | undefined): void {
  useEffect(() => {
    if (every === undefined) return;
    const ask = () => {
      if (window.document.visibilityState === 'visible') execute({ requestPolicy: 'network-only' });
    };
    const timer = setInterval(ask, every);
    window.document.addEventListener('visibilitychange', ask);
    return () => {
      clearInterval(timer);
      window.document.removeEventListener('visibilitychange', ask);
    };
  }, [every, execute]);
}

/** What became of a mutation. */
export type Outcome<Result> = { data: Result } | { problem: Problem };

/** A mutation: `run` answers with its result, or null after having said what is wrong. */
export interface Action<Result, Variables> {
  run: (variables: Variables) => Promise<Result | null>;
  /** As `run`, for one of several: says nothing by itself. */
  attempt: (variables: Variables) => Promise<Outcome<Result>>;
  busy: boolean;
  problem: Problem | null;
  clear: () => void;
}

export interface ActionOptions {
  /** The caller shows the problem itself; else a message pops up. */
  quiet?: boolean;
  /** Nothing changes by it: if its answer is lost, it is just done again. */
  harmless?: boolean;
}

export function useAction<Result, Variables>(
  document: TypedDocumentString<Result, Variables>,
  options: ActionOptions = {},
): Action<Result, Variables> {
  return useOnce((client, variables) => client.mutation(textOf(document), variables), options);
}

/** A query that is asked when someone wants it, and as often: the answer may take as long as it takes. */
export function useQuestion<Result, Variables>(
  document: TypedDocumentString<Result, Variables>,
): Action<Result, Variables> {
  return useOnce(
    (client, variables) => client.query(textOf(document), variables, { requestPolicy: 'network-only', patient: true }),
    { quiet: true, harmless: true },
  );
}

function useOnce<Result, Variables>(
  send: (
    client: Client,
    variables: Variables & Record<string, unknown>,
  ) => OperationResultSource<OperationResult<Result>>,
  { quiet = false, harmless = false }: ActionOptions,
): Action<Result, Variables> {
  const client = useClient();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const attempt = async (variables: Variables): Promise<Outcome<Result>> => {
    setBusy(true);
    setProblem(null);
    const once = () => send(client, variables as Variables & Record<string, unknown>).toPromise();
    let { data, error } = await once();
    const asks = asksForPassword(error);
    if (asks && (await askForPassword())) ({ data, error } = await once());
    setBusy(false);
    if (error === undefined && data) return { data };
    if (asks && asksForPassword(error)) return { problem: UNCONFIRMED };
    const found = error === undefined ? OFFLINE : problemOf(error);
    return { problem: withAdvice(found, harmless ? 'Then try again.' : UNSURE) };
  };
  const run = async (variables: Variables): Promise<Result | null> => {
    const outcome = await attempt(variables);
    if ('data' in outcome) return outcome.data;
    setProblem(outcome.problem);
    if (!quiet) tellProblem(outcome.problem);
    return null;
  };
  return { run, attempt, busy, problem, clear: () => setProblem(null) };
}

/** @param stays until it is closed: it says what is nowhere else to be seen */
export function tellProblem({ message, hint }: Problem, { stays = false }: { stays?: boolean } = {}): void {
  notifications.show({ color: 'red', title: message, message: hint, autoClose: stays ? false : 12_000 });
}

export function tellDone(message: ReactNode): void {
  notifications.show({ color: 'teal', message, autoClose: 5_000 });
}

// Cached data of one user is not for the next one at the same screen.
onSignOut(() => notifications.clean());

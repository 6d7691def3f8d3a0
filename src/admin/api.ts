import { notifications } from '@mantine/notifications';
import {
  cacheExchange,
  Client,
  type CombinedError,
  fetchExchange,
  mapExchange,
  subscriptionExchange,
  type TypedDocumentNode,
} from '@urql/core';
import { createClient as createSocket } from 'graphql-ws';
import { useEffect, useRef, useState } from 'react';
import { useClient, useQuery } from 'urql';
import type { TypedDocumentString } from '../client/generated/graphql.js';
import { connectionLost } from './connection.js';
import { currentToken, endSession, useSession } from './session.js';

/** What went wrong, and what to do about it: an error of the server's catalogue, or OFFLINE. */
export interface Problem {
  code: string;
  message: string;
  hint: string;
  /** The input field that it is about, if it is about one. */
  field?: string;
}

/** The socket's close codes for a token that is no longer accepted, and for a socket that nobody needs. */
const UNAUTHORIZED = 4401;
const NORMAL = 1000;
const codeOf = (closed: unknown) => (closed as Partial<CloseEvent>).code;
/** Between two tries to open the socket again, in milliseconds. */
const LONGEST_WAIT = 5_000;

/**
 * A client for one session: queries and mutations over HTTP, subscriptions over one WebSocket that opens when needed.
 * @param token null before anybody is signed in
 */
export function createApi(token: string | null): Client {
  const address = new URL('/graphql', window.location.href);
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
    fetchOptions: { headers: headers(token), credentials: 'omit' },
    exchanges: [
      mapExchange({
        onResult({ error }) {
          if (error?.networkError) connectionLost();
          if (error !== undefined && problemOf(error).code === 'UNAUTHENTICATED') endSession(token);
        },
      }),
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables }) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}

/** The headers that every request carries. The second one tells the server that no plain form has sent it. */
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
  hint: 'Check that it is running and that this device is connected. The page tries again by itself.',
};

/** An error as the server's answer holds it. */
export type ServerError = Pick<CombinedError['graphQLErrors'][number], 'message' | 'extensions'>;

export const problemOf = ({ graphQLErrors, response }: CombinedError): Problem =>
  problemFrom(graphQLErrors, (response as Response | undefined)?.status);

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
  const hint = 'Look at the settings and the log of the proxy in front of the server.';
  if (status !== 413)
    return { code: 'OFFLINE', message: `Something between here and the server answered ${status}.`, hint };
  const message = 'Something between here and the server refuses so large a file.';
  return { code: 'PAYLOAD_TOO_LARGE', message, hint: 'Raise the limit of the proxy in front of the server.' };
}

/** What a query has answered so far. */
export interface Answer<Result> {
  /** Of the present variables; while others are being asked for, what was there before. */
  data: Result | undefined;
  /** Why the last try to ask failed. */
  problem: Problem | null;
  /** There is nothing to show yet. */
  loading: boolean;
  /** What is shown is being asked for again. */
  refreshing: boolean;
  refresh: () => void;
}

export interface AskOptions {
  /** Asks nothing. */
  pause?: boolean;
  /** Asked again so often while the page is seen, in milliseconds. */
  every?: number;
  /** Asked again when it changes. */
  after?: string;
}

/** Asks, keeps what the last answer was, and asks again after each mutation of what it shows. */
export function useApi<Result, Variables>(
  document: TypedDocumentString<Result, Variables>,
  variables: Variables,
  { pause = false, every, after }: AskOptions = {},
): Answer<Result> {
  const query = textOf(document);
  const [result, execute] = useQuery({
    query,
    variables: variables as Variables & Record<string, unknown>,
    pause,
    requestPolicy: 'cache-and-network',
  });
  // An answer that is an error leaves what was shown before, and what people have typed there; but never what was
  // answered to another question.
  const question = JSON.stringify(variables);
  const [kept, setKept] = useState<{ question: string; data: Result }>();
  const fresh: Result | undefined = result.data ?? undefined;
  if (fresh !== undefined && !result.fetching && kept?.data !== fresh) setKept({ question, data: fresh });
  const data = fresh ?? (kept?.question === question ? kept.data : undefined);
  const refresh = () => execute({ requestPolicy: 'network-only' });
  useEffect(() => {
    if (every === undefined || pause) return;
    const timer = setInterval(() => {
      if (window.document.visibilityState === 'visible') execute({ requestPolicy: 'network-only' });
    }, every);
    return () => clearInterval(timer);
  }, [every, pause, execute]);
  const { generation } = useSession();
  const due = `${generation} ${after ?? ''}`;
  const seen = useRef(due);
  useEffect(() => {
    if (seen.current !== due && !pause) execute({ requestPolicy: 'network-only' });
    seen.current = due;
  }, [due, pause, execute]);
  return {
    data,
    problem: result.error === undefined ? null : problemOf(result.error),
    loading: data === undefined && result.error === undefined && !pause,
    refreshing: result.fetching || result.stale,
    refresh,
  };
}

/** A mutation: `run` answers with its result, or null after having said what is wrong. */
export interface Action<Result, Variables> {
  run: (variables: Variables) => Promise<Result | null>;
  busy: boolean;
  problem: Problem | null;
  clear: () => void;
}

/**
 * @param quiet the caller shows the problem itself; else a message pops up
 */
export function useAction<Result, Variables>(
  document: TypedDocumentString<Result, Variables>,
  { quiet = false }: { quiet?: boolean } = {},
): Action<Result, Variables> {
  const client = useClient();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async (variables: Variables): Promise<Result | null> => {
    setBusy(true);
    setProblem(null);
    const { data, error } = await client
      .mutation(textOf(document), variables as Variables & Record<string, unknown>)
      .toPromise();
    setBusy(false);
    if (error === undefined) return data ?? null;
    const found = problemOf(error);
    setProblem(found);
    if (!quiet) tellProblem(found);
    return null;
  };
  return { run, busy, problem, clear: () => setProblem(null) };
}

export function tellProblem({ message, hint }: Problem): void {
  notifications.show({ color: 'red', title: message, message: hint, autoClose: 12_000 });
}

export function tellDone(message: string): void {
  notifications.show({ color: 'teal', message, autoClose: 5_000 });
}

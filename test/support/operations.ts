import { createClient as createSocketClient, type Client as SocketClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { type Client, createClient, type TypedDocumentString } from '../../src/client/index.js';
import type { TestApp } from './app.js';

/** An answer of the API as it comes. */
export interface Answer {
  status: number;
  data: Record<string, unknown> | null;
  errors: { message: string; path?: unknown[]; extensions: { code: string; hint: string; field?: string } }[];
  text: string;
}

/** Sends a document as it is; `token: null` sends none. */
export async function send(
  app: TestApp,
  query: string,
  variables: object = {},
  token: string | null = app.token,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify({ query, variables }),
  });
  return answerOf(response);
}

/** The typed client, as the admin. */
export function clientOf(app: TestApp, token = app.token): Client {
  return createClient({ url: app.url, token });
}

/** Sends a file as browsers do. */
export async function sendFile(
  app: TestApp,
  query: string,
  file: Blob,
  name: string,
  {
    token = app.token as string | null,
    headers = { 'apollo-require-preflight': 'true' } as Record<string, string>,
  } = {},
): Promise<Answer> {
  const form = new FormData();
  form.set('operations', JSON.stringify({ query, variables: { file: null } }));
  form.set('map', JSON.stringify({ 0: ['variables.file'] }));
  form.set('0', file, name);
  const authorization: Record<string, string> = token === null ? {} : { Authorization: `Bearer ${token}` };
  const response = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    headers: { ...headers, ...authorization },
    body: form,
  });
  return answerOf(response);
}

/** A WebSocket client; `closed` tells with which code the server closed the first socket. */
export function socketOf(app: TestApp, parameters: Record<string, unknown>) {
  let onClosed: (code: number) => void;
  const closed = new Promise<number>((resolve) => (onClosed = resolve));
  const client = createSocketClient({
    url: `${app.url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: parameters,
    retryAttempts: 0,
    lazy: true,
    on: { closed: (event) => onClosed((event as { code: number }).code) },
  });
  return { client, closed };
}

/** All events of a subscription until it ends. */
export async function collect<Result>(
  client: SocketClient,
  document: TypedDocumentString<Result, { id: string }>,
  id: string,
): Promise<Result[]> {
  const events: Result[] = [];
  for await (const { data, errors } of client.iterate<Result & Record<string, unknown>>({
    query: document.toString(),
    variables: { id },
  })) {
    if (errors) throw new AggregateError(errors, errors.map((error) => error.message).join());
    if (data) events.push(data);
  }
  return events;
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const { data = null, errors = [] } = JSON.parse(text) as Partial<Answer>;
  return { status: response.status, data, errors, text };
}

import type { ExecutionResult } from 'graphql';
import { createClient } from 'graphql-ws';
import { BASE } from '../base.js';
import { currentToken, endSession } from '../session.js';

/** A request as the explorer hands it over. */
interface Request {
  query: string;
  operationName?: string | null;
  variables?: Record<string, unknown> | null;
}

const authorization = (token: string | null): Record<string, string> =>
  token === null ? {} : { Authorization: `Bearer ${token}` };

/** Subscriptions of this tab's session, over one WebSocket that opens when it is needed. */
const socket = createClient({
  url: `${window.location.protocol.replace('http', 'ws')}//${window.location.host}${BASE}/graphql`,
  connectionParams: () => authorization(currentToken()),
});

/** Sends a query or a mutation with the token of this tab's session. */
export async function send(request: Request, headers: Record<string, string> = {}): Promise<ExecutionResult> {
  const token = currentToken();
  const response = await fetch(`${BASE}/graphql`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...authorization(token), ...headers },
    credentials: 'omit',
    body: JSON.stringify(request),
  });
  const answer = (await response.json()) as ExecutionResult;
  if (answer.errors?.some(({ extensions }) => extensions?.code === 'UNAUTHENTICATED')) endSession(token);
  return answer;
}

/** The events of a subscription. */
export const subscribe = ({ query, operationName, variables }: Request): AsyncIterable<ExecutionResult> =>
  socket.iterate({ query, operationName, variables }) as AsyncIterable<ExecutionResult>;

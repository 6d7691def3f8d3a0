import type { TypedDocumentString } from './generated/graphql.js';

export * from './generated/graphql.js';

/** Where the API is, and who asks. */
export interface ClientOptions {
  /** Address of the server, such as `http://127.0.0.1:4000`. */
  url: string;
  /** From the operation `Login`, from `db-manager token`, or of the host application. */
  token?: string;
  /** In place of the global one. */
  fetch?: typeof fetch;
}

/** An answer that is an error: `code` is one of the error catalogue, `hint` says what to do. */
export class ClientError extends Error {
  override readonly name = 'ClientError';

  constructor(
    message: string,
    readonly code: string,
    readonly hint: string,
    /** The input field that it is about, if it is about one. */
    readonly field: string | undefined,
  ) {
    super(message);
  }
}

/** No second argument for an operation without variables, an optional one where all of them are optional. */
type Given<Variables> =
  Variables extends Record<string, never> ? [] : object extends Variables ? [Variables?] : [Variables];

/** Sends operations to a server, with the types of each: `await client.request(BackupsDocument, { first: 10 })`. */
export interface Client {
  /** @throws ClientError for an answer that is an error; the error of `fetch` if there is no answer */
  request<Result, Variables>(
    document: TypedDocumentString<Result, Variables>,
    ...given: Given<Variables>
  ): Promise<Result>;
}

interface Answer<Result> {
  data?: Result | null;
  errors?: { message: string; extensions?: { code?: string; hint?: string; field?: string } }[];
}

export function createClient({ url, token, fetch: send = fetch }: ClientOptions): Client {
  const address = new URL('graphql', url.endsWith('/') ? url : `${url}/`);
  const headers = {
    'Content-Type': 'application/json',
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
  };
  return {
    async request<Result>(document: TypedDocumentString<Result, unknown>, variables?: unknown): Promise<Result> {
      const body = JSON.stringify({ query: document.toString(), variables });
      const response = await send(address, { method: 'POST', headers, body });
      const answer = await readAnswer<Result>(response);
      const [error] = answer.errors ?? [];
      if (error !== undefined) {
        const { code = 'INTERNAL_ERROR', hint = '', field } = error.extensions ?? {};
        throw new ClientError(error.message, code, hint, field);
      }
      return answer.data as Result;
    },
  };
}

async function readAnswer<Result>(response: Response): Promise<Answer<Result>> {
  const text = await response.text();
  try {
    return JSON.parse(text) as Answer<Result>;
  } catch {
    const hint = 'Check the url, and that no other program answers there.';
    throw new ClientError(`No answer of the API, but status ${response.status}.`, 'INTERNAL_ERROR', hint, undefined);
  }
}

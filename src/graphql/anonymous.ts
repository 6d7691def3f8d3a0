import type { RequestHandler } from 'express';
import { Lexer, Source, TokenKind } from 'graphql';
import type { Auth } from '../auth/index.js';
import { AppError } from '../errors.js';

/** What a caller without a valid token may have parsed and validated: a login, and Sandbox's introspection. */
export const ANONYMOUS = {
  /** Words and signs of one document. */
  tokens: 600,
  /** Of all documents of one address within `window`. */
  tokensPerWindow: 30_000,
  /** Milliseconds. */
  window: 60_000,
};

/** How many addresses are remembered; the oldest go first, so that an attacker cannot fill the memory. */
const MAX_ADDRESSES = 10_000;

/**
 * Bounds the work of requests that carry no valid token before their document is parsed: a few KiB can take a validator
 * half a second. Who is known has the limits of `limits.ts` alone.
 */
export function anonymousLimit(
  auth: Auth,
  addressOf: (request: Parameters<RequestHandler>[0]) => string,
): RequestHandler {
  const allowance = new Allowance();
  return async (request, _response, next) => {
    const documents = documentsOf(request.body, request.query);
    if (documents.length === 0 || (await isKnown(auth, request.get('authorization')))) return next();
    try {
      allowance.take(
        addressOf(request),
        documents.map(countTokens).reduce((sum, tokens) => sum + tokens, 0),
      );
      next();
    } catch (error) {
      next(error);
    }
  };
}

/** What would be parsed: the documents of the body and of the address, whatever their form. */
function documentsOf(body: unknown, query: unknown): string[] {
  const list: unknown[] = [...(Array.isArray(body) ? (body as unknown[]) : [body]), query];
  return list.flatMap((entry) => {
    const text = (entry as { query?: unknown } | null | undefined)?.query;
    return typeof text === 'string' && text !== '' ? [text] : [];
  });
}

function isKnown(auth: Auth, header: string | undefined): Promise<boolean> {
  if (header === undefined) return Promise.resolve(false);
  return auth.authenticate(header).then(
    () => true,
    // Whatever is wrong with it, the operation itself says so.
    () => false,
  );
}

/** @throws AppError QUERY_TOO_COMPLEX */
function countTokens(text: string): number {
  const lexer = new Lexer(new Source(text));
  for (let count = 0; count <= ANONYMOUS.tokens; count++) {
    try {
      if (lexer.advance().kind === TokenKind.EOF) return count;
    } catch {
      // Not well-formed: the parser stops here too, and says why.
      return count;
    }
  }
  throw new AppError('QUERY_TOO_COMPLEX', `Without a valid token a document has at most ${ANONYMOUS.tokens} tokens.`, {
    hint: 'Log in and send the token as `Authorization: Bearer <token>`.',
  });
}

/** A budget for each address, on the steady clock. */
class Allowance {
  private readonly used = new Map<string, { tokens: number; until: number }>();

  /** @throws AppError RATE_LIMITED with the time to wait */
  take(address: string, tokens: number): void {
    const now = performance.now();
    const found = this.used.get(address);
    const current = found !== undefined && found.until > now ? found : { tokens: 0, until: now + ANONYMOUS.window };
    if (current.tokens + tokens > ANONYMOUS.tokensPerWindow) {
      const seconds = Math.ceil((current.until - now) / 1_000);
      throw new AppError(
        'RATE_LIMITED',
        `Too many requests without a valid token. Try again in ${seconds} second(s).`,
        {
          hint: 'Wait for that time, or log in and send the token as `Authorization: Bearer <token>`.',
        },
      );
    }
    this.used.delete(address);
    this.used.set(address, { ...current, tokens: current.tokens + tokens });
    for (const oldest of this.used.keys()) {
      if (this.used.size <= MAX_ADDRESSES) break;
      this.used.delete(oldest);
    }
  }
}

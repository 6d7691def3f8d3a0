import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError } from '../errors.js';
import { exchange, tokenUrl } from './gdrive-auth.js';

const CONSENT_URL = 'https://accounts.google.com/o/oauth2/v2/auth';
/** Only what this client itself makes: nothing else of the person's drive can be read. */
const SCOPE = 'https://www.googleapis.com/auth/drive.file';
const PAGE = (text: string) => `<!doctype html><meta charset="utf-8"><title>db-manager</title><p>${text}</p>`;

export interface GdriveLogin {
  clientId: string;
  clientSecret: string;
  /** In place of Google's own addresses. */
  rootUrl?: string | undefined;
  /** Shows the address that the person has to open. */
  show(url: string): void;
  signal: AbortSignal;
}

/**
 * Has a person consent in a browser, and gets a refresh token: OAuth 2.0 for desktop applications with a loopback address and
 * PKCE (RFC 8252, RFC 7636), as https://developers.google.com/identity/protocols/oauth2/native-app has it.
 * @throws AppError STORAGE_REFUSED, STORAGE_UNAVAILABLE; the signal's reason
 */
export async function gdriveLogin(options: GdriveLogin): Promise<string> {
  const { clientId, clientSecret, rootUrl, show, signal } = options;
  const state = randomBytes(32).toString('base64url');
  const verifier = randomBytes(32).toString('base64url');
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const redirect_uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const code = codeFrom(server, state, signal);
    const consent = new URL(rootUrl === undefined ? CONSENT_URL : `${rootUrl}/consent`);
    consent.search = new URLSearchParams({
      client_id: clientId,
      redirect_uri,
      response_type: 'code',
      scope: SCOPE,
      state,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      access_type: 'offline',
      // Else a person who has consented before gets no refresh token.
      prompt: 'consent',
    }).toString();
    show(consent.href);
    const { refresh_token } = await exchange(tokenUrl(rootUrl), {
      grant_type: 'authorization_code',
      code: await code,
      code_verifier: verifier,
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uri,
    });
    if (refresh_token !== undefined) return refresh_token;
    throw new AppError('STORAGE_REFUSED', 'Google gave no refresh token.', {
      hint: 'Make the OAuth client one of the type "Desktop app".',
    });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** Waits for the browser to come back. What comes without the state that was sent is somebody else's, and is refused. */
function codeFrom(server: ReturnType<typeof createServer>, state: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    server.on('request', (request, response) => {
      const { searchParams } = new URL(request.url ?? '/', 'http://127.0.0.1');
      const [code, error] = [searchParams.get('code'), searchParams.get('error')];
      const answer = (status: number, text: string) =>
        response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', connection: 'close' }).end(PAGE(text));
      if (!isSame(searchParams.get('state') ?? '', state))
        return void answer(400, 'This is not the answer to a login.');
      if (code !== null) {
        answer(200, 'db-manager may now store archives in your Google Drive. You can close this page.');
        return resolve(code);
      }
      answer(200, 'Nothing was allowed. You can close this page.');
      reject(new AppError('STORAGE_REFUSED', `Google Drive was not allowed: ${error ?? 'no code was given'}.`));
    });
  });
}

const isSame = (given: string, state: string) =>
  given.length === state.length && timingSafeEqual(Buffer.from(given), Buffer.from(state));

import jwt from 'jsonwebtoken';
import { AppError, errnoOf } from '../errors.js';
import type { DriveAccount, GdriveSettings } from './gdrive-settings.js';

/** Where access tokens are had: https://developers.google.com/identity/protocols/oauth2. */
const TOKEN_URL = 'https://oauth2.googleapis.com/token';
/** Everything that the account may see: a service account sees only what is shared with it. */
const SCOPE = 'https://www.googleapis.com/auth/drive';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
/** For how long one answer is waited for, in milliseconds. */
const PATIENCE = 30_000;

/** What Google answers to a request for tokens. */
export interface Tokens {
  access_token: string;
  /** Milliseconds since 1970. */
  expiry_date: number;
  /** Only when a person has just consented. */
  refresh_token?: string;
}

export const tokenUrl = (rootUrl: string | undefined): string =>
  rootUrl === undefined ? TOKEN_URL : `${rootUrl}/token`;

/** A new access token. @throws AppError STORAGE_REFUSED, STORAGE_UNAVAILABLE */
export function accessToken({ account, rootUrl }: GdriveSettings): Promise<Tokens> {
  return exchange(tokenUrl(rootUrl), grantOf(account, tokenUrl(rootUrl)));
}

function grantOf(account: DriveAccount, audience: string): Record<string, string> {
  if (account.kind === 'user') {
    const { clientId, clientSecret, refreshToken } = account;
    return {
      grant_type: 'refresh_token',
      client_id: clientId,
      client_secret: clientSecret,
      refresh_token: refreshToken,
    };
  }
  return { grant_type: JWT_BEARER, assertion: assertionOf(account.email, account.privateKey, audience) };
}

function assertionOf(email: string, privateKey: string, audience: string): string {
  try {
    return jwt.sign({ scope: SCOPE }, privateKey, { algorithm: 'RS256', issuer: email, audience, expiresIn: 3_600 });
  } catch {
    // The library's own words could hold a part of the key.
    throw new AppError('STORAGE_REFUSED', 'The private key of the service account cannot be used.', {
      hint: 'Give the destination the whole JSON file of the key.',
    });
  }
}

/** Asks for tokens. @param form as OAuth 2.0 has it @throws AppError STORAGE_REFUSED, STORAGE_UNAVAILABLE */
export async function exchange(url: string, form: Record<string, string>): Promise<Tokens> {
  const asked = Date.now();
  const response = await fetch(url, {
    method: 'POST',
    body: new URLSearchParams(form),
    signal: AbortSignal.timeout(PATIENCE),
  }).catch((error: unknown) => {
    throw unavailable(errnoOf((error as { cause?: unknown }).cause) ?? 'no answer', error);
  });
  const answer = (await response.json().catch(() => ({}))) as {
    access_token?: string;
    expires_in?: number;
    refresh_token?: string;
    error?: string;
    error_description?: string;
  };
  if (response.ok && answer.access_token !== undefined) {
    const { access_token, expires_in = 3_600, refresh_token } = answer;
    return { access_token, expiry_date: asked + expires_in * 1_000, ...(refresh_token && { refresh_token }) };
  }
  if (response.status >= 500 || response.status === 429) throw unavailable(`status ${response.status}`);
  const why = [answer.error, answer.error_description].filter(Boolean).join(': ') || `status ${response.status}`;
  throw new AppError('STORAGE_REFUSED', `Google refuses to give an access token: ${why.replace(/\.$/, '')}.`, {
    hint: 'Make a new refresh token with `db-manager gdrive-login`, or a new key of the service account.',
  });
}

const unavailable = (why: string, cause?: unknown) =>
  new AppError('STORAGE_UNAVAILABLE', `Google gives no access token: ${why}.`, { cause });

import type { KeyObject } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { AppError } from '../errors.js';
import type { UserRow } from '../models/index.js';
import { type HostKey, readPublicKey } from './public-key.js';

/** How tokens are made and which are trusted. */
export interface TokenSettings {
  /** Signs our own tokens; the host application may share it. */
  secret: string;
  /** PEM of the host application's key, RSA or EC. */
  publicKey: string | undefined;
  /** What a host application's token must name as `iss` and `aud`, where set. */
  issuer: string | undefined;
  audience: string | undefined;
  /** The claim that makes the holder of a host application's token an admin. */
  adminClaim: { name: string; value: string } | undefined;
  /** Lifetime of a login, in minutes. */
  ttlMinutes: number;
}

/** What a token says, once its signature, its times, its issuer and its audience were found right. */
export type Claims =
  | { kind: 'own'; userId: number; version: number; expiresAt: Date }
  | { kind: 'host'; subject: string; email: string; admin: boolean; expiresAt: Date };

/** The issuer of our own tokens. */
export const OWN_ISSUER = 'db-manager';

/** Longer tokens are not looked at. */
const MAX_TOKEN = 8_192;

/** Makes and checks tokens (JWT). Which algorithm goes with which key is fixed here, never chosen by the token. */
export class Tokens {
  private readonly hostKey: HostKey | null;

  /** @throws AppError CONFIG_INVALID for a public key that is neither RSA nor EC P-256 */
  constructor(
    private readonly settings: TokenSettings,
    private readonly now: () => Date,
  ) {
    this.hostKey = settings.publicKey === undefined ? null : readPublicKey(settings.publicKey);
  }

  /** A token for a user who has logged in. */
  issue(user: UserRow): { token: string; expiresAt: Date } {
    const issued = Math.floor(this.now().getTime() / 1000);
    const exp = issued + this.settings.ttlMinutes * 60;
    const claims = { email: user.email, role: user.role, ver: user.tokenVersion, iat: issued, exp };
    const token = jwt.sign(claims, this.settings.secret, {
      algorithm: 'HS256',
      issuer: OWN_ISSUER,
      subject: String(user.id),
    });
    return { token, expiresAt: new Date(exp * 1000) };
  }

  /** @throws AppError UNAUTHENTICATED, telling no more than that the token is not valid or has expired */
  verify(token: string): Claims {
    if (token.length > MAX_TOKEN) throw invalid();
    const { alg: algorithm, crit } = headerOf(token);
    // It names extensions that must be understood to accept the token: none is understood here.
    if (crit !== undefined) throw invalid();
    const clockTimestamp = Math.floor(this.now().getTime() / 1000);
    if (algorithm === 'HS256') {
      const payload = check(token, this.settings.secret, { algorithms: ['HS256'], clockTimestamp });
      return payload.iss === OWN_ISSUER ? ownClaims(payload) : this.hostClaims(payload);
    }
    if (this.hostKey === null || algorithm !== this.hostKey.algorithm) throw invalid();
    const { key } = this.hostKey;
    return this.hostClaims(check(token, key, { algorithms: [this.hostKey.algorithm], clockTimestamp }));
  }

  private hostClaims(payload: jwt.JwtPayload): Claims {
    const { issuer, audience, adminClaim } = this.settings;
    if (issuer !== undefined && payload.iss !== issuer) throw invalid();
    if (audience !== undefined && ![payload.aud].flat().includes(audience)) throw invalid();
    const { sub, email } = payload as { sub?: unknown; email?: unknown };
    const subject = typeof sub === 'string' || typeof sub === 'number' ? String(sub) : email;
    if (typeof subject !== 'string' || subject === '') throw invalid();
    return {
      kind: 'host',
      subject: subject.slice(0, 320),
      email: (typeof email === 'string' && email !== '' ? email : subject).slice(0, 320),
      admin: adminClaim !== undefined && holds(payload, adminClaim.name, adminClaim.value),
      expiresAt: expiryOf(payload),
    };
  }
}

function ownClaims(payload: jwt.JwtPayload): Claims {
  const { sub, ver } = payload as { sub?: unknown; ver?: unknown };
  if (typeof sub !== 'string' || !/^\d{1,9}$/.test(sub) || typeof ver !== 'number') throw invalid();
  return { kind: 'own', userId: Number(sub), version: ver, expiresAt: expiryOf(payload) };
}

/** The header of an unchecked token. */
function headerOf(token: string): { alg?: unknown; crit?: unknown } {
  try {
    return jwt.decode(token, { complete: true })?.header ?? {};
  } catch {
    throw invalid();
  }
}

function check(token: string, key: string | KeyObject, options: jwt.VerifyOptions): jwt.JwtPayload {
  try {
    const payload = jwt.verify(token, key, { ...options, complete: false });
    if (typeof payload !== 'string') return payload;
  } catch (error) {
    if (error instanceof jwt.TokenExpiredError) {
      throw new AppError('UNAUTHENTICATED', 'The token has expired.', { cause: error });
    }
    if (!(error instanceof jwt.JsonWebTokenError)) throw error;
  }
  throw invalid();
}

function expiryOf({ exp }: jwt.JwtPayload): Date {
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw invalid();
  return new Date(exp * 1000);
}

/** True if the claim (its whole name, or a dotted path) is the value, or an array that contains it. */
function holds(payload: object, name: string, value: string): boolean {
  const own = (object: unknown, key: string): unknown =>
    typeof object === 'object' && object !== null && Object.hasOwn(object, key)
      ? (object as Record<string, unknown>)[key]
      : undefined;
  const found = own(payload, name) ?? name.split('.').reduce<unknown>(own, payload);
  const list: unknown[] = Array.isArray(found) ? found : [found];
  return list.some((item) => ['string', 'number', 'boolean'].includes(typeof item) && String(item) === value);
}

function invalid(): AppError {
  return new AppError('UNAUTHENTICATED', 'The token is not valid.');
}

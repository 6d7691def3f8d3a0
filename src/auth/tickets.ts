import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { AppError } from '../errors.js';

/** How long a ticket is good, in seconds. */
const LIFETIME = 300;
const MAX_TICKET = 4_096;

/** What tickets are for. Those for one thing are no good for another. */
export interface TicketKind {
  audience: string;
  /** The error for one that is no good. @param why as the rest of a sentence, such as `has expired` */
  refused: (why: string, cause?: unknown) => AppError;
}

/** In the link of a download: good for one backup. */
export const DOWNLOAD: TicketKind = {
  audience: 'db-manager:download',
  refused: (why, cause) =>
    new AppError('UNAUTHENTICATED', `The download link ${why}.`, {
      hint: 'Make a new link, createDownloadLink(id), and begin the download within five minutes.',
      cause,
    }),
};

/** Shows that a person has just typed their password. */
export const CONFIRMATION: TicketKind = {
  audience: 'db-manager:confirmation',
  refused: (why, cause) => notConfirmed(`The confirmation ${why}.`, cause),
};

/** The header that a confirmation is sent in. */
export const CONFIRMATION_HEADER = 'X-Confirmation';

/** What a caller is told that must confirm with the password first. */
export function notConfirmed(text: string, cause?: unknown): AppError {
  const hint = `Call confirmPassword(password), and send its token within five minutes as \`${CONFIRMATION_HEADER}: <token>\`.`;
  return new AppError('CONFIRMATION_REQUIRED', text, { hint, field: CONFIRMATION_HEADER, cause });
}

/** Whom a ticket lets in. */
export interface TicketHolder {
  /** The user's id, or the subject of the host application's token. */
  id: string;
  email: string;
  /** Of the user's tokens; null for a user of the host application. */
  version: number | null;
}

/**
 * Tickets: what is good for one thing and for a short time, in place of a token or beside it. Those of each kind are
 * signed with a key of their own, derived from the secret, so that a ticket is never a token and a token never a ticket;
 * every node that shares the secret takes them.
 */
export class Tickets {
  private readonly key: KeyObject;

  constructor(
    secret: string,
    private readonly kind: TicketKind,
    private readonly now: () => Date,
  ) {
    if (secret === '') throw new AppError('CONFIG_INVALID', 'The secret that signs tickets and tokens is empty.');
    this.key = createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', kind.audience, 32)));
  }

  /**
   * @param backupId empty where it is for no backup
   * @param until the ticket never lives longer than this: the end of the holder's token
   */
  issue(holder: TicketHolder, backupId: string, until: Date): { ticket: string; expiresAt: Date } {
    const iat = Math.floor(this.now().getTime() / 1_000);
    const exp = Math.min(iat + LIFETIME, Math.floor(until.getTime() / 1_000));
    const { id: subject, email, version: ver } = holder;
    const options = { algorithm: 'HS256', audience: this.kind.audience, subject } as const;
    return {
      ticket: jwt.sign({ backup: backupId, email, ver, iat, exp }, this.key, options),
      expiresAt: new Date(exp * 1_000),
    };
  }

  /** @throws AppError of its kind, for a ticket that is not ours, has expired or is for another backup */
  verify(ticket: string, backupId: string): TicketHolder & { expiresAt: Date } {
    if (ticket.length > MAX_TICKET) throw this.kind.refused('is not valid');
    const { sub, email, ver, backup, exp } = this.read(ticket);
    if (backup !== backupId) throw this.kind.refused('is for another backup');
    if (typeof sub !== 'string' || typeof email !== 'string' || typeof exp !== 'number')
      throw this.kind.refused('is not valid');
    return { id: sub, email, version: typeof ver === 'number' ? ver : null, expiresAt: new Date(exp * 1_000) };
  }

  private read(ticket: string): jwt.JwtPayload {
    const clockTimestamp = Math.floor(this.now().getTime() / 1_000);
    try {
      const { header, payload } = jwt.verify(ticket, this.key, {
        algorithms: ['HS256'],
        audience: this.kind.audience,
        clockTimestamp,
        complete: true,
      });
      if ('crit' in header || typeof payload === 'string') throw this.kind.refused('is not valid');
      return payload;
    } catch (error) {
      if (error instanceof jwt.TokenExpiredError) throw this.kind.refused('has expired', error);
      if (error instanceof jwt.JsonWebTokenError) throw this.kind.refused('is not valid', error);
      throw error;
    }
  }
}

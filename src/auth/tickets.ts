import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { AppError } from '../errors.js';

/** How long a download may be begun with a ticket, in seconds. */
const LIFETIME = 300;
const AUDIENCE = 'db-manager:download';
const MAX_TICKET = 4_096;

/** Whom a ticket lets in. */
export interface TicketHolder {
  /** The user's id, or the subject of the host application's token. */
  id: string;
  email: string;
  /** Of the user's tokens; null for a user of the host application. */
  version: number | null;
}

/**
 * Tickets: what a link carries in place of a token, good for the download of one backup and for a short time. They are
 * signed with a key of their own, derived from the secret, so that a ticket is never a token and a token never a ticket;
 * every node that shares the secret takes them.
 */
export class Tickets {
  private readonly key: KeyObject;

  constructor(
    secret: string,
    private readonly now: () => Date,
  ) {
    if (secret === '') throw new AppError('CONFIG_INVALID', 'The secret that signs tickets and tokens is empty.');
    this.key = createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', AUDIENCE, 32)));
  }

  /** @param until the ticket never lives longer than this: the end of the holder's token */
  issue(holder: TicketHolder, backupId: string, until: Date): { ticket: string; expiresAt: Date } {
    const iat = Math.floor(this.now().getTime() / 1_000);
    const exp = Math.min(iat + LIFETIME, Math.floor(until.getTime() / 1_000));
    const { id: subject, email, version: ver } = holder;
    const options = { algorithm: 'HS256', audience: AUDIENCE, subject } as const;
    return {
      ticket: jwt.sign({ backup: backupId, email, ver, iat, exp }, this.key, options),
      expiresAt: new Date(exp * 1_000),
    };
  }

  /** @throws AppError UNAUTHENTICATED for a ticket that is not ours, has expired or is for another backup */
  verify(ticket: string, backupId: string): TicketHolder & { expiresAt: Date } {
    if (ticket.length > MAX_TICKET) throw refused('is not valid');
    const { sub, email, ver, backup, exp } = this.read(ticket);
    if (backup !== backupId) throw refused('is for another backup');
    if (typeof sub !== 'string' || typeof email !== 'string' || typeof exp !== 'number') throw refused('is not valid');
    return { id: sub, email, version: typeof ver === 'number' ? ver : null, expiresAt: new Date(exp * 1_000) };
  }

  private read(ticket: string): jwt.JwtPayload {
    const clockTimestamp = Math.floor(this.now().getTime() / 1_000);
    try {
      const { header, payload } = jwt.verify(ticket, this.key, {
        algorithms: ['HS256'],
        audience: AUDIENCE,
        clockTimestamp,
        complete: true,
      });
      if ('crit' in header || typeof payload === 'string') throw refused('is not valid');
      return payload;
    } catch (error) {
      if (error instanceof jwt.TokenExpiredError) throw refused('has expired', error);
      if (error instanceof jwt.JsonWebTokenError) throw refused('is not valid', error);
      throw error;
    }
  }
}

function refused(why: string, cause?: unknown): AppError {
  return new AppError('UNAUTHENTICATED', `The download link ${why}.`, {
    hint: 'Make a new link, createDownloadLink(id), and begin the download within five minutes.',
    cause,
  });
}

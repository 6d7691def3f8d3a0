import type { Audit } from '../core/audit.js';
import { AppError, badInput } from '../errors.js';
import type { Models, UserRow } from '../models/index.js';
import { LoginLimit } from './login-limit.js';
import { Tickets } from './tickets.js';
import { Tokens, type TokenSettings } from './tokens.js';
import { canonical, Users } from './users.js';

export { Users };
export type { TokenSettings };

/** Who a request comes from. */
export interface Actor {
  /** The user's id, or the subject of the host application's token. */
  id: string;
  /** The name that the records show. */
  email: string;
  role: string;
  admin: boolean;
  /** Of the user's tokens: those of another version are refused. Null for a user of the host application. */
  version: number | null;
  /** From then on the token is refused. */
  expiresAt: Date;
}

/** A login that succeeded. */
export interface Session {
  token: string;
  expiresAt: Date;
  user: Actor;
}

/** Says who may enter: checks logins and tokens. What an actor may do, the guards of each transport decide with `requireAdmin`. */
export class Auth {
  readonly users: Users;
  private readonly tokens: Tokens;
  private readonly tickets: Tickets;
  private readonly limit: LoginLimit;

  constructor(
    models: Models,
    settings: TokenSettings,
    private readonly audit: Audit,
    now: () => Date,
  ) {
    this.users = new Users(models, now);
    this.tokens = new Tokens(settings, now);
    this.tickets = new Tickets(settings.secret, now);
    this.limit = new LoginLimit(models.sequelize);
  }

  /**
   * @param address where the request comes from, for the limit on failed logins
   * @throws AppError UNAUTHENTICATED, RATE_LIMITED
   */
  async login(email: string, password: string, address: string): Promise<Session> {
    const name = canonical(email).slice(0, 320);
    const succeeded = await this.limit.begin(name, address);
    const user = await this.users.check(name, password);
    if (user === null) {
      throw new AppError('UNAUTHENTICATED', 'E-mail or password is wrong.', {
        hint: 'Check both. The first admin and its password were printed when the server first started.',
      });
    }
    await succeeded();
    await this.audit.record(user.email, 'session.login', user.id, { address });
    return this.sessionOf(user);
  }

  /**
   * Changes the actor's own password. Every token of the user stops working, so the answer holds a new one.
   * @param address where the request comes from, for the limit on wrong passwords
   * @throws AppError BAD_USER_INPUT naming the field, FORBIDDEN for a user of the host application, RATE_LIMITED
   */
  async changeOwnPassword(actor: Actor, current: string, next: string, address: string): Promise<Session> {
    if (actor.version === null) {
      throw new AppError('FORBIDDEN', `${actor.email} has no password here.`, {
        hint: 'Change the password in the application that issued the token.',
      });
    }
    const succeeded = await this.limit.begin(canonical(actor.email), address);
    if ((await this.users.check(actor.email, current)) === null) {
      throw badInput(
        'currentPassword',
        'is not the password of this user.',
        'Type the password that you signed in with.',
      );
    }
    await succeeded();
    const user = await this.users.changePassword(Number(actor.id), next, 'newPassword');
    await this.audit.record(user.email, 'user.password', user.id, { email: user.email });
    return this.sessionOf(user);
  }

  /** Removes a user. @throws AppError NOT_FOUND, BAD_USER_INPUT for the last admin */
  async removeUser(id: number, actor: string): Promise<UserRow> {
    const user = await this.users.remove(id);
    await this.audit.record(actor, 'user.remove', user.id, { email: user.email });
    return user;
  }

  /** A session for a user whose identity is known otherwise: the command line on the same machine. */
  sessionOf(user: UserRow): Session {
    const { token, expiresAt } = this.tokens.issue(user);
    return { token, expiresAt, user: actorOf(user, expiresAt) };
  }

  /**
   * Who the `Authorization` header speaks for.
   * @param header `Bearer <token>`, or the token alone
   * @throws AppError UNAUTHENTICATED
   */
  async authenticate(header: string | undefined): Promise<Actor> {
    const token = header?.replace(/^Bearer +/i, '').trim() ?? '';
    if (token === '') throw new AppError('UNAUTHENTICATED', 'The request carries no token.');
    const claims = this.tokens.verify(token);
    if (claims.kind === 'host') {
      const { subject: id, email, admin, expiresAt } = claims;
      return { id, email, role: admin ? 'ADMIN' : 'USER', admin, version: null, expiresAt };
    }
    return this.userOf('token', claims.userId, claims.version, claims.expiresAt);
  }

  /**
   * A ticket that lets an admin begin the download of one backup, without a token, for five minutes. The audit trail shows
   * who had it made, so that a link that went astray can be traced.
   * @param actor who asks for it, an admin
   */
  async issueTicket(actor: Actor, backupId: string): Promise<{ ticket: string; expiresAt: Date }> {
    const issued = this.tickets.issue(actor, backupId, actor.expiresAt);
    await this.audit.record(actor.email, 'backup.link', backupId, { until: issued.expiresAt.toISOString() });
    return issued;
  }

  /** Who a ticket speaks for, and still may. @throws AppError UNAUTHENTICATED */
  async authenticateTicket(ticket: string, backupId: string): Promise<Actor> {
    const { id, email, version, expiresAt } = this.tickets.verify(ticket, backupId);
    // For a user of the host application only the token says whether they are an admin; it was one a moment ago.
    if (version === null) return { id, email, role: 'ADMIN', admin: true, version, expiresAt };
    return this.userOf('download link', Number(id), version, expiresAt);
  }

  private async userOf(what: string, id: number, version: number, expiresAt: Date): Promise<Actor> {
    const user = await this.users.find(id);
    if (user !== null && user.tokenVersion === version) return actorOf(user, expiresAt);
    throw new AppError('UNAUTHENTICATED', `The ${what} was revoked: its user is gone or has another password now.`);
  }
}

/** @throws AppError FORBIDDEN */
export function requireAdmin(actor: Actor): Actor {
  if (actor.admin) return actor;
  throw new AppError('FORBIDDEN', `${actor.email} is not an admin.`);
}

function actorOf({ id, email, role, tokenVersion }: UserRow, expiresAt: Date): Actor {
  return { id: String(id), email, role, admin: role === 'ADMIN', version: tokenVersion, expiresAt };
}

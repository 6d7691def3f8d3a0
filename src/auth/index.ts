import type { Audit } from '../core/audit.js';
import { AppError, badInput } from '../errors.js';
import type { ApiTokenRow, Models, Scope, UserRow } from '../models/index.js';
import { type ApiTokenInput, ApiTokens } from './api-tokens.js';
import { LoginLimit } from './login-limit.js';
import { CONFIRMATION, CONFIRMATION_HEADER, DOWNLOAD, notConfirmed, Tickets } from './tickets.js';
import { Tokens, type TokenSettings } from './tokens.js';
import { canonical, Users } from './users.js';

export { CONFIRMATION_HEADER, Users };
export type { ApiTokenInput, Scope };

/** Which tokens are trusted, and whether they suffice. */
export type AuthSettings = TokenSettings & {
  /** Whether people must type their password again before they delete or restore. */
  confirmWithPassword: boolean;
};

const DAY = 86_400_000;
/** How the id of an actor begins that is an API token. */
const TOKEN = 'token:';

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
  /** What an API token may be used for; null for a person, who may do everything. */
  scopes: readonly Scope[] | null;
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
  private readonly apiTokens: ApiTokens;
  private readonly tickets: Tickets;
  private readonly confirmations: Tickets;
  private readonly limit: LoginLimit;

  constructor(
    models: Models,
    private readonly settings: AuthSettings,
    private readonly audit: Audit,
    private readonly now: () => Date,
  ) {
    this.users = new Users(models, now);
    this.tokens = new Tokens(settings, now);
    this.apiTokens = new ApiTokens(models, now);
    this.tickets = new Tickets(settings.secret, DOWNLOAD, now);
    this.confirmations = new Tickets(settings.secret, CONFIRMATION, now);
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
      throw noPassword(actor, 'Change the password in the application that issued the token.');
    }
    if (!(await this.hasPassword(actor, current, address))) throw wrongPassword('currentPassword');
    const user = await this.users.changePassword(Number(actor.id), next, 'newPassword');
    await this.audit.record(user.email, 'user.password', user.id, { email: user.email });
    return this.sessionOf(user);
  }

  /**
   * Shows that the actor is still the person who signed in.
   * @param address where the request comes from, for the limit on wrong passwords
   * @returns what goes into the header `X-Confirmation` for five minutes
   * @throws AppError BAD_USER_INPUT naming `password`, FORBIDDEN for an API token and a user of the host application,
   * RATE_LIMITED
   */
  async confirmPassword(actor: Actor, password: string, address: string): Promise<{ token: string; expiresAt: Date }> {
    if (actor.version === null) {
      throw noPassword(
        actor,
        actor.scopes === null ? OTHERWISE : 'An API token needs no confirmation, only its scope.',
      );
    }
    const isRight = await this.hasPassword(actor, password, address);
    const action = isRight ? 'session.confirm' : 'session.confirm-failed';
    await this.audit.record(actor.email, action, actor.id, { address });
    if (!isRight) throw wrongPassword('password');
    const { ticket: token, expiresAt } = this.confirmations.issue(actor, '', actor.expiresAt);
    return { token, expiresAt };
  }

  /**
   * Before something is deleted or restored. A program cannot type: what it may do, its scope says.
   * @param confirmation of the request's header
   * @throws AppError CONFIRMATION_REQUIRED; FORBIDDEN for a user of the host application
   */
  assertConfirmed(actor: Actor, confirmation: string | undefined): void {
    if (!this.settings.confirmWithPassword || actor.scopes !== null) return;
    if (actor.version === null) throw noPassword(actor, OTHERWISE);
    if (confirmation === undefined) {
      throw notConfirmed('The server asks for the password again before anything is deleted or restored.');
    }
    const { id, version } = this.confirmations.verify(confirmation, '');
    if (id !== actor.id || version !== actor.version) throw notConfirmed('The confirmation is of another user.');
  }

  /** Counts a wrong password as a failed login. @throws AppError RATE_LIMITED */
  private async hasPassword({ email }: Actor, password: string, address: string): Promise<boolean> {
    const succeeded = await this.limit.begin(canonical(email), address);
    if ((await this.users.check(email, password)) === null) return false;
    await succeeded();
    return true;
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
    if (this.apiTokens.isOne(token)) return this.programOf(await this.apiTokens.use(token));
    const claims = this.tokens.verify(token);
    if (claims.kind === 'host') {
      const { subject: id, email, admin, expiresAt } = claims;
      return { id, email, role: admin ? 'ADMIN' : 'USER', admin, version: null, expiresAt, scopes: null };
    }
    return this.userOf('token', claims.userId, claims.version, claims.expiresAt);
  }

  /** All API tokens, the newest first. */
  listApiTokens(): Promise<ApiTokenRow[]> {
    return this.apiTokens.list();
  }

  /**
   * Makes an API token.
   * @param actor who makes it: a person
   * @returns the token, which nobody can read again
   * @throws AppError FORBIDDEN for an API token, which would give itself more; BAD_USER_INPUT naming the field
   */
  async createApiToken(input: ApiTokenInput, actor: Actor): Promise<{ token: string; row: ApiTokenRow }> {
    if (actor.scopes !== null) {
      throw new AppError('FORBIDDEN', 'An API token cannot make API tokens.', {
        hint: 'Sign in as an admin, or use `db-manager tokens add` on the server.',
      });
    }
    const id = actor.version === null ? null : Number(actor.id);
    return this.addApiToken(input, { id, email: actor.email });
  }

  /** As `createApiToken`, for a maker whose identity is known otherwise: the command line on the same machine. */
  async addApiToken(
    input: ApiTokenInput,
    maker: { id: number | null; email: string },
  ): Promise<{ token: string; row: ApiTokenRow }> {
    const made = await this.apiTokens.create(input, maker);
    const { name, scopes, expiresAt } = made.row;
    await this.audit.record(maker.email, 'api-token.create', String(made.row.id), { name, scopes, expiresAt });
    return made;
  }

  /** An API token stops working. @throws AppError NOT_FOUND */
  async revokeApiToken(id: number, actor: string): Promise<ApiTokenRow> {
    const row = await this.apiTokens.revoke(id);
    await this.audit.record(actor, 'api-token.revoke', String(id), { name: row.name });
    return row;
  }

  /** Whom an API token stands for. A connection that stays open is looked at again within a day. */
  private programOf({ id, name, createdBy, scopes, expiresAt }: ApiTokenRow): Actor {
    const tomorrow = new Date(this.now().getTime() + DAY);
    return {
      id: `${TOKEN}${id}`,
      email: `${createdBy} (token ${name})`.slice(0, 320),
      role: 'ADMIN',
      admin: true,
      version: null,
      expiresAt: expiresAt !== null && expiresAt < tomorrow ? expiresAt : tomorrow,
      scopes,
    };
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
    if (id.startsWith(TOKEN)) return this.programOf(await this.apiTokens.get(Number(id.slice(TOKEN.length))));
    if (version === null) return { id, email, role: 'ADMIN', admin: true, version, expiresAt, scopes: ['READ'] };
    return this.userOf('download link', Number(id), version, expiresAt);
  }

  private async userOf(what: string, id: number, version: number, expiresAt: Date): Promise<Actor> {
    const user = await this.users.find(id);
    if (user !== null && user.tokenVersion === version) return actorOf(user, expiresAt);
    throw new AppError('UNAUTHENTICATED', `The ${what} was revoked: its user is gone or has another password now.`);
  }
}

/**
 * @param scope what an API token needs; null where any may enter
 * @throws AppError FORBIDDEN
 */
export function requireAdmin(actor: Actor, scope: Scope | null): Actor {
  if (!actor.admin) throw new AppError('FORBIDDEN', `${actor.email} is not an admin.`);
  if (scope === null || actor.scopes === null || actor.scopes.includes(scope)) return actor;
  throw new AppError('FORBIDDEN', `${actor.email} lacks the scope ${scope}.`, {
    hint: 'Make a token with the scopes that it needs.',
  });
}

/** Where one who signs in elsewhere can delete and restore all the same. */
const OTHERWISE =
  'CONFIRM_WITH_PASSWORD is set: sign in as a user of db-manager, use an API token, or the command line on the server.';

const noPassword = ({ email }: Actor, hint: string) =>
  new AppError('FORBIDDEN', `${email} has no password here.`, { hint });

const wrongPassword = (field: string) =>
  badInput(field, 'is not the password of this user.', 'Type the password that you signed in with.');

function actorOf({ id, email, role, tokenVersion }: UserRow, expiresAt: Date): Actor {
  const admin = role === 'ADMIN';
  return { id: String(id), email, role, admin, version: tokenVersion, expiresAt, scopes: null };
}

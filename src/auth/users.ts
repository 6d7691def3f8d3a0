import { literal, Transaction, UniqueConstraintError } from 'sequelize';
import { AppError, badInput } from '../errors.js';
import type { Models, UserRow } from '../models/index.js';
import { generatePassword, hashPassword, matchesPassword, NOBODY } from './passwords.js';

/** What a user may do: only an ADMIN may do anything but log in. */
export type Role = 'ADMIN' | 'USER';

/** Lengths that a password may have. The upper one keeps a request from being work without end. */
const MIN_PASSWORD = 12;
const MAX_PASSWORD = 1_000;

/** The people who can log in. */
export class Users {
  constructor(
    private readonly models: Models,
    private readonly now: () => Date,
  ) {}

  find(id: number): Promise<UserRow | null> {
    return this.models.User.findByPk(id);
  }

  findByEmail(email: string): Promise<UserRow | null> {
    return this.models.User.findOne({ where: { email: canonical(email) } });
  }

  /** The user with this e-mail and password, or null; takes equally long whether the e-mail is known or not. */
  async check(email: string, password: string): Promise<UserRow | null> {
    if (password.length > MAX_PASSWORD) return null;
    const row = await this.findByEmail(email);
    const matches = await matchesPassword(password, row?.passwordHash || NOBODY);
    return matches ? row : null;
  }

  /** @throws AppError BAD_USER_INPUT for a bad e-mail or password, or an e-mail that is taken */
  async create(email: string, password: string, role: Role): Promise<UserRow> {
    assertEmail(email);
    assertPassword(password);
    try {
      const passwordHash = await hashPassword(password);
      return await this.models.User.create({ email: canonical(email), passwordHash, role, createdAt: this.now() });
    } catch (error) {
      if (!(error instanceof UniqueConstraintError)) throw error;
      throw badInput('email', 'is the e-mail of another user.');
    }
  }

  /** All users, the first one first. */
  list(): Promise<UserRow[]> {
    return this.models.User.findAll({ order: [['id', 'ASC']] });
  }

  /**
   * Sets another password; every token that was given out before stops working.
   * @param field the input that a bad password is reported for
   * @throws AppError BAD_USER_INPUT, NOT_FOUND
   */
  async changePassword(id: number, password: string, field = 'password'): Promise<UserRow> {
    assertPassword(password, field);
    const passwordHash = await hashPassword(password);
    // In one statement: no crash leaves the new password with the old tokens.
    const values = { passwordHash, tokenVersion: literal('"tokenVersion" + 1') as unknown as number };
    const [changed] = await this.models.User.update(values, { where: { id } });
    const row = changed === 0 ? null : await this.find(id);
    if (row === null) throw noUser(id);
    return row;
  }

  /**
   * Removes a user, whose tokens, API tokens and download links stop working with it. The last admin stays, also where two admins
   * remove each other at the same time.
   * @throws AppError NOT_FOUND, BAD_USER_INPUT naming `id`
   */
  async remove(id: number): Promise<UserRow> {
    return this.models.sequelize.transaction({ type: Transaction.TYPES.IMMEDIATE }, async (transaction) => {
      // The lock holds on PostgreSQL; a SQLite transaction of this type has the file to itself.
      const options = { transaction, lock: true as const };
      const admins = await this.models.User.findAll({ where: { role: 'ADMIN' }, order: [['id', 'ASC']], ...options });
      const row = await this.models.User.findByPk(id, options);
      if (row === null) throw noUser(id);
      const others = admins.filter((admin) => admin.id !== id);
      if (row.role === 'ADMIN' && others.length === 0) {
        throw badInput('id', `${row.email} is the last admin.`, 'Make another admin first, then remove this one.');
      }
      await this.models.ApiToken.destroy({ where: { userId: id }, transaction });
      await row.destroy({ transaction });
      return row;
    });
  }

  /**
   * Makes sure that an admin can sign in, at every start. With an e-mail address there is an admin of that address whose
   * password is the given one; the account that an earlier start made on its own then becomes theirs. Without one there is
   * the account that is made on its own, unless there is a user already. Several processes may start at once.
   * @param password undefined: one is generated where an account is made
   */
  async ensureAdmin(email: string | undefined, password: string | undefined): Promise<AdminAccount> {
    if (email === undefined) {
      const present = await this.firstAdmin();
      return present === null ? this.provide(OWN_ADMIN, undefined) : unchanged(present);
    }
    const present = await this.findByEmail(email);
    return present === null ? this.provide(email, password) : this.bringUpToDate(present, password);
  }

  /** The admin who has been there longest, or null. */
  firstAdmin(): Promise<UserRow | null> {
    return this.models.User.findOne({ where: { role: 'ADMIN' }, order: [['id', 'ASC']] });
  }

  /** An account for this address, which is still free: the one that was made on its own, renamed, or a new one. */
  private async provide(email: string, password: string | undefined): Promise<AdminAccount> {
    assertEmail(email);
    const chosen = password ?? generatePassword();
    assertPassword(chosen);
    const passwordHash = await hashPassword(chosen);
    const generated = password === undefined ? chosen : null;
    try {
      const name = canonical(email);
      if (name !== OWN_ADMIN && (await this.renameOwnAdmin(name, passwordHash))) {
        return { email: name, generated, change: 'renamed' };
      }
      await this.models.User.create({ email: name, passwordHash, role: 'ADMIN', createdAt: this.now() });
      return { email: name, generated, change: 'created' };
    } catch (error) {
      // Another process was faster.
      const present = error instanceof UniqueConstraintError ? await this.findByEmail(email) : null;
      if (present === null) throw error;
      return this.bringUpToDate(present, password);
    }
  }

  /** Its old password and its tokens stop working. @returns false if there is no such account */
  private async renameOwnAdmin(email: string, passwordHash: string): Promise<boolean> {
    const tokenVersion = literal('"tokenVersion" + 1');
    const [renamed] = await this.models.User.update(
      { email, passwordHash, role: 'ADMIN', tokenVersion },
      { where: { email: OWN_ADMIN } },
    );
    return renamed > 0;
  }

  private async bringUpToDate(user: UserRow, password: string | undefined): Promise<AdminAccount> {
    const { email } = user;
    if (user.role !== 'ADMIN') await user.update({ role: 'ADMIN' });
    if (password === undefined || (await matchesPassword(password, user.passwordHash))) return unchanged(user);
    await this.changePassword(user.id, password);
    return { email, generated: null, change: 'password' };
  }
}

/** The account that a first start makes on its own. */
const OWN_ADMIN = 'admin@localhost';

/** The admin that a start has made sure of. */
export interface AdminAccount {
  email: string;
  /** The generated password, which is nowhere else; null if none was generated. */
  generated: string | null;
  /** What was done: `renamed` is the account that an earlier start had made on its own. Null: nothing. */
  change: 'created' | 'renamed' | 'password' | null;
}

const unchanged = ({ email }: UserRow): AdminAccount => ({ email, generated: null, change: null });

/** An e-mail as it is stored and looked up. */
export function canonical(email: string): string {
  return email.trim().toLowerCase();
}

function assertEmail(email: string): void {
  if (canonical(email).length > 320 || !/^[^\s@]+@[^\s@]+$/.test(canonical(email))) {
    throw badInput('email', 'is not an e-mail address.');
  }
}

function assertPassword(password: string, field = 'password'): void {
  if (password.length < MIN_PASSWORD || password.length > MAX_PASSWORD) {
    throw badInput(field, `must have ${MIN_PASSWORD} to ${MAX_PASSWORD} characters.`);
  }
}

function noUser(id: number): AppError {
  return new AppError('NOT_FOUND', `There is no user ${id}.`, { hint: 'List the users and use an id from the list.' });
}

import { UniqueConstraintError } from 'sequelize';
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
    const matches = await matchesPassword(password, row?.passwordHash ?? NOBODY);
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

  /** Sets another password; every token that was given out before stops working. */
  async changePassword(id: number, password: string): Promise<UserRow> {
    assertPassword(password);
    const row = await this.find(id);
    if (row === null) throw new AppError('NOT_FOUND', `There is no user ${id}.`);
    await row.update({ passwordHash: await hashPassword(password) });
    await row.increment('tokenVersion');
    return row.reload();
  }

  /**
   * Makes the first admin where there is no user yet; two processes that start at once make one.
   * @param password undefined: one is generated
   * @returns the generated password, which is nowhere else; null if none was generated
   */
  async ensureFirstAdmin(email: string, password: string | undefined): Promise<string | null> {
    if ((await this.models.User.count()) > 0) return null;
    const chosen = password ?? generatePassword();
    try {
      await this.create(email, chosen, 'ADMIN');
    } catch (error) {
      if (error instanceof AppError && (await this.models.User.count()) > 0) return null;
      throw error;
    }
    return password === undefined ? chosen : null;
  }
}

/** An e-mail as it is stored and looked up. */
export function canonical(email: string): string {
  return email.trim().toLowerCase();
}

function assertEmail(email: string): void {
  if (canonical(email).length > 320 || !/^[^\s@]+@[^\s@]+$/.test(canonical(email))) {
    throw badInput('email', 'is not an e-mail address.');
  }
}

function assertPassword(password: string): void {
  if (password.length < MIN_PASSWORD || password.length > MAX_PASSWORD) {
    throw badInput('password', `must have ${MIN_PASSWORD} to ${MAX_PASSWORD} characters.`);
  }
}

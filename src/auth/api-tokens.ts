import { createHash, randomBytes } from 'node:crypto';
import { Op, UniqueConstraintError } from 'sequelize';
import { AppError, badInput } from '../errors.js';
import { type ApiTokenRow, type Models, type Scope, SCOPES } from '../models/index.js';

/** How every token begins, so that it is told from a JWT, and found by programs that look for leaked secrets. */
const PREFIX = 'dbm_';
/** Random bytes of a token. */
const BYTES = 32;
const LONGEST_NAME = 100;
/** How exact the time of the last use is, in milliseconds: a row is not written for every request. */
const USE_NOTED = 60_000;

/** A token that is to be made. */
export interface ApiTokenInput {
  name: string;
  scopes: readonly Scope[];
  /** Null: it does not expire. */
  expiresAt: Date | null;
}

/** Tokens that programs use in place of a login. Only their hashes are kept. */
export class ApiTokens {
  constructor(
    private readonly models: Models,
    private readonly now: () => Date,
  ) {}

  /** True for what has the form of such a token. */
  isOne(token: string): boolean {
    return token.startsWith(PREFIX);
  }

  /**
   * @param maker who makes it; `id` of a user here, or null
   * @returns the token, which nobody can read again
   * @throws AppError BAD_USER_INPUT naming `name`, `scopes` or `expiresAt`
   */
  async create(
    { name, scopes, expiresAt }: ApiTokenInput,
    maker: { id: number | null; email: string },
  ): Promise<{ token: string; row: ApiTokenRow }> {
    const title = name.trim();
    if (title === '' || title.length > LONGEST_NAME) throw badInput('name', `needs 1 to ${LONGEST_NAME} characters.`);
    const chosen = SCOPES.filter((scope) => scopes.includes(scope));
    if (chosen.length === 0) throw badInput('scopes', 'is empty.', `Name at least one: ${SCOPES.join(', ')}.`);
    const createdAt = this.now();
    if (expiresAt !== null && expiresAt <= createdAt) throw badInput('expiresAt', 'is in the past.');
    const token = `${PREFIX}${randomBytes(BYTES).toString('base64url')}`;
    try {
      const row = await this.models.ApiToken.create({
        name: title,
        scopes: chosen,
        tokenHash: hashOf(token),
        userId: maker.id,
        createdBy: maker.email,
        createdAt,
        expiresAt,
      });
      return { token, row };
    } catch (error) {
      if (!(error instanceof UniqueConstraintError)) throw error;
      throw badInput('name', 'is the name of another token.', 'Choose another one, or revoke that one first.');
    }
  }

  /** All tokens, the newest first. */
  list(): Promise<ApiTokenRow[]> {
    return this.models.ApiToken.findAll({ order: [['id', 'DESC']] });
  }

  /** @throws AppError NOT_FOUND */
  async revoke(id: number): Promise<ApiTokenRow> {
    const row = await this.models.ApiToken.findByPk(id);
    if (row === null) throw new AppError('NOT_FOUND', `There is no API token ${id}.`);
    await row.destroy();
    return row;
  }

  /** The row of a token that may be used now, by its id. @throws AppError UNAUTHENTICATED */
  async get(id: number): Promise<ApiTokenRow> {
    return this.valid(await this.models.ApiToken.findByPk(id));
  }

  private valid(row: ApiTokenRow | null): ApiTokenRow {
    if (row === null) throw new AppError('UNAUTHENTICATED', 'The API token is not valid, or was revoked.');
    if (row.expiresAt === null || row.expiresAt > this.now()) return row;
    throw new AppError('UNAUTHENTICATED', `The API token "${row.name}" has expired.`, { hint: 'Make a new one.' });
  }

  /**
   * The row of a token that may be used now, whose use is noted.
   * @throws AppError UNAUTHENTICATED
   */
  async use(token: string): Promise<ApiTokenRow> {
    const row = this.valid(await this.models.ApiToken.findOne({ where: { tokenHash: hashOf(token) } }));
    const now = this.now();
    const { id, lastUsedAt } = row;
    const before = new Date(now.getTime() - USE_NOTED);
    if (lastUsedAt === null || lastUsedAt === undefined || lastUsedAt <= before) {
      // Only where nobody else has: many requests come at once.
      const unnoted = { [Op.or]: [{ lastUsedAt: null }, { lastUsedAt: { [Op.lte]: before } }] };
      await this.models.ApiToken.update({ lastUsedAt: now }, { where: { id, ...unnoted } });
    }
    return row;
  }
}

const hashOf = (token: string) => createHash('sha256').update(token).digest('hex');

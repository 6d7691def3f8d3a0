import { QueryTypes, type Sequelize } from 'sequelize';
import { AppError, errnoOf } from '../errors.js';
import { clockOf } from '../models/leases.js';

const WINDOW_MS = 15 * 60_000;
/** How many keys are remembered; the oldest go first, so that an attacker cannot fill the disk. */
const MAX_KEYS = 10_000;

/**
 * Bounds failed logins: per e-mail against guessing one password, per address against trying many e-mails.
 * A try is counted before the password is checked, so that tries at the same time do not slip through, and taken back
 * when it succeeds. Kept in the control database: all processes count together, and a restart forgets nothing. When the
 * database does not answer, `begin` fails, so that no password is checked. While its disk is full, each process counts in
 * its own memory: an admin must be able to sign in then, to make room.
 */
export class LoginLimit {
  private readonly now: string;
  /** A row counts. One that ends later than a window from now was written before the clock was set back. */
  private readonly live: string;

  /** By key, while the database's disk is full. `until` in milliseconds since 1970. */
  private readonly memory = new Map<string, { tries: number; until: number }>();

  constructor(
    private readonly sequelize: Sequelize,
    private readonly perEmail = 10,
    private readonly perAddress = 50,
  ) {
    this.now = clockOf(sequelize);
    this.live = `login_limits."expiresAt" BETWEEN ${this.now} AND ${this.now} + ${WINDOW_MS}`;
  }

  /** Counts a try. @returns takes it back @throws AppError RATE_LIMITED with the time to wait */
  async begin(email: string, address: string): Promise<() => Promise<void>> {
    const limits = [
      { key: `email:${email}`, limit: this.perEmail },
      { key: `address:${address.slice(0, 64)}`, limit: this.perAddress },
    ];
    const undo: (() => Promise<void>)[] = [];
    const takeBack = async () => {
      for (const undoOne of undo) await undoOne();
    };
    for (const { key, limit } of limits) {
      const { tries, wait, takeBack: undoOne } = await this.tryOf(key);
      undo.push(undoOne);
      if (tries <= limit) continue;
      // Refused tries do not count: they would use up the limit of the other key.
      await takeBack();
      throw limited(wait);
    }
    return takeBack;
  }

  private async tryOf(key: string): Promise<{ tries: number; wait: number; takeBack: () => Promise<void> }> {
    try {
      return { ...(await this.count(key)), takeBack: () => this.takeBack(key) };
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      const entry = this.countInMemory(key);
      return { ...entry, takeBack: async () => void (entry.counter.tries -= 1) };
    }
  }

  /**
   * Counts one more. One row a statement: two processes never wait for each other's second row. `WITH`, because Sequelize
   * returns no rows of a statement that begins with INSERT.
   */
  private async count(key: string): Promise<{ tries: number; wait: number }> {
    const rows = await this.sequelize.query<{ tries: number; wait: number | string }>(
      `WITH attempt (name, until) AS (SELECT :key, ${this.now} + ${WINDOW_MS})
       INSERT INTO login_limits (key, tries, "expiresAt") SELECT name, 1, until FROM attempt WHERE TRUE
       ON CONFLICT (key) DO UPDATE SET
         tries = CASE WHEN ${this.live} THEN login_limits.tries + 1 ELSE 1 END,
         "expiresAt" = CASE WHEN ${this.live} THEN login_limits."expiresAt" ELSE excluded."expiresAt" END
       RETURNING tries, "expiresAt" - ${this.now} AS wait`,
      { replacements: { key }, type: QueryTypes.SELECT },
    );
    const [row] = rows;
    if (row === undefined) throw new AppError('INTERNAL_ERROR', 'The control database did not count a login.');
    if (row.tries === 1) await this.sweep();
    return { tries: row.tries, wait: Number(row.wait) };
  }

  private async takeBack(key: string): Promise<void> {
    const sql = 'UPDATE login_limits SET tries = tries - 1 WHERE key = :key AND tries > 0';
    try {
      await this.sequelize.query(sql, { replacements: { key } });
    } catch (error) {
      // The try stays counted; the login itself succeeded.
      if (!isDiskFull(error)) throw error;
    }
  }

  private countInMemory(key: string) {
    const now = Date.now();
    const found = this.memory.get(key);
    const counter = found !== undefined && found.until > now ? found : { tries: 0, until: now + WINDOW_MS };
    counter.tries += 1;
    this.memory.delete(key);
    this.memory.set(key, counter);
    for (const oldest of this.memory.keys()) {
      if (this.memory.size <= MAX_KEYS) break;
      this.memory.delete(oldest);
    }
    return { tries: counter.tries, wait: counter.until - now, counter };
  }

  /** Removes what no longer counts, and the oldest beyond the bound. */
  private async sweep(): Promise<void> {
    await this.sequelize.query(
      `DELETE FROM login_limits WHERE NOT (${this.live}) OR "expiresAt" <
         (SELECT "expiresAt" FROM login_limits ORDER BY "expiresAt" DESC LIMIT 1 OFFSET ${MAX_KEYS - 1})`,
    );
  }
}

/** SQLite's and PostgreSQL's codes for a disk without space. */
function isDiskFull(error: unknown): boolean {
  const code = errnoOf((error as { original?: unknown }).original) ?? '';
  return ['SQLITE_FULL', '53100', 'ENOSPC'].includes(code);
}

function limited(waitMs: number): AppError {
  const minutes = Math.ceil(waitMs / 60_000);
  return new AppError('RATE_LIMITED', `Too many failed logins. Try again in ${minutes} minute(s).`);
}

import { QueryTypes, type Sequelize, type Transaction } from 'sequelize';

/** A lifetime longer than any, for rows of versions that did not note theirs, in milliseconds. */
const LONGEST = 3_600_000;
/** How far the clock may be set back before its leases look as if they were written in the future, in milliseconds. */
const SLACK = 5_000;
/** A jump of the clock against the steady one of the process, in milliseconds. */
const JUMP = 1_000;
/** After a jump every living holder renews within this time, in milliseconds. */
const RENEWED_WITHIN = 3_000;

/**
 * Named locks with an end, in the control database. A process that dies keeps its leases only until they run out.
 * The database's clock alone decides, so processes on machines whose clocks differ agree. When that clock jumps, leases seem
 * to have run out, or to run for hours: a holder that was not replaced simply renews, one whose end lies further away than its
 * lifetime counts as lapsed, and a process that sees the jump gives the others time to renew before it takes anything over.
 */
export class Leases {
  private readonly now: string;
  private offset = clockOffset();
  private unsteadyUntil = 0;

  constructor(private readonly sequelize: Sequelize) {
    this.now = clockOf(sequelize);
  }

  /** Takes the lease if it is free, has lapsed, or is already this holder's. `ttl` in milliseconds. */
  async acquire(name: string, holder: string, ttl: number): Promise<boolean> {
    await this.sequelize.query(
      `INSERT INTO leases (name, holder, "expiresAt", lifetime) VALUES (:name, :holder, ${this.now} + :ttl, :ttl)
       ON CONFLICT (name) DO UPDATE
         SET holder = excluded.holder, "expiresAt" = excluded."expiresAt", lifetime = excluded.lifetime
       WHERE NOT (${this.live(':ttl')}) OR leases.holder = excluded.holder`,
      { replacements: { name, holder, ttl } },
    );
    return (await this.holderOf(name)) === holder;
  }

  /** Renews all leases of the holder that were not taken over, lapsed ones included. @returns how many */
  async renew(holder: string, ttl: number): Promise<number> {
    const rows = await this.sequelize.query<{ name: string }>(
      `UPDATE leases SET "expiresAt" = ${this.now} + :ttl, lifetime = :ttl WHERE holder = :holder RETURNING name`,
      { replacements: { holder, ttl }, type: QueryTypes.SELECT },
    );
    return rows.length;
  }

  /** Gives all leases of the holder back. */
  async release(holder: string): Promise<void> {
    await this.sequelize.query('DELETE FROM leases WHERE holder = :holder', { replacements: { holder } });
  }

  /** The names of all leases that begin so and have not lapsed. */
  async liveNames(prefix: string): Promise<string[]> {
    const rows = await this.sequelize.query<{ name: string }>(
      `SELECT name FROM leases WHERE name LIKE :pattern AND ${this.live()}`,
      { replacements: { pattern: `${prefix}%` }, type: QueryTypes.SELECT },
    );
    return rows.map((row) => row.name);
  }

  /** Who holds the lease now, or null. */
  async holderOf(name: string, transaction?: Transaction): Promise<string | null> {
    const [row] = await this.sequelize.query<{ holder: string }>(
      `SELECT holder FROM leases WHERE name = :name AND ${this.live()}`,
      { replacements: { name }, type: QueryTypes.SELECT, ...(transaction ? { transaction } : {}) },
    );
    return row?.holder ?? null;
  }

  /** The condition that a lease has not lapsed. @param lifetime of a row that did not note its own */
  private live(lifetime = String(LONGEST)): string {
    const offset = clockOffset();
    if (Math.abs(offset - this.offset) > JUMP) this.unsteadyUntil = performance.now() + RENEWED_WITHIN;
    this.offset = offset;
    if (performance.now() < this.unsteadyUntil) return '1 = 1';
    return `leases."expiresAt" BETWEEN ${this.now} AND ${this.now} + COALESCE(leases.lifetime, ${lifetime}) + ${SLACK}`;
  }
}

/** The database's clock as SQL, in milliseconds. */
export function clockOf(sequelize: Sequelize): string {
  return sequelize.getDialect() === 'postgres'
    ? `CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`
    : `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`;
}

/** Changes only when the clock is set: the steady one of the process is not. */
const clockOffset = () => Date.now() - performance.now();

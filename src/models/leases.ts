import { QueryTypes, type Sequelize, type Transaction } from 'sequelize';

/**
 * Named locks with an end, in the control database. A process that dies keeps its leases only until they run out.
 * The database's clock alone decides, so processes on machines whose clocks differ agree.
 */
export class Leases {
  private readonly now: string;

  constructor(private readonly sequelize: Sequelize) {
    this.now =
      sequelize.getDialect() === 'postgres'
        ? `CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`
        : `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`;
  }

  /** Takes the lease if it is free, has run out, or is already this holder's. `ttl` in milliseconds. */
  async acquire(name: string, holder: string, ttl: number): Promise<boolean> {
    await this.sequelize.query(
      `INSERT INTO leases (name, holder, "expiresAt") VALUES (:name, :holder, ${this.now} + :ttl)
       ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, "expiresAt" = excluded."expiresAt"
       WHERE leases."expiresAt" < ${this.now} OR leases.holder = excluded.holder`,
      { replacements: { name, holder, ttl } },
    );
    return (await this.holderOf(name)) === holder;
  }

  /** Prolongs all leases of the holder that it still has. @returns how many */
  async renew(holder: string, ttl: number): Promise<number> {
    const rows = await this.sequelize.query<{ name: string }>(
      `UPDATE leases SET "expiresAt" = ${this.now} + :ttl WHERE holder = :holder AND "expiresAt" >= ${this.now} RETURNING name`,
      { replacements: { holder, ttl }, type: QueryTypes.SELECT },
    );
    return rows.length;
  }

  /** Gives all leases of the holder back. */
  async release(holder: string): Promise<void> {
    await this.sequelize.query('DELETE FROM leases WHERE holder = :holder', { replacements: { holder } });
  }

  /** The names of all leases that begin so and have not run out. */
  async liveNames(prefix: string): Promise<string[]> {
    const rows = await this.sequelize.query<{ name: string }>(
      `SELECT name FROM leases WHERE name LIKE :pattern AND "expiresAt" >= ${this.now}`,
      { replacements: { pattern: `${prefix}%` }, type: QueryTypes.SELECT },
    );
    return rows.map((row) => row.name);
  }

  /** Who holds the lease now, or null. */
  async holderOf(name: string, transaction?: Transaction): Promise<string | null> {
    const [row] = await this.sequelize.query<{ holder: string }>(
      `SELECT holder FROM leases WHERE name = :name AND "expiresAt" >= ${this.now}`,
      { replacements: { name }, type: QueryTypes.SELECT, ...(transaction ? { transaction } : {}) },
    );
    return row?.holder ?? null;
  }
}

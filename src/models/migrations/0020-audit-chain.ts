import { DataTypes, QueryTypes } from 'sequelize';
import { FIRST_LINK, linkOf } from '../audit-chain.js';
import type { Migration } from './migration.js';

interface Row {
  id: number;
  at: string | Date;
  actor: string;
  action: string;
  subject: string | null;
  details: string | Record<string, unknown> | null;
}

const AT_ONCE = 1_000;

/** Each audit event carries the hash of the one before. */
export const auditChain: Migration = {
  name: '0020-audit-chain',
  async up({ sequelize, queryInterface, transaction }) {
    const hash = { type: DataTypes.STRING(64), allowNull: true };
    await queryInterface.addColumn('audit_events', 'previousHash', hash, { transaction });
    await queryInterface.addColumn('audit_events', 'hash', hash, { transaction });
    let previous = FIRST_LINK;
    for (let after = -1; ;) {
      const rows = await sequelize.query<Row>(
        `SELECT id, at, actor, action, subject, details FROM audit_events WHERE id > :after ORDER BY id LIMIT ${AT_ONCE}`,
        { type: QueryTypes.SELECT, replacements: { after }, transaction },
      );
      for (const { id, at, details, ...event } of rows) {
        const read = typeof details === 'string' ? (JSON.parse(details) as Record<string, unknown>) : (details ?? {});
        const link = linkOf(previous, { ...event, at: new Date(at), details: read });
        await sequelize.query(`UPDATE audit_events SET "previousHash" = :previous, hash = :link WHERE id = :id`, {
          replacements: { previous, link, id },
          transaction,
        });
        previous = link;
      }
      const last = rows.at(-1);
      if (last === undefined) break;
      after = last.id;
    }
    // Two events cannot follow the same one: of two processes that write at once, one has to read the newest again.
    await queryInterface.addIndex('audit_events', ['previousHash'], { unique: true, transaction });
  },
};

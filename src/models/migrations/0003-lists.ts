import type { Migration } from './migration.js';

/** The list by size gives backups without a file a place of their own, before the smallest: only this index serves it. */
export const lists: Migration = {
  name: '0003-lists',
  async up({ sequelize, transaction }) {
    const statements = [
      `CREATE INDEX backups_size ON backups (coalesce("fileSize", -1), id)`,
      `DROP INDEX backups_file_size_id`,
      `CREATE INDEX backups_type ON backups ("backupType", "createdAt", id)`,
      `CREATE INDEX restores_config ON restores ("configId", "createdAt", id)`,
      `CREATE INDEX audit_events_actor ON audit_events (actor, at, id)`,
      `CREATE INDEX audit_events_subject ON audit_events (subject, at, id)`,
    ];
    for (const statement of statements) await sequelize.query(statement, { transaction });
  },
};

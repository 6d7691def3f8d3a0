import type { Migration } from './migration.js';

/**
 * Indexes that answer the lists and the overview without reading the rows, which are wide: 100,000 backups take a quarter
 * of a gigabyte.
 */
export const scale: Migration = {
  name: '0013-scale',
  async up({ sequelize, transaction }) {
    const postgres = sequelize.getDialect() === 'postgres';
    const statements = [
      `CREATE INDEX backups_state ON backups ("configId", status, "createdAt", id, damaged, "verifiedAt", "mediaFileCount")
         WHERE "backupType" IN ('MANUAL', 'AUTO')`,
      `CREATE INDEX backups_ended ON backups ("configId", "createdAt", id, status, damaged, "verifiedAt", "mediaFileCount")
         WHERE "backupType" IN ('MANUAL', 'AUTO') AND status IN ('COMPLETED', 'FAILED')`,
      `CREATE INDEX backups_completed_at ON backups ("completedAt")`,
      `DROP INDEX stored_objects_backup_id`,
      `CREATE INDEX stored_objects_backup ON stored_objects ("backupId", "destinationId")`,
      `DROP INDEX stored_objects_destination_id_status`,
      `CREATE INDEX stored_objects_usage ON stored_objects ("destinationId", status, id, size)`,
      postgres ? POSTGRES_SEARCH : SQLITE_SEARCH,
    ];
    for (const statement of statements) await sequelize.query(statement, { transaction });
  },
};

/** A search reads this index alone, from the newest backup to the oldest: its columns hold all that a filter asks for. */
const SQLITE_SEARCH = `CREATE INDEX backups_search ON backups ("createdAt", id, status, "backupType", "configId", "fileSize",
  (id || char(31) || "fileName" || char(31) || coalesce(note, '') || char(31) || "databaseName" || char(31) ||
   coalesce("errorMessage", '')))`;

/** Where the extension cannot be had, a search reads the rows: its answer is the same. */
const POSTGRES_SEARCH = `DO $$ BEGIN
  CREATE EXTENSION IF NOT EXISTS pg_trgm;
  CREATE INDEX backups_search ON backups USING gin
    (((id || chr(31) || "fileName" || chr(31) || coalesce(note, '') || chr(31) || "databaseName" || chr(31) ||
       coalesce("errorMessage", '')) COLLATE "C") gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file OR undefined_object THEN
  RAISE NOTICE 'Searches read all rows: the extension pg_trgm is not available.';
END $$`;

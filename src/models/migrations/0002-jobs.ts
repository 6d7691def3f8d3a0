import type { Migration } from './migration.js';

/** The embedded job store: one row per job, times in milliseconds since 1970, flags 0 or 1, JSON as text. */
export const jobs: Migration = {
  name: '0002-jobs',
  async up({ sequelize, transaction }) {
    const statements = [
      `CREATE TABLE jobs (
        id VARCHAR(36) PRIMARY KEY,
        name VARCHAR(255) NOT NULL,
        priority INTEGER NOT NULL DEFAULT 0,
        next_run_at BIGINT,
        type VARCHAR(10) NOT NULL DEFAULT 'normal' CHECK (type IN ('normal', 'single')),
        locked_at BIGINT,
        last_finished_at BIGINT,
        failed_at BIGINT,
        fail_count INTEGER,
        fail_reason TEXT,
        repeat_timezone VARCHAR(100),
        last_run_at BIGINT,
        repeat_interval TEXT,
        data TEXT NOT NULL,
        repeat_at TEXT,
        disabled INTEGER NOT NULL DEFAULT 0,
        progress DOUBLE PRECISION,
        fork INTEGER NOT NULL DEFAULT 0,
        last_modified_by VARCHAR(255),
        debounce_started_at BIGINT,
        start_date BIGINT,
        end_date BIGINT,
        skip_days TEXT
      )`,
      `CREATE UNIQUE INDEX jobs_single ON jobs (name) WHERE type = 'single'`,
      `CREATE INDEX jobs_next ON jobs (name, next_run_at, priority) WHERE locked_at IS NULL`,
      `CREATE INDEX jobs_locked ON jobs (name, locked_at) WHERE locked_at IS NOT NULL`,
    ];
    for (const statement of statements) await sequelize.query(statement, { transaction });
  },
};

import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Sequelize, Transaction } from 'sequelize';
import sqlite3 from 'sqlite3';
import { AppError } from '../errors.js';
import { type AuditEventRow, defineAuditEvent } from './audit-event.js';
import { type BackupRow, defineBackup } from './backup.js';
import { type BackupConfigRow, defineBackupConfig } from './backup-config.js';
import { Leases } from './leases.js';
import { migrate } from './migrations.js';
import { defineRestore, type RestoreRow } from './restore.js';
import { defineUser, type UserRow } from './user.js';

export type { AuditEventRow, BackupConfigRow, BackupRow, RestoreRow, UserRow };
export type { ConfigOrigin } from './backup-config.js';
export type { BackupStatus, BackupType, Origin, TableCount, VerificationLevel } from './backup.js';
export type { PhaseEntry, RunStatus } from './run.js';

/** The control database: the product's own records. */
export interface Models {
  sequelize: Sequelize;
  BackupConfig: typeof BackupConfigRow;
  Backup: typeof BackupRow;
  Restore: typeof RestoreRow;
  User: typeof UserRow;
  AuditEvent: typeof AuditEventRow;
  leases: Leases;
}

/** How long a statement waits for another process's write to the same SQLite file, in milliseconds. */
const BUSY_TIMEOUT = 20_000;

/** sqlite3 with the waiting time set on each connection that Sequelize opens: Sequelize itself has no option for it. */
const patientSqlite = {
  ...sqlite3,
  Database: class extends sqlite3.Database {
    constructor(filename: string, mode: number, callback: (error: Error | null) => void) {
      super(filename, mode, callback);
      this.configure('busyTimeout', BUSY_TIMEOUT);
    }
  },
};

/**
 * Opens the control database, creating and migrating it where needed.
 * @param url sqlite:/absolute/path or postgres://…
 * @throws AppError CONTROL_DATABASE_FAILED
 */
export async function openModels(url: string): Promise<Models> {
  const path = controlPath(url);
  const common = { logging: false as const, transactionType: Transaction.TYPES.IMMEDIATE };
  try {
    if (path !== null) mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const sequelize =
      path === null
        ? new Sequelize(url, { ...common, pool: { max: 10, idle: 10_000 } })
        : new Sequelize({ ...common, dialect: 'sqlite', storage: path, dialectModule: patientSqlite });
    if (path !== null) {
      await sequelize.query('PRAGMA journal_mode = WAL');
      chmodSync(path, 0o600);
    }
    await migrate(sequelize);
    return {
      sequelize,
      BackupConfig: defineBackupConfig(sequelize),
      Backup: defineBackup(sequelize),
      Restore: defineRestore(sequelize),
      User: defineUser(sequelize),
      AuditEvent: defineAuditEvent(sequelize),
      leases: new Leases(sequelize),
    };
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError(
      'CONTROL_DATABASE_FAILED',
      `The control database cannot be opened: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

/** The file of a SQLite control database, or null for a server. */
export function controlPath(url: string): string | null {
  return url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : null;
}

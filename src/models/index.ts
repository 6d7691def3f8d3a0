import { chmodSync, closeSync, mkdirSync, openSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Options, Sequelize, Transaction } from 'sequelize';
import sqlite3 from 'sqlite3';
import { AppError } from '../errors.js';
import { type ApiTokenRow, defineApiToken, type Scope, SCOPES } from './api-token.js';
import { type AuditEventRow, defineAuditEvent } from './audit-event.js';
import { type BackupRow, defineBackup } from './backup.js';
import { type BackupConfigRow, defineBackupConfig } from './backup-config.js';
import { type ControlBackupRow, defineControlBackup } from './control-backup.js';
import { Leases } from './leases.js';
import { migrate } from './migrations.js';
import { type BackupKeyRow, type ConfigKeyRow, defineKeys, type EncryptionKeyRow } from './encryption-key.js';
import { type AlertRow, type ChannelRow, defineNotifications, type DeliveryRow } from './notification.js';
import { defineRestore, type RestoreRow } from './restore.js';
import { defineServerDatabase, type ServerDatabaseRow } from './server-database.js';
import { type CopyStatus, defineStoredObject, type DestinationRow, type StoredObjectRow } from './stored-object.js';
import { defineSigningKey, type SigningKeyRow } from './signing-key.js';
import { defineUser, type UserRow } from './user.js';
import { defineVerification, type DrillCommandResult, type DrillFacts, type VerificationRow } from './verification.js';

export type { AuditEventRow, BackupConfigRow, BackupRow, DestinationRow, RestoreRow, StoredObjectRow, UserRow };
export { SCOPES };
export type { ApiTokenRow, Scope };
export type { AlertRow, ChannelRow, DeliveryRow };
export { BEAT_EVENTS, BEAT_KINDS, NOTIFICATION_EVENTS } from './notification.js';
export type { Beat, BeatEvent, ChannelKind, NotificationEvent, Notice } from './notification.js';
export type { ControlBackupRow, CopyStatus, DrillCommandResult, DrillFacts, EncryptionKeyRow, VerificationRow };
export { isGood } from './stored-object.js';
export type { CompressionMethod, ConfigOrigin } from './backup-config.js';
export type { FailedTest } from './backup-config.js';
export { countByStatus, readPlain } from './plain.js';
export { type BackupType, isRegular, REGULAR_TYPES } from './kinds.js';
export type { BackupMode, BackupStatus, Origin, TableCount, VerificationLevel } from './backup.js';
export { ANOMALY_CODES } from './backup.js';
export type { Anomaly, AnomalyCode, BackupFacts, FallSize, Normal, SeenFalls, SeenNumber } from './backup.js';
export type { PhaseEntry, RunStatus } from './run.js';
export type { Expectation, Invariant, InvariantResult } from './invariant.js';

/** The control database: the product's own records. */
export interface Models {
  sequelize: Sequelize;
  BackupConfig: typeof BackupConfigRow;
  Backup: typeof BackupRow;
  StoredObject: typeof StoredObjectRow;
  Destination: typeof DestinationRow;
  EncryptionKey: typeof EncryptionKeyRow;
  ConfigKey: typeof ConfigKeyRow;
  BackupKey: typeof BackupKeyRow;
  ControlBackup: typeof ControlBackupRow;
  ServerDatabase: typeof ServerDatabaseRow;
  Restore: typeof RestoreRow;
  Verification: typeof VerificationRow;
  SigningKey: typeof SigningKeyRow;
  User: typeof UserRow;
  ApiToken: typeof ApiTokenRow;
  AuditEvent: typeof AuditEventRow;
  Channel: typeof ChannelRow;
  Alert: typeof AlertRow;
  Delivery: typeof DeliveryRow;
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
    const sequelize =
      path === null ? new Sequelize(url, { ...common, pool: { max: 10, idle: 10_000 } }) : await openFile(path, common);
    await migrate(sequelize);
    const stored = defineStoredObject(sequelize);
    return {
      sequelize,
      BackupConfig: defineBackupConfig(sequelize),
      Backup: defineBackup(sequelize, stored.StoredObject),
      ...stored,
      ...defineKeys(sequelize),
      ControlBackup: defineControlBackup(sequelize),
      ServerDatabase: defineServerDatabase(sequelize),
      ApiToken: defineApiToken(sequelize),
      Restore: defineRestore(sequelize),
      Verification: defineVerification(sequelize),
      SigningKey: defineSigningKey(sequelize),
      User: defineUser(sequelize),
      AuditEvent: defineAuditEvent(sequelize),
      ...defineNotifications(sequelize),
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

/**
 * Opens a file, which is made only here: when it goes while the process runs (its disk, or an `rm`), nothing may
 * make an empty one in its place, nor go on with a file that cannot be found again.
 */
async function openFile(path: string, common: Options): Promise<Sequelize> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const { dev, ino } = statSync(path);
  const dialectOptions = { mode: sqlite3.OPEN_READWRITE };
  const options = {
    ...common,
    dialect: 'sqlite',
    storage: path,
    dialectModule: patientSqlite,
    dialectOptions,
  } as const;
  const sequelize = new Sequelize(options);
  sequelize.addHook('beforeQuery', () => {
    const found = fileAt(path);
    if (found?.dev === dev && found.ino === ino) return;
    const what = found === null ? 'is gone' : 'was replaced by another file';
    throw new AppError('CONTROL_DATABASE_FAILED', `The control database ${path} ${what} while db-manager runs.`, {
      hint: 'Mount its disk, or put the file back, then start db-manager again.',
    });
  });
  await sequelize.query('PRAGMA journal_mode = WAL');
  return sequelize;
}

function fileAt(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

/** The file of a SQLite control database and what may lie beside it; empty for a server. */
export function controlFiles(url: string): string[] {
  const path = controlPath(url);
  return path === null ? [] : ['', '-wal', '-shm', '-journal'].map((suffix) => path + suffix);
}

/** The file of a SQLite control database, or null for a server. */
export function controlPath(url: string): string | null {
  return url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : null;
}

import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';
import { bytes } from './columns.js';
import type { Invariant } from './invariant.js';
import type { DatabaseEngine, StorageType } from './kinds.js';

/** Why settings do not work: as an error is shown. */
export interface FailedTest {
  code: string;
  message: string;
  hint: string;
  field: string;
}

/** What to protect and how: one database with its media, storage, schedule and retention. */
export class BackupConfigRow extends Model<InferAttributes<BackupConfigRow>, InferCreationAttributes<BackupConfigRow>> {
  declare id: CreationOptional<number>;
  declare name: string;
  declare engine: DatabaseEngine;
  /** Names the application for ever, whatever its name and paths become: archives carry it. A UUID. */
  declare applicationId: CreationOptional<string>;
  /** How names of its archives begin; null: the installation's prefix. */
  declare archivePrefix: CreationOptional<string | null>;
  /** As the engine normalised it; may hold a password, so it never leaves the process. */
  declare databaseUrl: string;
  /** Names the database in locks; without a password. */
  declare databaseKey: string;
  declare mediaPaths: string[];
  /** Patterns of tables that are left out, as a whole and without their rows. */
  declare excludeTables: CreationOptional<string[]>;
  declare excludeTableData: CreationOptional<string[]>;
  /** Databases of its server with such names get a config like this one when they appear; null: none does. */
  declare autoInclude: CreationOptional<string | null>;
  /** Queries with the answers that its database must give, asked in each backup. */
  declare invariants: CreationOptional<Invariant[]>;
  /** The file name of the command that its drills run; null: none. */
  declare drillCommand: CreationOptional<string | null>;
  /** When its newest good backup is drilled: five-field cron, read in `timezone`; null: never by itself. */
  declare drillSchedule: CreationOptional<string | null>;
  /** When the next such drill is due; null where none is. */
  declare nextDrillAt: CreationOptional<Date | null>;
  declare storageType: StorageType;
  declare storagePath: string;
  /** Ids of the destinations that archives are copied to, in order. */
  declare copyTo: CreationOptional<number[]>;
  /** How many copies a backup needs to count for the retention of others. */
  declare minimumCopies: CreationOptional<number>;
  declare autoBackupEnabled: boolean;
  /** Five-field cron, read in `timezone`. */
  declare schedule: string;
  declare timezone: string;
  declare backupRetentionDays: number;
  declare maxBackupFiles: number;
  /** Automatic backups hold only what changed since the one before. */
  declare incremental: CreationOptional<boolean>;
  /** After so many days the next one is a full backup. */
  declare fullEveryDays: CreationOptional<number>;
  declare compression: CreationOptional<CompressionMethod>;
  /** 0 to 9. */
  declare compressionLevel: CreationOptional<number>;
  /** How long a restore waits for another program's lock, in seconds. */
  declare restoreLockTimeout: number;
  /** How long safety backups stay pinned, in days. */
  declare safetyRetentionDays: number;
  declare keepLast: CreationOptional<number | null>;
  declare keepHourly: CreationOptional<number | null>;
  declare keepDaily: CreationOptional<number | null>;
  declare keepWeekly: CreationOptional<number | null>;
  declare keepMonthly: CreationOptional<number | null>;
  declare keepYearly: CreationOptional<number | null>;
  /** Such as `30d`. */
  declare keepWithin: CreationOptional<string | null>;
  /** Bytes. */
  declare maxTotalSize: CreationOptional<number | null>;
  /** Up to so many seconds later than the schedule says, always the same for a config. */
  declare jitterSeconds: CreationOptional<number>;
  /** When the next automatic backup is due; null when automatic backup is off. */
  declare nextRunAt: CreationOptional<Date | null>;
  /** When a failed automatic backup is tried again, and as which attempt. */
  declare retryAt: CreationOptional<Date | null>;
  declare retryAttempt: CreationOptional<number | null>;
  /** When the run that is tried again was due. */
  declare retryDueAt: CreationOptional<Date | null>;
  /** Null: made in the product. */
  declare origin: CreationOptional<ConfigOrigin | null>;
  /** The settings that were last taken from the environment; those that differ have been edited since. */
  declare environment: CreationOptional<Record<string, unknown> | null>;
  /** What failed when it was saved although it did not work; null once it did. */
  /** For a config that was made of an archive: each media folder as the archive names it, and where it is now. */
  declare mediaMoved: CreationOptional<Record<string, string> | null>;
  declare testError: CreationOptional<FailedTest | null>;
  declare createdAt: Date;
  declare updatedAt: Date;
}

/** How archives are compressed. */
export type CompressionMethod = 'DEFLATE' | 'ZSTD' | 'NONE';

/** Where a config comes from that was not made in the product. */
export type ConfigOrigin = 'ENVIRONMENT' | 'SAMPLE';

export function defineBackupConfig(sequelize: Sequelize): typeof BackupConfigRow {
  class BackupConfig extends BackupConfigRow {}
  BackupConfig.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      name: DataTypes.STRING(200),
      engine: DataTypes.STRING(32),
      applicationId: { type: DataTypes.STRING(36), defaultValue: DataTypes.UUIDV4 },
      archivePrefix: DataTypes.STRING(40),
      databaseUrl: DataTypes.TEXT,
      databaseKey: DataTypes.TEXT,
      mediaPaths: DataTypes.JSON,
      excludeTables: { type: DataTypes.JSON, defaultValue: [] },
      excludeTableData: { type: DataTypes.JSON, defaultValue: [] },
      autoInclude: DataTypes.STRING(300),
      invariants: { type: DataTypes.JSON, defaultValue: [] },
      drillCommand: DataTypes.STRING(200),
      drillSchedule: DataTypes.STRING(200),
      nextDrillAt: DataTypes.DATE,
      storageType: DataTypes.STRING(32),
      storagePath: DataTypes.TEXT,
      copyTo: { type: DataTypes.JSON, defaultValue: [] },
      minimumCopies: { type: DataTypes.INTEGER, defaultValue: 1 },
      incremental: { type: DataTypes.BOOLEAN, defaultValue: false },
      fullEveryDays: { type: DataTypes.INTEGER, defaultValue: 7 },
      autoBackupEnabled: DataTypes.BOOLEAN,
      schedule: DataTypes.STRING(200),
      timezone: DataTypes.STRING(64),
      backupRetentionDays: DataTypes.INTEGER,
      maxBackupFiles: DataTypes.INTEGER,
      compression: { type: DataTypes.STRING(16), defaultValue: 'DEFLATE' },
      compressionLevel: { type: DataTypes.INTEGER, defaultValue: 1 },
      restoreLockTimeout: DataTypes.INTEGER,
      safetyRetentionDays: DataTypes.INTEGER,
      keepLast: DataTypes.INTEGER,
      keepHourly: DataTypes.INTEGER,
      keepDaily: DataTypes.INTEGER,
      keepWeekly: DataTypes.INTEGER,
      keepMonthly: DataTypes.INTEGER,
      keepYearly: DataTypes.INTEGER,
      keepWithin: DataTypes.STRING(32),
      maxTotalSize: bytes<BackupConfigRow>('maxTotalSize'),
      jitterSeconds: { type: DataTypes.INTEGER, defaultValue: 0 },
      nextRunAt: DataTypes.DATE,
      retryAt: DataTypes.DATE,
      retryAttempt: DataTypes.INTEGER,
      retryDueAt: DataTypes.DATE,
      origin: DataTypes.STRING(16),
      environment: DataTypes.JSON,
      mediaMoved: DataTypes.JSON,
      testError: DataTypes.JSON,
      createdAt: DataTypes.DATE,
      updatedAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'backup_configs', timestamps: false },
  );
  return BackupConfig;
}

import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';
import { type PhaseEntry, runColumns, type RunStatus } from './run.js';
import type { DatabaseEngine } from './kinds.js';

/** One run of a backup into a database: the restore log. */
export class RestoreRow extends Model<InferAttributes<RestoreRow>, InferCreationAttributes<RestoreRow>> {
  declare id: string;
  declare backupId: string;
  declare configId: number | null;
  declare status: RunStatus;
  /** 0 to 1. */
  declare progress: CreationOptional<number>;
  /** Bytes of the present phase; null where it counts something else. */
  declare bytesDone: CreationOptional<number | null>;
  declare bytesTotal: CreationOptional<number | null>;
  declare phase: CreationOptional<string | null>;
  declare phases: CreationOptional<PhaseEntry[]>;
  declare errorCode: CreationOptional<string | null>;
  declare errorMessage: CreationOptional<string | null>;
  declare errorHint: CreationOptional<string | null>;
  declare warnings: CreationOptional<string[]>;
  declare cancelRequested: CreationOptional<boolean>;
  declare leaseHolder: CreationOptional<string | null>;
  declare createdBy: string | null;
  declare createdAt: Date;
  declare startedAt: CreationOptional<Date | null>;
  declare completedAt: CreationOptional<Date | null>;
  declare safetyBackupId: CreationOptional<string | null>;
  declare engine: DatabaseEngine;
  /** May hold a password, so it never leaves the process. */
  declare targetUrl: string;
  declare targetKey: string;
  declare restoreDatabase: boolean;
  declare restoreMedia: boolean;
  /** Only these tables; null for all. */
  declare tables: string[] | null;
  /** Which rows come back into the tables; null where they are restored as a whole. */
  declare repair: CreationOptional<{
    mode: 'MISSING' | 'CHANGED';
    tables: string[];
    where: string | null;
    withParents: boolean;
  } | null>;
  /** Only these media files or folders, as archive paths; null for all. */
  declare media: string[] | null;
  declare mediaMode: 'MERGE' | 'MIRROR';
  /** Which part of the archive's media goes to which folder. */
  declare mediaTargets: { prefix: string; root: string }[];
  /** How long to wait for another program's lock, in seconds. */
  declare lockTimeout: number;
  /** Rebuild indexes that are out of step in the backup. */
  declare rebuildIndexes: CreationOptional<boolean>;
  /** The file key of a sealed archive, sealed, until the run has ended: what opens it is used once and never kept. */
  declare sealedFileKey: CreationOptional<string | null>;
  /** The restore that this one undoes. */
  declare undoOf: CreationOptional<string | null>;
  /** What the switch has begun to change, so that a crash can be put back. */
  declare changes: CreationOptional<{ roots?: string[]; database?: boolean; settled?: boolean }>;
}

export function defineRestore(sequelize: Sequelize): typeof RestoreRow {
  class Restore extends RestoreRow {}
  Restore.init(
    {
      id: { type: DataTypes.STRING(64), primaryKey: true },
      backupId: DataTypes.STRING(64),
      configId: DataTypes.INTEGER,
      status: DataTypes.STRING(32),
      ...runColumns,
      safetyBackupId: DataTypes.STRING(64),
      engine: DataTypes.STRING(32),
      targetUrl: DataTypes.TEXT,
      targetKey: DataTypes.TEXT,
      restoreDatabase: DataTypes.BOOLEAN,
      restoreMedia: DataTypes.BOOLEAN,
      tables: DataTypes.JSON,
      repair: DataTypes.JSON,
      media: DataTypes.JSON,
      mediaMode: DataTypes.STRING(32),
      mediaTargets: { type: DataTypes.JSON, defaultValue: [] },
      lockTimeout: DataTypes.INTEGER,
      rebuildIndexes: { type: DataTypes.BOOLEAN, defaultValue: false },
      sealedFileKey: DataTypes.TEXT,
      undoOf: DataTypes.STRING(64),
      changes: { type: DataTypes.JSON, defaultValue: {} },
    },
    { sequelize, tableName: 'restores', timestamps: false },
  );
  return Restore;
}

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
  declare tables: string[] | null;
  /** What the switch has begun to change, so that a crash can be put back. */
  declare changes: CreationOptional<Record<string, unknown>>;
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
      changes: { type: DataTypes.JSON, defaultValue: {} },
    },
    { sequelize, tableName: 'restores', timestamps: false },
  );
  return Restore;
}

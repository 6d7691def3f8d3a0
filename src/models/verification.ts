import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';
import type { VerificationLevel } from './backup.js';
import { bytes } from './columns.js';
import type { InvariantResult } from './invariant.js';
import { type PhaseEntry, runColumns, type RunStatus } from './run.js';

/** One run that verifies a stored backup. What it found is also noted on the backup and its copies. */
export class VerificationRow extends Model<InferAttributes<VerificationRow>, InferCreationAttributes<VerificationRow>> {
  declare id: string;
  declare backupId: string;
  declare configId: number | null;
  declare level: VerificationLevel;
  /** Only the copy there; null for every copy. */
  declare destinationId: number | null;
  /** True if a worker is to do it; false if the process that made the row does it itself. */
  declare queued: boolean;
  /** Stored bytes of the copies that it reads. */
  declare bytes: number;
  /** What the invariants of the backup came to in what was read; empty where they were not asked. */
  declare invariants: CreationOptional<InvariantResult[]>;
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
}

export function defineVerification(sequelize: Sequelize): typeof VerificationRow {
  class Verification extends VerificationRow {}
  Verification.init(
    {
      id: { type: DataTypes.STRING(64), primaryKey: true },
      backupId: DataTypes.STRING(64),
      configId: DataTypes.INTEGER,
      level: DataTypes.STRING(16),
      destinationId: DataTypes.INTEGER,
      queued: DataTypes.BOOLEAN,
      bytes: bytes<VerificationRow>('bytes'),
      invariants: { type: DataTypes.JSON, defaultValue: [] },
      status: DataTypes.STRING(32),
      ...runColumns,
    },
    { sequelize, tableName: 'verifications', timestamps: false },
  );
  return Verification;
}

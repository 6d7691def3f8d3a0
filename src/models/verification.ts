import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';
import type { TableCount, VerificationLevel } from './backup.js';
import { bytes } from './columns.js';
import type { InvariantResult } from './invariant.js';
import { type PhaseEntry, runColumns, type RunStatus } from './run.js';

/** What a drill's command came to. */
export interface DrillCommandResult {
  /** Its file name. */
  name: string;
  /** Null if a signal ended it. */
  exitCode: number | null;
  seconds: number;
  /** The last of what it wrote, on both of its outputs, without passwords of URLs. */
  output: string;
}

/** What a drill restored, as far as it came. */
export interface DrillFacts {
  /** The scratch database, without a password; null where the backup holds none. */
  target: string | null;
  /** Where the copy lies that was read. */
  location: string;
  /** SHA-256 of the stored archive, hex; null if none was noted. */
  checksum: string | null;
  /** Bytes of all that was restored. */
  bytes: number;
  /** Media files that were restored. */
  mediaFiles: number;
  /** Tables and rows that were found in the restored database; empty until they were counted. */
  tables: TableCount[];
  /** Null until a command has run. */
  command: DrillCommandResult | null;
}

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
  /** How long the restore of a drill took, without what checked it afterwards; null where there was none. */
  declare restoreSeconds: CreationOptional<number | null>;
  /** What a drill restored; null at other levels, and until it has. */
  declare drill: CreationOptional<DrillFacts | null>;
  /** The report of a drill that has ended, as it was signed: JSON. */
  declare report: CreationOptional<string | null>;
  /** Its Ed25519 signature, in base64. */
  declare reportSignature: CreationOptional<string | null>;
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
      restoreSeconds: DataTypes.DOUBLE,
      drill: { type: DataTypes.JSON, defaultValue: null },
      report: { type: DataTypes.TEXT, defaultValue: null },
      reportSignature: DataTypes.TEXT,
      status: DataTypes.STRING(32),
      ...runColumns,
    },
    { sequelize, tableName: 'verifications', timestamps: false },
  );
  return Verification;
}

import {
  type CreationOptional,
  DataTypes,
  type IncludeOptions,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type NonAttribute,
  type Sequelize,
} from 'sequelize';
import { bytes } from './columns.js';
import type { BackupType, DatabaseEngine, StorageType } from './kinds.js';
import type { StoredObjectRow } from './stored-object.js';
import { type PhaseEntry, runColumns, type RunStatus } from './run.js';

export type BackupStatus = RunStatus | 'DELETED';
export type BackupMode = 'FULL' | 'INCREMENTAL';
export type VerificationLevel = 'CHECKSUM' | 'ARCHIVE' | 'DRILL';

/** A table and the number of its rows. */
export interface TableCount {
  name: string;
  /** Null where they could not be counted. */
  rows: number | null;
}

/** Whose data an archive holds, as it says itself. */
export interface Origin {
  /** Name of the config that made it. */
  config: string | null;
  /** Name of the machine. */
  host: string | null;
  /** Address of the database, without a password. */
  database: string | null;
  mediaPaths: string[];
}

/** What a row has beside its columns. */
type Computed = 'copies' | 'copy' | 'filePath' | 'storageType' | 'address';

/** One run of a backup and, when COMPLETED, its archive. */
export class BackupRow extends Model<
  InferAttributes<BackupRow, { omit: Computed }>,
  InferCreationAttributes<BackupRow, { omit: Computed }>
> {
  declare id: string;
  declare configId: number | null;
  declare backupType: BackupType;
  /** As requested until the run begins, which takes a full backup where an incremental one makes no sense. */
  declare mode: BackupMode;
  /** The id that the archive itself has: its own, but for an uploaded one. Null where it has none. */
  declare archiveId: CreationOptional<string | null>;
  /** `archiveId` of the backup that this one builds on; null for a full one. */
  declare parentArchiveId: CreationOptional<string | null>;
  /** `archiveId` of the full backup that the chain began with; null for one that began none or its own. */
  declare chainArchiveId: CreationOptional<string | null>;
  /** Its place in the chain, as its archive says: so many came before it. */
  declare chainPosition: CreationOptional<number>;
  /** `archiveId` of the incremental backup of which this is the same state as a full one; null for any other. */
  declare consolidates: CreationOptional<string | null>;
  declare status: BackupStatus;
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
  declare engine: DatabaseEngine;
  declare databaseName: string;
  /** The application whose data it holds; null where the archive does not say. See `BackupConfigRow.applicationId`. */
  declare applicationId: CreationOptional<string | null>;
  declare origin: CreationOptional<Origin | null>;
  /** Name of the archive in every destination. */
  declare fileName: string;
  /** Bytes of the stored file. */
  declare fileSize: CreationOptional<number | null>;
  /** SHA-256 of the stored file, hex. */
  declare checksum: CreationOptional<string | null>;
  /** SHA-256 of the header of a sealed archive, hex: known before it is stored, and the same for no other archive. */
  declare sealHeader: CreationOptional<string | null>;
  declare note: string | null;
  declare pinned: CreationOptional<boolean>;
  /** Who pinned it; null for a safety backup's own pin, which ends by itself. */
  declare pinnedBy: CreationOptional<string | null>;
  declare verifiedAt: CreationOptional<Date | null>;
  declare verificationLevel: CreationOptional<VerificationLevel | null>;
  /** True if its database has damaged pages, kept on request: it never counts as a good backup. */
  declare damaged: CreationOptional<boolean>;
  /** The request: keep a damaged database as it is instead of failing. */
  declare allowDamaged: CreationOptional<boolean>;
  declare tables: CreationOptional<TableCount[]>;
  declare mediaFileCount: CreationOptional<number>;
  /** 1 for the first, more for those that try a failed automatic backup again. */
  declare attempt: CreationOptional<number>;
  /** When the schedule wanted it; null if a user requested it. */
  declare dueAt: CreationOptional<Date | null>;
  declare deletedAt: CreationOptional<Date | null>;
  declare deletedBy: CreationOptional<string | null>;
  declare deleteReason: CreationOptional<string | null>;

  /** Where its archive lies: the first was written by the run itself. Loaded with every row. */
  declare copies: NonAttribute<StoredObjectRow[]>;

  /** The copy that the run itself wrote. */
  get copy(): NonAttribute<StoredObjectRow> {
    const [first] = this.copies;
    if (first === undefined) throw new Error(`Backup ${this.id} was loaded without its copies.`);
    return first;
  }

  /** Where a person finds the first copy. */
  get filePath(): NonAttribute<string> {
    return this.copy.location;
  }

  /** The kind of storage of the first copy. */
  get storageType(): NonAttribute<StorageType> {
    return this.copy.destination.storageType;
  }

  /** Where the first copy lies. */
  get address(): NonAttribute<{ storageType: StorageType; storagePath: string }> {
    const { storageType, storagePath } = this.copy.destination;
    return { storageType, storagePath };
  }
}

/** @param StoredObject the model of the copies, which are loaded with every backup unless it is `unscoped()` */
export function defineBackup(sequelize: Sequelize, StoredObject: typeof StoredObjectRow): typeof BackupRow {
  class Backup extends BackupRow {}
  Backup.init(
    {
      id: { type: DataTypes.STRING(64), primaryKey: true },
      configId: DataTypes.INTEGER,
      backupType: DataTypes.STRING(32),
      mode: DataTypes.STRING(32),
      archiveId: DataTypes.STRING(64),
      parentArchiveId: DataTypes.STRING(64),
      chainArchiveId: DataTypes.STRING(64),
      chainPosition: { type: DataTypes.INTEGER, defaultValue: 0 },
      consolidates: DataTypes.STRING(64),
      status: DataTypes.STRING(32),
      ...runColumns,
      engine: DataTypes.STRING(32),
      databaseName: DataTypes.TEXT,
      applicationId: DataTypes.STRING(36),
      origin: DataTypes.JSON,
      fileName: DataTypes.TEXT,
      fileSize: bytes<BackupRow>('fileSize'),
      checksum: DataTypes.STRING(64),
      sealHeader: DataTypes.STRING(64),
      note: DataTypes.TEXT,
      pinned: { type: DataTypes.BOOLEAN, defaultValue: false },
      pinnedBy: DataTypes.STRING(320),
      verifiedAt: DataTypes.DATE,
      verificationLevel: DataTypes.STRING(16),
      damaged: { type: DataTypes.BOOLEAN, defaultValue: false },
      allowDamaged: { type: DataTypes.BOOLEAN, defaultValue: false },
      tables: { type: DataTypes.JSON, defaultValue: [] },
      mediaFileCount: { type: DataTypes.INTEGER, defaultValue: 0 },
      attempt: { type: DataTypes.INTEGER, defaultValue: 1 },
      dueAt: DataTypes.DATE,
      deletedAt: DataTypes.DATE,
      deletedBy: DataTypes.STRING(320),
      deleteReason: DataTypes.TEXT,
    },
    { sequelize, tableName: 'backups', timestamps: false },
  );
  Backup.hasMany(StoredObject, { as: 'copies', foreignKey: 'backupId' });
  const copies = { association: 'copies', separate: true, include: ['destination'], order: [['id', 'ASC']] };
  Backup.addScope('defaultScope', { include: [copies as IncludeOptions] }, { override: true });
  return Backup;
}

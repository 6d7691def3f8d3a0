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
import type { ExcludedTable } from '../archive/metadata.js';
import { bytes } from './columns.js';
import type { InvariantResult } from './invariant.js';
import type { BackupType, DatabaseEngine, StorageType } from './kinds.js';
import type { StoredObjectRow } from './stored-object.js';
import { type PhaseEntry, runColumns, type RunStatus } from './run.js';

export type BackupStatus = RunStatus | 'DELETED';
export type BackupMode = 'FULL' | 'INCREMENTAL';
export type VerificationLevel = 'CHECKSUM' | 'ARCHIVE' | 'CONTENT' | 'DRILL';

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

/** How a backup can be unlike those before it; docs/anomalies.md has a row for each. */
export const ANOMALY_CODES = [
  'TABLE_VANISHED',
  'TABLE_EMPTIED',
  'ROWS_DOWN',
  'DATABASE_SHRANK',
  'ALMOST_ALL_CHANGED',
  'NO_LONGER_COMPRESSES',
  'MEDIA_FILES_DOWN',
  'MEDIA_BYTES_DOWN',
  'SCHEMA_CHANGED',
  'INTEGRITY_BROKEN',
  'FOREIGN_KEYS_BROKEN',
  'INVARIANT_BROKEN',
] as const;
export type AnomalyCode = (typeof ANOMALY_CODES)[number];

/** One way in which a backup is unlike those before it. */
export interface Anomaly {
  code: AnomalyCode;
  /** What, how much, and compared with which backup. */
  message: string;
  /** The table that it is about; null if it is about no single one. */
  table: string | null;
  /** Rows, files, bytes, findings, or a share from 0 to 1, as the code says; null where there is no such number. */
  before: number | null;
  after: number | null;
}

/** What later backups are compared with, beside `tables` and `mediaFileCount`. */
export interface BackupFacts {
  /** Bytes that the database uses, without those it keeps free. */
  databaseBytes: number;
  /** Bytes that it keeps free; 0 where an engine does not say. */
  freeBytes: number;
  mediaBytes: number;
  /** A hash of the definitions of all tables; null where an engine knows none. */
  schema: string | null;
  /** How many findings the database had: broken foreign keys, and all that breaks its integrity. */
  brokenKeys: number;
  brokenIntegrity: number;
  /** Stored bytes of the database for each of its own; null where that is not known. */
  compressed: number | null;
  /** Which part of the database's pages has changed since the backup before; null where that is not known. */
  changed: number | null;
}

/** Falls of at least one size that were seen of a number of rows, files or bytes. Times are days since 1970. */
export interface SeenFalls {
  times: number;
  last: number;
  /** Days from one to the next, the longest, of which shorter ones take a little away; and the fewest. */
  gap: number;
  least: number;
}

/** What is known of how a number behaves. */
export interface SeenNumber {
  /** When it was first seen, in days since 1970, and in how many backups; those beyond the first few are not counted. */
  since: number;
  seen: number;
  /** By size; none where it never fell. */
  falls?: Partial<Record<FallSize, SeenFalls>>;
}

/** How much of a number is lost: from a twentieth on, a fifth, a half, or nearly all. */
export type FallSize = 'few' | 'some' | 'much' | 'all';

/** What the history of a config teaches about its data. */
export interface Normal {
  tables: Record<string, SeenNumber>;
  database: SeenNumber;
  mediaFiles: SeenNumber;
  mediaBytes: SeenNumber;
  /** Of the pages that stay as they are. */
  pages: SeenNumber;
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
  /** Tables that were left out on request; null where none was. */
  declare excluded: CreationOptional<ExcludedTable[] | null>;
  declare mediaFileCount: CreationOptional<number>;
  /** What the invariants of its config came to in its state. */
  declare invariants: CreationOptional<InvariantResult[]>;
  /** How it is unlike those before it; empty if it is not. */
  declare anomalies: CreationOptional<Anomaly[]>;
  /** True while it has anomalies that no one has acknowledged: then it counts for nothing. */
  declare suspicious: CreationOptional<boolean>;
  declare anomaliesAcknowledgedAt: CreationOptional<Date | null>;
  /** What later ones are compared with; null for what was not judged. */
  declare facts: CreationOptional<BackupFacts | null>;
  /** What the history up to it teaches. Only the newest ones have it, and it is not loaded with every row: see `normalOf`. */
  declare normal: CreationOptional<Normal | null>;
  /** 1 for the first, more for those that try a failed automatic backup again. */
  declare attempt: CreationOptional<number>;
  /** When the schedule wanted it; null if a user requested it. */
  declare dueAt: CreationOptional<Date | null>;
  /** Its deletion waits until then, and can be taken back; null if none is planned. */
  declare deleteAfter: CreationOptional<Date | null>;
  /** True if a policy wants the deletion that waits. */
  declare deleteByPolicy: CreationOptional<boolean | null>;
  declare deletedAt: CreationOptional<Date | null>;
  /** Who deleted it, or wants it deleted. */
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
      excluded: DataTypes.JSON,
      mediaFileCount: { type: DataTypes.INTEGER, defaultValue: 0 },
      invariants: { type: DataTypes.JSON, defaultValue: [] },
      anomalies: { type: DataTypes.JSON, defaultValue: [] },
      suspicious: { type: DataTypes.BOOLEAN, defaultValue: false },
      anomaliesAcknowledgedAt: DataTypes.DATE,
      facts: DataTypes.JSON,
      normal: DataTypes.JSON,
      attempt: { type: DataTypes.INTEGER, defaultValue: 1 },
      dueAt: DataTypes.DATE,
      deleteAfter: { type: DataTypes.DATE, defaultValue: null },
      deleteByPolicy: { type: DataTypes.BOOLEAN, defaultValue: null },
      deletedAt: DataTypes.DATE,
      deletedBy: DataTypes.STRING(320),
      deleteReason: DataTypes.TEXT,
    },
    { sequelize, tableName: 'backups', timestamps: false },
  );
  Backup.hasMany(StoredObject, { as: 'copies', foreignKey: 'backupId' });
  const copies = { association: 'copies', separate: true, include: ['destination'], order: [['id', 'ASC']] };
  const defaults = { attributes: { exclude: ['normal'] }, include: [copies as IncludeOptions] };
  Backup.addScope('defaultScope', defaults, { override: true });
  return Backup;
}

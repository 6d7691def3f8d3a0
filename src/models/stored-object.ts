import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type NonAttribute,
  type Sequelize,
} from 'sequelize';
import { bytes } from './columns.js';
import type { StorageType } from './kinds.js';

/** State of one copy. The first follows its backup's run; the others are made once that is COMPLETED. */
export type CopyStatus = 'PENDING' | 'RUNNING' | 'COMPLETED' | 'FAILED' | 'DELETED';

/** A place where archives lie. Its type and path name it; configs and copies that lie there share it. */
export class DestinationRow extends Model<InferAttributes<DestinationRow>, InferCreationAttributes<DestinationRow>> {
  declare id: CreationOptional<number>;
  declare storageType: StorageType;
  /** Absolute path of the folder, or the address, such as `s3://bucket/prefix`. */
  declare storagePath: string;
  /** Null: it is called as its path. */
  declare name: CreationOptional<string | null>;
  /** True for a disk that is away most of the time. */
  declare offline: CreationOptional<boolean>;
  /** How it is reached, without secrets; null for a folder, and where the environment says it. */
  declare settings: CreationOptional<Record<string, unknown> | null>;
  /** Sealed; null if it has none. */
  declare secrets: CreationOptional<string | null>;
  /** Free bytes at the last check; null if unknown. */
  declare free: CreationOptional<number | null>;
  declare lastCheckedAt: CreationOptional<Date | null>;
  /** What failed at the last check. */
  declare checkError: CreationOptional<CheckError | null>;
  /** Set once it was deleted; its row stays for the records of what lay there. */
  declare deletedAt: CreationOptional<Date | null>;
}

/** An error as a row keeps it. */
export interface CheckError {
  code: string;
  message: string;
  hint: string;
}

/** One copy of a backup's archive: the object that lies, or shall lie, in a destination. */
export class StoredObjectRow extends Model<
  InferAttributes<StoredObjectRow, { omit: 'destination' }>,
  InferCreationAttributes<StoredObjectRow, { omit: 'destination' }>
> {
  declare id: CreationOptional<number>;
  declare backupId: string;
  declare destinationId: number;
  declare name: string;
  /** Where a person finds it: a path or an address. */
  declare location: string;
  declare status: CopyStatus;
  /** Bytes; null until it is stored. */
  declare size: CreationOptional<number | null>;
  declare verifiedAt: CreationOptional<Date | null>;
  declare errorCode: CreationOptional<string | null>;
  declare errorMessage: CreationOptional<string | null>;
  declare errorHint: CreationOptional<string | null>;
  /** How often it was begun to be stored, or deleted, without success. */
  declare attempts: CreationOptional<number>;
  /** When it is worked on next: stored, or deleted where its backup is; null if there is nothing to do. */
  declare nextTryAt: CreationOptional<Date | null>;
  /** When it was given up; null if it was not. */
  declare gaveUpAt: CreationOptional<Date | null>;
  declare destination: NonAttribute<DestinationRow>;
}

/** True for a copy that is stored, and not known to be damaged. */
export const isGood = ({ status, errorCode }: StoredObjectRow): boolean =>
  status === 'COMPLETED' && (errorCode ?? null) === null;

export function defineStoredObject(sequelize: Sequelize): {
  Destination: typeof DestinationRow;
  StoredObject: typeof StoredObjectRow;
} {
  class Destination extends DestinationRow {}
  Destination.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      storageType: DataTypes.STRING(32),
      storagePath: DataTypes.TEXT,
      name: DataTypes.STRING(200),
      offline: { type: DataTypes.BOOLEAN, defaultValue: false },
      settings: DataTypes.JSON,
      secrets: DataTypes.TEXT,
      free: bytes<DestinationRow>('free'),
      lastCheckedAt: DataTypes.DATE,
      checkError: DataTypes.JSON,
      deletedAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'destinations', timestamps: false },
  );
  class StoredObject extends StoredObjectRow {}
  StoredObject.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      backupId: DataTypes.STRING(64),
      destinationId: DataTypes.INTEGER,
      name: DataTypes.TEXT,
      location: DataTypes.TEXT,
      status: DataTypes.STRING(32),
      size: bytes<StoredObjectRow>('size'),
      verifiedAt: DataTypes.DATE,
      errorCode: DataTypes.STRING(64),
      errorMessage: DataTypes.TEXT,
      errorHint: DataTypes.TEXT,
      attempts: { type: DataTypes.INTEGER, defaultValue: 0 },
      nextTryAt: DataTypes.DATE,
      gaveUpAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'stored_objects', timestamps: false },
  );
  StoredObject.belongsTo(Destination, { as: 'destination', foreignKey: 'destinationId' });
  return { Destination, StoredObject };
}

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

/** State of one copy: it follows its backup, but for a copy that is lost or deleted alone. */
export type CopyStatus = 'PENDING' | 'RUNNING' | 'COMPLETED' | 'FAILED' | 'DELETED';

/** A place where archives lie. */
export class DestinationRow extends Model<InferAttributes<DestinationRow>, InferCreationAttributes<DestinationRow>> {
  declare id: CreationOptional<number>;
  declare storageType: StorageType;
  /** Absolute path of the folder. */
  declare storagePath: string;
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
  declare destination: NonAttribute<DestinationRow>;
}

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
    },
    { sequelize, tableName: 'stored_objects', timestamps: false },
  );
  StoredObject.belongsTo(Destination, { as: 'destination', foreignKey: 'destinationId' });
  return { Destination, StoredObject };
}

import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';
import { bytes } from './columns.js';

/** A backup of the control database in one destination, or the attempt at one. */
export class ControlBackupRow extends Model<
  InferAttributes<ControlBackupRow>,
  InferCreationAttributes<ControlBackupRow>
> {
  declare id: CreationOptional<number>;
  declare destinationId: number;
  /** Name of the object, the same in every destination; empty until its storing begins. */
  declare name: string;
  /** Bytes; null until it is stored and was read back. */
  declare size: CreationOptional<number | null>;
  declare createdAt: Date;
  declare errorCode: CreationOptional<string | null>;
  declare errorMessage: CreationOptional<string | null>;
  declare errorHint: CreationOptional<string | null>;
}

export function defineControlBackup(sequelize: Sequelize): typeof ControlBackupRow {
  class ControlBackup extends ControlBackupRow {}
  ControlBackup.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      destinationId: DataTypes.INTEGER,
      name: DataTypes.STRING(100),
      size: bytes<ControlBackupRow>('size'),
      createdAt: DataTypes.DATE,
      errorCode: DataTypes.STRING(64),
      errorMessage: DataTypes.TEXT,
      errorHint: DataTypes.TEXT,
    },
    { sequelize, tableName: 'control_backups', timestamps: false },
  );
  return ControlBackup;
}

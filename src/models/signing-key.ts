import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';

/** A key that signs the reports of drills; the oldest that has its secret counts. */
export class SigningKeyRow extends Model<InferAttributes<SigningKeyRow>, InferCreationAttributes<SigningKeyRow>> {
  declare id: CreationOptional<number>;
  /** As PEM. */
  declare publicKey: string;
  /** The private key, sealed; null where it was lost. */
  declare secret: CreationOptional<string | null>;
  declare createdAt: Date;
}

export function defineSigningKey(sequelize: Sequelize): typeof SigningKeyRow {
  class SigningKey extends SigningKeyRow {}
  SigningKey.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      publicKey: DataTypes.TEXT,
      secret: DataTypes.TEXT,
      createdAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'signing_keys', timestamps: false },
  );
  return SigningKey;
}

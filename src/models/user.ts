import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';

/** A person who can log in. */
export class UserRow extends Model<InferAttributes<UserRow>, InferCreationAttributes<UserRow>> {
  declare id: CreationOptional<number>;
  /** In lower case. */
  declare email: string;
  /** scrypt, with its parameters and salt. */
  declare passwordHash: string;
  declare role: string;
  /** Raised when the password changes: tokens with an older number stop working. */
  declare tokenVersion: CreationOptional<number>;
  declare createdAt: Date;
}

export function defineUser(sequelize: Sequelize): typeof UserRow {
  class User extends UserRow {}
  User.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      email: DataTypes.STRING(320),
      passwordHash: DataTypes.TEXT,
      role: DataTypes.STRING(32),
      tokenVersion: { type: DataTypes.INTEGER, defaultValue: 1 },
      createdAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'users', timestamps: false },
  );
  return User;
}

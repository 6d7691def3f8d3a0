import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';

/** What a token may be used for, in the order in which it is shown. None includes another. */
export const SCOPES = ['READ', 'BACKUP', 'RESTORE', 'ADMIN'] as const;
export type Scope = (typeof SCOPES)[number];

/** A token that a program uses in place of a login. */
export class ApiTokenRow extends Model<InferAttributes<ApiTokenRow>, InferCreationAttributes<ApiTokenRow>> {
  declare id: CreationOptional<number>;
  /** Unique. */
  declare name: string;
  declare scopes: Scope[];
  /** SHA-256 of the token, in hex. The token is random enough that nothing slower is needed. */
  declare tokenHash: string;
  /** Who made it; it goes with them. Null for a user of the host application, and for the command line. */
  declare userId: number | null;
  /** Their name, as the records show it. */
  declare createdBy: string;
  declare createdAt: Date;
  /** Null: never. */
  declare expiresAt: Date | null;
  /** To the minute; null: never. */
  declare lastUsedAt: CreationOptional<Date | null>;
}

export function defineApiToken(sequelize: Sequelize): typeof ApiTokenRow {
  class ApiToken extends ApiTokenRow {}
  ApiToken.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      name: DataTypes.STRING(100),
      scopes: DataTypes.JSON,
      tokenHash: DataTypes.STRING(64),
      userId: DataTypes.INTEGER,
      createdBy: DataTypes.STRING(320),
      createdAt: DataTypes.DATE,
      expiresAt: DataTypes.DATE,
      lastUsedAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'api_tokens', timestamps: false },
  );
  return ApiToken;
}

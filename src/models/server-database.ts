import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';

/** A database of a server that no config backs up. */
export class ServerDatabaseRow extends Model<
  InferAttributes<ServerDatabaseRow>,
  InferCreationAttributes<ServerDatabaseRow>
> {
  declare id: CreationOptional<number>;
  /** As `BackupConfigRow.databaseKey`; unique. */
  declare databaseKey: string;
  declare name: string;
  /** The config on whose server it was found. */
  declare configId: CreationOptional<number | null>;
  /** When it was last found; null for one that is only remembered. */
  declare foundAt: CreationOptional<Date | null>;
  /** When someone deleted its config: it is never taken in by itself again. */
  declare declinedAt: CreationOptional<Date | null>;
  /** Why it could not be taken in, although a config asks for that. */
  declare problem: CreationOptional<string | null>;
}

export function defineServerDatabase(sequelize: Sequelize): typeof ServerDatabaseRow {
  class ServerDatabase extends ServerDatabaseRow {}
  ServerDatabase.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      databaseKey: DataTypes.TEXT,
      name: DataTypes.TEXT,
      configId: DataTypes.INTEGER,
      foundAt: DataTypes.DATE,
      declinedAt: DataTypes.DATE,
      problem: DataTypes.TEXT,
    },
    { sequelize, tableName: 'server_databases', timestamps: false },
  );
  return ServerDatabase;
}

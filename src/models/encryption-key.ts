import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';

/** A key that archives are sealed for: an age recipient, or a passphrase. */
export class EncryptionKeyRow extends Model<
  InferAttributes<EncryptionKeyRow>,
  InferCreationAttributes<EncryptionKeyRow>
> {
  declare id: CreationOptional<number>;
  declare name: string;
  /** `age1…`; null for a passphrase. */
  declare recipient: string | null;
  /** Its identity or its passphrase, sealed; null where only people have it. */
  declare secret: CreationOptional<string | null>;
  declare createdAt: Date;
  /** When it last sealed or opened an archive. */
  declare lastUsedAt: CreationOptional<Date | null>;
}

/** A key that the backups of a config are sealed for. */
export class ConfigKeyRow extends Model<InferAttributes<ConfigKeyRow>, InferCreationAttributes<ConfigKeyRow>> {
  declare configId: number;
  declare keyId: number;
}

/** A key that opens the archive of a backup. */
export class BackupKeyRow extends Model<InferAttributes<BackupKeyRow>, InferCreationAttributes<BackupKeyRow>> {
  declare backupId: string;
  declare keyId: number;
}

export function defineKeys(sequelize: Sequelize): {
  EncryptionKey: typeof EncryptionKeyRow;
  ConfigKey: typeof ConfigKeyRow;
  BackupKey: typeof BackupKeyRow;
} {
  class EncryptionKey extends EncryptionKeyRow {}
  EncryptionKey.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      name: DataTypes.STRING(200),
      recipient: DataTypes.STRING(100),
      secret: DataTypes.TEXT,
      createdAt: DataTypes.DATE,
      lastUsedAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'encryption_keys', timestamps: false },
  );
  const keyId = { type: DataTypes.INTEGER, primaryKey: true };
  class ConfigKey extends ConfigKeyRow {}
  ConfigKey.init(
    { configId: { type: DataTypes.INTEGER, primaryKey: true }, keyId },
    { sequelize, tableName: 'config_keys', timestamps: false },
  );
  class BackupKey extends BackupKeyRow {}
  BackupKey.init(
    { backupId: { type: DataTypes.STRING(64), primaryKey: true }, keyId },
    { sequelize, tableName: 'backup_keys', timestamps: false },
  );
  return { EncryptionKey, ConfigKey, BackupKey };
}

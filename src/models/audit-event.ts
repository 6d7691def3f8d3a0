import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';

/** Who did what to which record, and when. Rows are only ever added. */
export class AuditEventRow extends Model<InferAttributes<AuditEventRow>, InferCreationAttributes<AuditEventRow>> {
  declare id: CreationOptional<number>;
  declare at: Date;
  /** The e-mail of a user, `cli:<system user>`, or `system`. */
  declare actor: string;
  /** Noun and verb, such as `backup.delete`. */
  declare action: string;
  /** The id of the record it was done to. */
  declare subject: string | null;
  declare details: CreationOptional<Record<string, unknown>>;
  /** `hash` of the event before; of the first, 64 zeros. */
  declare previousHash: CreationOptional<string | null>;
  /** SHA-256 over `previousHash` and this event, hex: see `linkOf`. */
  declare hash: CreationOptional<string | null>;
}

export function defineAuditEvent(sequelize: Sequelize): typeof AuditEventRow {
  class AuditEvent extends AuditEventRow {}
  AuditEvent.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      at: DataTypes.DATE,
      actor: DataTypes.STRING(320),
      action: DataTypes.STRING(64),
      subject: DataTypes.STRING(100),
      details: { type: DataTypes.JSON, defaultValue: {} },
      previousHash: DataTypes.STRING(64),
      hash: DataTypes.STRING(64),
    },
    { sequelize, tableName: 'audit_events', timestamps: false },
  );
  return AuditEvent;
}

import {
  type CreationOptional,
  DataTypes,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type Sequelize,
} from 'sequelize';

/** What a channel can be. */
export type ChannelKind =
  | 'EMAIL'
  | 'WEBHOOK'
  | 'SLACK'
  | 'DISCORD'
  | 'TEAMS'
  | 'TELEGRAM'
  | 'NTFY'
  | 'GOTIFY'
  | 'PAGERDUTY'
  | 'HEARTBEAT'
  | 'UPTIME_KUMA';

/** What a channel can be told of; docs/notifications.md has a row for each. */
export const NOTIFICATION_EVENTS = [
  'BACKUP_FAILED',
  'BACKUP_LATE',
  'BACKUP_SUSPICIOUS',
  'VERIFICATION_FAILED',
  'COPY_MISSING',
  'DISK_LOW',
  'STORAGE_UNAVAILABLE',
  'RESTORE_FAILED',
  'CHANNEL_FAILED',
  'RECOVERED',
  'DELETION_PLANNED',
  'RESTORE_DONE',
  'BACKUP_DONE',
  'DRILL_DONE',
  'FIRST_SUCCESS',
  'WEEKLY_DIGEST',
] as const;
export type NotificationEvent = (typeof NOTIFICATION_EVENTS)[number];

/** Kinds of channels that take signs of life and no messages. */
export const BEAT_KINDS = ['HEARTBEAT', 'UPTIME_KUMA'] as const satisfies readonly ChannelKind[];

/** Whose signs of life a heartbeat gets: of one of these. */
export const BEAT_EVENTS = ['BACKUP_DONE', 'DRILL_DONE'] as const satisfies readonly NotificationEvent[];
export type BeatEvent = (typeof BEAT_EVENTS)[number];

/** What a message says, whatever channel it goes to. Never a secret. */
export interface Notice {
  /** TEST: a person tries the channel out. */
  event: NotificationEvent | 'TEST';
  level: 'PROBLEM' | 'GOOD' | 'INFO';
  title: string;
  message: string;
  /** What to do next; empty where there is nothing to do. */
  hint: string;
  config: { id: number; name: string } | null;
  /** The channel that it is about, which is not told of it; absent where it is about none. */
  channelId?: number;
  /** The same for a problem, its reminders and its end; null for what stands alone. */
  cause: string | null;
  /** The page about it, such as `/backups/backup_…`. */
  path: string;
  /** ISO 8601: when it happened. */
  at: string;
}

/** A sign of life of a config's backups or drills, for services that raise the alarm when none comes. */
export interface Beat {
  state: 'STARTED' | 'DONE' | 'FAILED';
  runId: string;
}

/** A place that messages go to. */
export class ChannelRow extends Model<InferAttributes<ChannelRow>, InferCreationAttributes<ChannelRow>> {
  declare id: CreationOptional<number>;
  declare name: string;
  declare kind: ChannelKind;
  /** The target as it is shown: without what is secret in it. */
  declare target: string;
  /** The target and the secret, sealed; null where they did not survive the loss of the secrets key. */
  declare sealed: CreationOptional<string | null>;
  /** Of a webhook: the JSON that it sends, with places for what a message says; null: the message as it is. */
  declare template: CreationOptional<string | null>;
  /** Of a heartbeat: one of BEAT_EVENTS, or none, which is BACKUP_DONE. */
  declare events: NotificationEvent[];
  /** Empty: all configs. */
  declare configIds: number[];
  /** When the next digest is due; null where none is wanted. */
  declare digestAt: CreationOptional<Date | null>;
  declare lastDeliveryAt: CreationOptional<Date | null>;
  /** Why the last message did not reach everyone, or one was given up; else null. */
  declare lastError: CreationOptional<string | null>;
  /** Why the last message was given up that was; null again once the channel is edited or a test arrives. */
  declare lostError: CreationOptional<string | null>;
  declare createdAt: Date;
}

/** A problem that channels were told of and that is not over yet. */
export class AlertRow extends Model<InferAttributes<AlertRow>, InferCreationAttributes<AlertRow>> {
  /** Event, config, code, and what else it is about. */
  declare cause: string;
  /** Made anew each time that the problem begins. */
  declare token: string;
  declare event: NotificationEvent;
  declare configId: number | null;
  /** The backup that it is about, if it is about one alone. */
  declare backupId: string | null;
  /** True if `status` says when it is over; false if a later run does. */
  declare fromStatus: boolean;
  declare notice: Notice;
  declare openedAt: Date;
  /** When the channels were last told. */
  declare notifiedAt: Date;
  /** Since when `status` does not find it any more; null while it does. */
  declare absentSince: CreationOptional<Date | null>;
}

/** A message in the outbox: it waits until its channel has taken it. */
export class DeliveryRow extends Model<InferAttributes<DeliveryRow>, InferCreationAttributes<DeliveryRow>> {
  declare id: CreationOptional<number>;
  declare channelId: number;
  declare content: { notice: Notice } | { beat: Beat };
  declare tries: CreationOptional<number>;
  declare nextTryAt: Date;
  declare createdAt: Date;
}

export function defineNotifications(sequelize: Sequelize): {
  Channel: typeof ChannelRow;
  Alert: typeof AlertRow;
  Delivery: typeof DeliveryRow;
} {
  class Channel extends ChannelRow {}
  Channel.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      name: DataTypes.STRING(200),
      kind: DataTypes.STRING(32),
      target: DataTypes.TEXT,
      sealed: DataTypes.TEXT,
      template: DataTypes.TEXT,
      events: DataTypes.JSON,
      configIds: DataTypes.JSON,
      digestAt: DataTypes.DATE,
      lastDeliveryAt: DataTypes.DATE,
      lastError: DataTypes.TEXT,
      lostError: DataTypes.TEXT,
      createdAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'channels', timestamps: false },
  );
  class Alert extends AlertRow {}
  Alert.init(
    {
      cause: { type: DataTypes.STRING(200), primaryKey: true },
      token: DataTypes.STRING(36),
      event: DataTypes.STRING(32),
      configId: DataTypes.INTEGER,
      backupId: DataTypes.STRING(64),
      fromStatus: DataTypes.BOOLEAN,
      notice: DataTypes.JSON,
      openedAt: DataTypes.DATE,
      notifiedAt: DataTypes.DATE,
      absentSince: DataTypes.DATE,
    },
    { sequelize, tableName: 'alerts', timestamps: false },
  );
  class Delivery extends DeliveryRow {}
  Delivery.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      channelId: DataTypes.INTEGER,
      content: DataTypes.JSON,
      tries: { type: DataTypes.INTEGER, defaultValue: 0 },
      nextTryAt: DataTypes.DATE,
      createdAt: DataTypes.DATE,
    },
    { sequelize, tableName: 'deliveries', timestamps: false },
  );
  return { Channel, Alert, Delivery };
}

/* eslint-disable */
/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
import type { DocumentTypeDecoration } from '@graphql-typed-document-node/core';
/** A new API token. */
export type ApiTokenInput = {
  /** From then on it is refused; left out: it does not expire. */
  expiresAt?: string | null | undefined;
  /** Unique, 1 to 100 characters, such as `Deployment`. */
  name: string;
  /** What it may be used for: at least one. */
  scopes: Array<ApiTokenScope>;
};

/** What an API token may be used for. None includes another. */
export type ApiTokenScope =
  /** Everything else: configs, destinations, keys, users, deleting and cleaning up. */
  | 'ADMIN'
  /** Make, upload, verify, copy, consolidate and pin backups. */
  | 'BACKUP'
  /** Queries, subscriptions, downloads and metrics: also the data in backups. */
  | 'READ'
  /** Plan, make, undo and cancel restores: also into another database. */
  | 'RESTORE';

/** Filter for audit events. All conditions apply; fields that are left out do not restrict. */
export type AuditFilter = {
  /** An action such as `backup.delete`, or all of a noun: `backup`. */
  action?: string | null | undefined;
  /** Done by, such as `admin@example.org`. */
  actor?: string | null | undefined;
  /** At this time or later. */
  createdAfter?: string | null | undefined;
  /** Before this time. */
  createdBefore?: string | null | undefined;
  /** Done to the record of this id. */
  subject?: string | null | undefined;
};

/** The settings of a config. Fields that are left out stay as they are, or get their default in a new config. */
export type BackupConfigInput = {
  /** How names of its archives begin: letters, digits, hyphens. Default: made of the name; null and for the first config: DB_BACKUP_PREFIX. */
  archivePrefix?: string | null | undefined;
  /** Default: true. */
  autoBackupEnabled?: boolean | null | undefined;
  /** Databases of its server with such names get a config like this one when they appear, as by `protectDatabases`; `*` stands for any characters, such as `shop_*`. Not those whose config was deleted. Looked for once an hour; null: none does. */
  autoInclude?: string | null | undefined;
  /** 1 or more. Default: 30. */
  backupRetentionDays?: number | null | undefined;
  /** Default: DEFLATE. */
  compression?: Compression | null | undefined;
  /** 0 (fastest) to 9 (smallest). Default: 1. */
  compressionLevel?: number | null | undefined;
  /** The destinations that get copies, beside `storageType` and `storagePath`. */
  copyTo?: Array<string | number> | null | undefined;
  /** Such as `sqlite:/srv/okpuja/db.sqlite3`, `postgres://user:password@host:5432/okpuja`, `mysql://user:password@host:3306/okpuja` or `mongodb://user:password@host:27017/okpuja`. Required for a new config. */
  databaseUrl?: string | null | undefined;
  /** Where archives are stored, in place of `storageType` and `storagePath`: the run writes the first, the others get copies. */
  destinationIds?: Array<string | number> | null | undefined;
  /** The file name of an executable in the folder of DRILL_COMMANDS_DIR, run by each drill on what it restored: see docs/drills.md. Null: none. */
  drillCommand?: string | null | undefined;
  /** When its newest good backup is drilled: cron in `timezone`, as `schedule`, such as `weekly`. Null: never by itself. */
  drillSchedule?: string | null | undefined;
  /** The keys that its backups are encrypted for; any of them opens a backup. `[]`: they are not encrypted. A passphrase stands alone. */
  encryptionKeyIds?: Array<string | number> | null | undefined;
  /** Tables whose rows backups leave out, as `excludeTables`: a restore makes them empty. */
  excludeTableData?: Array<string> | null | undefined;
  /** Tables that backups leave out, as a whole: names as in `tables` of a backup, in which `*` stands for any characters, such as `["log_*"]`. Not for SQLite. */
  excludeTables?: Array<string> | null | undefined;
  /** After so many days the next backup is a full one, 1 to 365. Default: 7. */
  fullEveryDays?: number | null | undefined;
  /** Store only what changed since the backup before. Default: false. */
  incremental?: boolean | null | undefined;
  /** Queries with the answers that the database must give, asked in each backup and tried out when they are saved. A broken one makes the backup suspicious. SQLite and PostgreSQL; `[]` removes all. */
  invariants?: Array<InvariantInput> | null | undefined;
  /** Seconds, 0 to 3600. Default: 0. */
  jitterSeconds?: number | null | undefined;
  /** For how many days the newest backup of each is kept. 1 or more; null removes the rule. */
  keepDaily?: number | null | undefined;
  /** For how many hours the newest backup of each is kept. 1 or more; null removes the rule. */
  keepHourly?: number | null | undefined;
  /** How many of the newest backups are kept. 1 or more; null removes the rule. */
  keepLast?: number | null | undefined;
  /** For how many months the newest backup of each is kept. 1 or more; null removes the rule. */
  keepMonthly?: number | null | undefined;
  /** For how many ISO weeks the newest backup of each is kept. 1 or more; null removes the rule. */
  keepWeekly?: number | null | undefined;
  /** A time such as `12h`, `30d`, `2w`, `6m`, `1y`; null removes the rule. */
  keepWithin?: string | null | undefined;
  /** For how many years the newest backup of each is kept. 1 or more; null removes the rule. */
  keepYearly?: number | null | undefined;
  /** 1 or more. Default: 30. */
  maxBackupFiles?: number | null | undefined;
  /** Bytes, 1 or more; null removes the limit. */
  maxTotalSize?: number | null | undefined;
  /** Absolute folders, such as `["/srv/okpuja/media"]`. */
  mediaPaths?: Array<string> | null | undefined;
  /** How many copies a backup needs to count for the retention of others. Default: 1. */
  minimumCopies?: number | null | undefined;
  /** Unique, 1 to 200 characters. Required for a new config. */
  name?: string | null | undefined;
  /** Seconds, 1 or more. Default: 30. */
  restoreLockTimeout?: number | null | undefined;
  /** Days, 1 or more. Default: 7. */
  safetyRetentionDays?: number | null | undefined;
  /** Five-field cron, or `hourly`, `daily`, `weekly`, `monthly`. Default: `0 2 * * *`. */
  schedule?: string | null | undefined;
  /** Inside the backups folder for LOCAL; absolute for SYSTEM; otherwise the location of a destination. */
  storagePath?: string | null | undefined;
  /** Default: LOCAL. */
  storageType?: StorageType | null | undefined;
  /** Default: `UTC`. */
  timezone?: string | null | undefined;
};

/** Filter for backups. All conditions apply; fields that are left out, null or empty do not restrict. */
export type BackupFilter = {
  /** Made for one of these reasons. */
  backupType?: Array<BackupType> | null | undefined;
  /** Of this config, such as `1`. */
  configId?: string | number | null | undefined;
  /** Requested at this time or later. */
  createdAfter?: string | null | undefined;
  /** Requested before this time. */
  createdBefore?: string | null | undefined;
  /** Full or incremental. */
  mode?: Array<BackupMode> | null | undefined;
  /** True: of each chain only the full backup and the newest incremental one. Those that another one builds on are left out, unless they failed or run. */
  newestOfChain?: boolean | null | undefined;
  /** Part of the id, file name, note, database name or error message, in any case, such as `2025072`. */
  search?: string | null | undefined;
  /** In one of these states. */
  status?: Array<BackupStatus> | null | undefined;
  /** Stored in one of these ways. */
  storageType?: Array<StorageType> | null | undefined;
};

/** What an archive holds. */
export type BackupMode =
  /** Everything: the archive restores alone. */
  | 'FULL'
  /** What changed since the backup that it builds on: it needs that one to be restored. */
  | 'INCREMENTAL';

/** In which order backups are listed. */
export type BackupOrder =
  /** Oldest first. */
  | 'CREATED_AT_ASC'
  /** Newest first. */
  | 'CREATED_AT_DESC'
  /** Those without a file first, then the smallest. */
  | 'FILE_SIZE_ASC'
  /** Largest first; those without a file last. */
  | 'FILE_SIZE_DESC';

/** State of a backup. */
export type BackupStatus =
  /** Its archive is stored and was verified by reading it back. */
  | 'COMPLETED'
  /** Its archive was deleted; the record stays. */
  | 'DELETED'
  /** It ended with an error, which errorCode, errorMessage and errorHint explain. Nothing was stored. */
  | 'FAILED'
  /** It waits for a worker, or for another run of the same database. */
  | 'PENDING'
  /** It is being made. */
  | 'RUNNING';

/** Why a backup was made. */
export type BackupType =
  /** Made by the schedule. */
  | 'AUTO'
  /** Requested by a user. */
  | 'MANUAL'
  /** Made by a restore before it changed anything, so that the restore can be undone. */
  | 'SAFETY'
  /** The archive was made elsewhere, or downloaded before, and uploaded. */
  | 'UPLOADED';

/** A channel. In a change, what is left out stays as it is. */
export type ChannelInput = {
  /** Of which configs; empty: of all, which is the default. A heartbeat names exactly one. */
  configIds?: Array<string | number> | null | undefined;
  /** What it is told of. Default: every problem and its end. Of a heartbeat: `BACKUP_DONE`, which is its default, or `DRILL_DONE`, for signs of life of either. */
  events?: Array<NotificationEvent> | null | undefined;
  /** Needed for a new one; cannot change. */
  kind?: ChannelKind | null | undefined;
  /** Unique, 1 to 200 characters. Default: made of kind and target. */
  name?: string | null | undefined;
  /** The key that requests of a WEBHOOK are signed with, a token, or the integration key of PagerDuty. Sealed, and never returned; empty takes it away. */
  secret?: string | null | undefined;
  /** E-mail addresses separated by commas, a URL, or the id of a Telegram chat. Sealed. */
  target?: string | null | undefined;
  /** Of a WEBHOOK: the JSON that it sends in place of the message, with `{{title}}` and the like within its strings: see docs/notifications.md. Empty takes it away. */
  template?: string | null | undefined;
};

/** The kind of service that takes messages. */
export type ChannelKind =
  /** A webhook of Discord. `target`: its URL. */
  | 'DISCORD'
  /** Mail. `target`: addresses. Needs SMTP_URL or SMTP_HOST. */
  | 'EMAIL'
  /** A Gotify server. `target`: its URL; `secret`: the token of an application. */
  | 'GOTIFY'
  /** A check of healthchecks.io, or of what speaks like it. `target`: its ping URL. */
  | 'HEARTBEAT'
  /** A topic of ntfy. `target`: `https://ntfy.sh/topic`; `secret`: an access token; optional. */
  | 'NTFY'
  /** PagerDuty. `secret`: the integration key (Events API v2); `target`: only for its EU region. */
  | 'PAGERDUTY'
  /** An incoming webhook of Slack. `target`: its URL. */
  | 'SLACK'
  /** A workflow of Microsoft Teams that posts to a channel. `target`: its URL. */
  | 'TEAMS'
  /** A bot of Telegram. `target`: id of the chat; `secret`: the token of the bot. */
  | 'TELEGRAM'
  /** A push monitor of Uptime Kuma. `target`: its push URL. */
  | 'UPTIME_KUMA'
  /** JSON to any URL. `secret`: what requests are signed with; optional. */
  | 'WEBHOOK';

/** How the files in an archive are compressed. */
export type Compression =
  /** Every ZIP tool reads it. */
  | 'DEFLATE'
  /** Stored as they are: for storages that compress themselves. */
  | 'NONE'
  /** Smaller and faster. Needs Node 22.15 or newer here, and 7-Zip 24 or newer to unpack without db-manager. */
  | 'ZSTD';

/** Where the product's own records are stored. */
export type ControlDatabaseKind =
  /** A PostgreSQL server. */
  | 'POSTGRES'
  /** A file below DATA_DIR. */
  | 'SQLITE';

/** State of one copy of a backup. */
export type CopyStatus =
  /** It is stored and was verified by reading it back. */
  | 'COMPLETED'
  /** It was deleted. */
  | 'DELETED'
  /** It was not stored, or is damaged; `errorCode` and `errorMessage` say why, `nextTryAt` when it is tried again. */
  | 'FAILED'
  /** It is not being written yet. */
  | 'PENDING'
  /** It is being written or verified. */
  | 'RUNNING';

/** A request for a backup. `{}` backs up the first config with its own settings. */
export type CreateBackupInput = {
  /** Keeps a database with damaged pages as it is, instead of failing with DATABASE_CORRUPT: see `Backup.damaged`. */
  allowDamaged?: boolean | null | undefined;
  /** MANUAL or AUTO; the others are made by uploads and restores only. */
  backupType?: BackupType | null | undefined;
  /** What to back up; the first config if left out. */
  configId?: string | number | null | undefined;
  /** Another folder: inside the backups folder for LOCAL (`before-update`), absolute for SYSTEM (`/mnt/disk`). */
  customPath?: string | null | undefined;
  /** INCREMENTAL stores only what changed since the last one; where there is nothing to build on, a full backup is made and says why. As the config says if left out. */
  mode?: BackupMode | null | undefined;
  /** A note, such as `before the 4.2 update`. */
  note?: string | null | undefined;
  /** Where to store it; as the config says if left out. */
  storageType?: StorageType | null | undefined;
};

/** The kind of database that is protected. */
export type DatabaseEngine =
  /** MongoDB: one database of a server, a replica set or a sharded cluster. */
  | 'MONGODB'
  /** MySQL or MariaDB: one database of a server. */
  | 'MYSQL'
  /** PostgreSQL: one database of a server. */
  | 'POSTGRES'
  /** SQLite: one file. */
  | 'SQLITE';

/** A destination: exactly one kind of place. In a change, what is left out stays as it is. */
export type DestinationInput = {
  /** Most bytes per second to and from it; not for folders. Null removes the limit. */
  bandwidthLimit?: number | null | undefined;
  /** A folder. */
  directory?: DirectoryInput | null | undefined;
  /** A folder of Google Drive. */
  gdrive?: GdriveInput | null | undefined;
  /** Unique, 1 to 200 characters. Default: its location. */
  name?: string | null | undefined;
  /** Whether it is away most of the time. Default: false. */
  offline?: boolean | null | undefined;
  /** A remote of rclone. */
  rclone?: RcloneInput | null | undefined;
  /** A bucket. */
  s3?: S3Input | null | undefined;
  /** A folder of an SSH server. */
  sftp?: SftpInput | null | undefined;
};

/** A folder of the server. */
export type DirectoryInput = {
  /** Inside the backups folder for LOCAL; absolute for SYSTEM. */
  path: string;
  /** LOCAL or SYSTEM. */
  storageType: StorageType;
};

/** A new encryption key: exactly one of `generate`, `recipient` and `passphrase`. */
export type EncryptionKeyInput = {
  /** Generates an identity, which is returned once. */
  generate?: boolean | null | undefined;
  /** With `generate`: keeps the identity here too, so that backups open without asking. Default: false. A passphrase is always kept. */
  keepHere?: boolean | null | undefined;
  /** Unique, 1 to 200 characters. */
  name: string;
  /** 12 characters or more. It is kept here, since every backup needs it, and stands alone in a config. */
  passphrase?: string | null | undefined;
  /** The public part of a key that you have: `age1…`. */
  recipient?: string | null | undefined;
};

/** What of a table is left out of a backup. */
export type ExcludedPart =
  /** Its rows: the backup has the table, empty. */
  | 'ROWS'
  /** The whole table: the backup does not have it. */
  | 'TABLE';

/** What the answer to an invariant must be. */
export type Expectation =
  /** The value or more. */
  | 'AT_LEAST'
  /** The value or less. */
  | 'AT_MOST'
  /** No row at all: the query looks for what must not be. */
  | 'EMPTY'
  /** The value itself: numbers are compared as numbers. */
  | 'EQUALS'
  /** At least what it was in the newest good backup before. */
  | 'NOT_LESS_THAN_BEFORE';

/** What an entry of a folder is. */
export type FolderEntryKind =
  /** Any other file. */
  | 'FILE'
  /** A folder. */
  | 'FOLDER'
  /** A SQLite database, by the first bytes of the file. */
  | 'SQLITE'
  /** A file that this server may not read. */
  | 'UNREADABLE';

/** A folder of Google Drive: with a service account, or with clientId, clientSecret and refreshToken. */
export type GdriveInput = {
  /** Id of the OAuth client. */
  clientId?: string | null | undefined;
  /** Secret of the OAuth client. */
  clientSecret?: string | null | undefined;
  /** Shared drive of the folder. Default: the drive of the account. */
  driveId?: string | null | undefined;
  /** Path such as `Backups/okpuja`, which is made if missing, or the id of a folder. */
  folder: string;
  /** As `db-manager gdrive-login` gets it. */
  refreshToken?: string | null | undefined;
  /** Address of a server that speaks for Google's. Default: Google's. */
  rootUrl?: string | null | undefined;
  /** Text of the JSON key of a service account. */
  serviceAccountKey?: string | null | undefined;
};

/** How an installation is doing, in one word. */
export type Health =
  /** Something is not protected. */
  | 'CRITICAL'
  /** Everything is protected. */
  | 'OK'
  /** Something needs attention. */
  | 'WARNING';

/** A query of the database with the answer that it must give, asked in each backup. */
export type InvariantInput = {
  /** What the answer must be. */
  expect: Expectation;
  /** A name of its own, such as `Orders are never lost`. */
  name: string;
  /** One SELECT with one value, such as `SELECT count(*) FROM orders`. */
  sql: string;
  /** What it is compared with; for `EQUALS`, `AT_LEAST` and `AT_MOST` only. */
  value?: string | null | undefined;
};

/** Where waiting jobs are stored. */
export type JobStoreKind =
  /** In the control database. */
  | 'CONTROL_DATABASE'
  /** In MongoDB. */
  | 'MONGODB'
  /** In a MongoDB that ends with this process: for development only. */
  | 'MONGODB_MEMORY'
  /** In PostgreSQL. */
  | 'POSTGRES';

/** What happens to media files that are not in the backup. */
export type MediaMode =
  /** They are kept. */
  | 'MERGE'
  /** They are moved away (into the safety backup), so that the folder contains exactly the files of the backup. */
  | 'MIRROR';

/** What a channel can be told of. */
export type NotificationEvent =
  /** A backup completed. */
  | 'BACKUP_DONE'
  /** A backup failed, or a database could not be backed up at all. */
  | 'BACKUP_FAILED'
  /** A scheduled backup has not started, or a run waits for too long. */
  | 'BACKUP_LATE'
  /** A backup is unlike those before it. */
  | 'BACKUP_SUSPICIOUS'
  /** Another channel does not take its messages. */
  | 'CHANNEL_FAILED'
  /** A backup has no copy in one of its destinations. */
  | 'COPY_MISSING'
  /** Backups are about to be deleted, and can still be kept. */
  | 'DELETION_PLANNED'
  /** A destination has little space left. */
  | 'DISK_LOW'
  /** A drill passed. */
  | 'DRILL_DONE'
  /** The first backup of a config completed. */
  | 'FIRST_SUCCESS'
  /** A problem is over. */
  | 'RECOVERED'
  /** A restore replaced data. */
  | 'RESTORE_DONE'
  /** A restore failed. */
  | 'RESTORE_FAILED'
  /** A destination cannot be reached. */
  | 'STORAGE_UNAVAILABLE'
  /** A backup is damaged, missing or not verified, or was not verified for too long. */
  | 'VERIFICATION_FAILED'
  /** Every Monday at 8: what was backed up in the week, and what is wrong. */
  | 'WEEKLY_DIGEST';

/** A remote of the rclone that is installed on the server, as its user has configured it. */
export type RcloneInput = {
  /** Absolute path of rclone's configuration. Default: its own. */
  configFile?: string | null | undefined;
  /** Folder of the remote. It is made if missing. */
  path?: string | null | undefined;
  /** Name of the remote, as `rclone listremotes` shows it. */
  remote: string;
};

/** What to restore, and where to. `{backupId, confirm: true}` restores everything to its original location. */
export type RestoreBackupInput = {
  /** Allows a backup that is `damaged`: the files of its database are put in place as they are. */
  allowDamaged?: boolean | null | undefined;
  /** Allows a backup that was made without tables or rows that the target has, which the restore takes away (TABLES_EXCLUDED). */
  allowExcluded?: boolean | null | undefined;
  /** Allows a backup of another application, or of an unknown one, to replace the config's own data (BACKUP_FOREIGN, TABLES_DIFFER). */
  allowForeign?: boolean | null | undefined;
  /** A COMPLETED backup. */
  backupId: string | number;
  /** Must be true for `restoreBackup`: a restore replaces data. */
  confirm: boolean;
  /** Opens an encrypted backup: an age identity, the text of a key file, or a passphrase. Used for this once and never kept. Left out: the keys that are held here do. */
  identity?: string | null | undefined;
  /** Include tables linked to the selected ones by foreign keys or triggers. */
  includeRelated?: boolean | null | undefined;
  /** Only these media files or folders, as paths in the archive, such as `["media/uploads/2025"]`. */
  media?: Array<string> | null | undefined;
  /** What happens to media files that are not in the backup. */
  mediaMode?: MediaMode | null | undefined;
  /** Allows a target that already contains data. */
  overwrite?: boolean | null | undefined;
  /** Rebuild indexes and full-text indexes that are out of step with their tables in the backup (REINDEX), before the database is switched. Those that cannot be rebuilt are named in `warnings`. */
  rebuildIndexes?: boolean | null | undefined;
  /** Restore the database. */
  restoreDatabase?: boolean | null | undefined;
  /** Restore the media files. */
  restoreMedia?: boolean | null | undefined;
  /** Which rows of `tables` come back. MISSING and CHANGED need `tables`; all that is newer stays (SQLite, PostgreSQL). */
  rows?: RowsMode | null | undefined;
  /** Only these tables, such as `["bookings"]`. Media files are then kept unchanged, unless `media` is given too. */
  tables?: Array<string> | null | undefined;
  /** Another target than the config's own database, such as `sqlite:/srv/test/db.sqlite3`, `postgres://user:password@host/test`, `mysql://user:password@host/test` or `mongodb://user:password@host/test`. */
  targetDatabaseUrl?: string | null | undefined;
  /** Media folder when the target is another database. */
  targetMediaPath?: string | null | undefined;
  /** Only rows of the backup that meet this SQL condition, such as `tenant_id = 5`. Needs `rows` other than REPLACE and exactly one table. */
  where?: string | null | undefined;
  /** Also bring back the rows that the chosen ones refer to by foreign keys, where the target lost them, and those that these refer to. Without it, rows that would refer to nothing are refused (RESTORE_CONFLICT). */
  withParents?: boolean | null | undefined;
};

/** Filter for restores. All conditions apply; fields that are left out, null or empty do not restrict. */
export type RestoreFilter = {
  /** Of this backup. */
  backupId?: string | number | null | undefined;
  /** Of this config. */
  configId?: string | number | null | undefined;
  /** Requested at this time or later. */
  createdAfter?: string | null | undefined;
  /** Requested before this time. */
  createdBefore?: string | null | undefined;
  /** Part of the id, the backup's id or the error message. */
  search?: string | null | undefined;
  /** In one of these states. */
  status?: Array<RestoreStatus> | null | undefined;
};

/** State of a restore or a verification. */
export type RestoreStatus =
  /** The target holds the state of the backup; or, of a verification, a copy of the backup is as it was stored. */
  | 'COMPLETED'
  /** It ended with an error. After a restore, the state before it is in place, unless errorCode is RESTORE_ROLLBACK_FAILED. */
  | 'FAILED'
  /** It waits for a worker, or for another run of the same database or backup. */
  | 'PENDING'
  /** It is running. */
  | 'RUNNING';

/** Which rows of the selected tables a restore brings back. */
export type RowsMode =
  /** Those that the target lost, and those that differ. */
  | 'CHANGED'
  /** Only those that the target lost, by primary key. */
  | 'MISSING'
  /** All: the tables become those of the backup, and newer rows go. */
  | 'REPLACE';

/** A bucket of Amazon S3 or of any service that speaks its protocol. */
export type S3Input = {
  /** Access key. Default: what the machine itself is allowed, such as by its instance role. */
  accessKeyId?: string | null | undefined;
  /** Name of the bucket, which must exist. In a change: the present one, or another. */
  bucket: string;
  /** For services other than AWS, such as `https://s3.eu-central-003.backblazeb2.com`. */
  endpoint?: string | null | undefined;
  /** The bucket is part of the path, not of the host name: MinIO and most services of your own need it. */
  forcePathStyle?: boolean | null | undefined;
  /** Key of `aws:kms`. */
  kmsKeyId?: string | null | undefined;
  /** For how many days no one can delete an archive for good. The bucket must have object lock. */
  objectLockDays?: number | null | undefined;
  /** Folder inside the bucket, such as `okpuja/production`. */
  prefix?: string | null | undefined;
  /** Default: `us-east-1`. */
  region?: string | null | undefined;
  /** Its secret. */
  secretAccessKey?: string | null | undefined;
  /** `AES256`, `aws:kms` or `aws:kms:dsse`. */
  serverSideEncryption?: string | null | undefined;
  /** For temporary keys. */
  sessionToken?: string | null | undefined;
  /** Such as `STANDARD_IA` or `GLACIER_IR`. */
  storageClass?: string | null | undefined;
};

/** A folder of an SSH server. A password or a private key is needed. */
export type SftpInput = {
  /** Host name or address. */
  host: string;
  /** Key of the host, such as `SHA256:…`. Default: the one that the first test meets; no other later. */
  hostKey?: string | null | undefined;
  /** Passphrase of the private key. */
  passphrase?: string | null | undefined;
  /** Its password. */
  password?: string | null | undefined;
  /** The folder: absolute, or inside the home of the user. It is made if missing. */
  path: string;
  /** Default: 22. */
  port?: number | null | undefined;
  /** Text of a private key, from `-----BEGIN` to `-----END`. */
  privateKey?: string | null | undefined;
  /** The user. */
  username: string;
};

/** Where archives are stored. */
export type StorageType =
  /** A folder of Google Drive. */
  | 'GDRIVE'
  /** The backups folder of this installation, or a folder inside it. */
  | 'LOCAL'
  /** Any remote of an installed rclone. */
  | 'RCLONE'
  /** A bucket of Amazon S3 or of any service that speaks its protocol. */
  | 'S3'
  /** A folder of an SSH server. */
  | 'SFTP'
  /** Any folder on this server, such as a mounted disk. */
  | 'SYSTEM';

/** What a restore does to a table. */
export type TableChange =
  /** The target does not have it. */
  | 'ADD'
  /** It was not selected: it is kept unchanged. */
  | 'KEEP'
  /** The backup does not have it: it is removed. */
  | 'REMOVE'
  /** Only rows that are missing or differ are written: see `repairs`. */
  | 'REPAIR'
  /** Its content becomes that of the backup. */
  | 'REPLACE';

/** How a table is linked to the selected ones by foreign keys or triggers. */
export type TableRelation =
  /** It references a selected table. */
  | 'DEPENDENT'
  /** Triggers of a selected table write to it. */
  | 'DERIVED'
  /** A selected table references it. */
  | 'NEEDED'
  /** Its triggers write to a selected table. */
  | 'SOURCE';

/** How thoroughly an archive is verified. */
export type VerificationLevel =
  /** Also, every entry can be read and has the recorded hash. */
  | 'ARCHIVE'
  /** The stored bytes have the recorded SHA-256. */
  | 'CHECKSUM'
  /** Also, the database was extracted, passes its integrity check, and has the recorded tables and row counts. */
  | 'CONTENT'
  /** One good copy was restored by the code of a restore into a scratch database, all of which was read there; the invariants hold, and the drill command passed. */
  | 'DRILL';

export type AuditEventsQueryVariables = Exact<{
  filter?: AuditFilter | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type AuditEventsQuery = { auditEvents: { totalCount: number, nodes: Array<{ id: string, at: string, actor: string, action: string, subject: string | null, details: Array<{ name: string, value: string }> }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null } } };

export type BackupPartsFragment = { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null };

export type BackupsQueryVariables = Exact<{
  filter?: BackupFilter | null | undefined;
  orderBy?: BackupOrder | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type BackupsQuery = { backups: { totalCount: number, nodes: Array<{ id: string, backupType: BackupType, mode: BackupMode, status: BackupStatus, storageType: StorageType, databaseName: string, fileName: string, encrypted: boolean, fileSize: number | null, fileSizeHuman: string | null, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, note: string | null, pinned: boolean, deleteAfter: string | null, pinnedBy: string | null, verifiedAt: string | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, verificationLevel: VerificationLevel | null, createdAt: string, completedAt: string | null, downloadUrl: string | null, foreign: boolean, anomalies: Array<{ message: string }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null } } };

export type BackupQueryVariables = Exact<{
  id: string | number;
}>;


export type BackupQuery = { backup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } | null };

export type BackupMediaQueryVariables = Exact<{
  id: string | number;
  search?: string | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  identity?: string | null | undefined;
}>;


export type BackupMediaQuery = { backupMedia: { totalCount: number, nodes: Array<{ path: string, size: number, modifiedAt: string | null }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null } } };

export type CreateBackupMutationVariables = Exact<{
  input: CreateBackupInput;
}>;


export type CreateBackupMutation = { createBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type AutoBackupMutationVariables = Exact<{
  configId?: string | number | null | undefined;
}>;


export type AutoBackupMutation = { autoBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type CancelBackupMutationVariables = Exact<{
  id: string | number;
}>;


export type CancelBackupMutation = { cancelBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type VerifyBackupMutationVariables = Exact<{
  id: string | number;
  level?: VerificationLevel | null | undefined;
  identity?: string | null | undefined;
}>;


export type VerifyBackupMutation = { verifyBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type CopyBackupMutationVariables = Exact<{
  id: string | number;
  destinationId: string | number;
}>;


export type CopyBackupMutation = { copyBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type PinBackupMutationVariables = Exact<{
  id: string | number;
  pinned: boolean;
}>;


export type PinBackupMutation = { pinBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type AssignBackupMutationVariables = Exact<{
  id: string | number;
  configId?: string | number | null | undefined;
  sameApplication?: boolean | null | undefined;
}>;


export type AssignBackupMutation = { assignBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type AcknowledgeAnomaliesMutationVariables = Exact<{
  id: string | number;
}>;


export type AcknowledgeAnomaliesMutation = { acknowledgeAnomalies: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type KeepBackupMutationVariables = Exact<{
  id: string | number;
}>;


export type KeepBackupMutation = { keepBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type DeleteBackupMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteBackupMutation = { deleteBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type DeleteBackupsMutationVariables = Exact<{
  ids: Array<string | number> | string | number;
}>;


export type DeleteBackupsMutation = { deleteBackups: Array<{ id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null }> };

export type CreateDownloadLinkMutationVariables = Exact<{
  id: string | number;
}>;


export type CreateDownloadLinkMutation = { createDownloadLink: { url: string, expiresAt: string } };

export type UploadBackupMutationVariables = Exact<{
  file: Blob;
  configId?: string | number | null | undefined;
  identity?: string | null | undefined;
}>;


export type UploadBackupMutation = { uploadBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type ImportBackupMutationVariables = Exact<{
  path: string;
  configId?: string | number | null | undefined;
  identity?: string | null | undefined;
}>;


export type ImportBackupMutation = { importBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type BackupProgressSubscriptionVariables = Exact<{
  id: string | number;
}>;


export type BackupProgressSubscription = { backupProgress: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type RewrapBackupMutationVariables = Exact<{
  id: string | number;
  encryptionKeyIds: Array<string | number> | string | number;
  identity?: string | null | undefined;
}>;


export type RewrapBackupMutation = { rewrapBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type ConsolidateBackupMutationVariables = Exact<{
  id: string | number;
}>;


export type ConsolidateBackupMutation = { consolidateBackup: { id: string, backupType: BackupType, mode: BackupMode, chainLength: number, chainFullSize: number | null, consolidates: string | null, status: BackupStatus, storageType: StorageType, engine: DatabaseEngine, databaseName: string, fileName: string, filePath: string, fileSize: number | null, fileSizeHuman: string | null, checksum: string | null, encrypted: boolean, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, note: string | null, pinned: boolean, pinnedBy: string | null, verifiedAt: string | null, verificationLevel: VerificationLevel | null, damaged: boolean, queryable: boolean, anomaliesAcknowledgedAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, createdBy: string | null, downloadUrl: string | null, mediaFileCount: number, deleteAfter: string | null, deletedAt: string | null, deletedBy: string | null, deleteReason: string | null, applicationId: string | null, foreign: boolean, parent: { id: string } | null, children: Array<{ id: string }>, copies: Array<{ id: string, status: CopyStatus, filePath: string, verifiedAt: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, attempts: number, nextTryAt: string | null, destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean } }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, anomalies: Array<{ code: string, message: string, table: string | null, before: number | null, after: number | null }>, tables: Array<{ name: string, rowCount: number }>, excluded: Array<{ table: string, what: ExcludedPart }>, config: { id: string, name: string } | null, origin: { config: string | null, host: string | null, database: string | null, mediaPaths: Array<string> } | null } };

export type ChannelPartsFragment = { id: string, name: string, kind: ChannelKind, target: string, template: string | null, events: Array<NotificationEvent>, configIds: Array<string>, waiting: number, lastDeliveryAt: string | null, lastError: string | null };

export type ChannelsQueryVariables = Exact<{ [key: string]: never; }>;


export type ChannelsQuery = { channels: Array<{ id: string, name: string, kind: ChannelKind, target: string, template: string | null, events: Array<NotificationEvent>, configIds: Array<string>, waiting: number, lastDeliveryAt: string | null, lastError: string | null }> };

export type CreateChannelMutationVariables = Exact<{
  input: ChannelInput;
}>;


export type CreateChannelMutation = { createChannel: { id: string, name: string, kind: ChannelKind, target: string, template: string | null, events: Array<NotificationEvent>, configIds: Array<string>, waiting: number, lastDeliveryAt: string | null, lastError: string | null } };

export type UpdateChannelMutationVariables = Exact<{
  id: string | number;
  input: ChannelInput;
}>;


export type UpdateChannelMutation = { updateChannel: { id: string, name: string, kind: ChannelKind, target: string, template: string | null, events: Array<NotificationEvent>, configIds: Array<string>, waiting: number, lastDeliveryAt: string | null, lastError: string | null } };

export type DeleteChannelMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteChannelMutation = { deleteChannel: { id: string, name: string } };

export type TestChannelMutationVariables = Exact<{
  id: string | number;
}>;


export type TestChannelMutation = { testChannel: { ok: boolean, error: { code: string, message: string, hint: string } | null } };

export type ConfigPartsFragment = { id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> };

export type ConfigsQueryVariables = Exact<{ [key: string]: never; }>;


export type ConfigsQuery = { configs: Array<{ id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> }> };

export type ConfigNamesQueryVariables = Exact<{ [key: string]: never; }>;


export type ConfigNamesQuery = { configs: Array<{ id: string, name: string, isSample: boolean, applicationId: string }> };

export type ConfigPageQueryVariables = Exact<{
  search?: string | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type ConfigPageQuery = { configConnection: { totalCount: number, nodes: Array<{ id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, health: { lastSuccessAt: string | null, lastProvenAt: string | null, lastFailureAt: string | null, lastErrorCode: string | null, overdue: boolean, lastBackup: { id: string, fileSize: number | null, verifiedAt: string | null } | null, drill: { passedAt: string, stateAt: string, restoreSeconds: number, forecastSeconds: number } | null } | null, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> }>, pageInfo: { endCursor: string | null, hasNextPage: boolean } } };

export type SchedulePreviewQueryVariables = Exact<{
  schedule: string;
  timezone: string;
  count?: number;
}>;


export type SchedulePreviewQuery = { schedulePreview: { inWords: string, nextRuns: Array<string> } };

export type ConfigQueryVariables = Exact<{
  id: string | number;
}>;


export type ConfigQuery = { config: { id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> } | null };

export type CreateConfigMutationVariables = Exact<{
  input: BackupConfigInput;
  saveUntested?: boolean | null | undefined;
}>;


export type CreateConfigMutation = { createConfig: { id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> } };

export type UpdateConfigMutationVariables = Exact<{
  id: string | number;
  input: BackupConfigInput;
  saveUntested?: boolean | null | undefined;
}>;


export type UpdateConfigMutation = { updateConfig: { id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> } };

export type CreateConfigFromBackupMutationVariables = Exact<{
  backupId: string | number;
  input?: BackupConfigInput | null | undefined;
}>;


export type CreateConfigFromBackupMutation = { createConfigFromBackup: { id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> } };

export type DeleteConfigMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteConfigMutation = { deleteConfig: { id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> } };

export type TestConnectionMutationVariables = Exact<{
  input: BackupConfigInput;
  configId?: string | number | null | undefined;
}>;


export type TestConnectionMutation = { testConnection: { ok: boolean, databaseName: string | null, size: number | null, tables: number | null, warnings: Array<string>, error: { code: string, message: string, hint: string, field: string | null } | null, facts: Array<{ name: string, value: string }>, excluded: Array<{ table: string, what: ExcludedPart }>, media: Array<{ path: string, ok: boolean, files: number | null, bytes: number | null, error: { code: string, message: string, hint: string, field: string | null } | null }> } };

export type TestStorageMutationVariables = Exact<{
  input: BackupConfigInput;
  configId?: string | number | null | undefined;
}>;


export type TestStorageMutation = { testStorage: { ok: boolean, location: string | null, free: number | null, total: number | null, warnings: Array<string>, error: { code: string, message: string, hint: string, field: string | null } | null } };

export type DiscoverDatabasesMutationVariables = Exact<{
  url?: string | null | undefined;
  configId?: string | number | null | undefined;
}>;


export type DiscoverDatabasesMutation = { discoverDatabases: Array<{ name: string, databaseUrl: string, size: number | null, configId: string | null }> };

export type ProtectDatabasesMutationVariables = Exact<{
  configId: string | number;
  names: Array<string> | string;
}>;


export type ProtectDatabasesMutation = { protectDatabases: Array<{ id: string, name: string, isSample: boolean, applicationId: string, archivePrefix: string | null, engine: DatabaseEngine, databaseUrl: string, mediaPaths: Array<string>, storageType: StorageType, storagePath: string, copyTo: Array<string>, excludeTables: Array<string>, excludeTableData: Array<string>, autoInclude: string | null, drillCommand: string | null, drillSchedule: string | null, nextDrillAt: string | null, minimumCopies: number, autoBackupEnabled: boolean, schedule: string, timezone: string, nextRunAt: string | null, backupRetentionDays: number, maxBackupFiles: number, restoreLockTimeout: number, safetyRetentionDays: number, incremental: boolean, fullEveryDays: number, compression: Compression, compressionLevel: number, keepLast: number | null, keepHourly: number | null, keepDaily: number | null, keepWeekly: number | null, keepMonthly: number | null, keepYearly: number | null, keepWithin: string | null, maxTotalSize: number | null, jitterSeconds: number, nextRuns: Array<string>, scheduleInWords: string, createdAt: string, updatedAt: string, testError: { code: string, message: string, hint: string, field: string | null } | null, destinations: Array<{ id: string, name: string, storageType: StorageType, location: string }>, encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> }> };

export type DestinationPartsFragment = { id: string, name: string, storageType: StorageType, location: string, offline: boolean, backupCount: number, used: number, free: number | null, lastCheckedAt: string | null, settings: Array<{ name: string, value: string }>, error: { code: string, message: string, hint: string } | null };

export type DestinationsQueryVariables = Exact<{ [key: string]: never; }>;


export type DestinationsQuery = { destinations: Array<{ id: string, name: string, storageType: StorageType, location: string, offline: boolean, backupCount: number, used: number, free: number | null, lastCheckedAt: string | null, settings: Array<{ name: string, value: string }>, error: { code: string, message: string, hint: string } | null }> };

export type DestinationQueryVariables = Exact<{
  id: string | number;
}>;


export type DestinationQuery = { destination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean, backupCount: number, used: number, free: number | null, lastCheckedAt: string | null, settings: Array<{ name: string, value: string }>, error: { code: string, message: string, hint: string } | null } | null };

export type CreateDestinationMutationVariables = Exact<{
  input: DestinationInput;
}>;


export type CreateDestinationMutation = { createDestination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean, backupCount: number, used: number, free: number | null, lastCheckedAt: string | null, settings: Array<{ name: string, value: string }>, error: { code: string, message: string, hint: string } | null } };

export type UpdateDestinationMutationVariables = Exact<{
  id: string | number;
  input: DestinationInput;
}>;


export type UpdateDestinationMutation = { updateDestination: { id: string, name: string, storageType: StorageType, location: string, offline: boolean, backupCount: number, used: number, free: number | null, lastCheckedAt: string | null, settings: Array<{ name: string, value: string }>, error: { code: string, message: string, hint: string } | null } };

export type DeleteDestinationMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteDestinationMutation = { deleteDestination: { id: string, location: string } };

export type TestDestinationMutationVariables = Exact<{
  id?: string | number | null | undefined;
  input?: DestinationInput | null | undefined;
}>;


export type TestDestinationMutation = { testDestination: { ok: boolean, location: string | null, free: number | null, total: number | null, warnings: Array<string>, error: { code: string, message: string, hint: string, field: string | null } | null } };

export type BrowseFolderQueryVariables = Exact<{
  path?: string | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type BrowseFolderQuery = { browseFolder: { path: string | null, parent: string | null, totalCount: number, truncated: boolean, entries: Array<{ name: string, path: string, kind: FolderEntryKind, size: number | null, modifiedAt: string | null }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null }, project: { path: string, databases: Array<string>, mediaFolders: Array<string> } | null } };

export type CompareBackupsQueryVariables = Exact<{
  from: string | number;
  to?: string | number | null | undefined;
  tables?: Array<string> | string | null | undefined;
  samples?: number | null | undefined;
  identity?: string | null | undefined;
}>;


export type CompareBackupsQuery = { compareBackups: { schemaChanges: Array<string>, tables: Array<{ name: string, added: number, removed: number, changed: number, unchanged: number, schemaChanges: Array<string>, samples: Array<{ key: unknown, before: unknown, after: unknown }> }>, media: { added: number, removed: number, changed: number, unchanged: number, samples: Array<{ path: string, before: number | null, after: number | null }> } } };

export type QueryBackupQueryVariables = Exact<{
  id: string | number;
  sql: string;
  limit?: number | null | undefined;
  identity?: string | null | undefined;
}>;


export type QueryBackupQuery = { queryBackup: { columns: Array<string>, rows: Array<Array<unknown>>, truncated: boolean, seconds: number } };

export type FileReferencesQueryVariables = Exact<{
  id: string | number;
  columns?: Array<string> | string | null | undefined;
  samples?: number | null | undefined;
  identity?: string | null | undefined;
}>;


export type FileReferencesQuery = { fileReferences: { unreferenced: number, unreferencedSamples: Array<string>, columns: Array<{ table: string, column: string, rows: number, missing: number, samples: Array<{ key: unknown, path: unknown }> }> } };

export type RowHistoryQueryVariables = Exact<{
  configId: string | number;
  table: string;
  key: unknown;
  every?: boolean | null | undefined;
  identity?: string | null | undefined;
}>;


export type RowHistoryQuery = { rowHistory: Array<{ row: unknown, changed: Array<string>, unreadable: Array<string>, backup: { id: string, createdAt: string }, lastBackup: { id: string, createdAt: string } }> };

export type FindChangeQueryVariables = Exact<{
  configId: string | number;
  sql: string;
  identity?: string | null | undefined;
}>;


export type FindChangeQuery = { findChange: { answerBefore: unknown, answerAfter: unknown, read: number, unreadable: Array<string>, before: { id: string, createdAt: string }, after: { id: string, createdAt: string } } | null };

export type SuggestInvariantsQueryVariables = Exact<{
  configId: string | number;
  identity?: string | null | undefined;
}>;


export type SuggestInvariantsQuery = { suggestInvariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null }> };

export type KeyPartsFragment = { id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean, createdAt: string, lastUsedAt: string | null };

export type EncryptionKeysQueryVariables = Exact<{ [key: string]: never; }>;


export type EncryptionKeysQuery = { encryptionKeys: Array<{ id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean, createdAt: string, lastUsedAt: string | null }> };

export type CreateEncryptionKeyMutationVariables = Exact<{
  input: EncryptionKeyInput;
}>;


export type CreateEncryptionKeyMutation = { createEncryptionKey: { identity: string | null, key: { id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean, createdAt: string, lastUsedAt: string | null } } };

export type DeleteEncryptionKeyMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteEncryptionKeyMutation = { deleteEncryptionKey: { id: string, name: string, recipient: string | null, passphrase: boolean, heldHere: boolean, createdAt: string, lastUsedAt: string | null } };

export type RestorePartsFragment = { id: string, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, restoreDatabase: boolean, restoreMedia: boolean, tables: Array<string> | null, rows: RowsMode, where: string | null, withParents: boolean, media: Array<string> | null, mediaMode: MediaMode, rebuildIndexes: boolean, targetDatabaseUrl: string, undoOf: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, backup: { id: string, fileName: string, createdAt: string }, safetyBackup: { id: string, fileName: string, pinned: boolean, status: BackupStatus, deletedAt: string | null } | null };

export type RestoresQueryVariables = Exact<{
  filter?: RestoreFilter | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type RestoresQuery = { restores: { totalCount: number, nodes: Array<{ id: string, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, restoreDatabase: boolean, restoreMedia: boolean, tables: Array<string> | null, rows: RowsMode, where: string | null, withParents: boolean, media: Array<string> | null, mediaMode: MediaMode, rebuildIndexes: boolean, targetDatabaseUrl: string, undoOf: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, backup: { id: string, fileName: string, createdAt: string }, safetyBackup: { id: string, fileName: string, pinned: boolean, status: BackupStatus, deletedAt: string | null } | null }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null } } };

export type RestoreQueryVariables = Exact<{
  id: string | number;
}>;


export type RestoreQuery = { restore: { id: string, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, restoreDatabase: boolean, restoreMedia: boolean, tables: Array<string> | null, rows: RowsMode, where: string | null, withParents: boolean, media: Array<string> | null, mediaMode: MediaMode, rebuildIndexes: boolean, targetDatabaseUrl: string, undoOf: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, backup: { id: string, fileName: string, createdAt: string }, safetyBackup: { id: string, fileName: string, pinned: boolean, status: BackupStatus, deletedAt: string | null } | null } | null };

export type RestorePlanQueryVariables = Exact<{
  input: RestoreBackupInput;
}>;


export type RestorePlanQuery = { restorePlan: { allowed: boolean, warnings: Array<string>, target: string, targetExists: boolean, refusals: Array<{ code: string, message: string, hint: string, field: string | null }>, backup: { id: string, fileName: string, createdAt: string, verifiedAt: string | null, verificationLevel: VerificationLevel | null }, backupSource: Array<{ name: string, value: string }>, targetSource: Array<{ name: string, value: string }>, tables: Array<{ name: string, backupRows: number | null, targetRows: number | null, change: TableChange, schemaDiffers: boolean }>, repairs: Array<{ name: string, parents: boolean, add: number, overwrite: number, keep: number, samples: Array<{ key: unknown, before: unknown, after: unknown }>, conflicts: Array<{ reason: string, rows: number, samples: Array<{ key: unknown, before: unknown, after: unknown }> }> }>, related: Array<{ table: string, relation: TableRelation, rowCount: number | null }>, media: { add: number, replace: number, unchanged: number, keep: number, remove: number, bytes: number }, space: Array<{ path: string, paths: Array<string>, needed: number, free: number }>, holders: Array<{ pid: number, command: string }> } };

export type RestoreBackupMutationVariables = Exact<{
  input: RestoreBackupInput;
}>;


export type RestoreBackupMutation = { restoreBackup: { id: string, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, restoreDatabase: boolean, restoreMedia: boolean, tables: Array<string> | null, rows: RowsMode, where: string | null, withParents: boolean, media: Array<string> | null, mediaMode: MediaMode, rebuildIndexes: boolean, targetDatabaseUrl: string, undoOf: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, backup: { id: string, fileName: string, createdAt: string }, safetyBackup: { id: string, fileName: string, pinned: boolean, status: BackupStatus, deletedAt: string | null } | null } };

export type UndoRestoreMutationVariables = Exact<{
  id: string | number;
  identity?: string | null | undefined;
}>;


export type UndoRestoreMutation = { undoRestore: { id: string, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, restoreDatabase: boolean, restoreMedia: boolean, tables: Array<string> | null, rows: RowsMode, where: string | null, withParents: boolean, media: Array<string> | null, mediaMode: MediaMode, rebuildIndexes: boolean, targetDatabaseUrl: string, undoOf: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, backup: { id: string, fileName: string, createdAt: string }, safetyBackup: { id: string, fileName: string, pinned: boolean, status: BackupStatus, deletedAt: string | null } | null } };

export type CancelRestoreMutationVariables = Exact<{
  id: string | number;
}>;


export type CancelRestoreMutation = { cancelRestore: { id: string, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, restoreDatabase: boolean, restoreMedia: boolean, tables: Array<string> | null, rows: RowsMode, where: string | null, withParents: boolean, media: Array<string> | null, mediaMode: MediaMode, rebuildIndexes: boolean, targetDatabaseUrl: string, undoOf: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, backup: { id: string, fileName: string, createdAt: string }, safetyBackup: { id: string, fileName: string, pinned: boolean, status: BackupStatus, deletedAt: string | null } | null } };

export type RestoreProgressSubscriptionVariables = Exact<{
  id: string | number;
}>;


export type RestoreProgressSubscription = { restoreProgress: { id: string, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, restoreDatabase: boolean, restoreMedia: boolean, tables: Array<string> | null, rows: RowsMode, where: string | null, withParents: boolean, media: Array<string> | null, mediaMode: MediaMode, rebuildIndexes: boolean, targetDatabaseUrl: string, undoOf: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, backup: { id: string, fileName: string, createdAt: string }, safetyBackup: { id: string, fileName: string, pinned: boolean, status: BackupStatus, deletedAt: string | null } | null } };

export type RetentionPlanPartsFragment = { at: string, deleteCount: number, deleteSize: number, keepCount: number, keepSize: number, hash: string, config: { id: string, name: string }, items: Array<{ keep: boolean, unpin: boolean, consolidate: boolean, backup: { id: string, createdAt: string, backupType: BackupType, status: BackupStatus, fileName: string, fileSize: number | null, verifiedAt: string | null, pinned: boolean }, reasons: Array<{ code: string, text: string }>, error: { code: string, message: string, hint: string } | null }> };

export type RetentionPlanQueryVariables = Exact<{
  configId: string | number;
  at?: string | null | undefined;
  input?: BackupConfigInput | null | undefined;
}>;


export type RetentionPlanQuery = { retentionPlan: { at: string, deleteCount: number, deleteSize: number, keepCount: number, keepSize: number, hash: string, config: { id: string, name: string }, items: Array<{ keep: boolean, unpin: boolean, consolidate: boolean, backup: { id: string, createdAt: string, backupType: BackupType, status: BackupStatus, fileName: string, fileSize: number | null, verifiedAt: string | null, pinned: boolean }, reasons: Array<{ code: string, text: string }>, error: { code: string, message: string, hint: string } | null }> } };

export type CleanupBackupsMutationVariables = Exact<{
  configId?: string | number | null | undefined;
  hash?: string | null | undefined;
}>;


export type CleanupBackupsMutation = { cleanupBackups: Array<{ at: string, deleteCount: number, deleteSize: number, keepCount: number, keepSize: number, hash: string, config: { id: string, name: string }, items: Array<{ keep: boolean, unpin: boolean, consolidate: boolean, backup: { id: string, createdAt: string, backupType: BackupType, status: BackupStatus, fileName: string, fileSize: number | null, verifiedAt: string | null, pinned: boolean }, reasons: Array<{ code: string, text: string }>, error: { code: string, message: string, hint: string } | null }> }> };

export type LoginMutationVariables = Exact<{
  email: string;
  password: string;
}>;


export type LoginMutation = { login: { token: string, expiresAt: string, user: { id: string, email: string, role: string } } };

export type MeQueryVariables = Exact<{ [key: string]: never; }>;


export type MeQuery = { me: { id: string, email: string, role: string } };

export type ConfirmPasswordMutationVariables = Exact<{
  password: string;
}>;


export type ConfirmPasswordMutation = { confirmPassword: { token: string, expiresAt: string } };

export type StatusQueryVariables = Exact<{ [key: string]: never; }>;


export type StatusQuery = { status: { health: Health, nodes: Array<string>, pending: number, running: number, configCount: number, version: string, nodeVersion: string, startedAt: string, controlDatabase: ControlDatabaseKind, jobStore: JobStoreKind, lastBackupEndedAt: string | null, reasons: Array<{ level: Health, code: string, message: string, hint: string, configId: string | null }>, notices: Array<{ code: string, message: string, hint: string }>, storages: Array<{ storageType: StorageType, storagePath: string, free: number | null, total: number | null, error: { code: string, message: string, hint: string } | null }>, runningBackups: Array<{ id: string, backupType: BackupType, status: BackupStatus, createdAt: string, startedAt: string | null, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, config: { id: string, name: string } | null }>, runningRestores: Array<{ id: string, status: RestoreStatus, createdAt: string, startedAt: string | null, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, backup: { id: string, fileName: string } }> } };

export type UsageQueryVariables = Exact<{ [key: string]: never; }>;


export type UsageQuery = { status: { storages: Array<{ storageType: StorageType, storagePath: string, count: number, used: number, free: number | null, total: number | null, error: { code: string, message: string, hint: string } | null }>, backupCounts: Array<{ status: BackupStatus, count: number }>, restoreCounts: Array<{ status: RestoreStatus, count: number }> } };

export type BackupHistoryQueryVariables = Exact<{
  configId?: string | number | null | undefined;
  days?: number | null | undefined;
  timezone?: string | null | undefined;
}>;


export type BackupHistoryQuery = { backupHistory: Array<{ date: string, completed: number, failed: number, size: number | null, newestId: string | null, fullSize: number | null }> };

export type UsersQueryVariables = Exact<{ [key: string]: never; }>;


export type UsersQuery = { users: Array<{ id: string, email: string, role: string }> };

export type ChangePasswordMutationVariables = Exact<{
  currentPassword: string;
  newPassword: string;
}>;


export type ChangePasswordMutation = { changePassword: { token: string, expiresAt: string, user: { id: string, email: string, role: string } } };

export type RemoveUserMutationVariables = Exact<{
  id: string | number;
}>;


export type RemoveUserMutation = { removeUser: { id: string, email: string } };

export type ApiTokenPartsFragment = { id: string, name: string, scopes: Array<ApiTokenScope>, createdBy: string, createdAt: string, expiresAt: string | null, lastUsedAt: string | null };

export type ApiTokensQueryVariables = Exact<{ [key: string]: never; }>;


export type ApiTokensQuery = { apiTokens: Array<{ id: string, name: string, scopes: Array<ApiTokenScope>, createdBy: string, createdAt: string, expiresAt: string | null, lastUsedAt: string | null }> };

export type CreateApiTokenMutationVariables = Exact<{
  input: ApiTokenInput;
}>;


export type CreateApiTokenMutation = { createApiToken: { token: string, apiToken: { id: string, name: string, scopes: Array<ApiTokenScope>, createdBy: string, createdAt: string, expiresAt: string | null, lastUsedAt: string | null } } };

export type RevokeApiTokenMutationVariables = Exact<{
  id: string | number;
}>;


export type RevokeApiTokenMutation = { revokeApiToken: { id: string } };

export type VerificationPartsFragment = { id: string, level: VerificationLevel, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, bytes: number, restoreSeconds: number | null, reportUrl: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, drill: { target: string | null, location: string, checksum: string | null, bytes: number, mediaFiles: number, tables: Array<{ name: string, rowCount: number }>, command: { name: string, exitCode: number | null, seconds: number, output: string } | null } | null, backup: { id: string, fileName: string, createdAt: string }, destination: { id: string, name: string } | null };

export type VerificationsQueryVariables = Exact<{
  configId?: string | number | null | undefined;
  backupId?: string | number | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type VerificationsQuery = { verifications: { totalCount: number, nodes: Array<{ id: string, level: VerificationLevel, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, bytes: number, restoreSeconds: number | null, reportUrl: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, drill: { target: string | null, location: string, checksum: string | null, bytes: number, mediaFiles: number, tables: Array<{ name: string, rowCount: number }>, command: { name: string, exitCode: number | null, seconds: number, output: string } | null } | null, backup: { id: string, fileName: string, createdAt: string }, destination: { id: string, name: string } | null }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null } } };

export type VerificationQueryVariables = Exact<{
  id: string | number;
}>;


export type VerificationQuery = { verification: { id: string, level: VerificationLevel, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, bytes: number, restoreSeconds: number | null, reportUrl: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, drill: { target: string | null, location: string, checksum: string | null, bytes: number, mediaFiles: number, tables: Array<{ name: string, rowCount: number }>, command: { name: string, exitCode: number | null, seconds: number, output: string } | null } | null, backup: { id: string, fileName: string, createdAt: string }, destination: { id: string, name: string } | null } | null };

export type StartVerificationMutationVariables = Exact<{
  backupId: string | number;
  level: VerificationLevel;
  destinationId?: string | number | null | undefined;
}>;


export type StartVerificationMutation = { startVerification: { id: string, level: VerificationLevel, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, bytes: number, restoreSeconds: number | null, reportUrl: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, drill: { target: string | null, location: string, checksum: string | null, bytes: number, mediaFiles: number, tables: Array<{ name: string, rowCount: number }>, command: { name: string, exitCode: number | null, seconds: number, output: string } | null } | null, backup: { id: string, fileName: string, createdAt: string }, destination: { id: string, name: string } | null } };

export type CancelVerificationMutationVariables = Exact<{
  id: string | number;
}>;


export type CancelVerificationMutation = { cancelVerification: { id: string, level: VerificationLevel, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, bytes: number, restoreSeconds: number | null, reportUrl: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, drill: { target: string | null, location: string, checksum: string | null, bytes: number, mediaFiles: number, tables: Array<{ name: string, rowCount: number }>, command: { name: string, exitCode: number | null, seconds: number, output: string } | null } | null, backup: { id: string, fileName: string, createdAt: string }, destination: { id: string, name: string } | null } };

export type VerificationProgressSubscriptionVariables = Exact<{
  id: string | number;
}>;


export type VerificationProgressSubscription = { verificationProgress: { id: string, level: VerificationLevel, status: RestoreStatus, progress: number, bytesDone: number | null, bytesTotal: number | null, bytesPerSecond: number | null, secondsLeft: number | null, phase: string | null, errorCode: string | null, errorMessage: string | null, errorHint: string | null, warnings: Array<string>, bytes: number, restoreSeconds: number | null, reportUrl: string | null, createdBy: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, phases: Array<{ phase: string, at: string }>, invariants: Array<{ name: string, sql: string, expect: Expectation, value: string | null, actual: string | null, before: string | null, holds: boolean, message: string }>, drill: { target: string | null, location: string, checksum: string | null, bytes: number, mediaFiles: number, tables: Array<{ name: string, rowCount: number }>, command: { name: string, exitCode: number | null, seconds: number, output: string } | null } | null, backup: { id: string, fileName: string, createdAt: string }, destination: { id: string, name: string } | null } };

export class TypedDocumentString<TResult, TVariables>
  extends String
  implements DocumentTypeDecoration<TResult, TVariables>
{
  __apiType?: NonNullable<DocumentTypeDecoration<TResult, TVariables>['__apiType']>;
  private value: string;
  public __meta__?: Record<string, any> | undefined;

  constructor(value: string, __meta__?: Record<string, any> | undefined) {
    super(value);
    this.value = value;
    this.__meta__ = __meta__;
  }

  override toString(): string & DocumentTypeDecoration<TResult, TVariables> {
    return this.value;
  }
}
export const BackupPartsFragmentDoc = new TypedDocumentString(`
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}
    `, {"fragmentName":"BackupParts"}) as unknown as TypedDocumentString<BackupPartsFragment, unknown>;
export const ChannelPartsFragmentDoc = new TypedDocumentString(`
    fragment ChannelParts on Channel {
  id
  name
  kind
  target
  template
  events
  configIds
  waiting
  lastDeliveryAt
  lastError
}
    `, {"fragmentName":"ChannelParts"}) as unknown as TypedDocumentString<ChannelPartsFragment, unknown>;
export const ConfigPartsFragmentDoc = new TypedDocumentString(`
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}
    `, {"fragmentName":"ConfigParts"}) as unknown as TypedDocumentString<ConfigPartsFragment, unknown>;
export const DestinationPartsFragmentDoc = new TypedDocumentString(`
    fragment DestinationParts on Destination {
  id
  name
  storageType
  location
  offline
  settings {
    name
    value
  }
  backupCount
  used
  free
  lastCheckedAt
  error {
    code
    message
    hint
  }
}
    `, {"fragmentName":"DestinationParts"}) as unknown as TypedDocumentString<DestinationPartsFragment, unknown>;
export const KeyPartsFragmentDoc = new TypedDocumentString(`
    fragment KeyParts on EncryptionKey {
  id
  name
  recipient
  passphrase
  heldHere
  createdAt
  lastUsedAt
}
    `, {"fragmentName":"KeyParts"}) as unknown as TypedDocumentString<KeyPartsFragment, unknown>;
export const RestorePartsFragmentDoc = new TypedDocumentString(`
    fragment RestoreParts on Restore {
  id
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  restoreDatabase
  restoreMedia
  tables
  rows
  where
  withParents
  media
  mediaMode
  rebuildIndexes
  targetDatabaseUrl
  undoOf
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  safetyBackup {
    id
    fileName
    pinned
    status
    deletedAt
  }
}
    `, {"fragmentName":"RestoreParts"}) as unknown as TypedDocumentString<RestorePartsFragment, unknown>;
export const RetentionPlanPartsFragmentDoc = new TypedDocumentString(`
    fragment RetentionPlanParts on RetentionPlan {
  config {
    id
    name
  }
  at
  deleteCount
  deleteSize
  keepCount
  keepSize
  hash
  items {
    backup {
      id
      createdAt
      backupType
      status
      fileName
      fileSize
      verifiedAt
      pinned
    }
    keep
    unpin
    consolidate
    reasons {
      code
      text
    }
    error {
      code
      message
      hint
    }
  }
}
    `, {"fragmentName":"RetentionPlanParts"}) as unknown as TypedDocumentString<RetentionPlanPartsFragment, unknown>;
export const ApiTokenPartsFragmentDoc = new TypedDocumentString(`
    fragment ApiTokenParts on ApiToken {
  id
  name
  scopes
  createdBy
  createdAt
  expiresAt
  lastUsedAt
}
    `, {"fragmentName":"ApiTokenParts"}) as unknown as TypedDocumentString<ApiTokenPartsFragment, unknown>;
export const VerificationPartsFragmentDoc = new TypedDocumentString(`
    fragment VerificationParts on Verification {
  id
  level
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  bytes
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  restoreSeconds
  reportUrl
  drill {
    target
    location
    checksum
    bytes
    mediaFiles
    tables {
      name
      rowCount
    }
    command {
      name
      exitCode
      seconds
      output
    }
  }
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  destination {
    id
    name
  }
}
    `, {"fragmentName":"VerificationParts"}) as unknown as TypedDocumentString<VerificationPartsFragment, unknown>;
export const AuditEventsDocument = new TypedDocumentString(`
    query AuditEvents($filter: AuditFilter, $first: Int = 50, $after: String) {
  auditEvents(filter: $filter, first: $first, after: $after) {
    totalCount
    nodes {
      id
      at
      actor
      action
      subject
      details {
        name
        value
      }
    }
    pageInfo {
      hasNextPage
      hasPreviousPage
      startCursor
      endCursor
    }
  }
}
    `) as unknown as TypedDocumentString<AuditEventsQuery, AuditEventsQueryVariables>;
export const BackupsDocument = new TypedDocumentString(`
    query Backups($filter: BackupFilter, $orderBy: BackupOrder, $first: Int = 50, $after: String) {
  backups(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
    totalCount
    nodes {
      id
      backupType
      mode
      status
      storageType
      databaseName
      fileName
      encrypted
      fileSize
      fileSizeHuman
      progress
      bytesDone
      bytesTotal
      bytesPerSecond
      secondsLeft
      phase
      errorCode
      errorMessage
      errorHint
      note
      pinned
      deleteAfter
      pinnedBy
      verifiedAt
      damaged
      queryable
      anomalies {
        message
      }
      anomaliesAcknowledgedAt
      verificationLevel
      createdAt
      completedAt
      downloadUrl
      config {
        id
        name
      }
      foreign
      origin {
        config
        host
        database
        mediaPaths
      }
    }
    pageInfo {
      hasNextPage
      hasPreviousPage
      startCursor
      endCursor
    }
  }
}
    `) as unknown as TypedDocumentString<BackupsQuery, BackupsQueryVariables>;
export const BackupDocument = new TypedDocumentString(`
    query Backup($id: ID!) {
  backup(id: $id) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<BackupQuery, BackupQueryVariables>;
export const BackupMediaDocument = new TypedDocumentString(`
    query BackupMedia($id: ID!, $search: String, $first: Int = 50, $after: String, $identity: String) {
  backupMedia(
    id: $id
    search: $search
    first: $first
    after: $after
    identity: $identity
  ) {
    totalCount
    nodes {
      path
      size
      modifiedAt
    }
    pageInfo {
      hasNextPage
      hasPreviousPage
      startCursor
      endCursor
    }
  }
}
    `) as unknown as TypedDocumentString<BackupMediaQuery, BackupMediaQueryVariables>;
export const CreateBackupDocument = new TypedDocumentString(`
    mutation CreateBackup($input: CreateBackupInput!) {
  createBackup(input: $input) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<CreateBackupMutation, CreateBackupMutationVariables>;
export const AutoBackupDocument = new TypedDocumentString(`
    mutation AutoBackup($configId: ID) {
  autoBackup(configId: $configId) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<AutoBackupMutation, AutoBackupMutationVariables>;
export const CancelBackupDocument = new TypedDocumentString(`
    mutation CancelBackup($id: ID!) {
  cancelBackup(id: $id) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<CancelBackupMutation, CancelBackupMutationVariables>;
export const VerifyBackupDocument = new TypedDocumentString(`
    mutation VerifyBackup($id: ID!, $level: VerificationLevel = ARCHIVE, $identity: String) {
  verifyBackup(id: $id, level: $level, identity: $identity) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<VerifyBackupMutation, VerifyBackupMutationVariables>;
export const CopyBackupDocument = new TypedDocumentString(`
    mutation CopyBackup($id: ID!, $destinationId: ID!) {
  copyBackup(id: $id, destinationId: $destinationId) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<CopyBackupMutation, CopyBackupMutationVariables>;
export const PinBackupDocument = new TypedDocumentString(`
    mutation PinBackup($id: ID!, $pinned: Boolean!) {
  pinBackup(id: $id, pinned: $pinned) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<PinBackupMutation, PinBackupMutationVariables>;
export const AssignBackupDocument = new TypedDocumentString(`
    mutation AssignBackup($id: ID!, $configId: ID, $sameApplication: Boolean = false) {
  assignBackup(id: $id, configId: $configId, sameApplication: $sameApplication) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<AssignBackupMutation, AssignBackupMutationVariables>;
export const AcknowledgeAnomaliesDocument = new TypedDocumentString(`
    mutation AcknowledgeAnomalies($id: ID!) {
  acknowledgeAnomalies(id: $id) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<AcknowledgeAnomaliesMutation, AcknowledgeAnomaliesMutationVariables>;
export const KeepBackupDocument = new TypedDocumentString(`
    mutation KeepBackup($id: ID!) {
  keepBackup(id: $id) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<KeepBackupMutation, KeepBackupMutationVariables>;
export const DeleteBackupDocument = new TypedDocumentString(`
    mutation DeleteBackup($id: ID!) {
  deleteBackup(id: $id) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<DeleteBackupMutation, DeleteBackupMutationVariables>;
export const DeleteBackupsDocument = new TypedDocumentString(`
    mutation DeleteBackups($ids: [ID!]!) {
  deleteBackups(ids: $ids) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<DeleteBackupsMutation, DeleteBackupsMutationVariables>;
export const CreateDownloadLinkDocument = new TypedDocumentString(`
    mutation CreateDownloadLink($id: ID!) {
  createDownloadLink(id: $id) {
    url
    expiresAt
  }
}
    `) as unknown as TypedDocumentString<CreateDownloadLinkMutation, CreateDownloadLinkMutationVariables>;
export const UploadBackupDocument = new TypedDocumentString(`
    mutation UploadBackup($file: Upload!, $configId: ID, $identity: String) {
  uploadBackup(file: $file, configId: $configId, identity: $identity) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<UploadBackupMutation, UploadBackupMutationVariables>;
export const ImportBackupDocument = new TypedDocumentString(`
    mutation ImportBackup($path: String!, $configId: ID, $identity: String) {
  importBackup(path: $path, configId: $configId, identity: $identity) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<ImportBackupMutation, ImportBackupMutationVariables>;
export const BackupProgressDocument = new TypedDocumentString(`
    subscription BackupProgress($id: ID!) {
  backupProgress(id: $id) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<BackupProgressSubscription, BackupProgressSubscriptionVariables>;
export const RewrapBackupDocument = new TypedDocumentString(`
    mutation RewrapBackup($id: ID!, $encryptionKeyIds: [ID!]!, $identity: String) {
  rewrapBackup(id: $id, encryptionKeyIds: $encryptionKeyIds, identity: $identity) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<RewrapBackupMutation, RewrapBackupMutationVariables>;
export const ConsolidateBackupDocument = new TypedDocumentString(`
    mutation ConsolidateBackup($id: ID!) {
  consolidateBackup(id: $id) {
    ...BackupParts
  }
}
    fragment BackupParts on Backup {
  id
  backupType
  mode
  chainLength
  chainFullSize
  consolidates
  parent {
    id
  }
  children {
    id
  }
  status
  storageType
  engine
  databaseName
  fileName
  filePath
  copies {
    id
    destination {
      id
      name
      storageType
      location
      offline
    }
    status
    filePath
    verifiedAt
    errorCode
    errorMessage
    errorHint
    attempts
    nextTryAt
  }
  fileSize
  fileSizeHuman
  checksum
  encrypted
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  note
  pinned
  pinnedBy
  verifiedAt
  verificationLevel
  damaged
  queryable
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  anomalies {
    code
    message
    table
    before
    after
  }
  anomaliesAcknowledgedAt
  createdAt
  startedAt
  completedAt
  createdBy
  downloadUrl
  tables {
    name
    rowCount
  }
  excluded {
    table
    what
  }
  mediaFileCount
  deleteAfter
  deletedAt
  deletedBy
  deleteReason
  config {
    id
    name
  }
  applicationId
  foreign
  origin {
    config
    host
    database
    mediaPaths
  }
}`) as unknown as TypedDocumentString<ConsolidateBackupMutation, ConsolidateBackupMutationVariables>;
export const ChannelsDocument = new TypedDocumentString(`
    query Channels {
  channels {
    ...ChannelParts
  }
}
    fragment ChannelParts on Channel {
  id
  name
  kind
  target
  template
  events
  configIds
  waiting
  lastDeliveryAt
  lastError
}`) as unknown as TypedDocumentString<ChannelsQuery, ChannelsQueryVariables>;
export const CreateChannelDocument = new TypedDocumentString(`
    mutation CreateChannel($input: ChannelInput!) {
  createChannel(input: $input) {
    ...ChannelParts
  }
}
    fragment ChannelParts on Channel {
  id
  name
  kind
  target
  template
  events
  configIds
  waiting
  lastDeliveryAt
  lastError
}`) as unknown as TypedDocumentString<CreateChannelMutation, CreateChannelMutationVariables>;
export const UpdateChannelDocument = new TypedDocumentString(`
    mutation UpdateChannel($id: ID!, $input: ChannelInput!) {
  updateChannel(id: $id, input: $input) {
    ...ChannelParts
  }
}
    fragment ChannelParts on Channel {
  id
  name
  kind
  target
  template
  events
  configIds
  waiting
  lastDeliveryAt
  lastError
}`) as unknown as TypedDocumentString<UpdateChannelMutation, UpdateChannelMutationVariables>;
export const DeleteChannelDocument = new TypedDocumentString(`
    mutation DeleteChannel($id: ID!) {
  deleteChannel(id: $id) {
    id
    name
  }
}
    `) as unknown as TypedDocumentString<DeleteChannelMutation, DeleteChannelMutationVariables>;
export const TestChannelDocument = new TypedDocumentString(`
    mutation TestChannel($id: ID!) {
  testChannel(id: $id) {
    ok
    error {
      code
      message
      hint
    }
  }
}
    `) as unknown as TypedDocumentString<TestChannelMutation, TestChannelMutationVariables>;
export const ConfigsDocument = new TypedDocumentString(`
    query Configs {
  configs {
    ...ConfigParts
  }
}
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}`) as unknown as TypedDocumentString<ConfigsQuery, ConfigsQueryVariables>;
export const ConfigNamesDocument = new TypedDocumentString(`
    query ConfigNames {
  configs {
    id
    name
    isSample
    applicationId
  }
}
    `) as unknown as TypedDocumentString<ConfigNamesQuery, ConfigNamesQueryVariables>;
export const ConfigPageDocument = new TypedDocumentString(`
    query ConfigPage($search: String, $first: Int = 50, $after: String) {
  configConnection(search: $search, first: $first, after: $after) {
    totalCount
    nodes {
      ...ConfigParts
      health {
        lastBackup {
          id
          fileSize
          verifiedAt
        }
        lastSuccessAt
        lastProvenAt
        lastFailureAt
        lastErrorCode
        overdue
        drill {
          passedAt
          stateAt
          restoreSeconds
          forecastSeconds
        }
      }
    }
    pageInfo {
      endCursor
      hasNextPage
    }
  }
}
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}`) as unknown as TypedDocumentString<ConfigPageQuery, ConfigPageQueryVariables>;
export const SchedulePreviewDocument = new TypedDocumentString(`
    query SchedulePreview($schedule: String!, $timezone: String!, $count: Int! = 5) {
  schedulePreview(schedule: $schedule, timezone: $timezone, count: $count) {
    inWords
    nextRuns
  }
}
    `) as unknown as TypedDocumentString<SchedulePreviewQuery, SchedulePreviewQueryVariables>;
export const ConfigDocument = new TypedDocumentString(`
    query Config($id: ID!) {
  config(id: $id) {
    ...ConfigParts
  }
}
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}`) as unknown as TypedDocumentString<ConfigQuery, ConfigQueryVariables>;
export const CreateConfigDocument = new TypedDocumentString(`
    mutation CreateConfig($input: BackupConfigInput!, $saveUntested: Boolean = false) {
  createConfig(input: $input, saveUntested: $saveUntested) {
    ...ConfigParts
  }
}
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}`) as unknown as TypedDocumentString<CreateConfigMutation, CreateConfigMutationVariables>;
export const UpdateConfigDocument = new TypedDocumentString(`
    mutation UpdateConfig($id: ID!, $input: BackupConfigInput!, $saveUntested: Boolean = false) {
  updateConfig(id: $id, input: $input, saveUntested: $saveUntested) {
    ...ConfigParts
  }
}
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}`) as unknown as TypedDocumentString<UpdateConfigMutation, UpdateConfigMutationVariables>;
export const CreateConfigFromBackupDocument = new TypedDocumentString(`
    mutation CreateConfigFromBackup($backupId: ID!, $input: BackupConfigInput) {
  createConfigFromBackup(backupId: $backupId, input: $input) {
    ...ConfigParts
  }
}
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}`) as unknown as TypedDocumentString<CreateConfigFromBackupMutation, CreateConfigFromBackupMutationVariables>;
export const DeleteConfigDocument = new TypedDocumentString(`
    mutation DeleteConfig($id: ID!) {
  deleteConfig(id: $id) {
    ...ConfigParts
  }
}
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}`) as unknown as TypedDocumentString<DeleteConfigMutation, DeleteConfigMutationVariables>;
export const TestConnectionDocument = new TypedDocumentString(`
    mutation TestConnection($input: BackupConfigInput!, $configId: ID) {
  testConnection(input: $input, configId: $configId) {
    ok
    error {
      code
      message
      hint
      field
    }
    databaseName
    size
    tables
    facts {
      name
      value
    }
    excluded {
      table
      what
    }
    media {
      path
      ok
      files
      bytes
      error {
        code
        message
        hint
        field
      }
    }
    warnings
  }
}
    `) as unknown as TypedDocumentString<TestConnectionMutation, TestConnectionMutationVariables>;
export const TestStorageDocument = new TypedDocumentString(`
    mutation TestStorage($input: BackupConfigInput!, $configId: ID) {
  testStorage(input: $input, configId: $configId) {
    ok
    error {
      code
      message
      hint
      field
    }
    location
    free
    total
    warnings
  }
}
    `) as unknown as TypedDocumentString<TestStorageMutation, TestStorageMutationVariables>;
export const DiscoverDatabasesDocument = new TypedDocumentString(`
    mutation DiscoverDatabases($url: String, $configId: ID) {
  discoverDatabases(url: $url, configId: $configId) {
    name
    databaseUrl
    size
    configId
  }
}
    `) as unknown as TypedDocumentString<DiscoverDatabasesMutation, DiscoverDatabasesMutationVariables>;
export const ProtectDatabasesDocument = new TypedDocumentString(`
    mutation ProtectDatabases($configId: ID!, $names: [String!]!) {
  protectDatabases(configId: $configId, names: $names) {
    ...ConfigParts
  }
}
    fragment ConfigParts on BackupConfig {
  id
  name
  testError {
    code
    message
    hint
    field
  }
  isSample
  applicationId
  archivePrefix
  engine
  databaseUrl
  mediaPaths
  storageType
  storagePath
  destinations {
    id
    name
    storageType
    location
  }
  encryptionKeys {
    id
    name
    recipient
    passphrase
    heldHere
  }
  copyTo
  excludeTables
  excludeTableData
  autoInclude
  invariants {
    name
    sql
    expect
    value
  }
  drillCommand
  drillSchedule
  nextDrillAt
  minimumCopies
  autoBackupEnabled
  schedule
  timezone
  nextRunAt
  backupRetentionDays
  maxBackupFiles
  restoreLockTimeout
  safetyRetentionDays
  incremental
  fullEveryDays
  compression
  compressionLevel
  keepLast
  keepHourly
  keepDaily
  keepWeekly
  keepMonthly
  keepYearly
  keepWithin
  maxTotalSize
  jitterSeconds
  nextRuns
  scheduleInWords
  createdAt
  updatedAt
}`) as unknown as TypedDocumentString<ProtectDatabasesMutation, ProtectDatabasesMutationVariables>;
export const DestinationsDocument = new TypedDocumentString(`
    query Destinations {
  destinations {
    ...DestinationParts
  }
}
    fragment DestinationParts on Destination {
  id
  name
  storageType
  location
  offline
  settings {
    name
    value
  }
  backupCount
  used
  free
  lastCheckedAt
  error {
    code
    message
    hint
  }
}`) as unknown as TypedDocumentString<DestinationsQuery, DestinationsQueryVariables>;
export const DestinationDocument = new TypedDocumentString(`
    query Destination($id: ID!) {
  destination(id: $id) {
    ...DestinationParts
  }
}
    fragment DestinationParts on Destination {
  id
  name
  storageType
  location
  offline
  settings {
    name
    value
  }
  backupCount
  used
  free
  lastCheckedAt
  error {
    code
    message
    hint
  }
}`) as unknown as TypedDocumentString<DestinationQuery, DestinationQueryVariables>;
export const CreateDestinationDocument = new TypedDocumentString(`
    mutation CreateDestination($input: DestinationInput!) {
  createDestination(input: $input) {
    ...DestinationParts
  }
}
    fragment DestinationParts on Destination {
  id
  name
  storageType
  location
  offline
  settings {
    name
    value
  }
  backupCount
  used
  free
  lastCheckedAt
  error {
    code
    message
    hint
  }
}`) as unknown as TypedDocumentString<CreateDestinationMutation, CreateDestinationMutationVariables>;
export const UpdateDestinationDocument = new TypedDocumentString(`
    mutation UpdateDestination($id: ID!, $input: DestinationInput!) {
  updateDestination(id: $id, input: $input) {
    ...DestinationParts
  }
}
    fragment DestinationParts on Destination {
  id
  name
  storageType
  location
  offline
  settings {
    name
    value
  }
  backupCount
  used
  free
  lastCheckedAt
  error {
    code
    message
    hint
  }
}`) as unknown as TypedDocumentString<UpdateDestinationMutation, UpdateDestinationMutationVariables>;
export const DeleteDestinationDocument = new TypedDocumentString(`
    mutation DeleteDestination($id: ID!) {
  deleteDestination(id: $id) {
    id
    location
  }
}
    `) as unknown as TypedDocumentString<DeleteDestinationMutation, DeleteDestinationMutationVariables>;
export const TestDestinationDocument = new TypedDocumentString(`
    mutation TestDestination($id: ID, $input: DestinationInput) {
  testDestination(id: $id, input: $input) {
    ok
    error {
      code
      message
      hint
      field
    }
    location
    free
    total
    warnings
  }
}
    `) as unknown as TypedDocumentString<TestDestinationMutation, TestDestinationMutationVariables>;
export const BrowseFolderDocument = new TypedDocumentString(`
    query BrowseFolder($path: String, $first: Int = 200, $after: String) {
  browseFolder(path: $path, first: $first, after: $after) {
    path
    parent
    entries {
      name
      path
      kind
      size
      modifiedAt
    }
    totalCount
    truncated
    pageInfo {
      hasNextPage
      hasPreviousPage
      startCursor
      endCursor
    }
    project {
      path
      databases
      mediaFolders
    }
  }
}
    `) as unknown as TypedDocumentString<BrowseFolderQuery, BrowseFolderQueryVariables>;
export const CompareBackupsDocument = new TypedDocumentString(`
    query CompareBackups($from: ID!, $to: ID, $tables: [String!], $samples: Int, $identity: String) {
  compareBackups(
    from: $from
    to: $to
    tables: $tables
    samples: $samples
    identity: $identity
  ) {
    tables {
      name
      added
      removed
      changed
      unchanged
      schemaChanges
      samples {
        key
        before
        after
      }
    }
    schemaChanges
    media {
      added
      removed
      changed
      unchanged
      samples {
        path
        before
        after
      }
    }
  }
}
    `) as unknown as TypedDocumentString<CompareBackupsQuery, CompareBackupsQueryVariables>;
export const QueryBackupDocument = new TypedDocumentString(`
    query QueryBackup($id: ID!, $sql: String!, $limit: Int, $identity: String) {
  queryBackup(id: $id, sql: $sql, limit: $limit, identity: $identity) {
    columns
    rows
    truncated
    seconds
  }
}
    `) as unknown as TypedDocumentString<QueryBackupQuery, QueryBackupQueryVariables>;
export const FileReferencesDocument = new TypedDocumentString(`
    query FileReferences($id: ID!, $columns: [String!], $samples: Int, $identity: String) {
  fileReferences(
    id: $id
    columns: $columns
    samples: $samples
    identity: $identity
  ) {
    columns {
      table
      column
      rows
      missing
      samples {
        key
        path
      }
    }
    unreferenced
    unreferencedSamples
  }
}
    `) as unknown as TypedDocumentString<FileReferencesQuery, FileReferencesQueryVariables>;
export const RowHistoryDocument = new TypedDocumentString(`
    query RowHistory($configId: ID!, $table: String!, $key: JSON!, $every: Boolean, $identity: String) {
  rowHistory(
    configId: $configId
    table: $table
    key: $key
    every: $every
    identity: $identity
  ) {
    backup {
      id
      createdAt
    }
    lastBackup {
      id
      createdAt
    }
    row
    changed
    unreadable
  }
}
    `) as unknown as TypedDocumentString<RowHistoryQuery, RowHistoryQueryVariables>;
export const FindChangeDocument = new TypedDocumentString(`
    query FindChange($configId: ID!, $sql: String!, $identity: String) {
  findChange(configId: $configId, sql: $sql, identity: $identity) {
    before {
      id
      createdAt
    }
    after {
      id
      createdAt
    }
    answerBefore
    answerAfter
    read
    unreadable
  }
}
    `) as unknown as TypedDocumentString<FindChangeQuery, FindChangeQueryVariables>;
export const SuggestInvariantsDocument = new TypedDocumentString(`
    query SuggestInvariants($configId: ID!, $identity: String) {
  suggestInvariants(configId: $configId, identity: $identity) {
    name
    sql
    expect
    value
  }
}
    `) as unknown as TypedDocumentString<SuggestInvariantsQuery, SuggestInvariantsQueryVariables>;
export const EncryptionKeysDocument = new TypedDocumentString(`
    query EncryptionKeys {
  encryptionKeys {
    ...KeyParts
  }
}
    fragment KeyParts on EncryptionKey {
  id
  name
  recipient
  passphrase
  heldHere
  createdAt
  lastUsedAt
}`) as unknown as TypedDocumentString<EncryptionKeysQuery, EncryptionKeysQueryVariables>;
export const CreateEncryptionKeyDocument = new TypedDocumentString(`
    mutation CreateEncryptionKey($input: EncryptionKeyInput!) {
  createEncryptionKey(input: $input) {
    identity
    key {
      ...KeyParts
    }
  }
}
    fragment KeyParts on EncryptionKey {
  id
  name
  recipient
  passphrase
  heldHere
  createdAt
  lastUsedAt
}`) as unknown as TypedDocumentString<CreateEncryptionKeyMutation, CreateEncryptionKeyMutationVariables>;
export const DeleteEncryptionKeyDocument = new TypedDocumentString(`
    mutation DeleteEncryptionKey($id: ID!) {
  deleteEncryptionKey(id: $id) {
    ...KeyParts
  }
}
    fragment KeyParts on EncryptionKey {
  id
  name
  recipient
  passphrase
  heldHere
  createdAt
  lastUsedAt
}`) as unknown as TypedDocumentString<DeleteEncryptionKeyMutation, DeleteEncryptionKeyMutationVariables>;
export const RestoresDocument = new TypedDocumentString(`
    query Restores($filter: RestoreFilter, $first: Int = 50, $after: String) {
  restores(filter: $filter, first: $first, after: $after) {
    totalCount
    nodes {
      ...RestoreParts
    }
    pageInfo {
      hasNextPage
      hasPreviousPage
      startCursor
      endCursor
    }
  }
}
    fragment RestoreParts on Restore {
  id
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  restoreDatabase
  restoreMedia
  tables
  rows
  where
  withParents
  media
  mediaMode
  rebuildIndexes
  targetDatabaseUrl
  undoOf
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  safetyBackup {
    id
    fileName
    pinned
    status
    deletedAt
  }
}`) as unknown as TypedDocumentString<RestoresQuery, RestoresQueryVariables>;
export const RestoreDocument = new TypedDocumentString(`
    query Restore($id: ID!) {
  restore(id: $id) {
    ...RestoreParts
  }
}
    fragment RestoreParts on Restore {
  id
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  restoreDatabase
  restoreMedia
  tables
  rows
  where
  withParents
  media
  mediaMode
  rebuildIndexes
  targetDatabaseUrl
  undoOf
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  safetyBackup {
    id
    fileName
    pinned
    status
    deletedAt
  }
}`) as unknown as TypedDocumentString<RestoreQuery, RestoreQueryVariables>;
export const RestorePlanDocument = new TypedDocumentString(`
    query RestorePlan($input: RestoreBackupInput!) {
  restorePlan(input: $input) {
    allowed
    refusals {
      code
      message
      hint
      field
    }
    warnings
    target
    targetExists
    backup {
      id
      fileName
      createdAt
      verifiedAt
      verificationLevel
    }
    backupSource {
      name
      value
    }
    targetSource {
      name
      value
    }
    tables {
      name
      backupRows
      targetRows
      change
      schemaDiffers
    }
    repairs {
      name
      parents
      add
      overwrite
      keep
      samples {
        key
        before
        after
      }
      conflicts {
        reason
        rows
        samples {
          key
          before
          after
        }
      }
    }
    related {
      table
      relation
      rowCount
    }
    media {
      add
      replace
      unchanged
      keep
      remove
      bytes
    }
    space {
      path
      paths
      needed
      free
    }
    holders {
      pid
      command
    }
  }
}
    `) as unknown as TypedDocumentString<RestorePlanQuery, RestorePlanQueryVariables>;
export const RestoreBackupDocument = new TypedDocumentString(`
    mutation RestoreBackup($input: RestoreBackupInput!) {
  restoreBackup(input: $input) {
    ...RestoreParts
  }
}
    fragment RestoreParts on Restore {
  id
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  restoreDatabase
  restoreMedia
  tables
  rows
  where
  withParents
  media
  mediaMode
  rebuildIndexes
  targetDatabaseUrl
  undoOf
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  safetyBackup {
    id
    fileName
    pinned
    status
    deletedAt
  }
}`) as unknown as TypedDocumentString<RestoreBackupMutation, RestoreBackupMutationVariables>;
export const UndoRestoreDocument = new TypedDocumentString(`
    mutation UndoRestore($id: ID!, $identity: String) {
  undoRestore(id: $id, identity: $identity) {
    ...RestoreParts
  }
}
    fragment RestoreParts on Restore {
  id
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  restoreDatabase
  restoreMedia
  tables
  rows
  where
  withParents
  media
  mediaMode
  rebuildIndexes
  targetDatabaseUrl
  undoOf
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  safetyBackup {
    id
    fileName
    pinned
    status
    deletedAt
  }
}`) as unknown as TypedDocumentString<UndoRestoreMutation, UndoRestoreMutationVariables>;
export const CancelRestoreDocument = new TypedDocumentString(`
    mutation CancelRestore($id: ID!) {
  cancelRestore(id: $id) {
    ...RestoreParts
  }
}
    fragment RestoreParts on Restore {
  id
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  restoreDatabase
  restoreMedia
  tables
  rows
  where
  withParents
  media
  mediaMode
  rebuildIndexes
  targetDatabaseUrl
  undoOf
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  safetyBackup {
    id
    fileName
    pinned
    status
    deletedAt
  }
}`) as unknown as TypedDocumentString<CancelRestoreMutation, CancelRestoreMutationVariables>;
export const RestoreProgressDocument = new TypedDocumentString(`
    subscription RestoreProgress($id: ID!) {
  restoreProgress(id: $id) {
    ...RestoreParts
  }
}
    fragment RestoreParts on Restore {
  id
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  restoreDatabase
  restoreMedia
  tables
  rows
  where
  withParents
  media
  mediaMode
  rebuildIndexes
  targetDatabaseUrl
  undoOf
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  safetyBackup {
    id
    fileName
    pinned
    status
    deletedAt
  }
}`) as unknown as TypedDocumentString<RestoreProgressSubscription, RestoreProgressSubscriptionVariables>;
export const RetentionPlanDocument = new TypedDocumentString(`
    query RetentionPlan($configId: ID!, $at: DateTime, $input: BackupConfigInput) {
  retentionPlan(configId: $configId, at: $at, input: $input) {
    ...RetentionPlanParts
  }
}
    fragment RetentionPlanParts on RetentionPlan {
  config {
    id
    name
  }
  at
  deleteCount
  deleteSize
  keepCount
  keepSize
  hash
  items {
    backup {
      id
      createdAt
      backupType
      status
      fileName
      fileSize
      verifiedAt
      pinned
    }
    keep
    unpin
    consolidate
    reasons {
      code
      text
    }
    error {
      code
      message
      hint
    }
  }
}`) as unknown as TypedDocumentString<RetentionPlanQuery, RetentionPlanQueryVariables>;
export const CleanupBackupsDocument = new TypedDocumentString(`
    mutation CleanupBackups($configId: ID, $hash: String) {
  cleanupBackups(configId: $configId, hash: $hash) {
    ...RetentionPlanParts
  }
}
    fragment RetentionPlanParts on RetentionPlan {
  config {
    id
    name
  }
  at
  deleteCount
  deleteSize
  keepCount
  keepSize
  hash
  items {
    backup {
      id
      createdAt
      backupType
      status
      fileName
      fileSize
      verifiedAt
      pinned
    }
    keep
    unpin
    consolidate
    reasons {
      code
      text
    }
    error {
      code
      message
      hint
    }
  }
}`) as unknown as TypedDocumentString<CleanupBackupsMutation, CleanupBackupsMutationVariables>;
export const LoginDocument = new TypedDocumentString(`
    mutation Login($email: String!, $password: String!) {
  login(email: $email, password: $password) {
    token
    expiresAt
    user {
      id
      email
      role
    }
  }
}
    `) as unknown as TypedDocumentString<LoginMutation, LoginMutationVariables>;
export const MeDocument = new TypedDocumentString(`
    query Me {
  me {
    id
    email
    role
  }
}
    `) as unknown as TypedDocumentString<MeQuery, MeQueryVariables>;
export const ConfirmPasswordDocument = new TypedDocumentString(`
    mutation ConfirmPassword($password: String!) {
  confirmPassword(password: $password) {
    token
    expiresAt
  }
}
    `) as unknown as TypedDocumentString<ConfirmPasswordMutation, ConfirmPasswordMutationVariables>;
export const StatusDocument = new TypedDocumentString(`
    query Status {
  status {
    health
    reasons {
      level
      code
      message
      hint
      configId
    }
    notices {
      code
      message
      hint
    }
    nodes
    pending
    running
    configCount
    storages {
      storageType
      storagePath
      free
      total
      error {
        code
        message
        hint
      }
    }
    version
    nodeVersion
    startedAt
    controlDatabase
    jobStore
    lastBackupEndedAt
    runningBackups {
      id
      backupType
      status
      createdAt
      startedAt
      progress
      bytesDone
      bytesTotal
      bytesPerSecond
      secondsLeft
      phase
      config {
        id
        name
      }
    }
    runningRestores {
      id
      status
      createdAt
      startedAt
      progress
      bytesDone
      bytesTotal
      bytesPerSecond
      secondsLeft
      phase
      backup {
        id
        fileName
      }
    }
  }
}
    `) as unknown as TypedDocumentString<StatusQuery, StatusQueryVariables>;
export const UsageDocument = new TypedDocumentString(`
    query Usage {
  status {
    storages {
      storageType
      storagePath
      count
      used
      free
      total
      error {
        code
        message
        hint
      }
    }
    backupCounts {
      status
      count
    }
    restoreCounts {
      status
      count
    }
  }
}
    `) as unknown as TypedDocumentString<UsageQuery, UsageQueryVariables>;
export const BackupHistoryDocument = new TypedDocumentString(`
    query BackupHistory($configId: ID, $days: Int = 365, $timezone: String = "UTC") {
  backupHistory(configId: $configId, days: $days, timezone: $timezone) {
    date
    completed
    failed
    size
    newestId
    fullSize
  }
}
    `) as unknown as TypedDocumentString<BackupHistoryQuery, BackupHistoryQueryVariables>;
export const UsersDocument = new TypedDocumentString(`
    query Users {
  users {
    id
    email
    role
  }
}
    `) as unknown as TypedDocumentString<UsersQuery, UsersQueryVariables>;
export const ChangePasswordDocument = new TypedDocumentString(`
    mutation ChangePassword($currentPassword: String!, $newPassword: String!) {
  changePassword(currentPassword: $currentPassword, newPassword: $newPassword) {
    token
    expiresAt
    user {
      id
      email
      role
    }
  }
}
    `) as unknown as TypedDocumentString<ChangePasswordMutation, ChangePasswordMutationVariables>;
export const RemoveUserDocument = new TypedDocumentString(`
    mutation RemoveUser($id: ID!) {
  removeUser(id: $id) {
    id
    email
  }
}
    `) as unknown as TypedDocumentString<RemoveUserMutation, RemoveUserMutationVariables>;
export const ApiTokensDocument = new TypedDocumentString(`
    query ApiTokens {
  apiTokens {
    ...ApiTokenParts
  }
}
    fragment ApiTokenParts on ApiToken {
  id
  name
  scopes
  createdBy
  createdAt
  expiresAt
  lastUsedAt
}`) as unknown as TypedDocumentString<ApiTokensQuery, ApiTokensQueryVariables>;
export const CreateApiTokenDocument = new TypedDocumentString(`
    mutation CreateApiToken($input: ApiTokenInput!) {
  createApiToken(input: $input) {
    token
    apiToken {
      ...ApiTokenParts
    }
  }
}
    fragment ApiTokenParts on ApiToken {
  id
  name
  scopes
  createdBy
  createdAt
  expiresAt
  lastUsedAt
}`) as unknown as TypedDocumentString<CreateApiTokenMutation, CreateApiTokenMutationVariables>;
export const RevokeApiTokenDocument = new TypedDocumentString(`
    mutation RevokeApiToken($id: ID!) {
  revokeApiToken(id: $id) {
    id
  }
}
    `) as unknown as TypedDocumentString<RevokeApiTokenMutation, RevokeApiTokenMutationVariables>;
export const VerificationsDocument = new TypedDocumentString(`
    query Verifications($configId: ID, $backupId: ID, $first: Int = 50, $after: String) {
  verifications(
    configId: $configId
    backupId: $backupId
    first: $first
    after: $after
  ) {
    totalCount
    nodes {
      ...VerificationParts
    }
    pageInfo {
      hasNextPage
      hasPreviousPage
      startCursor
      endCursor
    }
  }
}
    fragment VerificationParts on Verification {
  id
  level
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  bytes
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  restoreSeconds
  reportUrl
  drill {
    target
    location
    checksum
    bytes
    mediaFiles
    tables {
      name
      rowCount
    }
    command {
      name
      exitCode
      seconds
      output
    }
  }
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  destination {
    id
    name
  }
}`) as unknown as TypedDocumentString<VerificationsQuery, VerificationsQueryVariables>;
export const VerificationDocument = new TypedDocumentString(`
    query Verification($id: ID!) {
  verification(id: $id) {
    ...VerificationParts
  }
}
    fragment VerificationParts on Verification {
  id
  level
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  bytes
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  restoreSeconds
  reportUrl
  drill {
    target
    location
    checksum
    bytes
    mediaFiles
    tables {
      name
      rowCount
    }
    command {
      name
      exitCode
      seconds
      output
    }
  }
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  destination {
    id
    name
  }
}`) as unknown as TypedDocumentString<VerificationQuery, VerificationQueryVariables>;
export const StartVerificationDocument = new TypedDocumentString(`
    mutation StartVerification($backupId: ID!, $level: VerificationLevel!, $destinationId: ID) {
  startVerification(
    backupId: $backupId
    level: $level
    destinationId: $destinationId
  ) {
    ...VerificationParts
  }
}
    fragment VerificationParts on Verification {
  id
  level
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  bytes
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  restoreSeconds
  reportUrl
  drill {
    target
    location
    checksum
    bytes
    mediaFiles
    tables {
      name
      rowCount
    }
    command {
      name
      exitCode
      seconds
      output
    }
  }
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  destination {
    id
    name
  }
}`) as unknown as TypedDocumentString<StartVerificationMutation, StartVerificationMutationVariables>;
export const CancelVerificationDocument = new TypedDocumentString(`
    mutation CancelVerification($id: ID!) {
  cancelVerification(id: $id) {
    ...VerificationParts
  }
}
    fragment VerificationParts on Verification {
  id
  level
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  bytes
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  restoreSeconds
  reportUrl
  drill {
    target
    location
    checksum
    bytes
    mediaFiles
    tables {
      name
      rowCount
    }
    command {
      name
      exitCode
      seconds
      output
    }
  }
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  destination {
    id
    name
  }
}`) as unknown as TypedDocumentString<CancelVerificationMutation, CancelVerificationMutationVariables>;
export const VerificationProgressDocument = new TypedDocumentString(`
    subscription VerificationProgress($id: ID!) {
  verificationProgress(id: $id) {
    ...VerificationParts
  }
}
    fragment VerificationParts on Verification {
  id
  level
  status
  progress
  bytesDone
  bytesTotal
  bytesPerSecond
  secondsLeft
  phase
  phases {
    phase
    at
  }
  errorCode
  errorMessage
  errorHint
  warnings
  bytes
  invariants {
    name
    sql
    expect
    value
    actual
    before
    holds
    message
  }
  restoreSeconds
  reportUrl
  drill {
    target
    location
    checksum
    bytes
    mediaFiles
    tables {
      name
      rowCount
    }
    command {
      name
      exitCode
      seconds
      output
    }
  }
  createdBy
  createdAt
  startedAt
  completedAt
  backup {
    id
    fileName
    createdAt
  }
  destination {
    id
    name
  }
}`) as unknown as TypedDocumentString<VerificationProgressSubscription, VerificationProgressSubscriptionVariables>;
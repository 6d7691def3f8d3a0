import { registerEnumType } from 'type-graphql';
import type { Scope } from '../auth/index.js';
import type { EntryKind } from '../core/discovery/browse.js';
import type { BackupOrder as Order } from '../core/lists/lists.js';
import type { Health as Word } from '../core/status/health.js';
import type { DatabaseEngine as Engine, ExcludedTable, RowsMode, StorageType as Storage } from '../core/ports.js';
import type { TablePlan } from '../core/restores/plan.js';
import type { RelatedTable } from '../core/restores/tables.js';
import type {
  BackupRow,
  BackupStatus as BackupState,
  ChannelKind as Channel,
  CompressionMethod,
  CopyStatus as Copy,
  Expectation as Expected,
  NotificationEvent as Event,
  BackupType as Type,
  RestoreRow,
  RunStatus,
  VerificationLevel as Level,
} from '../models/index.js';

/** Registers an enum whose values are exactly those of a type of the domain. */
function enumOf<Value extends string>(name: string, description: string, values: Record<Value, string>) {
  const names = Object.keys(values) as Value[];
  const object = Object.fromEntries(names.map((value) => [value, value])) as { [Name in Value]: Name };
  registerEnumType(object, {
    name,
    description,
    valuesConfig: Object.fromEntries(names.map((value) => [value, { description: values[value] }])) as {
      [Name in Value]: { description: string };
    },
  });
  return object;
}

export const DatabaseEngine = enumOf<Engine>('DatabaseEngine', 'The kind of database that is protected.', {
  SQLITE: 'SQLite: one file.',
  POSTGRES: 'PostgreSQL: one database of a server.',
  MONGODB: 'MongoDB: one database of a server, a replica set or a sharded cluster.',
  MYSQL: 'MySQL or MariaDB: one database of a server.',
});

export const StorageType = enumOf<Storage>('StorageType', 'Where archives are stored.', {
  LOCAL: 'The backups folder of this installation, or a folder inside it.',
  SYSTEM: 'Any folder on this server, such as a mounted disk.',
  S3: 'A bucket of Amazon S3 or of any service that speaks its protocol.',
  GDRIVE: 'A folder of Google Drive.',
  SFTP: 'A folder of an SSH server.',
  RCLONE: 'Any remote of an installed rclone.',
});

export const Compression = enumOf<CompressionMethod>('Compression', 'How the files in an archive are compressed.', {
  DEFLATE: 'Every ZIP tool reads it.',
  ZSTD: 'Smaller and faster. Needs Node 22.15 or newer here, and 7-Zip 24 or newer to unpack without db-manager.',
  NONE: 'Stored as they are: for storages that compress themselves.',
});

export const BackupType = enumOf<Type>('BackupType', 'Why a backup was made.', {
  MANUAL: 'Requested by a user.',
  AUTO: 'Made by the schedule.',
  UPLOADED: 'The archive was made elsewhere, or downloaded before, and uploaded.',
  SAFETY: 'Made by a restore before it changed anything, so that the restore can be undone.',
});

export const CopyStatus = enumOf<Copy>('CopyStatus', 'State of one copy of a backup.', {
  PENDING: 'It is not being written yet.',
  RUNNING: 'It is being written or verified.',
  COMPLETED: 'It is stored and was verified by reading it back.',
  FAILED:
    'It was not stored, or is damaged; `errorCode` and `errorMessage` say why, `nextTryAt` when it is tried again.',
  DELETED: 'It was deleted.',
});

export const BackupMode = enumOf<BackupRow['mode']>('BackupMode', 'What an archive holds.', {
  FULL: 'Everything: the archive restores alone.',
  INCREMENTAL: 'What changed since the backup that it builds on: it needs that one to be restored.',
});

export const BackupStatus = enumOf<BackupState>('BackupStatus', 'State of a backup.', {
  PENDING: 'It waits for a worker, or for another run of the same database.',
  RUNNING: 'It is being made.',
  COMPLETED: 'Its archive is stored and was verified by reading it back.',
  FAILED: 'It ended with an error, which errorCode, errorMessage and errorHint explain. Nothing was stored.',
  DELETED: 'Its archive was deleted; the record stays.',
});

export const RestoreStatus = enumOf<RunStatus>('RestoreStatus', 'State of a restore or a verification.', {
  PENDING: 'It waits for a worker, or for another run of the same database or backup.',
  RUNNING: 'It is running.',
  COMPLETED:
    'The target holds the state of the backup; or, of a verification, a copy of the backup is as it was stored.',
  FAILED:
    'It ended with an error. After a restore, the state before it is in place, unless errorCode is RESTORE_ROLLBACK_FAILED.',
});

export const VerificationLevel = enumOf<Level>('VerificationLevel', 'How thoroughly an archive is verified.', {
  CHECKSUM: 'The stored bytes have the recorded SHA-256.',
  ARCHIVE: 'Also, every entry can be read and has the recorded hash.',
  CONTENT: 'Also, the database was extracted, passes its integrity check, and has the recorded tables and row counts.',
  DRILL:
    'One good copy was restored by the code of a restore into a scratch database, all of which was read there; the invariants hold, and the drill command passed.',
});

export const Expectation = enumOf<Expected>('Expectation', 'What the answer to an invariant must be.', {
  EQUALS: 'The value itself: numbers are compared as numbers.',
  AT_LEAST: 'The value or more.',
  AT_MOST: 'The value or less.',
  NOT_LESS_THAN_BEFORE: 'At least what it was in the newest good backup before.',
  EMPTY: 'No row at all: the query looks for what must not be.',
});

export const ExcludedPart = enumOf<ExcludedTable['what']>('ExcludedPart', 'What of a table is left out of a backup.', {
  TABLE: 'The whole table: the backup does not have it.',
  ROWS: 'Its rows: the backup has the table, empty.',
});

export const BackupOrder = enumOf<Order>('BackupOrder', 'In which order backups are listed.', {
  CREATED_AT_DESC: 'Newest first.',
  CREATED_AT_ASC: 'Oldest first.',
  FILE_SIZE_DESC: 'Largest first; those without a file last.',
  FILE_SIZE_ASC: 'Those without a file first, then the smallest.',
});

export const MediaMode = enumOf<RestoreRow['mediaMode']>(
  'MediaMode',
  'What happens to media files that are not in the backup.',
  {
    MERGE: 'They are kept.',
    MIRROR:
      'They are moved away (into the safety backup), so that the folder contains exactly the files of the backup.',
  },
);

export const RowsModeEnum = enumOf<RowsMode>('RowsMode', 'Which rows of the selected tables a restore brings back.', {
  REPLACE: 'All: the tables become those of the backup, and newer rows go.',
  MISSING: 'Only those that the target lost, by primary key.',
  CHANGED: 'Those that the target lost, and those that differ.',
});

export const TableChange = enumOf<TablePlan['change']>('TableChange', 'What a restore does to a table.', {
  ADD: 'The target does not have it.',
  REPLACE: 'Its content becomes that of the backup.',
  REMOVE: 'The backup does not have it: it is removed.',
  REPAIR: 'Only rows that are missing or differ are written: see `repairs`.',
  KEEP: 'It was not selected: it is kept unchanged.',
});

export const TableRelation = enumOf<RelatedTable['relation']>(
  'TableRelation',
  'How a table is linked to the selected ones by foreign keys or triggers.',
  {
    NEEDED: 'A selected table references it.',
    DEPENDENT: 'It references a selected table.',
    DERIVED: 'Triggers of a selected table write to it.',
    SOURCE: 'Its triggers write to a selected table.',
  },
);

export const FolderEntryKind = enumOf<EntryKind>('FolderEntryKind', 'What an entry of a folder is.', {
  FOLDER: 'A folder.',
  SQLITE: 'A SQLite database, by the first bytes of the file.',
  FILE: 'Any other file.',
  UNREADABLE: 'A file that this server may not read.',
});

export const ControlDatabaseKind = enumOf<'SQLITE' | 'POSTGRES'>(
  'ControlDatabaseKind',
  "Where the product's own records are stored.",
  { SQLITE: 'A file below DATA_DIR.', POSTGRES: 'A PostgreSQL server.' },
);

export const JobStoreKind = enumOf<'CONTROL_DATABASE' | 'MONGODB' | 'POSTGRES' | 'MONGODB_MEMORY'>(
  'JobStoreKind',
  'Where waiting jobs are stored.',
  {
    CONTROL_DATABASE: 'In the control database.',
    MONGODB: 'In MongoDB.',
    POSTGRES: 'In PostgreSQL.',
    MONGODB_MEMORY: 'In a MongoDB that ends with this process: for development only.',
  },
);

export const ChannelKind = enumOf<Channel>('ChannelKind', 'The kind of service that takes messages.', {
  EMAIL: 'Mail. `target`: addresses. Needs SMTP_URL or SMTP_HOST.',
  WEBHOOK: 'JSON to any URL. `secret`: what requests are signed with; optional.',
  SLACK: 'An incoming webhook of Slack. `target`: its URL.',
  DISCORD: 'A webhook of Discord. `target`: its URL.',
  TEAMS: 'A workflow of Microsoft Teams that posts to a channel. `target`: its URL.',
  TELEGRAM: 'A bot of Telegram. `target`: id of the chat; `secret`: the token of the bot.',
  NTFY: 'A topic of ntfy. `target`: `https://ntfy.sh/topic`; `secret`: an access token; optional.',
  GOTIFY: 'A Gotify server. `target`: its URL; `secret`: the token of an application.',
  PAGERDUTY: 'PagerDuty. `secret`: the integration key (Events API v2); `target`: only for its EU region.',
  HEARTBEAT: 'A check of healthchecks.io, or of what speaks like it. `target`: its ping URL.',
  UPTIME_KUMA: 'A push monitor of Uptime Kuma. `target`: its push URL.',
});

export const NotificationEvent = enumOf<Event>('NotificationEvent', 'What a channel can be told of.', {
  BACKUP_FAILED: 'A backup failed, or a database could not be backed up at all.',
  BACKUP_LATE: 'A scheduled backup has not started, or a run waits for too long.',
  BACKUP_SUSPICIOUS: 'A backup is unlike those before it.',
  VERIFICATION_FAILED: 'A backup is damaged, missing or not verified, or was not verified for too long.',
  COPY_MISSING: 'A backup has no copy in one of its destinations.',
  DISK_LOW: 'A destination has little space left.',
  STORAGE_UNAVAILABLE: 'A destination cannot be reached.',
  RESTORE_FAILED: 'A restore failed.',
  CHANNEL_FAILED: 'Another channel does not take its messages.',
  RECOVERED: 'A problem is over.',
  DELETION_PLANNED: 'Backups are about to be deleted, and can still be kept.',
  RESTORE_DONE: 'A restore replaced data.',
  BACKUP_DONE: 'A backup completed.',
  DRILL_DONE: 'A drill passed.',
  FIRST_SUCCESS: 'The first backup of a config completed.',
  WEEKLY_DIGEST: 'Every Monday at 8: what was backed up in the week, and what is wrong.',
});

export const Health = enumOf<Word>('Health', 'How an installation is doing, in one word.', {
  OK: 'Everything is protected.',
  WARNING: 'Something needs attention.',
  CRITICAL: 'Something is not protected.',
});

export const ApiTokenScope = enumOf<Scope>(
  'ApiTokenScope',
  'What an API token may be used for. None includes another.',
  {
    READ: 'Queries, subscriptions, downloads and metrics: also the data in backups.',
    BACKUP: 'Make, upload, verify, copy, consolidate and pin backups.',
    RESTORE: 'Plan, make, undo and cancel restores: also into another database.',
    ADMIN: 'Everything else: configs, destinations, keys, users, deleting and cleaning up.',
  },
);

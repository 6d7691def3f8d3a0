import { moment } from './format.js';
import type {
  ApiTokenScope,
  BackupPartsFragment,
  BackupStatus,
  BackupType,
  Compression,
  DatabaseEngine,
  Expectation,
  Health,
  RestoreStatus,
  RowsMode,
  StorageType,
  VerificationLevel,
} from '../client/generated/graphql.js';

/** The words that people read for the words of the API, in one place. */
export const STATUS: Record<BackupStatus, { label: string; color: string }> = {
  PENDING: { label: 'Waiting', color: 'gray' },
  RUNNING: { label: 'Running', color: 'blue' },
  COMPLETED: { label: 'Completed', color: 'teal' },
  FAILED: { label: 'Failed', color: 'red' },
  DELETED: { label: 'Deleted', color: 'gray' },
};

export const TYPE: Record<BackupType, string> = {
  MANUAL: 'Manual',
  AUTO: 'Automatic',
  UPLOADED: 'Uploaded',
  SAFETY: 'Safety',
};

export const STORAGE: Record<StorageType, string> = {
  LOCAL: 'Backups folder',
  SYSTEM: 'Folder on this server',
  S3: 'S3 bucket',
  GDRIVE: 'Google Drive',
  SFTP: 'SFTP',
  RCLONE: 'rclone',
};

export const ENGINE: Record<DatabaseEngine, string> = {
  SQLITE: 'SQLite',
  POSTGRES: 'PostgreSQL',
  MONGODB: 'MongoDB',
  MYSQL: 'MySQL or MariaDB',
};

export const COMPRESSION: Record<Compression, string> = {
  DEFLATE: 'DEFLATE (any ZIP tool)',
  ZSTD: 'ZSTD (smaller, faster)',
  NONE: 'None',
};

export const HEALTH: Record<Health, { label: string; color: string }> = {
  OK: { label: 'Protected', color: 'teal' },
  WARNING: { label: 'Warning', color: 'yellow' },
  CRITICAL: { label: 'At risk', color: 'red' },
};

/** True for the URL of a server; false for that of a file. */
export const isServerUrl = (url: string): boolean => /^[a-z+]+:\/\/[^/]/i.test(url);

export const LEVEL: Record<VerificationLevel, string> = {
  CHECKSUM: 'The checksum of the stored file matches',
  ARCHIVE: 'Every file in the archive was read and its checksum matches',
  CONTENT: 'The database was extracted and checked',
  DRILL: 'It was restored into a scratch place and checked there',
};

/** What an API token may be used for. */
export const SCOPE: Record<ApiTokenScope, { label: string; about: string }> = {
  READ: { label: 'Read', about: 'Look at everything and download backups, with the data in them' },
  BACKUP: { label: 'Back up', about: 'Make, upload, verify, copy and pin backups' },
  RESTORE: { label: 'Restore', about: 'Restore backups, and undo restores' },
  ADMIN: { label: 'Administer', about: 'Everything else: configs, destinations, keys, users, deleting' },
};

/** What the answer to an invariant must be. */
export const EXPECTATION: Record<Expectation, string> = {
  EQUALS: 'is',
  AT_LEAST: 'is at least',
  AT_MOST: 'is at most',
  NOT_LESS_THAN_BEFORE: 'is not less than in the backup before',
  EMPTY: 'is no row at all',
};

/** The levels, as a list names them. */
export const LEVEL_NAME: Record<VerificationLevel, string> = {
  CHECKSUM: 'Checksum',
  ARCHIVE: 'Archive',
  CONTENT: 'Content',
  DRILL: 'Drill',
};

/** The phases of runs, as the rows name them. */
const PHASE: Record<string, string> = {
  'before-hook': 'Running the hook before it',
  'after-hook': 'Running the hook after it',
  snapshot: 'Copying the database',
  archive: 'Writing the archive',
  verify: 'Verifying the archive',
  check: 'Checking',
  load: 'Loading the database',
  safety: 'Making a safety backup',
  media: 'Preparing the media files',
  switch: 'Switching over',
  done: 'Done',
};

export const phaseOf = (phase: string) => PHASE[phase] ?? phase;

export const isActive = (status: BackupStatus | RestoreStatus) => status === 'PENDING' || status === 'RUNNING';

/** Whether there is an archive. The record of a deleted one still shows its size and place. */
export const isStored = ({ status }: { status: BackupStatus }) => status === 'COMPLETED';

/** The options of a select, from one of the tables above. */
export const options = <Key extends string>(words: Record<Key, string | { label: string }>) =>
  (Object.entries(words) as [Key, string | { label: string }][]).map(([value, word]) => ({
    value,
    label: typeof word === 'string' ? word : word.label,
  }));

/** What a pin means: one that a person set lasts, that of a safety backup ends by itself. */
export const pinOf = ({ pinned, pinnedBy }: { pinned: boolean; pinnedBy?: string | null }) =>
  !pinned ? 'No' : pinnedBy ? `By ${pinnedBy}: never deleted automatically` : 'For now: retention may delete it later';

/** What says whose data a backup holds. */
export interface Belonging {
  config?: { id: string; name: string } | null;
  /** Its data is not known to be of its config's application. */
  foreign: boolean;
  origin?: BackupPartsFragment['origin'];
  databaseName: string;
}

/** The application whose data a backup holds: its config's, or as its archive says. */
export const applicationOf = ({ config, foreign, origin, databaseName }: Belonging) =>
  (foreign ? null : config?.name) ?? origin?.config ?? databaseName;

/** Whether a backup has no config that its data could be restored into without a further word. */
export const isHomeless = ({ config, foreign }: Pick<Belonging, 'config' | 'foreign'>) => !config || foreign;

/** What a backup is called: by its application and its date; the file's name says neither at a glance. */
export const titleOf = (backup: Belonging & { createdAt: string }) =>
  `${applicationOf(backup)}, ${moment(backup.createdAt)}`;

/** Which rows of tables a restore brings back, before their names. */
export const ROWS: Record<RowsMode, string> = {
  REPLACE: '',
  MISSING: 'missing rows of ',
  CHANGED: 'missing and changed rows of ',
};

/** What a restore brings back. */
export function restoredWhat({
  restoreDatabase,
  restoreMedia,
  tables,
  rows,
  media,
}: {
  restoreDatabase: boolean;
  restoreMedia: boolean;
  tables?: string[] | null;
  rows: RowsMode;
  media?: string[] | null;
}): string {
  const parts = [
    ...(restoreDatabase ? [tables ? `${ROWS[rows]}the tables ${tables.join(', ')}` : 'the database'] : []),
    ...(restoreMedia ? [media ? `the media ${media.join(', ')}` : 'the media'] : []),
  ];
  return parts.join(' and ');
}

import type {
  BackupStatus,
  BackupType,
  DatabaseEngine,
  Health,
  RestoreStatus,
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
  SYSTEM: 'Folder of the machine',
  GDRIVE: 'Google Drive',
  S3: 'S3 bucket',
};

export const ENGINE: Record<DatabaseEngine, string> = {
  SQLITE: 'SQLite',
  POSTGRES: 'PostgreSQL',
  MYSQL: 'MySQL or MariaDB',
  MONGODB: 'MongoDB',
};

export const HEALTH: Record<Health, { label: string; color: string }> = {
  OK: { label: 'Protected', color: 'teal' },
  WARNING: { label: 'Warning', color: 'yellow' },
  CRITICAL: { label: 'At risk', color: 'red' },
};

export const LEVEL: Record<VerificationLevel, string> = {
  CHECKSUM: 'The stored bytes are the ones that were written',
  ARCHIVE: 'Every file in the archive reads and has its own hash',
  DRILL: 'It was restored into a scratch database and counted',
};

/** The phases of runs, as the rows name them. */
const PHASE: Record<string, string> = {
  snapshot: 'Taking a consistent copy of the database',
  archive: 'Writing the archive',
  verify: 'Reading the archive and checking every byte',
  extract: 'Unpacking the database',
  check: 'Checking the database',
  safety: 'Making a safety backup of what is there now',
  media: 'Preparing the media',
  switch: 'Switching over',
  done: 'Done',
};

export const phaseOf = (phase: string) => PHASE[phase] ?? phase;

export const isActive = (status: BackupStatus | RestoreStatus) => status === 'PENDING' || status === 'RUNNING';

/** Whether there is an archive: of one that was deleted, the record still tells how big it was and where. */
export const isStored = ({ status }: { status: BackupStatus }) => status === 'COMPLETED';

/** The options of a select, from one of the tables above. */
export const options = <Key extends string>(words: Record<Key, string | { label: string }>) =>
  (Object.entries(words) as [Key, string | { label: string }][]).map(([value, word]) => ({
    value,
    label: typeof word === 'string' ? word : word.label,
  }));

/** What a pin means: a person's lasts, that of a safety backup ends by itself. */
export const pinOf = ({ pinned, pinnedBy }: { pinned: boolean; pinnedBy?: string | null }) =>
  !pinned ? 'no' : pinnedBy ? `by ${pinnedBy}: nothing deletes it` : 'for now: the rules may delete it after its time';

/** What a restore brings back. */
export function restoredWhat({
  restoreDatabase,
  restoreMedia,
  tables,
  media,
}: {
  restoreDatabase: boolean;
  restoreMedia: boolean;
  tables?: string[] | null;
  media?: string[] | null;
}): string {
  const parts = [
    ...(restoreDatabase ? [tables ? `the tables ${tables.join(', ')}` : 'the database'] : []),
    ...(restoreMedia ? [media ? `the media ${media.join(', ')}` : 'the media'] : []),
  ];
  return parts.join(' and ');
}

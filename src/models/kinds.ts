/** How one kind of database is snapshotted and loaded. */
export type DatabaseEngine = 'SQLITE' | 'POSTGRES' | 'MYSQL' | 'MONGODB';
/** The kinds that are a file each. */
export type FileEngine = Exclude<DatabaseEngine, 'POSTGRES' | 'MYSQL' | 'MONGODB'>;
/** Where archives lie: LOCAL (the project's backups folder), SYSTEM (any path of the machine), S3 (a bucket of any service that speaks S3), GDRIVE (a folder of Google Drive), SFTP (a folder of an SSH server), RCLONE (any remote of rclone). */
export type StorageType = 'LOCAL' | 'SYSTEM' | 'S3' | 'GDRIVE' | 'SFTP' | 'RCLONE';
/** Why a backup was made. */
export type BackupType = 'MANUAL' | 'AUTO' | 'UPLOADED' | 'SAFETY';

/** The types that the schedule or a person asked for: they go through the queue, and only they count for retention and health. */
export const REGULAR_TYPES: BackupType[] = ['MANUAL', 'AUTO'];
export const isRegular = (type: BackupType) => REGULAR_TYPES.includes(type);

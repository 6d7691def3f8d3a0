/** How one kind of database is snapshotted and loaded. */
export type DatabaseEngine = 'SQLITE' | 'POSTGRES' | 'MYSQL' | 'MONGODB';
/** Where archives lie: LOCAL (the project's backups folder), SYSTEM (any path of the machine), GDRIVE, S3. */
export type StorageType = 'LOCAL' | 'SYSTEM' | 'GDRIVE' | 'S3';

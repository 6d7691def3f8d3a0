/** How one kind of database is snapshotted and loaded. */
export type DatabaseEngine = 'SQLITE';
/** Where archives lie: LOCAL (the project's backups folder), SYSTEM (any path of the machine). */
export type StorageType = 'LOCAL' | 'SYSTEM';

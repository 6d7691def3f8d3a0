import type { Scope } from '../auth/index.js';

/** What an API token needs for each mutation. One that is not listed takes ADMIN. */
const MUTATIONS: Record<string, Scope> = {
  createDownloadLink: 'READ',
  autoBackup: 'BACKUP',
  cancelBackup: 'BACKUP',
  cancelVerification: 'BACKUP',
  consolidateBackup: 'BACKUP',
  copyBackup: 'BACKUP',
  createBackup: 'BACKUP',
  keepBackup: 'BACKUP',
  pinBackup: 'BACKUP',
  startVerification: 'BACKUP',
  uploadBackup: 'BACKUP',
  verifyBackup: 'BACKUP',
  cancelRestore: 'RESTORE',
  restoreBackup: 'RESTORE',
  undoRestore: 'RESTORE',
};

/**
 * Queries that show more than backups and their records: the machine's folders, who may enter, and any database that a plan's
 * target names.
 */
const QUERIES: Record<string, Scope> = {
  apiTokens: 'ADMIN',
  browseFolder: 'ADMIN',
  users: 'ADMIN',
  restorePlan: 'RESTORE',
};

/** The scope that an API token needs for a root field; null for a field of another type, which a root field leads to. */
export function scopeOf(typeName: string, fieldName: string): Scope | null {
  if (typeName === 'Mutation') return MUTATIONS[fieldName] ?? 'ADMIN';
  if (typeName === 'Query') return QUERIES[fieldName] ?? 'READ';
  return typeName === 'Subscription' ? 'READ' : null;
}

/**
 * Mutations for which CONFIRM_WITH_PASSWORD asks a person for their password again: what deletes or restores, what decides what
 * a policy deletes (`updateConfig`), and what would open a way around the question (`createApiToken`).
 */
const CONFIRMED = new Set([
  'cleanupBackups',
  'createApiToken',
  'deleteBackup',
  'deleteBackups',
  'deleteChannel',
  'deleteConfig',
  'deleteDestination',
  'deleteEncryptionKey',
  'removeUser',
  'restoreBackup',
  'rewrapBackup',
  'undoRestore',
  'updateConfig',
]);

/** True for a root field that a person confirms with the password, where the server asks for it. */
export const isConfirmed = (typeName: string, fieldName: string): boolean =>
  typeName === 'Mutation' && CONFIRMED.has(fieldName);

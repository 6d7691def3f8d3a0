/**
 * Mutations for which CONFIRM_WITH_PASSWORD asks a person for their password again: what deletes or restores, what decides what
 * a policy deletes (from `updateConfig` to `acknowledgeAnomalies`), and what would open a way around the question
 * (`createApiToken`) or silence those who would notice (`updateChannel`).
 */
const CONFIRMED = new Set([
  'acknowledgeAnomalies',
  'assignBackup',
  'cleanupBackups',
  'createConfigFromBackup',
  'createApiToken',
  'deleteBackup',
  'deleteBackups',
  'deleteChannel',
  'deleteConfig',
  'deleteDestination',
  'deleteEncryptionKey',
  'pinBackup',
  'removeUser',
  'restoreBackup',
  'rewrapBackup',
  'undoRestore',
  'updateChannel',
  'updateConfig',
]);

/** True for a root field that a person confirms with the password, where the server asks for it. */
export const isConfirmed = (typeName: string, fieldName: string): boolean =>
  typeName === 'Mutation' && CONFIRMED.has(fieldName);

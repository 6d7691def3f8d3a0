import { moment, size } from './format.js';
import { type Field, LABEL } from './settings.js';
import { TYPE } from './words.js';

/** What the audit trail says was done, in words. */
const ACTION: Record<string, string> = {
  'backup.create': 'requested a backup',
  'backup.upload': 'uploaded an archive',
  'backup.download': 'downloaded an archive',
  'backup.link': 'created a download link',
  'backup.verify': 'verified a backup',
  'backup.consolidate': 'consolidated a backup',
  'backup.pin': 'pinned a backup',
  'backup.unpin': 'unpinned a backup',
  'backup.cancel': 'cancelled a backup',
  'backup.delete': 'deleted an archive',
  'backup.delete-later': 'had the deletion of an archive wait',
  'backup.keep': 'took back the deletion of an archive',
  'backup.assign': 'filed a backup under a config',
  'backup.extract': 'extracted files from an archive',
  'restore.create': 'started a restore',
  'restore.undo': 'started undoing a restore',
  'restore.cancel': 'cancelled a restore',
  'verification.cancel': 'cancelled a verification',
  'config.create': 'added a config',
  'config.update': 'changed a config',
  'config.delete': 'deleted a config',
  'cleanup.failed': 'failed to delete or consolidate a backup during clean-up',
  'session.login': 'signed in',
  'session.confirm': 'confirmed with the password',
  'session.confirm-failed': 'failed to confirm with the password',
  'token.create': 'created a token',
  'user.password': 'changed a password',
  'user.remove': 'removed a user',
  'schedule.install': 'installed a system timer',
  'schedule.remove': 'removed a system timer',
};

export const actionOf = (action: string) => ACTION[action] ?? action;

/** What actions are done to, as the filter names it. */
export const NOUN: Record<string, string> = {
  backup: 'Backups',
  restore: 'Restores',
  config: 'Configs',
  cleanup: 'Clean-up',
  session: 'Sign-ins',
  token: 'Tokens',
  user: 'Users',
  schedule: 'System timers',
};

/** Where the page of what an action was done to is; null where there is none. */
export function pageOf(action: string, subject: string): string | null {
  if (subject.startsWith('backup_')) return `/backups/${subject}`;
  if (subject.startsWith('restore_')) return `/restores/${subject}`;
  return /^config\.(create|update)$/.test(action) ? `/configs/${subject}` : null;
}

/** A detail of an action for people. */
export function detailOf({ name, value }: { name: string; value: string }): string {
  if (name === 'bytes') return size(Number(value));
  if (name === 'type') return (TYPE as Record<string, string>)[value] ?? value;
  if (name === 'fields')
    return (JSON.parse(value) as string[]).map((field) => LABEL[field as Field] ?? field).join(', ');
  if (name === 'until') return `until ${moment(value)}`;
  return `${name}: ${value}`;
}

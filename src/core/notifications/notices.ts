import type { AppError } from '../../errors.js';
import { maskSecrets } from '../../errors.js';
import type { BackupRow, NotificationEvent, Notice } from '../../models/index.js';
import type { HealthCode, HealthReason } from '../status/health.js';
import { firstOf, humanSize } from '../text/format.js';

/** A config as messages name it; null where what happened is about none. */
export type NamedConfig = Notice['config'];

/** What an event is called in the title of a message. */
const TITLES: Record<NotificationEvent, string> = {
  BACKUP_FAILED: 'Backup failed',
  BACKUP_LATE: 'Backup is late',
  BACKUP_SUSPICIOUS: 'Backup is suspicious',
  VERIFICATION_FAILED: 'Backup is not verified',
  COPY_MISSING: 'Copies are missing',
  DISK_LOW: 'Little space is left',
  STORAGE_UNAVAILABLE: 'Destination cannot be reached',
  RESTORE_FAILED: 'Restore failed',
  CHANNEL_FAILED: 'Messages do not arrive',
  RECOVERED: 'Recovered',
  DELETION_PLANNED: 'Backups are about to be deleted',
  RESTORE_DONE: 'Restore completed',
  BACKUP_DONE: 'Backup completed',
  DRILL_DONE: 'Drill passed',
  FIRST_SUCCESS: 'First backup completed',
  WEEKLY_DIGEST: 'Weekly digest',
};

/** Events that are problems: what a new channel is told of, with their end. */
export const PROBLEM_EVENTS = [
  'BACKUP_FAILED',
  'BACKUP_LATE',
  'BACKUP_SUSPICIOUS',
  'VERIFICATION_FAILED',
  'COPY_MISSING',
  'DISK_LOW',
  'STORAGE_UNAVAILABLE',
  'RESTORE_FAILED',
  'CHANNEL_FAILED',
  'RECOVERED',
] as const satisfies readonly NotificationEvent[];

/**
 * Which event a reason of `status` is. Null: a run's end tells of it, it was someone's choice, or no message could leave.
 */
export const EVENT_OF: Record<HealthCode, NotificationEvent | null> = {
  NO_CONFIG: null,
  NO_WORKER: null,
  NEVER_BACKED_UP: null,
  OVERDUE: 'BACKUP_LATE',
  LAST_BACKUP_FAILED: null,
  LAST_BACKUP_UNPROVEN: 'VERIFICATION_FAILED',
  ARCHIVE_MISSING: 'VERIFICATION_FAILED',
  BACKUP_SUSPICIOUS: 'BACKUP_SUSPICIOUS',
  MEDIA_GONE: 'BACKUP_SUSPICIOUS',
  AUTO_BACKUP_OFF: null,
  STORAGE_LOW: 'DISK_LOW',
  STORAGE_UNAVAILABLE: 'STORAGE_UNAVAILABLE',
  RUN_STUCK: 'BACKUP_LATE',
  COPIES_MISSING: 'COPY_MISSING',
  COPY_FAILED: 'COPY_MISSING',
  PROOF_STALE: 'VERIFICATION_FAILED',
  DRILL_FAILED: null,
  DRILL_OVERDUE: 'VERIFICATION_FAILED',
  NO_COPY_AWAY: null,
  CONTROL_BACKUP_FAILED: 'BACKUP_FAILED',
  KIT_OUTDATED: null,
  DELETION_PLANNED: null,
  DATABASE_NOT_INCLUDED: 'BACKUP_FAILED',
  DATABASES_UNPROTECTED: null,
  CHANNEL_FAILED: 'CHANNEL_FAILED',
};

/** What makes two problems the same one. @param subject what it is about, where a config can have several of its kind */
export const causeOf = (event: NotificationEvent, config: NamedConfig, code: string, subject?: string | number) =>
  `${event}:${config?.id ?? '-'}:${code}${subject === undefined ? '' : `:${subject}`}`;

/** A message of an event. Passwords in URLs are masked, wherever its words come from. */
function noticeOf(event: NotificationEvent, values: Omit<Notice, 'event' | 'title' | 'at'> & { at: Date }): Notice {
  const about = values.config === null ? '' : `: ${values.config.name}`;
  return {
    ...values,
    event,
    title: `${TITLES[event]}${about}`,
    message: maskSecrets(values.message),
    hint: maskSecrets(values.hint),
    at: values.at.toISOString(),
  };
}

/** A run that failed. @param subject see `causeOf` */
export function failureNotice(
  event: 'BACKUP_FAILED' | 'VERIFICATION_FAILED' | 'RESTORE_FAILED',
  config: NamedConfig,
  error: AppError,
  path: string,
  at: Date,
  subject?: string,
): Notice {
  const { message, hint, code } = error;
  const cause = event === 'RESTORE_FAILED' ? null : causeOf(event, config, code, subject);
  const text = `${message} (${code})`;
  return noticeOf(event, { level: 'PROBLEM', message: text, hint, config, cause, path, at });
}

/** A backup that completed; the first one of its config has an event of its own. */
export function successNotice(
  event: 'BACKUP_DONE' | 'FIRST_SUCCESS',
  config: NamedConfig,
  { id, fileSize, mediaFileCount }: Pick<BackupRow, 'id' | 'fileSize' | 'mediaFileCount'>,
  at: Date,
): Notice {
  const files = (mediaFileCount ?? 0) > 0 ? ` with ${mediaFileCount} media files` : '';
  const message = `${id} is stored and verified: ${humanSize(fileSize ?? 0)}${files}.`;
  const hint = event === 'FIRST_SUCCESS' ? 'Try a restore into another database: docs/restore.md.' : '';
  return noticeOf(event, { level: 'GOOD', message, hint, config, cause: null, path: `/backups/${id}`, at });
}

/** A drill that passed. */
export function drillNotice(config: NamedConfig, backupId: string, at: Date): Notice {
  const message = `${backupId} was restored into a scratch database, read in full and checked.`;
  const values = { level: 'GOOD', message, hint: '', config, cause: null, path: `/backups/${backupId}`, at } as const;
  return noticeOf('DRILL_DONE', values);
}

/** A restore that completed: whose data a database holds has changed. */
export function restoredNotice(config: NamedConfig, restoreId: string, backupId: string, at: Date): Notice {
  const message = `The database holds the state of ${backupId} now.`;
  const hint = 'If that was a mistake, undo it: undoRestore, or `db-manager undo`.';
  return noticeOf('RESTORE_DONE', {
    ...{ level: 'INFO', message, hint, config, cause: null, path: `/restores/${restoreId}`, at },
  });
}

/** Deletions that wait. @param rows at least one, all of the config */
export function plannedNotice(config: NamedConfig, rows: readonly BackupRow[], at: Date): Notice {
  const [first] = rows;
  const ids = firstOf(rows.map(({ id }) => id));
  const until = first?.deleteAfter?.toISOString() ?? '';
  const message = `Deleted after ${until}, as ${first?.deletedBy ?? 'system'} wants it: ${ids}. ${first?.deleteReason ?? ''}`;
  const hint = 'To keep one: keepBackup, `db-manager keep`, or Keep in its menu.';
  const path = rows.length === 1 ? `/backups/${first?.id ?? ''}` : '/backups';
  return noticeOf('DELETION_PLANNED', { level: 'INFO', message, hint, config, cause: null, path, at });
}

const pathOf = (config: NamedConfig) => (config === null ? '/' : `/configs/${config.id}`);

/** What several reasons of one cause come to. */
export function stateNotice(
  event: NotificationEvent,
  config: NamedConfig,
  [first, ...others]: [HealthReason, ...HealthReason[]],
  at: Date,
): Notice {
  const message = [first, ...others].map((reason) => reason.message).join(' ');
  const { code, hint, destinationId, channelId } = first;
  const path = channelId === undefined ? pathOf(config) : '/notifications';
  const cause = causeOf(event, config, code, destinationId ?? channelId);
  const values = { level: 'PROBLEM' as const, message, hint, config, cause, path, at };
  return noticeOf(event, channelId === undefined ? values : { ...values, channelId });
}

/** A problem that goes on. */
export function reminderOf(notice: Notice, openedAt: Date): Notice {
  const since = `Since ${openedAt.toISOString()}.`;
  return { ...notice, title: `Still: ${notice.title}`, message: `${since} ${notice.message}` };
}

/** The end of a problem. */
export function recoveryOf(notice: Notice, openedAt: Date, at: Date): Notice {
  const message = `This is over. It began at ${openedAt.toISOString()}: ${notice.message}`;
  const values = {
    level: 'GOOD',
    message,
    hint: '',
    config: notice.config,
    cause: notice.cause,
    path: notice.path,
    ...(notice.channelId !== undefined && { channelId: notice.channelId }),
  } as const;
  return { ...noticeOf('RECOVERED', { ...values, at }), title: `Recovered: ${notice.title}` };
}

/** What one config has done in a week. */
export interface Week {
  name: string;
  completed: number;
  failed: number;
  newest: { createdAt: Date; fileSize: number | null } | null;
}

/** The digest of a week. @param problems what `status` says now */
export function digestNotice(weeks: Week[], problems: HealthReason[], at: Date): Notice {
  const lines = weeks.map(({ name, completed, failed, newest }) => {
    const last =
      newest === null
        ? 'no verified backup'
        : `newest verified ${newest.createdAt.toISOString()}, ${humanSize(newest.fileSize ?? 0)}`;
    return `${name}: ${completed} completed, ${failed} failed; ${last}.`;
  });
  const state = problems.map(({ message }) => `Problem: ${message}`);
  const message = [...(lines.length === 0 ? ['Nothing is protected yet.'] : lines), ...state].join('\n');
  return noticeOf('WEEKLY_DIGEST', {
    level: problems.length === 0 ? 'GOOD' : 'PROBLEM',
    message,
    hint: problems[0]?.hint ?? '',
    config: null,
    cause: null,
    path: '/',
    at,
  });
}

/** What a test sends. */
export const testNotice = (at: Date): Notice => ({
  event: 'TEST',
  level: 'INFO',
  title: 'Test message',
  message: 'Messages of db-manager arrive here.',
  hint: '',
  config: null,
  cause: null,
  path: '/notifications',
  at: at.toISOString(),
});

import type { AppError } from '../../errors.js';
import type { BackupConfigRow } from '../../models/index.js';
import { humanSize } from '../text/format.js';
import type { StorageAddress } from '../ports.js';

/** How an installation is doing, in one word. */
export type Health = 'OK' | 'WARNING' | 'CRITICAL';

/** A reason for a word other than OK; or, with OK, what to know although nothing is wrong. */
export interface HealthReason {
  level: Health;
  /** One of the codes of docs/troubleshooting.md. */
  code: HealthCode;
  message: string;
  hint: string;
  configId: number | null;
  /** The backup that it is about, where it is about one. */
  backupId?: string;
  /** The destination that it is about, where it is about one. */
  destinationId?: number;
  /** The channel that it is about, where it is about one. */
  channelId?: number;
}

/** Every reason that `status` may give; docs/troubleshooting.md has a row for each. */
export const HEALTH_CODES = [
  'NO_CONFIG',
  'NO_WORKER',
  'NEVER_BACKED_UP',
  'OVERDUE',
  'LAST_BACKUP_FAILED',
  'LAST_BACKUP_UNPROVEN',
  'ARCHIVE_MISSING',
  'BACKUP_SUSPICIOUS',
  'MEDIA_GONE',
  'AUTO_BACKUP_OFF',
  'STORAGE_LOW',
  'STORAGE_UNAVAILABLE',
  'RUN_STUCK',
  'COPIES_MISSING',
  'COPY_FAILED',
  'PROOF_STALE',
  'DRILL_FAILED',
  'DRILL_OVERDUE',
  'NO_COPY_AWAY',
  'CONTROL_BACKUP_FAILED',
  'KIT_OUTDATED',
  'DELETION_PLANNED',
  'DATABASE_NOT_INCLUDED',
  'DATABASES_UNPROTECTED',
  'CHANNEL_FAILED',
] as const;
export type HealthCode = (typeof HEALTH_CODES)[number];

/** One config's state. */
export interface ConfigHealth {
  config: Pick<BackupConfigRow, 'id' | 'name' | 'autoBackupEnabled' | 'nextRunAt'>;
  /** When the newest completed backup was made, verified or not, but not of a damaged database. */
  lastSuccessAt: Date | null;
  /** The id of that backup. */
  lastBackupId: string | null;
  /** When the newest backup was made that is verified now and not suspicious. */
  lastProvenAt: Date | null;
  /** The newest completed backup, if it is not verified now. */
  unverified: UnverifiedBackup | null;
  /** The newest verified backup, if its archive is not there as it was stored; with what was found. */
  lost: { backupId: string; error: AppError } | null;
  /** The newest backup with anomalies that no one has acknowledged, and how many there are; null if there is none. */
  suspicious: { id: string; count: number; message: string } | null;
  /** The newest verified backup has no media although older ones have some. */
  mediaGone: boolean;
  lastFailureAt: Date | null;
  lastErrorCode: string | null;
  overdue: boolean;
  /** What drills have shown; null if none has passed. Only where it is asked for. */
  drill: DrillState | null;
}

/** What the newest drill that passed has shown of a config. */
export interface DrillState {
  /** When it ended. */
  passedAt: Date;
  /** When the backup was made that it restored: a restore is known to bring back a state as old as this. */
  stateAt: Date;
  /** How long its restore took. */
  restoreSeconds: number;
  /** How long a restore of the newest good backup would take, by the bytes of both. */
  forecastSeconds: number;
}

/** What a reason says of a backup that is not verified now. */
export interface UnverifiedBackup {
  id: string;
  damaged: boolean;
  errorCode: string | null;
  errorMessage: string | null;
}

/** One place that archives lie in. */
export interface StorageHealth extends StorageAddress {
  destinationId: number;
  /** Average bytes of its newest archives. */
  typical: number;
  /** Bytes; null where it is unknown. */
  free: number | null;
  total: number | null;
  error: AppError | null;
}

/** What the archives in one place come to. */
export interface StorageUsage {
  /** Of the destination. */
  id: number;
  /** Bytes. */
  used: number;
  count: number;
}

/** What the reasons that are about no config in particular depend on. */
export interface InstallationState {
  hasConfig: boolean;
  /** Some config has a schedule that no process runs. */
  withoutWorker: boolean;
  /** How many runs wait too long. */
  stuck: number;
}

/** In milliseconds; 0 for a moment that never was. */
export const timeOf = (at: Date | null | undefined) => at?.getTime() ?? 0;

/** Every reason why an installation is not OK; none if it is. @param configs at least those that are not OK */
export function reasonsOf(
  installation: InstallationState,
  configs: ConfigHealth[],
  storages: StorageHealth[],
): HealthReason[] {
  return [
    ...installationReasons(installation),
    ...configs.flatMap((config) => configReasons(config)),
    ...storages.flatMap((storage) => storageReasons(storage)),
  ];
}

function installationReasons({ hasConfig, withoutWorker, stuck }: InstallationState): HealthReason[] {
  const reasons: HealthReason[] = [];
  const add = (level: 'WARNING' | 'CRITICAL', code: HealthCode, message: string, hint: string) =>
    reasons.push({ level, code, message, hint, configId: null });
  if (!hasConfig) {
    add('WARNING', 'NO_CONFIG', 'Nothing is protected yet.', 'Add a config, or set DATABASE_URL and start again.');
  }
  if (withoutWorker) {
    const hint = 'Start the server or a worker, or let a system timer run auto-backup (db-manager setup-schedule).';
    add('WARNING', 'NO_WORKER', 'No server or worker is running, so no scheduled backup will start.', hint);
  }
  if (stuck > 0) {
    add(
      'WARNING',
      'RUN_STUCK',
      `${stuck} run(s) have waited for more than half an hour.`,
      'Check the log of the workers.',
    );
  }
  return reasons;
}

function configReasons(health: ConfigHealth): HealthReason[] {
  const { config, lastSuccessAt, lastProvenAt, unverified, lost, suspicious, mediaGone } = health;
  const { lastFailureAt, lastErrorCode, overdue } = health;
  const reasons: HealthReason[] = [];
  const add = (level: 'WARNING' | 'CRITICAL', code: HealthCode, message: string, hint: string, about = {}) =>
    reasons.push({ level, code, message: `"${config.name}": ${message}`, hint, configId: config.id, ...about });
  if (timeOf(lastFailureAt) > timeOf(lastSuccessAt)) {
    const never = lastSuccessAt === null ? 'there is no good one yet' : 'no earlier one is verified';
    const since = lastProvenAt === null ? never : `the last good one was made at ${lastProvenAt.toISOString()}`;
    const hint = 'Open the failed backup to see the reason and the fix.';
    add('CRITICAL', 'LAST_BACKUP_FAILED', `the last backup failed (${lastErrorCode ?? 'unknown'}); ${since}.`, hint);
  } else if (lastSuccessAt === null) {
    add('CRITICAL', 'NEVER_BACKED_UP', 'there is no backup yet.', 'Back up now: createBackup, or `db-manager backup`.');
  }
  if (unverified !== null) {
    const { id, damaged, errorCode, errorMessage } = unverified;
    const found = errorCode === null ? '' : ` Verification found ${errorCode}: ${errorMessage ?? ''}`;
    const since =
      lastProvenAt === null
        ? 'No older one is verified.'
        : `The newest verified one was made at ${lastProvenAt.toISOString()}.`;
    const state = damaged ? 'is of a damaged database' : 'is not verified';
    const message = `the newest backup, ${id}, ${state}.${found} ${since}`;
    const hint = damaged ? REPAIR : `Verify it again (verifyBackup, or \`db-manager verify ${id}\`), or back up now.`;
    add('CRITICAL', 'LAST_BACKUP_UNPROVEN', message, hint, { backupId: id });
  }
  if (lost !== null) {
    const hint = 'Put the archive back, or back up now. `db-manager reconcile` lists every missing archive.';
    const message = `the archive of the newest verified backup, ${lost.backupId}, is lost: ${lost.error.message}`;
    add('CRITICAL', 'ARCHIVE_MISSING', message, hint);
  }
  if (suspicious !== null) {
    const { id, count, message } = suspicious;
    const others = count > 1 ? `, as ${count - 1} before it,` : '';
    const hint =
      'Look at the database. If it is as it should be, acknowledge that: acknowledgeAnomalies, or ' +
      `\`db-manager acknowledge ${id}\`. If not, restore an older backup.`;
    const what = `${id}${others} is unlike the backups before: ${message} Until it is acknowledged, no backup of its config is deleted automatically.`;
    add('CRITICAL', 'BACKUP_SUSPICIOUS', what, hint);
  }
  if (mediaGone) {
    const hint = 'Mount the disk of the media folders and back up again, or remove the media folders from the config.';
    add('WARNING', 'MEDIA_GONE', 'the newest backup contains no media files, but older ones do.', hint);
  }
  if (overdue) {
    const hint = 'Check that a server or worker is running, and check its log.';
    add(
      'CRITICAL',
      'OVERDUE',
      `the backup scheduled for ${config.nextRunAt?.toISOString() ?? ''} has not started.`,
      hint,
    );
  }
  if (!config.autoBackupEnabled) {
    add(
      'WARNING',
      'AUTO_BACKUP_OFF',
      'automatic backup is off.',
      'Turn it on in the config: updateConfig(autoBackupEnabled: true).',
    );
  }
  return reasons;
}

const REPAIR = 'Repair the database, or restore the newest verified backup, then back up now.';

function storageReasons(storage: StorageHealth): HealthReason[] {
  const { destinationId, storageType, storagePath, typical, free, error } = storage;
  const place = `${storageType} ${storagePath}`;
  if (error !== null) {
    return [
      {
        level: 'CRITICAL',
        code: 'STORAGE_UNAVAILABLE',
        message: `${place}: ${error.message}`,
        hint: error.hint,
        configId: null,
        destinationId,
      },
    ];
  }
  if (free === null || free > typical * 3) return [];
  const message = `${place} has ${humanSize(free)} left, less than three backups of ${humanSize(Math.round(typical))}.`;
  return [
    {
      level: 'WARNING',
      code: 'STORAGE_LOW',
      message,
      hint: 'Free space, or keep fewer backups.',
      configId: null,
      destinationId,
    },
  ];
}

import type { BackupConfigRow } from '../../models/index.js';
import { jitter, nextRun } from './cron.js';

/** When the config's next automatic backup is due after a moment; null if it makes none. */
export function nextDue(
  config: Pick<BackupConfigRow, 'id' | 'autoBackupEnabled' | 'schedule' | 'timezone' | 'jitterSeconds'>,
  after: Date,
): Date | null {
  if (!config.autoBackupEnabled) return null;
  const delay = jitter(config.id, config.jitterSeconds);
  const due = nextRun(config.schedule, config.timezone, new Date(after.getTime() - delay));
  return new Date(due.getTime() + delay);
}

/** When the next drill of the config's newest good backup is due after a moment; null if it makes none by itself. */
export const nextDrill = (
  { drillSchedule, timezone }: Pick<BackupConfigRow, 'drillSchedule' | 'timezone'>,
  after: Date,
): Date | null => (drillSchedule === null ? null : nextRun(drillSchedule, timezone, after));

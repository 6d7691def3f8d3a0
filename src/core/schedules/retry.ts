import type { Transaction } from 'sequelize';
import { type AppError, mayPass } from '../../errors.js';
import type { BackupRow } from '../../models/index.js';
import type { RunEnvironment } from '../runs/run.js';

/** Minutes until the second, third and fourth attempt. A run whose process died is tried again at once. */
export const PAUSES = [1, 5, 15];

/** Notes on the config when its failed automatic backup is tried again, if the cause may pass and attempts are left. */
export async function planRetry(
  env: Pick<RunEnvironment, 'models' | 'now'>,
  row: BackupRow,
  error: AppError,
  transaction: Transaction,
): Promise<void> {
  const pause = PAUSES[row.attempt - 1];
  if (row.backupType !== 'AUTO' || row.dueAt === null || row.configId === null) return;
  if (pause === undefined || !mayPass(error.code)) return;
  const wait = error.code === 'INTERRUPTED' ? 0 : pause * 60_000;
  await env.models.BackupConfig.update(
    { retryAt: new Date(env.now().getTime() + wait), retryAttempt: row.attempt + 1, retryDueAt: row.dueAt },
    { where: { id: row.configId, autoBackupEnabled: true, retryAt: null }, transaction },
  );
}

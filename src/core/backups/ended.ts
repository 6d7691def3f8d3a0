import type { Transaction } from 'sequelize';
import type { AppError } from '../../errors.js';
import { updateCopies } from '../archives/copies.js';
import { failure, type RunEnvironment } from '../runs/run.js';
import { planRetry } from '../schedules/retry.js';

/** What follows when a backup has ended: its copies are in the same state, and a failed automatic one is tried again. */
export async function backupEnded(
  env: Pick<RunEnvironment, 'models' | 'now'>,
  { id, error }: { id: string; error: AppError | null },
  transaction: Transaction,
): Promise<void> {
  const row = await env.models.Backup.unscoped().findByPk(id, { transaction, rejectOnEmpty: true });
  const { fileSize: size, verifiedAt } = row;
  const copies = error === null ? { status: 'COMPLETED' as const, size, verifiedAt } : failure(error);
  await updateCopies(env.models, id, copies, transaction);
  if (error !== null) await planRetry(env, row, error, transaction);
}

import type { Transaction } from 'sequelize';
import type { AppError } from '../../errors.js';
import type { BackupRow } from '../../models/index.js';
import { addWaitingCopy, updateCopies } from '../archives/copies.js';
import type { CoreEnvironment } from '../environment.js';
import { failure } from '../runs/run.js';
import { planRetry } from '../schedules/retry.js';

/** What the end of a backup needs of the process around it. */
type EndedEnvironment = Pick<CoreEnvironment, 'models' | 'storages' | 'now'>;

/**
 * What follows when a backup has ended: the copy that its run wrote is in the same state, those in the config's other
 * destinations wait to be made, and a failed automatic backup is tried again.
 */
export async function backupEnded(
  env: EndedEnvironment,
  { id, error }: { id: string; error: AppError | null },
  transaction: Transaction,
): Promise<void> {
  const row = await env.models.Backup.findByPk(id, { transaction, rejectOnEmpty: true });
  const { fileSize: size, verifiedAt } = row;
  const copies = error === null ? { status: 'COMPLETED' as const, size, verifiedAt } : failure(error);
  await updateCopies(env.models, id, copies, transaction);
  if (error === null) await planCopies(env, row, transaction);
  else if ((row.consolidates ?? null) === null) await planRetry(env, row, error, transaction);
}

/** A safety backup is for the undo of one restore, so it is not copied. */
async function planCopies(env: EndedEnvironment, row: BackupRow, transaction: Transaction): Promise<void> {
  if (row.backupType === 'SAFETY') return;
  const config = row.configId === null ? null : await env.models.BackupConfig.findByPk(row.configId, { transaction });
  for (const id of new Set([...(config?.copyTo ?? []), ...(await formerPlaces(env, row, transaction))])) {
    const destination = await env.models.Destination.findOne({ where: { id, deletedAt: null }, transaction });
    if (destination === null || id === row.copy.destinationId) continue;
    await addWaitingCopy(env, row, destination, transaction);
  }
}

/** Where the incremental backup lies that a full one was made of: it is to lie there, too. */
async function formerPlaces(env: EndedEnvironment, row: BackupRow, transaction: Transaction): Promise<number[]> {
  if ((row.consolidates ?? null) === null) return [];
  const where = { archiveId: row.consolidates, status: 'COMPLETED' };
  const members = await env.models.Backup.findAll({ where, transaction });
  const stored = members.flatMap(({ copies }) => copies).filter(({ status }) => status === 'COMPLETED');
  return stored.map(({ destinationId }) => destinationId);
}

import type { Transaction } from 'sequelize';
import type { Models } from '../../models/index.js';

/** What follows when a restore has ended: what opened its archive is forgotten. */
export async function restoreEnded(
  { Restore }: Models,
  { id }: { id: string },
  transaction: Transaction,
): Promise<void> {
  await Restore.update({ sealedFileKey: null }, { where: { id }, transaction });
}

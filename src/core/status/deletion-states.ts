import { Op } from 'sequelize';
import type { Models } from '../../models/index.js';
import type { HealthReason } from './health.js';

/** What to know of deletions that wait: how many, and when the first is due. */
export async function deletionNotices({ Backup }: Models): Promise<HealthReason[]> {
  const where = { status: 'COMPLETED', deleteAfter: { [Op.ne]: null } };
  const count = await Backup.unscoped().count({ where });
  if (count === 0) return [];
  const first = (await Backup.unscoped().min('deleteAfter', { where })) as string | Date;
  const what = count === 1 ? '1 backup is' : `${count} backups are`;
  const message = `${what} about to be deleted, the first after ${new Date(first).toISOString()}.`;
  const hint = 'To keep one: keepBackup, `db-manager keep`, or Keep in its menu.';
  return [{ level: 'OK', code: 'DELETION_PLANNED', message, hint, configId: null }];
}

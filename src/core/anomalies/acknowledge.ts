import { Op } from 'sequelize';
import { AppError, badInput } from '../../errors.js';
import type { BackupRow } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';

/**
 * Says that a suspicious backup is as it should be: it counts again, and is what later ones are compared with. The older
 * suspicious ones of its config led to the same state, so they count again, too. One that was acknowledged stays as it is.
 * @throws AppError BACKUP_DELETED; BAD_USER_INPUT if it has no anomalies
 */
export async function acknowledgeAnomalies(
  { models, audit, now }: Pick<CoreEnvironment, 'models' | 'audit' | 'now'>,
  row: BackupRow,
  actor: string,
): Promise<BackupRow> {
  const { id, configId, createdAt, anomalies } = row;
  if (row.status === 'DELETED') throw new AppError('BACKUP_DELETED', `Backup ${id} was deleted.`);
  if (anomalies.length === 0) {
    throw badInput('id', `${id} has no anomalies.`, 'The status names the backups that are suspicious.');
  }
  const older = { configId, createdAt: { [Op.lte]: createdAt } };
  const where = { suspicious: true, [Op.or]: [{ id }, ...(configId === null ? [] : [older])] };
  const [count] = await models.Backup.update({ suspicious: false, anomaliesAcknowledgedAt: now() }, { where });
  if (count > 0) {
    const codes = [...new Set(anomalies.map(({ code }) => code))];
    await audit.record(actor, 'backup.acknowledge', id, { anomalies: codes, backups: count });
  }
  return row.reload();
}

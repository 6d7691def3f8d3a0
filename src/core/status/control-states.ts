import type { ControlBackupRow, Models } from '../../models/index.js';
import type { HealthReason } from './health.js';

/** The destinations whose newest backup of the control database failed. */
export async function controlReasons({ ControlBackup, Destination }: Models): Promise<HealthReason[]> {
  const newest = new Map<number, ControlBackupRow>();
  for (const row of await ControlBackup.findAll({ order: [['id', 'ASC']] })) newest.set(row.destinationId, row);
  const destinations = await Destination.findAll({ where: { id: [...newest.keys()], deletedAt: null } });
  return destinations.flatMap(({ id, name, storagePath }) => {
    const { errorCode = null, errorMessage, errorHint } = newest.get(id) ?? {};
    if (errorCode === null) return [];
    const message = `The control database could not be backed up to ${name ?? storagePath}: ${errorMessage}`;
    const hint = `${errorHint} It is tried again every hour.`;
    return [{ level: 'WARNING', code: 'CONTROL_BACKUP_FAILED', message, hint, configId: null }];
  });
}

import type { BackupRow } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import { plannedNotice } from './notices.js';
import { enqueue } from './outbox.js';

/**
 * Tells the channels of deletions that wait, one message for each config. If it cannot be written, the deletions wait all the
 * same: `status` shows them, too.
 */
export async function notifyPlanned(
  env: Pick<CoreEnvironment, 'models' | 'now' | 'log'>,
  rows: readonly BackupRow[],
): Promise<void> {
  const { BackupConfig, sequelize } = env.models;
  try {
    for (const configId of new Set(rows.map((row) => row.configId))) {
      const own = rows.filter((row) => row.configId === configId);
      const config = configId === null ? null : await BackupConfig.findByPk(configId);
      const named = config === null ? null : { id: config.id, name: config.name };
      await sequelize.transaction((transaction) => enqueue(env, plannedNotice(named, own, env.now()), transaction));
    }
  } catch (error) {
    env.log.error({ err: error }, 'deletions that wait could not be told to the channels');
  }
}

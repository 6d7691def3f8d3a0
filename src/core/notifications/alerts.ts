import { randomUUID } from 'node:crypto';
import type { Transaction, WhereOptions } from 'sequelize';
import type { AlertRow, NotificationEvent, Notice } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import { recoveryOf } from './notices.js';
import { enqueue } from './outbox.js';

/** What alerts need of the process around them. */
export type AlertsEnvironment = Pick<CoreEnvironment, 'models' | 'now'>;

/**
 * Tells the channels of a problem, unless they know of it: one message for each cause until it is over. Of several processes
 * that find the same, one tells.
 */
export async function raise(
  env: AlertsEnvironment,
  notice: Notice,
  { backupId, fromStatus }: Pick<AlertRow, 'backupId' | 'fromStatus'>,
  transaction: Transaction,
): Promise<void> {
  const { Alert } = env.models;
  const { cause, event, config } = notice;
  if (cause === null || event === 'TEST') return;
  const at = env.now();
  const token = randomUUID();
  const alert = { cause, token, event, configId: config?.id ?? null, backupId, fromStatus };
  await Alert.bulkCreate([{ ...alert, notice, openedAt: at, notifiedAt: at }], { ignoreDuplicates: true, transaction });
  const row = await Alert.findByPk(cause, { transaction });
  if (row?.token === token) return enqueue(env, notice, transaction);
  // The reminder shows what was found last.
  await Alert.update({ notice, backupId }, { where: { cause }, transaction });
}

/** Ends the alerts that meet a condition, and tells so the channels that are told of such problems. */
export async function settle(
  env: AlertsEnvironment,
  where: WhereOptions<AlertRow> & { event?: NotificationEvent },
  transaction: Transaction,
): Promise<void> {
  const { Alert } = env.models;
  for (const { cause, token, notice, openedAt } of await Alert.findAll({ where, transaction })) {
    const ended = await Alert.destroy({ where: { ...where, cause, token }, transaction });
    if (ended !== 1) continue;
    await enqueue(env, recoveryOf(notice, openedAt, env.now()), transaction, notice.event);
  }
}

import type { Transaction } from 'sequelize';
import { type AppError } from '../../errors.js';
import { type BackupRow, isRegular } from '../../models/index.js';
import type { CoreEnvironment, EndedRun } from '../environment.js';
import type { Notifier } from '../ports.js';
import { raise, settle } from './alerts.js';
import { drillNotice, failureNotice, type NamedConfig, restoredNotice, successNotice } from './notices.js';
import { enqueue, enqueueBeat } from './outbox.js';
import { SCHEDULE } from '../runs/run.js';

/** What telling of runs needs of the process around it. */
export type RunNoticesEnvironment = Pick<CoreEnvironment, 'models' | 'now' | 'log'> & {
  notifier: Pick<Notifier, 'beats'>;
};

/**
 * Writes what is to be told of the end of a run, within the transaction that ends it: no message is there without the end. If
 * it cannot be written, the run ends all the same: a message does not decide over an archive.
 */
export async function notifyEnded(env: RunNoticesEnvironment, run: EndedRun, transaction: Transaction): Promise<void> {
  const { models, log } = env;
  try {
    // In a savepoint, so that what fails ends nothing else.
    await models.sequelize.transaction({ transaction }, (inner) => tellEnd(env, run, inner));
  } catch (error) {
    log.error({ err: error, run: run.id }, 'the end of a run could not be told to the channels');
  }
}

async function tellEnd(
  env: RunNoticesEnvironment,
  { table, id, error }: EndedRun,
  transaction: Transaction,
): Promise<void> {
  if (table === 'Backup') await backupEnded(env, id, error, transaction);
  if (table === 'Restore') await restoreEnded(env, id, error, transaction);
  if (table === 'Verification') await verificationEnded(env, id, error, transaction);
}

/** Tells heartbeat channels that a backup or a drill has begun. */
export async function notifyStarted(env: RunNoticesEnvironment, { table, id }: Omit<EndedRun, 'error'>): Promise<void> {
  const { Backup, Verification, sequelize } = env.models;
  const backup = table === 'Backup' ? await Backup.findByPk(id) : null;
  const drill = table === 'Verification' ? await Verification.findOne({ where: { id, level: 'DRILL' } }) : null;
  const configId = (backup !== null && isOwn(backup) ? backup : drill)?.configId ?? null;
  if (configId === null) return;
  const event = backup === null ? 'DRILL_DONE' : 'BACKUP_DONE';
  await sequelize.transaction((transaction) =>
    enqueueBeat(env, configId, event, { state: 'STARTED', runId: id }, transaction),
  );
}

/** A backup of the data as it is: no part of a restore, not uploaded, and not made of other backups. */
const isOwn = ({ backupType, consolidates }: BackupRow) => isRegular(backupType) && (consolidates ?? null) === null;

async function backupEnded(
  env: RunNoticesEnvironment,
  id: string,
  error: AppError | null,
  transaction: Transaction,
): Promise<void> {
  const row = await env.models.Backup.findByPk(id, { transaction, rejectOnEmpty: true });
  // A person who stops one knows of it.
  if (!isOwn(row) || error?.code === 'CANCELLED') return;
  const config = await configOf(env, row.configId, transaction);
  const isGood = error === null && !row.damaged;
  if (config !== null) {
    const beat = { state: isGood ? 'DONE' : 'FAILED', runId: id } as const;
    await enqueueBeat(env, config.id, 'BACKUP_DONE', beat, transaction);
  }
  if (error !== null) {
    const notice = failureNotice('BACKUP_FAILED', config, error, `/backups/${id}`, env.now());
    return raise(env, notice, { backupId: null, fromStatus: false }, transaction);
  }
  // `status` tells of a backup of a damaged database.
  if (!isGood) return;
  const where = { event: 'BACKUP_FAILED' as const, fromStatus: false, configId: row.configId };
  await settle(env, where, transaction);
  const isFirst = config !== null && (await completedCount(env, config.id, transaction)) === 1;
  if (isFirst) await enqueue(env, successNotice('FIRST_SUCCESS', config, row, env.now()), transaction);
  await enqueue(env, successNotice('BACKUP_DONE', config, row, env.now()), transaction);
}

function completedCount({ models }: RunNoticesEnvironment, configId: number, transaction: Transaction) {
  const where = { configId, status: ['COMPLETED', 'DELETED'], backupType: ['MANUAL', 'AUTO'] };
  return models.Backup.unscoped().count({ where, transaction });
}

async function restoreEnded(
  env: RunNoticesEnvironment,
  id: string,
  error: AppError | null,
  transaction: Transaction,
): Promise<void> {
  if (error?.code === 'CANCELLED') return;
  const row = await env.models.Restore.findByPk(id, { transaction, rejectOnEmpty: true });
  const config = await configOf(env, row.configId, transaction);
  const notice =
    error === null
      ? restoredNotice(config, id, row.backupId, env.now())
      : failureNotice('RESTORE_FAILED', config, error, `/restores/${id}`, env.now());
  await enqueue(env, notice, transaction);
}

async function verificationEnded(
  env: RunNoticesEnvironment,
  id: string,
  error: AppError | null,
  transaction: Transaction,
): Promise<void> {
  const row = await env.models.Verification.findByPk(id, { transaction, rejectOnEmpty: true });
  const isDrill = row.level === 'DRILL';
  // A drill is about all that its config needs: a later one of another backup shows as well that restores work again.
  const backupId = isDrill && row.configId !== null ? null : row.backupId;
  const config = await configOf(env, row.configId, transaction);
  const beat = (state: 'DONE' | 'FAILED') =>
    isDrill && config !== null
      ? enqueueBeat(env, config.id, 'DRILL_DONE', { state, runId: id }, transaction)
      : undefined;
  if (error === null) {
    await beat('DONE');
    const found = { event: 'VERIFICATION_FAILED' as const, fromStatus: false };
    await settle(env, { ...found, backupId: row.backupId }, transaction);
    if (backupId === null) await settle(env, { ...found, configId: row.configId, backupId }, transaction);
    if (isDrill) await enqueue(env, drillNotice(config, row.backupId, env.now()), transaction);
    return;
  }
  if (error.code === 'CANCELLED') return;
  // What the schedule did not get to comes again by itself.
  if (row.createdBy === SCHEDULE && /^(BUSY|INTERRUPTED)$/.test(error.code)) return;
  await beat('FAILED');
  const path = `/backups/${row.backupId}`;
  const notice = failureNotice('VERIFICATION_FAILED', config, error, path, env.now(), backupId ?? 'DRILL');
  await raise(env, notice, { backupId, fromStatus: false }, transaction);
}

async function configOf(
  { models }: RunNoticesEnvironment,
  id: number | null,
  transaction: Transaction,
): Promise<NamedConfig> {
  const row = id === null ? null : await models.BackupConfig.findByPk(id, { attributes: ['id', 'name'], transaction });
  return row === null ? null : { id: row.id, name: row.name };
}

import { Op } from 'sequelize';
import type { AlertRow, ChannelRow, DeliveryRow, NotificationEvent, Notice } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import { nextRun } from '../schedules/cron.js';
import type { HealthReason } from '../status/health.js';
import type { Overview } from '../status/overview.js';
import { raise, settle } from './alerts.js';
import { digestNotice, EVENT_OF, type NamedConfig, reminderOf, stateNotice, type Week } from './notices.js';
import { enqueue } from './outbox.js';

/** What the watch needs of the process around it. */
export type WatchEnvironment = Pick<CoreEnvironment, 'models' | 'now'> & {
  overview: Pick<Overview, 'read'>;
  /** The time zone in which digests are due. */
  timezone: string;
};

const DAY = 24 * 3_600_000;
const WEEK = 7 * DAY;
/** Problems that come and go by themselves, such as a disk that is almost full. */
const FICKLE: NotificationEvent[] = ['DISK_LOW', 'STORAGE_UNAVAILABLE', 'CHANNEL_FAILED'];
/** How long one of these is gone before that is told, and how long a channel fails before others are, in milliseconds. */
const STEADY = 15 * 60_000;
/** When digests are due. */
const DIGEST = '0 8 * * 1';

/** When the next digest is due. */
export const nextDigest = (timezone: string, after: Date) => nextRun(DIGEST, timezone, after);

/**
 * Tells of what is no run's end: of what `status` finds, of what goes on for a day, of a week. One node at a time looks. What it
 * has told is on record, so that a start tells nothing twice.
 */
export async function look(env: WatchEnvironment): Promise<void> {
  const { reasons } = await env.overview.read();
  await compare(env, await noticesOf(env, await withoutHiccups(env, reasons)));
  await settleDeleted(env);
  await remind(env);
  await sendDigests(env, reasons);
}

/** Without channels that will most likely take their messages with the next tries. */
async function withoutHiccups({ models, now }: WatchEnvironment, reasons: HealthReason[]): Promise<HealthReason[]> {
  const ids = reasons.flatMap(({ channelId }) => channelId ?? []);
  if (ids.length === 0) return reasons;
  const channels = await models.Channel.findAll({ where: { id: ids } });
  const before = now().getTime() - STEADY;
  const waiting = await models.Delivery.findAll({ where: { channelId: ids } });
  // A sign of life gives way to the next one and is never old: there, it counts when the last one arrived.
  const since = ({ channelId, content, createdAt }: DeliveryRow) => {
    const last = channels.find(({ id }) => id === channelId)?.lastDeliveryAt ?? new Date(0);
    return 'beat' in content ? Math.min(createdAt.getTime(), last.getTime()) : createdAt.getTime();
  };
  const late = new Set(waiting.filter((row) => since(row) <= before).map((row) => row.channelId));
  const isLost = ({ sealed, lostError }: ChannelRow) => (sealed ?? null) === null || (lostError ?? null) !== null;
  const failing = new Set(channels.filter((row) => isLost(row) || late.has(row.id)).map(({ id }) => id));
  return reasons.filter(({ channelId }) => channelId === undefined || failing.has(channelId));
}

/** One notice for each cause. */
async function noticesOf({ models, now }: WatchEnvironment, reasons: HealthReason[]): Promise<Notice[]> {
  const configs = await models.BackupConfig.findAll({ attributes: ['id', 'name'] });
  const byRuns = await models.Alert.findAll({ where: { fromStatus: false, event: 'VERIFICATION_FAILED' } });
  // Its verification has told of it.
  const isTold = ({ code, backupId }: HealthReason) =>
    code === 'LAST_BACKUP_UNPROVEN' && byRuns.some((alert) => alert.backupId === backupId);
  const groups = new Map<string, [HealthReason, ...HealthReason[]]>();
  for (const reason of reasons.filter((one) => !isTold(one))) {
    const key = `${reason.code}:${reason.configId ?? '-'}:${reason.destinationId ?? reason.channelId ?? '-'}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [reason]);
    else group.push(reason);
  }
  return [...groups.values()].flatMap((group) => {
    const event = EVENT_OF[group[0].code];
    const config = configs.find(({ id }) => id === group[0].configId);
    const named: NamedConfig = config === undefined ? null : { id: config.id, name: config.name };
    return event === null ? [] : [stateNotice(event, named, group, now())];
  });
}

async function compare(env: WatchEnvironment, found: Notice[]): Promise<void> {
  const { Alert, sequelize } = env.models;
  const open = await Alert.findAll();
  const present = new Set(found.map(({ cause }) => cause));
  for (const notice of found) {
    const known = open.find(({ cause }) => cause === notice.cause);
    if (known?.notice.message === notice.message) continue;
    await sequelize.transaction((transaction) => raise(env, notice, { backupId: null, fromStatus: true }, transaction));
  }
  for (const alert of open) {
    const { cause, token, fromStatus } = alert;
    if (!fromStatus || !(await isOver(env, alert, present.has(cause)))) continue;
    await sequelize.transaction((transaction) => settle(env, { cause, token }, transaction));
  }
}

/** Notes whether a problem is there, and says whether it is over. */
async function isOver({ models, now }: WatchEnvironment, alert: AlertRow, isThere: boolean): Promise<boolean> {
  const { cause, token, event } = alert;
  const before = alert.absentSince ?? null;
  if (!isThere && (!FICKLE.includes(event) || (before !== null && now().getTime() - before.getTime() >= STEADY))) {
    return true;
  }
  const absentSince = isThere ? null : (before ?? now());
  if (absentSince !== before) await models.Alert.update({ absentSince }, { where: { cause, token } });
  return false;
}

/** A failed verification of a backup that is gone is no problem any more. */
async function settleDeleted(env: WatchEnvironment): Promise<void> {
  const { Alert, Backup, sequelize } = env.models;
  for (const { cause, token, backupId } of await Alert.findAll({ where: { backupId: { [Op.ne]: null } } })) {
    const there = await Backup.unscoped().count({ where: { id: backupId ?? '', status: 'COMPLETED' } });
    if (there > 0) continue;
    await sequelize.transaction((transaction) => settle(env, { cause, token, backupId }, transaction));
  }
}

/** Once a day, as long as it goes on. */
async function remind(env: WatchEnvironment): Promise<void> {
  const { Alert, sequelize } = env.models;
  const before = new Date(env.now().getTime() - DAY);
  const isDue = ({ notifiedAt }: AlertRow) => notifiedAt <= before;
  for (const alert of (await Alert.findAll()).filter(isDue)) {
    const { cause, token, notifiedAt, notice, openedAt } = alert;
    await sequelize.transaction(async (transaction) => {
      const where = { cause, token, notifiedAt };
      const [taken] = await Alert.update({ notifiedAt: env.now() }, { where, transaction });
      if (taken === 1) await enqueue(env, reminderOf(notice, openedAt), transaction);
    });
  }
}

/** Each channel's due time is used once, however many nodes look; what was missed while all were down is made up for by one. */
async function sendDigests(env: WatchEnvironment, reasons: HealthReason[]): Promise<void> {
  const { Channel, Delivery, sequelize } = env.models;
  const now = env.now();
  for (const channel of await Channel.findAll({ where: { digestAt: { [Op.lte]: now } } })) {
    const wanted = ({ configId }: { configId: number | null }) =>
      channel.configIds.length === 0 || configId === null || channel.configIds.includes(configId);
    const notice = digestNotice(await weeks(env, channel.configIds), reasons.filter(wanted), now);
    await sequelize.transaction(async (transaction) => {
      const where = { id: channel.id, digestAt: channel.digestAt };
      const [taken] = await Channel.update({ digestAt: nextDigest(env.timezone, now) }, { where, transaction });
      const delivery = { channelId: channel.id, content: { notice }, nextTryAt: now, createdAt: now };
      if (taken === 1) await Delivery.create(delivery, { transaction });
    });
  }
}

/** @param ids of configs; empty: all */
async function weeks({ models, now }: WatchEnvironment, ids: number[]): Promise<Week[]> {
  const where = ids.length === 0 ? {} : { id: ids };
  const configs = await models.BackupConfig.findAll({ attributes: ['id', 'name'], where, order: [['id', 'ASC']] });
  const since = new Date(now().getTime() - WEEK);
  const Backup = models.Backup.unscoped();
  return Promise.all(
    configs.map(async ({ id: configId, name }) => {
      const own = { configId, backupType: ['MANUAL', 'AUTO'] };
      const count = (status: string | string[]) =>
        Backup.count({ where: { ...own, status, createdAt: { [Op.gt]: since } } });
      const newest = await Backup.findOne({
        attributes: ['createdAt', 'fileSize'],
        where: { ...own, status: 'COMPLETED', verifiedAt: { [Op.ne]: null } },
        order: [['createdAt', 'DESC']],
      });
      return { name, completed: await count(['COMPLETED', 'DELETED']), failed: await count('FAILED'), newest };
    }),
  );
}

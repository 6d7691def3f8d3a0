import { Op, type Transaction } from 'sequelize';
import { AppError, toAppError } from '../../errors.js';
import type { Beat, ChannelKind, ChannelRow, DeliveryRow, Models, Notice } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import type { ChannelSettings, Notifier } from '../ports.js';
import { Hold } from '../runs/hold.js';
import type { Secrets } from '../secrets.js';

/** What the outbox needs of the process around it. */
export type OutboxEnvironment = Pick<CoreEnvironment, 'models' | 'log' | 'now'> & {
  notifier: Notifier;
  secrets: Secrets;
};

const SECOND = 1_000;
/** Seconds until a message that failed is sent again; the last pause repeats. */
const PAUSES = [2, 10, 30, 60, 300, 900, 3_600];
/** When a message is given up, in milliseconds after it was written. */
export const GIVE_UP_AFTER = 3 * 24 * 3_600 * SECOND;
/** How long one message may take to be sent, in milliseconds. */
const PATIENCE = 20 * SECOND;
/** How many messages a channel gets in one go. */
const AT_ONCE = 100;
/** How long a process that was killed keeps its channels from the others, in milliseconds. */
const LEASE = 10 * SECOND;

const wantsConfig = ({ configIds }: ChannelRow, configId: number | null) =>
  configIds.length === 0 || configId === null || configIds.includes(configId);

/** Writes a message into the outbox of each channel that wants it, within the transaction of what it tells of. */
export async function enqueue(
  { models, now }: Pick<CoreEnvironment, 'models' | 'now'>,
  notice: Notice,
  transaction: Transaction,
): Promise<void> {
  const { event } = notice;
  if (event === 'TEST') return;
  const wants = (channel: ChannelRow) =>
    channel.events.includes(event) && wantsConfig(channel, notice.config?.id ?? null);
  const channels = (await models.Channel.findAll({ transaction })).filter(wants);
  await add(models, channels, { notice }, now(), transaction);
}

/** As `enqueue`, for a sign of life of a config. A newer one takes the place of one that still waits. */
export async function enqueueBeat(
  { models, notifier, now }: Pick<CoreEnvironment, 'models' | 'now'> & { notifier: Pick<Notifier, 'beats'> },
  configId: number,
  beat: Beat,
  transaction: Transaction,
): Promise<void> {
  const channels = (await models.Channel.findAll({ transaction })).filter(
    (channel) => notifier.beats(channel.kind, beat.state) && channel.configIds.includes(configId),
  );
  if (channels.length === 0) return;
  await models.Delivery.destroy({ where: { channelId: channels.map(({ id }) => id) }, transaction });
  await add(models, channels, { beat }, now(), transaction);
}

async function add(
  { Delivery }: Models,
  channels: ChannelRow[],
  content: DeliveryRow['content'],
  at: Date,
  transaction: Transaction,
): Promise<void> {
  const rows = channels.map(({ id }) => ({ channelId: id, content, nextTryAt: at, createdAt: at }));
  if (rows.length > 0) await Delivery.bulkCreate(rows, { transaction });
}

/** Where a channel leads. @throws AppError CONFIG_INVALID, NOTIFICATION_FAILED */
export async function settingsOf(secrets: Secrets, { kind, sealed, name }: ChannelRow): Promise<ChannelSettings> {
  if ((sealed ?? null) === null) {
    const hint = 'Give the channel its target and its secret anew.';
    throw new AppError('NOTIFICATION_FAILED', `The target of the channel "${name}" was lost.`, { hint });
  }
  const { target = '', secret = '' } = await secrets.open(sealed ?? '');
  return { kind: kind as ChannelKind, target, secret };
}

/**
 * Delivers what waits, at least once: a message leaves the outbox only after its channel has taken it. One process at a time
 * sends to a channel, in the order in which messages were written. What fails is sent again with growing pauses, and given up
 * after three days.
 */
export class Outbox {
  constructor(private readonly env: OutboxEnvironment) {}

  /** Sends what is due and waits for it. Never fails because of a channel. @returns how many messages still wait */
  async deliverDue(stop: AbortSignal): Promise<number> {
    const { Delivery } = this.env.models;
    const rows = await Delivery.findAll({ attributes: ['channelId'], where: this.due(), group: ['channelId'] });
    await Promise.all(rows.map(({ channelId }) => this.serve(channelId, stop)));
    return Delivery.count();
  }

  /** A time that lies further ahead than any pause was worked out while the clock was ahead. */
  private due() {
    const now = this.env.now().getTime();
    const furthest = new Date(now + (PAUSES.at(-1) ?? 0) * SECOND);
    return { nextTryAt: { [Op.or]: [{ [Op.lte]: new Date(now) }, { [Op.gt]: furthest }] } };
  }

  private async serve(channelId: number, stop: AbortSignal): Promise<void> {
    const work = async (hold: Hold) => {
      const signal = AbortSignal.any([stop, hold.lost]);
      const { Delivery } = this.env.models;
      if ((await Delivery.count({ where: { channelId, ...this.due() } })) === 0) return;
      // Older ones go first, due or not: the end of a problem must not arrive before the problem.
      const rows = await Delivery.findAll({ where: { channelId }, order: [['id', 'ASC']], limit: AT_ONCE });
      let failures = 0;
      for (const row of rows) {
        failures = (await this.deliver(row, signal)) ? 0 : failures + 1;
        if (signal.aborted) return;
        // One message may be refused for what it says; after two, the others would fail alike.
        if (failures === 2) return this.postpone(row);
      }
    };
    await Hold.during({ ...this.env, leaseMs: LEASE }, [`channel:${channelId}`], work, () => undefined);
  }

  /** Has the messages behind one that failed wait as long as it does. */
  private async postpone({ channelId, nextTryAt }: DeliveryRow): Promise<void> {
    const where = { channelId, nextTryAt: { [Op.lt]: nextTryAt } };
    await this.env.models.Delivery.update({ nextTryAt }, { where });
  }

  /** @returns false if it was not delivered */
  private async deliver(row: DeliveryRow, signal: AbortSignal): Promise<boolean> {
    const { models, notifier, secrets, now, log } = this.env;
    const channel = await models.Channel.findByPk(row.channelId);
    if (channel === null || signal.aborted) return false;
    let refused: AppError | null;
    try {
      const settings = await settingsOf(secrets, channel);
      const message = { id: `${row.id}`, sentAt: now(), ...row.content };
      refused = await notifier.send(settings, message, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]));
    } catch (error) {
      if (!signal.aborted) await this.failed(row, channel, error);
      return false;
    }
    if (refused !== null)
      log.warn({ channel: channel.id, delivery: row.id, err: refused }, 'not everyone gets a message');
    await models.sequelize.transaction(async (transaction) => {
      await row.destroy({ transaction });
      await channel.update({ lastDeliveryAt: now(), lastError: refused?.message ?? null }, { transaction });
    });
    return true;
  }

  private async failed(row: DeliveryRow, channel: ChannelRow, thrown: unknown): Promise<void> {
    const { log, now } = this.env;
    const error = thrown instanceof AppError ? thrown : failureOf(thrown);
    const about = { channel: channel.id, delivery: row.id, tries: row.tries + 1, err: error };
    if (now().getTime() - row.createdAt.getTime() > GIVE_UP_AFTER) {
      log.error(about, 'a message was given up: its channel has not taken it for three days');
      await row.destroy();
      await channel.update({ lastError: `A message was given up after three days. ${error.message}` });
      return;
    }
    log.warn(about, 'a message could not be delivered; it is sent again');
    const pause = PAUSES[Math.min(row.tries, PAUSES.length - 1)] ?? 0;
    await row.update({ tries: row.tries + 1, nextTryAt: new Date(now().getTime() + pause * SECOND) });
    await channel.update({ lastError: error.message });
  }
}

/** What a notifier threw that is none of our errors: its time is up, or it has a mistake. */
export function failureOf(thrown: unknown): AppError {
  if (thrown instanceof Error && thrown.name === 'TimeoutError') {
    return new AppError('NOTIFICATION_FAILED', 'The channel did not answer in time.', { cause: thrown });
  }
  return toAppError(thrown);
}

import { Op, type Transaction } from 'sequelize';
import { AppError, MessageRefused, toAppError } from '../../errors.js';
import {
  type Beat,
  BEAT_EVENTS,
  BEAT_KINDS,
  type BeatEvent,
  type ChannelKind,
  type ChannelRow,
  type DeliveryRow,
  type Models,
  type Notice,
} from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import type { ChannelSettings, Message, Notifier } from '../ports.js';
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
/** How often a message is sent that its channel refuses for what it says. */
const REFUSED_TRIES = 5;
/** When a sign of life says nothing any more, in milliseconds after it was written. */
const BEAT_LIFE = 3_600 * SECOND;
/** How long one message may take to be sent, in milliseconds. */
const PATIENCE = 20 * SECOND;
/** How many messages a channel gets in one go. */
const AT_ONCE = 100;
/** How long a process that was killed keeps its channels from the others, in milliseconds. */
const LEASE = 10 * SECOND;

const wantsConfig = ({ configIds }: ChannelRow, configId: number | null) =>
  configIds.length === 0 || configId === null || configIds.includes(configId);

/**
 * Writes a message into the outbox of each channel that wants it, within the transaction of what it tells of. A channel that
 * fails is told of others' failures, not of its own.
 * @param before the event that this one ends: who was not told of it is not told of its end
 */
export async function enqueue(
  { models, now }: Pick<CoreEnvironment, 'models' | 'now'>,
  notice: Notice,
  transaction: Transaction,
  before: Notice['event'] = notice.event,
): Promise<void> {
  const { event } = notice;
  if (event === 'TEST' || before === 'TEST') return;
  const wants = (channel: ChannelRow) =>
    !takesBeats(channel) &&
    [event, before].every((one) => channel.events.includes(one)) &&
    wantsConfig(channel, notice.config?.id ?? null) &&
    channel.id !== notice.channelId;
  const channels = (await models.Channel.findAll({ transaction })).filter(wants);
  await add(models, channels, { notice }, now(), transaction);
}

/**
 * As `enqueue`, for a sign of life of a config. A newer one takes the place of one that still waits; but a start takes only
 * that of a start: how the run before ended is not lost.
 */
export async function enqueueBeat(
  { models, notifier, now }: Pick<CoreEnvironment, 'models' | 'now'> & { notifier: Pick<Notifier, 'beats'> },
  configId: number,
  event: BeatEvent,
  beat: Beat,
  transaction: Transaction,
): Promise<void> {
  const channels = (await models.Channel.findAll({ transaction })).filter(
    (channel) =>
      notifier.beats(channel.kind, beat.state) &&
      beatEventOf(channel) === event &&
      channel.configIds.includes(configId),
  );
  if (channels.length === 0) return;
  const waiting = await models.Delivery.findAll({ where: { channelId: channels.map(({ id }) => id) }, transaction });
  const isReplaced = ({ content }: DeliveryRow) =>
    beat.state !== 'STARTED' || ('beat' in content && content.beat.state === 'STARTED');
  const replaced = waiting.filter(isReplaced).map(({ id }) => id);
  if (replaced.length > 0) await models.Delivery.destroy({ where: { id: replaced }, transaction });
  await add(models, channels, { beat }, now(), transaction);
}

const takesBeats = ({ kind }: ChannelRow) => BEAT_KINDS.some((one) => one === kind);

/** Whose signs of life a heartbeat gets. */
const beatEventOf = ({ events }: Pick<ChannelRow, 'events'>): BeatEvent =>
  BEAT_EVENTS.find((event) => events.includes(event)) ?? 'BACKUP_DONE';

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
export async function settingsOf(
  secrets: Secrets,
  { kind, sealed, name, template }: ChannelRow,
): Promise<ChannelSettings> {
  if ((sealed ?? null) === null) {
    const hint = 'Give the channel its target and its secret anew.';
    throw new AppError('NOTIFICATION_FAILED', `The target of the channel "${name}" was lost.`, { hint });
  }
  const { target = '', secret = '' } = await secrets.open(sealed ?? '');
  return { kind: kind as ChannelKind, target, secret, template: template ?? '' };
}

/**
 * Delivers what waits, at least once: a message leaves the outbox only after its channel has taken it. One process at a time
 * sends to a channel, in the order in which messages were written. What fails is sent again with growing pauses, and given up
 * after three days; what a channel refuses for what it says, after a few tries.
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
      const newest = newestAlone(rows);
      let failures = 0;
      let isNewestSent = false;
      for (const row of rows) {
        if (row === newest && isNewestSent) continue;
        failures = (await this.deliver(row, signal)) ? 0 : failures + 1;
        if (signal.aborted) return;
        if (failures < 2) continue;
        // Messages may be refused for what they say. If the newest one fails too, the others would fail alike.
        if (newest === undefined || newest.id <= row.id || isNewestSent) return this.postpone(row);
        if (!(await this.deliver(newest, signal))) return this.postpone(row);
        isNewestSent = true;
        failures = 0;
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
    if ('beat' in row.content && now().getTime() - row.createdAt.getTime() > BEAT_LIFE) {
      log.warn({ channel: channel.id, beat: row.content.beat }, 'a sign of life was too late and is not sent');
      await row.destroy();
      await channel.update({ lostError: `A sign of life was too late. ${channel.lastError ?? ''}`.trim() });
      return true;
    }
    let refused: AppError | null;
    try {
      const settings = await settingsOf(secrets, channel);
      const installation = await installationOf(models);
      const message = { id: `${row.id}`, sentAt: now(), installation, ...row.content };
      refused = await send(notifier, settings, message, signal);
    } catch (error) {
      if (!signal.aborted) await this.failed(row, channel, error);
      return false;
    }
    if (refused !== null)
      log.warn({ channel: channel.id, delivery: row.id, err: refused }, 'not everyone gets a message');
    await models.sequelize.transaction(async (transaction) => {
      await row.destroy({ transaction });
      // The next sign of life makes up for one that was lost; nothing does for a message.
      const lostError = 'beat' in row.content ? null : (channel.lostError ?? null);
      await channel.update(
        { lastDeliveryAt: now(), lastError: refused?.message ?? lostError, lostError },
        { transaction },
      );
    });
    return true;
  }

  private async failed(row: DeliveryRow, channel: ChannelRow, thrown: unknown): Promise<void> {
    const { log, now } = this.env;
    const error = thrown instanceof AppError ? thrown : failureOf(thrown);
    const about = { channel: channel.id, delivery: row.id, tries: row.tries + 1, err: error };
    const isOld = now().getTime() - row.createdAt.getTime() > GIVE_UP_AFTER;
    if (isOld || (error instanceof MessageRefused && about.tries >= REFUSED_TRIES)) {
      const after = isOld ? 'three days' : `${about.tries} tries`;
      log.error(about, `a message was given up: its channel has not taken it after ${after}`);
      const lostError = `A message was given up after ${after}. ${error.message}`;
      await row.destroy();
      await channel.update({ lastError: lostError, lostError });
      return;
    }
    log.warn(about, 'a message could not be delivered; it is sent again');
    const pause = PAUSES[Math.min(row.tries, PAUSES.length - 1)] ?? 0;
    await row.update({ tries: row.tries + 1, nextTryAt: new Date(now().getTime() + pause * SECOND) });
    await channel.update({ lastError: error.message });
  }
}

/** What no other installation has: the start of the hash of its first audit event. */
export async function installationOf({ AuditEvent }: Pick<Models, 'AuditEvent'>): Promise<string> {
  const first = await AuditEvent.findOne({ attributes: ['hash'], order: [['id', 'ASC']] });
  return (first?.hash ?? '').slice(0, 16);
}

/** The newest message that may overtake the others: none of them is about the same problem. */
function newestAlone(rows: DeliveryRow[]): DeliveryRow | undefined {
  const causeIn = ({ content }: DeliveryRow) => ('notice' in content ? content.notice.cause : null);
  const isAlone = (row: DeliveryRow) =>
    causeIn(row) === null || !rows.some((other) => other !== row && causeIn(other) === causeIn(row));
  return rows.filter(isAlone).at(-1);
}

/** Sends, or fails once the time is up or a signal comes, whatever the notifier does. @throws as `Notifier.send` */
export async function send(
  notifier: Notifier,
  settings: ChannelSettings,
  message: Message,
  stop: AbortSignal,
): Promise<AppError | null> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]);
  signal.throwIfAborted();
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  return Promise.race([notifier.send(settings, message, signal), aborted]);
}

/** What a notifier threw that is none of our errors: its time is up, or it has a mistake. */
export function failureOf(thrown: unknown): AppError {
  if (thrown instanceof Error && thrown.name === 'TimeoutError') {
    return new AppError('NOTIFICATION_FAILED', 'The channel did not answer in time.', { cause: thrown });
  }
  return toAppError(thrown);
}

import { UniqueConstraintError } from 'sequelize';
import { AppError, badInput } from '../../errors.js';
import {
  BEAT_EVENTS,
  type ChannelKind,
  type ChannelRow,
  NOTIFICATION_EVENTS,
  type NotificationEvent,
} from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import type { ChannelSettings, Message, Notifier } from '../ports.js';
import type { Secrets } from '../secrets.js';
import { PROBLEM_EVENTS, testNotice } from './notices.js';
import { failureOf, installationOf, send, settingsOf } from './outbox.js';
import { nextDigest } from './watch.js';

/** What channels need of the process around them. */
export type ChannelsEnvironment = Pick<CoreEnvironment, 'models' | 'audit' | 'now'> & {
  notifier: Notifier;
  secrets: Secrets;
  /** The time zone in which digests are due. */
  timezone: string;
};

/** What can be set; what is left out stays as it is. */
export interface ChannelInput {
  name?: string | undefined;
  kind?: ChannelKind | undefined;
  target?: string | undefined;
  /** Empty takes it away. */
  secret?: string | undefined;
  /** Of a webhook; empty takes it away. */
  template?: string | undefined;
  /** Default: every problem and its end. */
  events?: NotificationEvent[] | undefined;
  /** Empty: all configs. */
  configIds?: number[] | undefined;
}

/** Longest target, secret and template, in characters. */
const LONGEST = 4_000;

/** Channels: where messages go. Targets and secrets are sealed; only what is not secret in them is ever returned. */
export class Channels {
  constructor(private readonly env: ChannelsEnvironment) {}

  /** The oldest first. */
  list(): Promise<ChannelRow[]> {
    return this.env.models.Channel.findAll({ order: [['id', 'ASC']] });
  }

  /** @throws AppError NOT_FOUND */
  async get(id: number): Promise<ChannelRow> {
    const row = await this.env.models.Channel.findByPk(id);
    if (row !== null) return row;
    throw new AppError('NOT_FOUND', `channelId: there is no channel ${id}.`, { field: 'channelId' });
  }

  /** How many messages wait for each channel, by its id; none for most. */
  async waiting(): Promise<Map<number, number>> {
    const rows = await this.env.models.Delivery.count({ group: ['channelId'], attributes: ['channelId'] });
    return new Map(rows.map(({ channelId, count }) => [Number(channelId), Number(count)]));
  }

  /** Saves a channel; `test` says whether it works. @throws AppError BAD_USER_INPUT */
  async create(input: ChannelInput, actor: string): Promise<ChannelRow> {
    const { kind } = input;
    if (kind === undefined) throw badInput('kind', 'is missing.', 'Choose a kind of channel, such as EMAIL.');
    const values = await this.valuesOf(input, { kind, target: '', secret: '', template: '' }, null);
    const name = nameOf(input) ?? (await this.freeName(`${kind.toLowerCase()} ${values.target}`.slice(0, 190)));
    const createdAt = this.env.now();
    const row = await unlessNameTaken(() => this.env.models.Channel.create({ ...values, name, kind, createdAt }));
    await this.env.audit.record(actor, 'channel.create', row.id, { name, kind, target: row.target });
    return row;
  }

  /** @throws AppError NOT_FOUND, BAD_USER_INPUT */
  async update(id: number, input: ChannelInput, actor: string): Promise<ChannelRow> {
    const row = await this.get(id);
    if (input.kind !== undefined && input.kind !== row.kind) {
      throw badInput('kind', `is ${row.kind} and cannot change.`, 'Make another channel.');
    }
    const values = await this.valuesOf(input, await this.present(row, input), row);
    const name = nameOf(input) ?? row.name;
    // Who edits a channel has seen what it lost.
    const lastError = row.lastError === row.lostError ? null : row.lastError;
    await unlessNameTaken(() => row.update({ ...values, name, lastError: lastError ?? null, lostError: null }));
    const fields = Object.entries(input).flatMap(([field, value]) => (value === undefined ? [] : field));
    await this.env.audit.record(actor, 'channel.update', id, { fields, target: row.target });
    return row;
  }

  /** Deletes a channel with the messages that wait for it. @throws AppError NOT_FOUND */
  async remove(id: number, actor: string): Promise<ChannelRow> {
    const row = await this.get(id);
    await this.env.models.Delivery.destroy({ where: { channelId: id } });
    await row.destroy();
    await this.env.audit.record(actor, 'channel.delete', id, { name: row.name, target: row.target });
    return row;
  }

  /** Sends a test message now, or a sign of success. @returns why it did not reach everyone; null if it did */
  async test(id: number, actor: string, stop: AbortSignal): Promise<AppError | null> {
    const { models, notifier, secrets, now, audit } = this.env;
    const row = await this.get(id);
    const head = { id: `test-${id}-${now().getTime()}`, sentAt: now(), installation: await installationOf(models) };
    const message: Message = notifier.beats(row.kind)
      ? { ...head, beat: { state: 'DONE', runId: 'test' } }
      : { ...head, notice: testNotice(now()) };
    let error: AppError | null;
    try {
      const settings = await settingsOf(secrets, row);
      error = await send(notifier, settings, message, stop);
      await row.update({ lastDeliveryAt: now(), lastError: error?.message ?? null, lostError: null });
    } catch (thrown) {
      stop.throwIfAborted();
      error = failureOf(thrown);
      await row.update({ lastError: error.message });
    }
    await audit.record(actor, 'channel.test', id, { result: error?.code ?? 'ok' });
    return error;
  }

  /**
   * Makes the first channel: mail to `address`. Does so once in the life of a control database, whatever is deleted later.
   * @returns null if there was one before; why none can be made
   */
  async ensureFirst(address: string, actor: string): Promise<ChannelRow | AppError | null> {
    const { Channel, AuditEvent } = this.env.models;
    const known = (await Channel.count()) + (await AuditEvent.count({ where: { action: 'channel.create' } }));
    if (known > 0) return null;
    try {
      return await this.create({ kind: 'EMAIL', target: address, name: `Mail to ${address}` }, actor);
    } catch (error) {
      if (error instanceof AppError && error.code === 'BAD_USER_INPUT') return error;
      throw error;
    }
  }

  /** What a channel leads to now. What was lost must be given again. */
  private async present(row: ChannelRow, input: ChannelInput): Promise<ChannelSettings> {
    if (row.sealed === null && input.target !== undefined)
      return { kind: row.kind, target: '', secret: '', template: row.template ?? '' };
    return settingsOf(this.env.secrets, row);
  }

  /** The columns of a channel, checked. @param row null: a new one */
  private async valuesOf(input: ChannelInput, present: ChannelSettings, row: ChannelRow | null) {
    const { notifier, secrets, timezone, now } = this.env;
    const settings = { ...present };
    for (const field of ['target', 'secret', 'template'] as const) {
      const given = input[field];
      if (given === undefined) continue;
      if (given.length > LONGEST) throw badInput(field, `has more than ${LONGEST} characters.`);
      settings[field] = given.trim();
    }
    const { shown, reach } = notifier.judge(settings);
    const isRedirected = row !== null && present.target !== '' && notifier.judge(present).reach !== reach;
    if (isRedirected && present.secret !== '' && input.secret === undefined) {
      throw badInput(
        'target',
        'or template leads the secret elsewhere.',
        'Give the secret again, so that it is meant for it.',
      );
    }
    const beats = notifier.beats(settings.kind);
    const events = this.eventsOf(input, row, beats);
    const configIds = await this.configsOf(input, row, beats);
    const isDigest = events.includes('WEEKLY_DIGEST');
    const digestAt = isDigest ? (row?.digestAt ?? nextDigest(timezone, now())) : null;
    const { target, secret, template } = settings;
    return {
      kind: settings.kind,
      target: shown,
      sealed: await secrets.seal({ target, secret }),
      template: template === '' ? null : template,
      events,
      configIds,
      digestAt,
    };
  }

  private eventsOf({ events }: ChannelInput, row: ChannelRow | null, beats: boolean): NotificationEvent[] {
    if (beats) {
      const chosen = events ?? row?.events ?? [];
      if (chosen.length === 0 || (chosen.length === 1 && BEAT_EVENTS.some((event) => event === chosen[0])))
        return chosen;
      const hint = 'Make one channel for each.';
      throw badInput('events', `of a heartbeat are ${BEAT_EVENTS.join(' (the default) or ')}.`, hint);
    }
    const wanted = events ?? row?.events ?? [...PROBLEM_EVENTS];
    if (wanted.length === 0) throw badInput('events', 'names none.', 'Choose one or more, or delete the channel.');
    return NOTIFICATION_EVENTS.filter((event) => wanted.includes(event));
  }

  private async configsOf({ configIds }: ChannelInput, row: ChannelRow | null, beats: boolean): Promise<number[]> {
    const before = row?.configIds ?? [];
    const wanted = [...new Set(configIds ?? before)].sort((a, b) => a - b);
    const configs = await this.env.models.BackupConfig.findAll({ attributes: ['id'], where: { id: wanted } });
    // One that was deleted since stays: without it, the channel would be for all.
    const unknown = wanted.find((id) => !before.includes(id) && !configs.some((config) => config.id === id));
    if (unknown !== undefined) throw badInput('configIds', `there is no config ${unknown}.`);
    if (beats && wanted.length !== 1) {
      throw badInput('configIds', 'must name exactly one config for a heartbeat.', 'Make one channel for each config.');
    }
    return wanted;
  }

  private async freeName(name: string): Promise<string> {
    const taken = new Set((await this.list()).map((row) => row.name));
    for (let count = 1; ; count++) {
      const candidate = count === 1 ? name : `${name} (${count})`;
      if (!taken.has(candidate)) return candidate;
    }
  }
}

function nameOf({ name }: ChannelInput): string | undefined {
  const trimmed = name?.trim();
  if (trimmed === undefined || (trimmed !== '' && trimmed.length <= 200)) return trimmed;
  throw badInput('name', 'must have 1 to 200 characters.');
}

async function unlessNameTaken<T>(save: () => Promise<T>): Promise<T> {
  try {
    return await save();
  } catch (error) {
    if (!(error instanceof UniqueConstraintError)) throw error;
    throw badInput('name', 'is the name of another channel.', 'Choose another name.');
  }
}

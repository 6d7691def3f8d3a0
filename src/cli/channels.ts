import { type Command, InvalidArgumentError } from 'commander';
import type { App } from '../app.js';
import type { ChannelInput } from '../core/notifications/channels.js';
import { AppError, badInput } from '../errors.js';
import { type ChannelKind, type ChannelRow, NOTIFICATION_EVENTS, type NotificationEvent } from '../models/index.js';
import { secretIn } from './identity.js';
import { CommandError, fields, type GlobalOptions, moment, table } from './print.js';
import { readHidden } from './prompt.js';
import { inSession, type Session } from './session.js';

/** What each kind takes: a target that others may see among the arguments, and whether it has a secret. */
const KINDS: Record<ChannelKind, { plainTarget: boolean; secret: boolean }> = {
  EMAIL: { plainTarget: true, secret: false },
  WEBHOOK: { plainTarget: false, secret: true },
  SLACK: { plainTarget: false, secret: false },
  DISCORD: { plainTarget: false, secret: false },
  TEAMS: { plainTarget: false, secret: false },
  TELEGRAM: { plainTarget: true, secret: true },
  NTFY: { plainTarget: false, secret: true },
  GOTIFY: { plainTarget: true, secret: true },
  PAGERDUTY: { plainTarget: true, secret: true },
  HEARTBEAT: { plainTarget: false, secret: false },
  UPTIME_KUMA: { plainTarget: false, secret: false },
};

interface ChannelOptions {
  name?: string;
  targetFile?: string;
  secretFile?: string;
  templateFile?: string;
  event?: NotificationEvent[];
  config?: number[];
}

export function addChannels(program: Command): void {
  const channels = program.command('channels').description('Where notifications go');
  channels
    .command('list')
    .description('List all channels. JSON: {channels}')
    .action((_options: object, command: Command) => inSession(command.optsWithGlobals<GlobalOptions>(), list));
  withSettings(
    channels
      .command('add')
      .description(
        'Add a channel and send a test message to it. A URL that holds a secret, and secrets, are never arguments: they come ' +
          'from files, or are asked for. JSON: {channel, error}',
      )
      .argument('<kind>', Object.keys(KINDS).map(wordOf).join(', '), kindOf)
      .argument('[target]', 'e-mail addresses separated by commas, the id of a Telegram chat, or the URL of a Gotify'),
  ).action((kind: ChannelKind, target: string | undefined, options: ChannelOptions, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const input = await inputOf(session, kind, options, { target, asks: true });
      const row = await session.app.channels.create({ ...input, kind }, session.actor);
      await test(session, row);
    }),
  );
  withSettings(
    channels
      .command('edit')
      .description('Change a channel; what is not named stays as it is. JSON: {channel}')
      .argument('<channel>', 'its id or name'),
  ).action((given: string, options: ChannelOptions, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print } = session;
      const row = await channelOf(app, given);
      const input = await inputOf(session, row.kind, options, { target: undefined, asks: false });
      const changed = await app.channels.update(row.id, input, actor);
      print.result({ channel: documentOf(changed) }, () => shown(changed));
    }),
  );
  channels
    .command('test')
    .description('Send a test message now; to a heartbeat, a sign of success. JSON: {channel, error}')
    .argument('<channel>', 'its id or name')
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) =>
        test(session, await channelOf(session.app, given)),
      ),
    );
  channels
    .command('remove')
    .description('Remove a channel, with the messages that wait for it. JSON: {channel}')
    .argument('<channel>', 'its id or name')
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const row = await app.channels.remove((await channelOf(app, given)).id, actor);
        print.result({ channel: documentOf(row) }, () => `${row.name} is removed.`);
      }),
    );
}

function withSettings(command: Command): Command {
  return command
    .option('--name <name>', 'how it is called')
    .option('--target-file <file>', 'a file with the target, such as the URL of a webhook; - for stdin')
    .option('--secret-file <file>', 'a file with its token or key; - for stdin')
    .option('--template-file <file>', 'of a webhook: a file with the JSON that it sends; - for stdin')
    .option('--event <event...>', `what it is told of: ${NOTIFICATION_EVENTS.map(wordOf).join(', ')}`, event)
    .option('--config <id...>', 'of which configs (default: all); a heartbeat names one', configNumber);
}

/** What the options say, with what must not be an argument from files or from a person. @throws AppError BAD_USER_INPUT */
async function inputOf(
  { print, stop }: Session,
  kind: ChannelKind,
  { name, targetFile, secretFile, templateFile, event: events, config: configIds }: ChannelOptions,
  { target, asks }: { target: string | undefined; asks: boolean },
): Promise<ChannelInput> {
  const { plainTarget, secret: hasSecret } = KINDS[kind];
  if (target !== undefined && !plainTarget) {
    const hint = 'Use --target-file, or leave it out to be asked.';
    throw badInput(
      'target',
      'may hold a secret, which other users of this machine could see among the arguments.',
      hint,
    );
  }
  const ask = async (label: string) => {
    const typed = asks && print.interactive ? await readHidden(`${label}: `, print.err, stop) : '';
    return typed === '' ? undefined : typed;
  };
  const from = async (path: string) => (await secretIn(path)).trim();
  return {
    name,
    target:
      targetFile !== undefined ? await from(targetFile) : (target ?? (plainTarget ? undefined : await ask('Target'))),
    secret: secretFile !== undefined ? await from(secretFile) : hasSecret ? await ask('Secret') : undefined,
    template: templateFile !== undefined ? await from(templateFile) : undefined,
    events,
    configIds,
  };
}

/** Sends a test message; a failed one is the command's error. */
async function test({ app, actor, print, stop }: Session, row: ChannelRow): Promise<void> {
  const error = await app.channels.test(row.id, actor, stop);
  const channel = documentOf(await row.reload());
  if (error !== null) throw new CommandError(error, { channel });
  print.result({ channel, error: null }, () => `${shown(row)}\nTest:     the message was taken`);
}

/** The channel of this id or name. @throws AppError NOT_FOUND */
async function channelOf({ channels }: App, given: string): Promise<ChannelRow> {
  const found = (await channels.list()).find(({ id, name }) => [String(id), name].includes(given));
  if (found !== undefined) return found;
  throw new AppError('NOT_FOUND', `There is no channel "${given}".`, {
    hint: '`db-manager channels list` lists them.',
  });
}

async function list({ app, print }: Session): Promise<void> {
  const waiting = await app.channels.waiting();
  const channels = (await app.channels.list()).map((row) => ({
    ...documentOf(row),
    waiting: waiting.get(row.id) ?? 0,
  }));
  print.result({ channels }, () =>
    channels.length === 0
      ? 'No channels: nobody is told when a backup fails. Add one: db-manager channels add email ops@example.org'
      : table(channels, [
          { title: 'id', cell: (one) => one.id, right: true },
          { title: 'name', cell: (one) => one.name },
          { title: 'kind', cell: (one) => one.kind },
          { title: 'target', cell: (one) => one.target },
          { title: 'configs', cell: (one) => (one.configIds.length === 0 ? 'all' : one.configIds.join(', ')) },
          { title: 'waiting', cell: (one) => one.waiting, right: true },
          { title: 'delivered', cell: (one) => moment(one.lastDeliveryAt) },
          { title: 'error', cell: (one) => one.lastError },
        ]),
  );
}

function documentOf({
  id,
  name,
  kind,
  target,
  events,
  configIds,
  lastDeliveryAt = null,
  lastError = null,
}: ChannelRow) {
  return { id, name, kind, target, events, configIds, lastDeliveryAt, lastError };
}

const shown = ({ id, name, kind, target, events, configIds }: ChannelRow) =>
  fields([
    ['Channel', `${id} ${name}`],
    ['Kind', kind],
    ['Target', target],
    ['Configs', configIds.length === 0 ? 'all' : configIds.join(', ')],
    ['Events', events.length === 0 ? wordOf('BACKUP_DONE') : events.map(wordOf).join(', ')],
  ]);

const wordOf = (name: string) => name.toLowerCase().replaceAll('_', '-');

function kindOf(value: string): ChannelKind {
  const found = (Object.keys(KINDS) as ChannelKind[]).find((kind) => wordOf(kind) === wordOf(value));
  if (found !== undefined) return found;
  throw new InvalidArgumentError(`Choose from ${Object.keys(KINDS).map(wordOf).join(', ')}.`);
}

function event(value: string, before: NotificationEvent[] = []): NotificationEvent[] {
  const found = NOTIFICATION_EVENTS.find((one) => wordOf(one) === wordOf(value));
  if (found !== undefined) return [...before, found];
  throw new InvalidArgumentError(`Choose from ${NOTIFICATION_EVENTS.map(wordOf).join(', ')}.`);
}

function configNumber(value: string, before: number[] = []): number[] {
  if (/^[1-9]\d{0,8}$/.test(value)) return [...before, Number(value)];
  throw new InvalidArgumentError('Write the id of a config, a number.');
}

import { type Command, InvalidArgumentError } from 'commander';
import type { App } from '../app.js';
import type { StorageTest } from '../core/configs/try-storage.js';
import type { SettingValue, StorageType } from '../core/ports.js';
import type { StorageUsage } from '../core/status/health.js';
import { humanSize } from '../core/text/format.js';
import { AppError, badInput } from '../errors.js';
import type { DestinationRow } from '../models/index.js';
import { secretIn } from './identity.js';
import { CommandError, fields, type GlobalOptions, moment, table } from './print.js';
import { readHidden } from './prompt.js';
import { inSession, type Session } from './session.js';

export const KINDS = ['LOCAL', 'SYSTEM', 'S3', 'GDRIVE', 'SFTP', 'RCLONE'] satisfies StorageType[];

/** Secrets that a person is asked for; the others come from variables or files. */
const ASKED: Partial<Record<StorageType, string[]>> = {
  S3: ['accessKeyId', 'secretAccessKey'],
  GDRIVE: ['clientSecret', 'refreshToken'],
  SFTP: ['password'],
};

interface AddOptions {
  name?: string;
  offline?: boolean;
  bandwidthLimit?: number;
  secretFile?: Record<string, string>;
}

export function addDestinations(program: Command): void {
  const destinations = program.command('destinations').description('The places that archives lie in');
  destinations
    .command('list')
    .description('List all destinations. JSON: {destinations}')
    .action((_options: object, command: Command) => inSession(command.optsWithGlobals<GlobalOptions>(), list));
  destinations
    .command('add')
    .description(
      'Add a destination and test it. Secrets are never arguments: they come from the variables of the storage ' +
        '(S3_SECRET_ACCESS_KEY, …), from files, or are asked for. JSON: {destination, test}',
    )
    .argument('<kind>', `${KINDS.map((kind) => kind.toLowerCase()).join(', ')}`, kindOf)
    .argument('[setting=value...]', 'such as path=/mnt/backups, or bucket=okpuja-backups region=eu-central-1')
    .option('--name <name>', 'how it is called (default: its location)')
    .option('--offline', 'it is away most of the time: being unreachable is then no error')
    .option('--bandwidth-limit <bytes>', 'most bytes per second', bytesPerSecond)
    .option('--secret-file <name=file>', 'a file with one secret, such as secretAccessKey=/run/secrets/s3', pair)
    .action((kind: StorageType, settings: string[], options: AddOptions, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => add(session, kind, settings, options)),
    );
  destinations
    .command('test')
    .description('Write, read, list and delete a few bytes there. JSON: {destination, test}')
    .argument('<destination>', 'its id or name')
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const row = await destinationOf(session.app, given);
        const test = await session.app.destinations.test(row.id, undefined, session.stop);
        await report(session, await row.reload(), test);
      }),
    );
  destinations
    .command('remove')
    .description(
      'Remove a destination that no config and no backup needs; nothing there is deleted. JSON: {destination}',
    )
    .argument('<destination>', 'its id or name')
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const row = await app.destinations.remove((await destinationOf(app, given)).id, actor);
        print.result({ destination: documentOf(row) }, () => `${row.name ?? row.storagePath} is removed.`);
      }),
    );
}

export function addRotateSecretsKey(program: Command): void {
  program
    .command('rotate-secrets-key')
    .description(
      'Seal the secrets of all destinations and encryption keys with a new secrets key. With SECRETS_KEY: first put the new key in front of the old ' +
        'one, separated by a blank; afterwards remove the old one. JSON: {destinations, keys}',
    )
    .action((_options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const count = await app.destinations.rotateKey(actor);
        print.result(
          count,
          () =>
            `The secrets of ${count.destinations} destination(s) and ${count.keys} encryption key(s) are sealed anew.`,
        );
      }),
    );
}

/** The destination of this id or name. @throws AppError NOT_FOUND */
export async function destinationOf({ destinations }: App, given: string): Promise<DestinationRow> {
  const rows = await destinations.list();
  const found = rows.find(({ id, name, storagePath }) => [String(id), name, storagePath].includes(given));
  if (found !== undefined) return found;
  throw new AppError('NOT_FOUND', `There is no destination "${given}".`, {
    hint: '`db-manager destinations list` lists them.',
  });
}

async function list({ app, print }: Session): Promise<void> {
  const usages = await app.overview.usage();
  const destinations = (await app.destinations.list()).map((row) => documentOf(row, usages));
  print.result({ destinations }, () => (destinations.length === 0 ? 'No destinations.' : text(destinations)));
}

async function add(session: Session, storageType: StorageType, given: string[], options: AddOptions): Promise<void> {
  const { app, actor, stop } = session;
  const values = {
    ...(await valuesOf(session, storageType, given, options.secretFile)),
    ...(options.bandwidthLimit !== undefined && { bandwidthLimit: options.bandwidthLimit }),
  };
  const { name, offline } = options;
  const row = await app.destinations.create({ name, offline, storageType, values }, actor, stop);
  await report(session, row, await app.destinations.test(row.id, undefined, stop));
}

/** Settings from the arguments, and secrets from where they may come from. @throws AppError BAD_USER_INPUT */
export async function valuesOf(
  session: Session,
  storageType: StorageType,
  given: string[],
  secretFiles: Record<string, string> = {},
): Promise<Record<string, SettingValue>> {
  const { secrets } = session.app.storages.kindOf(storageType);
  const settings = Object.fromEntries(given.map((text) => setting(text, secrets)));
  return { ...settings, ...(await secretsOf(session, storageType, secrets, secretFiles)) };
}

function setting(text: string, secrets: readonly string[]): [string, string] {
  const [name, value] = split(text);
  if (!secrets.includes(name)) return [name, value];
  throw badInput(name, 'is a secret, which other users of this machine could see among the arguments.', SECRETS_HINT);
}

const SECRETS_HINT = 'Set its variable, such as S3_SECRET_ACCESS_KEY, use --secret-file, or leave it out to be asked.';

/** Secrets from files, from the environment, or from whoever sits in front of it. */
async function secretsOf(
  { app, print, stop }: Session,
  storageType: StorageType,
  names: readonly string[],
  files: Record<string, string>,
): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const name of names) {
    const inEnvironment = app.environment.storageValues[storageType]?.[name];
    if (inEnvironment !== undefined) values[name] = String(inEnvironment);
  }
  for (const [name, path] of Object.entries(files)) {
    if (!names.includes(name)) throw badInput('secret-file', `"${name}" is none of ${names.join(', ')}.`);
    values[name] = (await secretIn(path)).replace(/\r?\n$/, '');
  }
  if (Object.keys(values).length > 0 || !print.interactive) return values;
  for (const name of ASKED[storageType] ?? []) {
    const typed = await readHidden(`${name}: `, print.err, stop);
    if (typed !== '') values[name] = typed;
  }
  return values;
}

/** Shows what a test came to; a failed one is the command's error. */
async function report({ app, print }: Session, row: DestinationRow, test: StorageTest): Promise<void> {
  const destination = documentOf(row, await app.overview.usage());
  const { error, ...facts } = test;
  const shown = { ...facts, error: error === null ? null : { code: error.code, message: error.message } };
  for (const warning of test.warnings) print.note(`Warning: ${warning}`);
  if (error !== null) throw new CommandError(error, { destination, test: shown });
  print.result({ destination, test: shown }, () =>
    fields([
      ['Destination', `${destination.id} ${destination.name}`],
      ['Location', destination.location],
      ['Test', 'written, read, listed and deleted'],
      ['Free', test.free === null ? null : humanSize(test.free)],
    ]),
  );
}

function documentOf(row: DestinationRow, usages: StorageUsage[] = []) {
  const { id, storageType, storagePath: location, offline, settings, free, lastCheckedAt, checkError: error } = row;
  const { used = 0, count: backupCount = 0 } = usages.find((usage) => usage.id === id) ?? {};
  const name = row.name ?? location;
  const state = { backupCount, used, free, lastCheckedAt, error };
  return { id, name, storageType, location, offline, settings: settings ?? {}, ...state };
}

function text(destinations: ReturnType<typeof documentOf>[]): string {
  return table(destinations, [
    { title: 'id', cell: (one) => one.id, right: true },
    { title: 'name', cell: (one) => one.name },
    { title: 'type', cell: (one) => one.storageType },
    { title: 'location', cell: (one) => (one.location === one.name ? null : one.location) },
    { title: 'backups', cell: (one) => one.backupCount, right: true },
    { title: 'used', cell: (one) => humanSize(one.used), right: true },
    { title: 'free', cell: (one) => (one.free === null ? null : humanSize(one.free)), right: true },
    { title: 'tested', cell: (one) => moment(one.lastCheckedAt) },
    { title: 'error', cell: (one) => one.error?.message ?? null },
  ]);
}

function kindOf(value: string): StorageType {
  const found = KINDS.find((kind) => kind === value.toUpperCase());
  if (found !== undefined) return found;
  throw new InvalidArgumentError(`Choose from ${KINDS.map((kind) => kind.toLowerCase()).join(', ')}.`);
}

function split(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw badInput('setting', `"${text}" is not of the form name=value.`);
}

/** `name=file` of a secret. @throws InvalidArgumentError */
export function pair(value: string, before: Record<string, string> = {}): Record<string, string> {
  const at = value.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write it like secretAccessKey=/run/secrets/s3.');
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) };
}

function bytesPerSecond(value: string): number {
  if (/^[1-9]\d{3,14}$/.test(value)) return Number(value);
  throw new InvalidArgumentError('Write a number of bytes per second, at least 1024.');
}

import { type Command, InvalidArgumentError } from 'commander';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { App } from '../app.js';
import type { ConfigInput } from '../core/configs/configs.js';
import {
  adoptEnvironment,
  adoptProduct,
  applicationName,
  createFromEnvironment,
  environmentSettings,
} from '../core/configs/from-environment.js';
import { AppError, badInput } from '../errors.js';
import type { BackupConfigRow, CompressionMethod, Expectation, Invariant } from '../models/index.js';
import { configDocument, configText } from './configs.js';
import { destinationOf } from './destinations.js';
import { secretIn } from './identity.js';
import { keyOf } from './keys.js';
import { databaseUrl, oneOf, whole } from './options.js';
import { type GlobalOptions } from './print.js';
import { inSession, type Session } from './session.js';

/** The options of `create` and `edit`, as commander names them. */
interface Options {
  name?: string;
  database?: string;
  databaseFile?: string;
  /** Folders; false with --no-media. */
  media?: string[] | false;
  /** Patterns; false with --no-exclude-table and --no-exclude-table-data. */
  excludeTable?: string[] | false;
  excludeTableData?: string[] | false;
  autoInclude?: string;
  invariantsFile?: string;
  /** A file name; false with --no-drill-command. */
  drillCommand?: string | false;
  /** False with --no-drill-schedule. */
  drillSchedule?: string | false;
  storage?: 'LOCAL' | 'SYSTEM';
  path?: string;
  destination?: string[];
  minimumCopies?: number;
  /** Ids or names; false with --no-encryption. */
  encryption?: string[] | false;
  prefix?: string;
  auto?: boolean;
  schedule?: string;
  timezone?: string;
  retentionDays?: number;
  maxFiles?: number;
  incremental?: boolean;
  fullEveryDays?: number;
  compression?: CompressionMethod;
  compressionLevel?: number;
  safetyDays?: number;
  lockTimeout?: number;
  jitter?: number;
  keepLast?: number | typeof NONE;
  keepHourly?: number | typeof NONE;
  keepDaily?: number | typeof NONE;
  keepWeekly?: number | typeof NONE;
  keepMonthly?: number | typeof NONE;
  keepYearly?: number | typeof NONE;
  keepWithin?: string;
  maxSize?: number | typeof NONE;
  untested?: boolean;
}

export function addConfig(program: Command): void {
  const config = program.command('config').description('Show, create and edit configs: what is protected, and how');
  config
    .command('show')
    .description('Show one config with all its settings. JSON: {config}')
    .argument('[config]', 'its id or name (default: the first)')
    .action((given: string | undefined, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) =>
        showConfig(session, await configOf(session.app, given)),
      ),
    );
  withSettings(config.command('create'))
    .description('Create a config. Without --name it is named after the application. JSON: {config}')
    .option('--from-environment', 'take the settings from the environment and .env, and follow them from then on')
    .action((options: Options & { fromEnvironment?: boolean }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => create(session, options)),
    );
  withSettings(config.command('edit'))
    .description('Change settings of a config; those that are not named stay. JSON: {config}')
    .argument('<config>', 'its id or name')
    .action((given: string, options: Options, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { app, actor } = session;
        const input = await inputOf(options, app);
        if (Object.keys(input).length === 0) {
          throw new AppError('BAD_USER_INPUT', 'No setting to change was given.', {
            hint: '`db-manager help config edit` lists the options.',
          });
        }
        const { id } = await configOf(app, given);
        await showConfig(
          session,
          await app.configTests.update(id, input, options.untested === true, actor, session.stop),
        );
      }),
    );
  config
    .command('adopt')
    .description(
      "Settle a config that was made from the environment and edited since: `environment` takes the environment's " +
        "settings and follows them again, `product` keeps the config's and follows no more. JSON: {config}",
    )
    .argument('<side>', 'environment or product', side)
    .argument('[config]', "its id or name (default: the environment's)")
    .action((chosen: 'environment' | 'product', given: string | undefined, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => adopt(session, chosen, given)),
    );
}

async function create(session: Session, { fromEnvironment, ...options }: Options & { fromEnvironment?: boolean }) {
  const { app, actor } = session;
  const input = await inputOf(options, app);
  if (fromEnvironment === true) {
    if (Object.keys(input).length > 0) throw badInput('from-environment', 'cannot be combined with settings.');
    const row = await createFromEnvironment(app.configs, settingsOf(app), actor, app.environment.seed.usesPrefix);
    return showConfig(session, row);
  }
  if (input.databaseUrl === undefined) throw badInput('database', '--database is missing.', 'Name a file or a URL.');
  const name = input.name ?? applicationName(input.databaseUrl);
  await showConfig(
    session,
    await app.configTests.create({ ...input, name }, options.untested === true, actor, session.stop),
  );
}

async function adopt(session: Session, chosen: 'environment' | 'product', given: string | undefined): Promise<void> {
  const { app, actor } = session;
  const own = await app.models.BackupConfig.findOne({ where: { origin: 'ENVIRONMENT' }, order: [['id', 'ASC']] });
  const row = given === undefined ? own : await configOf(app, given);
  if (row === null) {
    throw new AppError('NOT_FOUND', 'No config was made from the environment.', {
      hint: 'Name the config that is meant by its id or name.',
    });
  }
  const adopted =
    chosen === 'environment'
      ? await adoptEnvironment(app.configs, row, settingsOf(app), actor)
      : await adoptProduct(row);
  await app.audit.record(actor, 'config.adopt', row.id, { side: chosen });
  await showConfig(session, adopted);
}

function settingsOf({ environment }: App) {
  const settings = environmentSettings(environment.seed);
  if (settings !== null) return settings;
  throw new AppError('BAD_USER_INPUT', 'DATABASE_URL is not set, so the environment names nothing to protect.', {
    hint: 'Set DATABASE_URL in the environment or in .env of this folder.',
  });
}

/** The result of each of these commands; whether the database can be backed up is said at once. */
async function showConfig({ app, print }: Session, row: BackupConfigRow): Promise<void> {
  const encryptionKeys = (await app.keys.ofConfig(row.id)).map(({ id, name }) => ({ id, name }));
  const config = { ...configDocument(row, app.configs.maskedUrl(row)), encryptionKeys };
  print.result({ config }, () => configText(config, words(encryptionKeys)));
  const problem = await app.configs.databaseProblem(row);
  if (problem !== null) print.note(`Warning ${problem.code}: ${problem.message}\n${problem.hint}`);
}

const words = (keys: { name: string }[]) =>
  keys.length === 0 ? 'none' : `for ${keys.map(({ name }) => name).join(', ')}`;

export async function configOf({ configs }: App, given: string | undefined): Promise<BackupConfigRow> {
  if (given === undefined) return configs.get();
  const all = await configs.list();
  const found = all.find(({ id }) => String(id) === given) ?? all.find(({ name }) => name === given);
  if (found !== undefined) return found;
  throw new AppError('NOT_FOUND', `There is no config "${given}".`, { hint: '`db-manager configs` lists them.' });
}

function withSettings(command: Command): Command {
  return command
    .option('--untested', 'save also what does not work, such as a database that is still to come')
    .option('--name <name>', 'how it is called')
    .option(
      '--database <file or URL>',
      'what to back up: a SQLite file, or a URL: postgres://user@host/db, mysql://user@host/db, mongodb://user@host/db',
    )
    .option(
      '--database-file <file>',
      'a file with the URL in place of --database, for one with a password; - for stdin',
    )
    .option('--media <dir...>', 'folders with uploaded files, in place of those it has')
    .option('--no-media', 'no media folders')
    .option('--exclude-table <pattern...>', 'leave these tables out, such as log_*, in place of those it has')
    .option('--no-exclude-table', 'leave no table out')
    .option('--exclude-table-data <pattern...>', 'leave the rows of these tables out, in place of those it has')
    .option('--no-exclude-table-data', "leave no table's rows out")
    .option('--auto-include <pattern>', 'back up databases of its server with such names when they appear (none: no)')
    .option('--storage <type>', 'LOCAL (the backups folder) or SYSTEM (any folder)', storage)
    .option('--path <dir>', 'the folder for archives; relative to the backups folder with storage LOCAL')
    .option(
      '--destination <name...>',
      'where archives lie, in place of --storage and --path: ids or names of destinations; the first is written first, the others get copies',
    )
    .option('--minimum-copies <n>', 'how many copies a backup needs to count for the retention of others', whole)
    .option('--encryption <key...>', 'encrypt its backups for these keys: ids or names')
    .option('--no-encryption', 'do not encrypt its backups')
    .option('--prefix <text>', 'how names of its archives begin')
    .option('--auto', 'back up automatically')
    .option('--no-auto', 'back up only when asked')
    .option('--schedule <cron>', 'five-field cron, or hourly, daily, weekly, monthly')
    .option('--timezone <zone>', 'whose clock the schedule means, such as Asia/Kolkata')
    .option('--retention-days <n>', 'delete backups older than this', whole)
    .option('--max-files <n>', 'keep at most this many backups', whole)
    .option('--safety-days <n>', 'how long safety backups stay pinned', whole)
    .option(
      '--invariants-file <file>',
      'queries with the answers that the database must give: JSON, [{"name", "sql", "expect", "value"?}, …]; [] for none',
    )
    .option('--drill-command <name>', 'an executable in DRILL_COMMANDS_DIR that each drill runs on what it restored')
    .option('--no-drill-command', 'drills run no command')
    .option('--drill-schedule <cron>', 'when the newest good backup is drilled, as --schedule')
    .option('--no-drill-schedule', 'drill only when asked')
    .option('--incremental', 'store only what changed since the backup before')
    .option('--no-incremental', 'make a full backup each time')
    .option('--full-every-days <n>', 'after so many days the next backup is a full one (default: 7)', whole)
    .option('--compression <method>', 'DEFLATE, ZSTD (Node 22.15 or newer) or NONE', compression)
    .option('--compression-level <n>', '0 (fastest) to 9 (smallest)', wholeOrZero)
    .option('--lock-timeout <seconds>', "how long a restore waits for another program's lock", whole)
    .option('--jitter <seconds>', 'maximum start delay; fixed per config', wholeOrZero)
    .option('--keep-last <n>', 'keep this many newest backups (none: no such rule)', wholeOrNone)
    .option('--keep-hourly <n>', 'keep the newest of this many hours (none: no such rule)', wholeOrNone)
    .option('--keep-daily <n>', 'keep the newest of this many days (none: no such rule)', wholeOrNone)
    .option('--keep-weekly <n>', 'keep the newest of this many weeks (none: no such rule)', wholeOrNone)
    .option('--keep-monthly <n>', 'keep the newest of this many months (none: no such rule)', wholeOrNone)
    .option('--keep-yearly <n>', 'keep the newest of this many years (none: no such rule)', wholeOrNone)
    .option('--keep-within <span>', 'keep all of this span, such as 30d (none: no such rule)')
    .option('--max-size <bytes>', 'delete the oldest beyond this total size (none: no such rule)', bytesOrNone);
}

/** The URL of the database that is named, or that stands in a file: arguments can be seen among the processes. */
async function databaseOf(
  { database, databaseFile }: Pick<Options, 'database' | 'databaseFile'>,
  { engines }: App,
): Promise<string | undefined> {
  if (database !== undefined && databaseFile !== undefined) {
    throw badInput('database-file', 'cannot be combined with --database.');
  }
  const named = databaseFile === undefined ? database : (await secretIn(databaseFile)).trim();
  return named === undefined ? undefined : databaseUrl(named, engines);
}

/** @throws AppError BAD_USER_INPUT */
async function invariantsIn(path: string): Promise<Invariant[]> {
  const wrong = (text: string) =>
    badInput(
      'invariants-file',
      text,
      'Write [{"name": "Users", "sql": "SELECT …", "expect": "AT_LEAST", "value": "1"}].',
    );
  let list: unknown;
  try {
    list = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw wrong(`${path} cannot be read as JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(list)) throw wrong(`${path} holds no list.`);
  return list.map((one: Partial<Record<keyof Invariant, unknown>> | null) => {
    const { name, sql, expect, value = null } = one ?? {};
    if (typeof name !== 'string' || typeof sql !== 'string' || typeof expect !== 'string') {
      throw wrong(`${path} has an entry without the texts name, sql and expect.`);
    }
    return { name, sql, expect: expect.toUpperCase() as Expectation, value: value === null ? null : String(value) };
  });
}

async function inputOf(
  { media, storage: storageType, path, destination, encryption, ...options }: Options,
  app: App,
): Promise<ConfigInput> {
  const input: ConfigInput = {
    name: options.name,
    databaseUrl: await databaseOf(options, app),
    mediaPaths: media === false ? [] : media?.map((folder) => resolve(folder)),
    excludeTables: options.excludeTable === false ? [] : options.excludeTable,
    excludeTableData: options.excludeTableData === false ? [] : options.excludeTableData,
    autoInclude: orNull(options.autoInclude),
    invariants: options.invariantsFile === undefined ? undefined : await invariantsIn(options.invariantsFile),
    drillCommand: options.drillCommand === false ? null : options.drillCommand,
    drillSchedule: options.drillSchedule === false ? null : options.drillSchedule,
    storageType,
    storagePath: storageType === 'SYSTEM' && path !== undefined ? resolve(path) : path,
    destinationIds: destination === undefined ? undefined : await idsOf(app, destination),
    minimumCopies: options.minimumCopies,
    encryptionKeyIds:
      encryption === undefined ? undefined : await keyIdsOf(app, encryption === false ? [] : encryption),
    archivePrefix: options.prefix,
    autoBackupEnabled: options.auto,
    schedule: options.schedule,
    timezone: options.timezone,
    backupRetentionDays: options.retentionDays,
    maxBackupFiles: options.maxFiles,
    incremental: options.incremental,
    fullEveryDays: options.fullEveryDays,
    compression: options.compression,
    compressionLevel: options.compressionLevel,
    safetyRetentionDays: options.safetyDays,
    restoreLockTimeout: options.lockTimeout,
    jitterSeconds: options.jitter,
    keepLast: orNull(options.keepLast),
    keepHourly: orNull(options.keepHourly),
    keepDaily: orNull(options.keepDaily),
    keepWeekly: orNull(options.keepWeekly),
    keepMonthly: orNull(options.keepMonthly),
    keepYearly: orNull(options.keepYearly),
    keepWithin: orNull(options.keepWithin),
    maxTotalSize: orNull(options.maxSize),
  };
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
}

const keyIdsOf = (app: App, given: string[]) => Promise.all(given.map(async (key) => (await keyOf(app, key)).id));

async function idsOf(app: App, destinations: string[]): Promise<number[]> {
  const rows = [];
  for (const given of destinations) rows.push(await destinationOf(app, given));
  return rows.map(({ id }) => id);
}

/** The word that takes a keep-rule away. Commander itself has no use for a null. */
const NONE = 'none';

const orNull = <T>(value: T | typeof NONE | undefined): Exclude<T, typeof NONE> | null | undefined =>
  value === NONE ? null : (value as Exclude<T, typeof NONE> | undefined);

function side(value: string): 'environment' | 'product' {
  if (value === 'environment' || value === 'product') return value;
  throw new InvalidArgumentError('Choose from environment, product.');
}

const storage = oneOf(['LOCAL', 'SYSTEM']);
const compression = oneOf(['DEFLATE', 'ZSTD', 'NONE'] satisfies CompressionMethod[]);

const wholeOrZero = (value: string) => (value === '0' ? 0 : whole(value));
const wholeOrNone = (value: string) => (value === NONE ? NONE : whole(value));

function bytesOrNone(value: string): number | typeof NONE {
  if (value === NONE) return NONE;
  if (/^[1-9]\d{0,14}$/.test(value)) return Number(value);
  throw new InvalidArgumentError('Write a number of bytes, or none.');
}

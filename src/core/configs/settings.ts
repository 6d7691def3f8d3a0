import type { CoreEnvironment } from '../environment.js';
import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { AppError, badInput } from '../../errors.js';
import { hasZstd } from '../../archive/block.js';
import type { BackupConfigRow, CompressionMethod, Invariant } from '../../models/index.js';
import { prefixFrom } from '../archives/names.js';
import { checkInvariants } from '../invariants/invariants.js';
import type { Commands } from '../commands/commands.js';
import type { Places } from './places.js';
import type { Engine, StorageAddress, StorageType } from '../ports.js';
import { assertPolicy, KEEP_RULES, policyOf } from '../retention/policy.js';
import { assertSchedule, normaliseSchedule } from '../schedules/cron.js';

/** What checking settings needs of the process around it. */
export type SettingsEnvironment = Pick<
  CoreEnvironment,
  'models' | 'engines' | 'storages' | 'controlFile' | 'controlKey'
> & {
  places: Places;
};

/** The fields of a config that can be set; what is left out stays as it is, or gets its default. */
export interface ConfigInput {
  name?: string | undefined;
  databaseUrl?: string | undefined;
  mediaPaths?: string[] | undefined;
  /** Patterns of tables that are left out, as a whole. */
  excludeTables?: string[] | undefined;
  /** Patterns of tables whose rows are left out. */
  excludeTableData?: string[] | undefined;
  /** A pattern of databases of its server that get a config like this one when they appear; null: none does. */
  autoInclude?: string | null | undefined;
  /** Queries with the answers that the database must give. */
  invariants?: Invariant[] | undefined;
  /** The file name of the command that its drills run; null: none. */
  drillCommand?: string | null | undefined;
  /** When its newest good backup is drilled, as `schedule`; null: never by itself. */
  drillSchedule?: string | null | undefined;
  storageType?: StorageType | undefined;
  storagePath?: string | undefined;
  /** Where archives lie, in place of `storageType` and `storagePath`: the run writes the first, the others get copies. */
  destinationIds?: number[] | undefined;
  /** How many copies a backup needs to count for the retention of others. */
  minimumCopies?: number | undefined;
  /** The destinations of the copies alone, beside `storageType` and `storagePath`. */
  copyTo?: number[] | undefined;
  autoBackupEnabled?: boolean | undefined;
  schedule?: string | undefined;
  timezone?: string | undefined;
  backupRetentionDays?: number | undefined;
  maxBackupFiles?: number | undefined;
  /** Automatic backups hold only what changed since the one before. */
  incremental?: boolean | undefined;
  /** After so many days the next one is a full backup. */
  fullEveryDays?: number | undefined;
  compression?: CompressionMethod | undefined;
  compressionLevel?: number | undefined;
  /** Seconds. */
  restoreLockTimeout?: number | undefined;
  safetyRetentionDays?: number | undefined;
  /** Seconds. */
  jitterSeconds?: number | undefined;
  /** Keep-rules: null takes a rule away. */
  keepLast?: number | null | undefined;
  keepHourly?: number | null | undefined;
  keepDaily?: number | null | undefined;
  keepWeekly?: number | null | undefined;
  keepMonthly?: number | null | undefined;
  keepYearly?: number | null | undefined;
  keepWithin?: string | null | undefined;
  /** Bytes. */
  maxTotalSize?: number | null | undefined;
  /** How names of its archives begin; null: as the installation's. */
  archivePrefix?: string | null | undefined;
  /** The keys that its backups are encrypted for; none: they are not. */
  encryptionKeyIds?: number[] | undefined;
}

/** What stands in tables of its own. */
type Joined = 'destinationIds' | 'encryptionKeyIds';
/** All settings of a config that are its columns. */
export type Settings = Required<Omit<ConfigInput, Joined>>;

const DEFAULTS = {
  mediaPaths: [] as string[],
  excludeTables: [] as string[],
  excludeTableData: [] as string[],
  autoInclude: null as string | null,
  invariants: [] as Invariant[],
  drillCommand: null as string | null,
  drillSchedule: null as string | null,
  storageType: 'LOCAL' as StorageType,
  storagePath: '',
  copyTo: [] as number[],
  minimumCopies: 1,
  autoBackupEnabled: true,
  schedule: '0 2 * * *',
  timezone: 'UTC',
  backupRetentionDays: 30,
  maxBackupFiles: 30,
  incremental: false,
  fullEveryDays: 7,
  compression: 'DEFLATE' as CompressionMethod,
  compressionLevel: 1,
  restoreLockTimeout: 30,
  safetyRetentionDays: 7,
  jitterSeconds: 0,
  ...(Object.fromEntries(KEEP_RULES.map((rule) => [rule, null])) as Record<(typeof KEEP_RULES)[number], null>),
};

/**
 * The columns of the input, with the storage that its first destination names, and the others as those of the copies.
 * @throws AppError BAD_USER_INPUT, NOT_FOUND
 */
export async function withDestination(
  { models }: Pick<SettingsEnvironment, 'models'>,
  { destinationIds, encryptionKeyIds: _keys, ...input }: ConfigInput,
): Promise<Omit<ConfigInput, Joined>> {
  const given = destinationIds ?? [];
  if (destinationIds === undefined || destinationIds === null) return input;
  if (input.storageType !== undefined || input.storagePath !== undefined || input.copyTo !== undefined) {
    throw badInput('destinationIds', 'cannot be combined with storageType, storagePath or copyTo.');
  }
  if (given.length === 0) throw badInput('destinationIds', 'is empty.', 'Name the destination that archives lie in.');
  const twice = given.find((id, index) => given.indexOf(id) < index);
  if (twice !== undefined) throw badInput('destinationIds', `names destination ${twice} twice.`, 'Name it once.');
  const rows = await models.Destination.findAll({ where: { id: given, deletedAt: null } });
  const missing = given.find((id) => !rows.some((row) => row.id === id));
  const first = rows.find(({ id }) => id === given[0]);
  if (missing !== undefined || first === undefined) {
    const message = `destinationIds: there is no destination ${missing}.`;
    throw new AppError('NOT_FOUND', message, { field: 'destinationIds' });
  }
  return { ...input, storageType: first.storageType, storagePath: first.storagePath, copyTo: given.slice(1) };
}

/** What was given: null takes a keep-rule, the prefix or autoInclude away, and means "left out" for every other field. */
export function givenSettings(input: ConfigInput): ConfigInput {
  const nullable: readonly string[] = [...KEEP_RULES, 'archivePrefix', 'autoInclude', 'drillCommand', 'drillSchedule'];
  const given = ([name, value]: [string, unknown]) =>
    value !== undefined && (value !== null || nullable.includes(name));
  return Object.fromEntries(Object.entries(input).filter(given));
}

/** The settings of a new config. `name` and `databaseUrl` have no default: they are empty where they were not given. */
export function newSettings(input: Omit<ConfigInput, Joined>): Settings {
  const given = givenSettings(input);
  return { name: '', databaseUrl: '', archivePrefix: prefixFrom(given.name ?? ''), ...DEFAULTS, ...given };
}

/** The settings of a config with what was given in place of what is saved. Another storage type has a path of its own. */
export function changedSettings(saved: BackupConfigRow, given: Omit<ConfigInput, Joined>): Settings {
  const other = given.storageType !== undefined && given.storageType !== saved.storageType;
  return { ...saved.get({ plain: true }), ...(other ? { storagePath: '' } : {}), ...given };
}

/**
 * The columns of a config with these settings.
 * @param saved the config that is changed: a path that it has already is not judged again
 * @throws AppError BAD_USER_INPUT and others, naming the field
 */
export async function checkSettings(
  env: SettingsEnvironment & { commands: Commands },
  input: Settings,
  saved?: BackupConfigRow,
) {
  const name = input.name.trim();
  if (name === '' || name.length > 200) throw badInput('name', 'must have 1 to 200 characters.');
  const { engine, url, mediaPaths } = await checkSource(env, input, saved);
  const exclusions = checkExclusions(engine, input);
  assertWhole('backupRetentionDays', input.backupRetentionDays, 36_500);
  assertWhole('maxBackupFiles', input.maxBackupFiles, 100_000);
  assertWhole('restoreLockTimeout', input.restoreLockTimeout, 86_400);
  assertWhole('safetyRetentionDays', input.safetyRetentionDays, 36_500);
  if (!Number.isInteger(input.jitterSeconds) || input.jitterSeconds < 0 || input.jitterSeconds > 3_600) {
    throw badInput('jitterSeconds', `${input.jitterSeconds} is not a whole number from 0 to 3600.`);
  }
  if (!Number.isInteger(input.fullEveryDays) || input.fullEveryDays < 1 || input.fullEveryDays > 365) {
    throw badInput('fullEveryDays', `${input.fullEveryDays} is not a whole number from 1 to 365.`);
  }
  assertCompression(input);
  assertPolicy(policyOf(input as never));
  assertSchedule(input.schedule, input.timezone);
  assertPrefix(input.archivePrefix);
  const address = await checkStorage(env, input, saved);
  const copyTo = await copiesApart(env, input, address);
  assertCopies(input.minimumCopies, copyTo.length + 1);
  return {
    name,
    archivePrefix: input.archivePrefix,
    engine: engine.kind,
    databaseUrl: await engine.seal(url, saved?.databaseUrl),
    databaseKey: await engine.keyOf(url),
    mediaPaths,
    ...exclusions,
    autoInclude: checkedInclude(engine, input.autoInclude),
    invariants: checkInvariants(engine, input.invariants),
    drillCommand: await checkedCommand(env, input.drillCommand, saved),
    drillSchedule: checkedDrills(input),
    ...address,
    copyTo,
    minimumCopies: input.minimumCopies,
    autoBackupEnabled: input.autoBackupEnabled,
    schedule: normaliseSchedule(input.schedule),
    timezone: input.timezone,
    backupRetentionDays: input.backupRetentionDays,
    maxBackupFiles: input.maxBackupFiles,
    incremental: input.incremental,
    fullEveryDays: input.fullEveryDays,
    compression: input.compression,
    compressionLevel: input.compressionLevel,
    restoreLockTimeout: input.restoreLockTimeout,
    safetyRetentionDays: input.safetyRetentionDays,
    jitterSeconds: input.jitterSeconds,
    keepLast: input.keepLast,
    keepHourly: input.keepHourly,
    keepDaily: input.keepDaily,
    keepWeekly: input.keepWeekly,
    keepMonthly: input.keepMonthly,
    keepYearly: input.keepYearly,
    keepWithin: input.keepWithin,
    maxTotalSize: input.maxTotalSize,
  };
}

/** What of the patterns is worth a setting: most patterns, and most characters of one. */
const MOST_PATTERNS = 100;
const LONGEST_PATTERN = 300;

/**
 * The patterns of tables that are left out, each once. Looks at no database.
 * @throws AppError BAD_USER_INPUT
 */
export function checkExclusions(engine: Engine, settings: Pick<Settings, 'excludeTables' | 'excludeTableData'>) {
  const checked = (field: 'excludeTables' | 'excludeTableData') => {
    const patterns = [...new Set(settings[field])];
    if (patterns.length === 0) return patterns;
    if (!engine.capabilities.onServer) {
      const text = `cannot be set for a ${engine.kind} database, which is copied with all of its tables.`;
      throw badInput(field, text, 'Set it to [].');
    }
    if (patterns.length > MOST_PATTERNS) throw badInput(field, `has more than ${MOST_PATTERNS} patterns.`);
    const wrong = patterns.find(
      (pattern) => !/[^*\s]/.test(pattern) || pattern.length > LONGEST_PATTERN || pattern.includes('\0'),
    );
    if (wrong === undefined) return patterns;
    const hint = 'Name tables, such as sessions or log_*.';
    if (/^\*+$/.test(wrong)) throw badInput(field, `"${wrong}" would leave out all tables.`, hint);
    throw badInput(
      field,
      `"${wrong.slice(0, 100)}" is empty, has a NUL, or more than ${LONGEST_PATTERN} characters.`,
      hint,
    );
  };
  return { excludeTables: checked('excludeTables'), excludeTableData: checked('excludeTableData') };
}

/** @throws AppError BAD_USER_INPUT */
function checkedInclude(engine: Engine, pattern: string | null): string | null {
  if (pattern === null) return null;
  if (!engine.capabilities.onServer) {
    const text = `cannot be set for a ${engine.kind} database, which is a file and on no server.`;
    throw badInput('autoInclude', text, 'Set it to null.');
  }
  if (pattern.trim() !== '' && pattern.length <= LONGEST_PATTERN && !pattern.includes('\0')) return pattern;
  const text = `is empty, has a NUL, or more than ${LONGEST_PATTERN} characters.`;
  throw badInput('autoInclude', text, 'Write a pattern of names, such as shop_* or *.');
}

/** What to say of patterns that fit no table. */
export const unmatchedWarnings = (patterns: readonly string[]): string[] =>
  patterns.map((pattern) => `No table fits "${pattern}", which is to be left out: nothing is left out for it.`);

/** A setting that this runtime cannot honour is refused when it is saved, not at the next backup. */
function assertCompression({ compression, compressionLevel: level }: Settings): void {
  if (!['DEFLATE', 'ZSTD', 'NONE'].includes(compression)) {
    throw badInput('compression', `${compression} is none of DEFLATE, ZSTD, NONE.`);
  }
  if (!Number.isInteger(level) || level < 0 || level > 9) {
    throw badInput('compressionLevel', `${level} is not a whole number from 0 to 9.`);
  }
  if (compression !== 'ZSTD' || hasZstd) return;
  throw badInput(
    'compression',
    `ZSTD needs Node 22.15 or newer; this is Node ${process.versions.node}.`,
    'Choose DEFLATE, or start db-manager with a newer Node.',
  );
}

/**
 * What these settings protect: the engine, its URL for the database, and absolute media folders. Opens nothing.
 * @throws AppError BAD_USER_INPUT, ENGINE_UNSUPPORTED, DATABASE_IS_CONTROL
 */
export async function checkSource(
  env: SettingsEnvironment,
  { databaseUrl, mediaPaths }: Pick<Settings, 'databaseUrl' | 'mediaPaths'>,
  saved?: BackupConfigRow,
): Promise<{ engine: Engine; url: string; mediaPaths: string[] }> {
  if (databaseUrl === '') throw badInput('databaseUrl', 'is missing.');
  const engine = env.engines.forUrl(databaseUrl);
  if (/:\*\*\*@/.test(databaseUrl)) {
    throw badInput(
      'databaseUrl',
      'holds *** in place of the password.',
      'Write the whole URL, or leave the field out.',
    );
  }
  const { url } = engine.resolve(databaseUrl);
  await assertNotControlServer(engine, url, env.controlKey);
  const [file] = await engine.files(url);
  if (file !== undefined) {
    await assertNotControl(file, env.controlFile);
    if (url !== saved?.databaseUrl) await env.places.judge('databaseUrl', file, 'source');
  }
  const folders = await mediaFolders(mediaPaths);
  for (const folder of folders) {
    if (!saved?.mediaPaths.includes(folder)) await env.places.judge('mediaPaths', folder, 'source');
  }
  return { engine, url, mediaPaths: folders };
}

/**
 * Where these settings store archives. Makes nothing.
 * @throws AppError BAD_USER_INPUT, PATH_NOT_ALLOWED
 */
export async function checkStorage(
  env: Pick<SettingsEnvironment, 'storages' | 'places'>,
  { storageType, storagePath }: Pick<Settings, 'storageType' | 'storagePath'>,
  saved?: BackupConfigRow,
): Promise<StorageAddress> {
  const path = storagePath || (storageType === 'LOCAL' ? '.' : '');
  const address = env.storages.resolve({ storageType, storagePath: path }, 'storagePath');
  const same = saved?.storageType === storageType && saved.storagePath === address.storagePath;
  if (!same) await judgeStorage(env, address, 'storagePath', saved?.id);
  return address;
}

/**
 * The destinations of the copies, without the first: an archive lies once in a place.
 * @throws AppError NOT_FOUND
 */
async function copiesApart(
  { models }: Pick<SettingsEnvironment, 'models'>,
  { copyTo }: Pick<Settings, 'copyTo'>,
  { storageType, storagePath }: StorageAddress,
): Promise<number[]> {
  if (copyTo.length === 0) return copyTo;
  const rows = await models.Destination.findAll({ where: { id: copyTo, deletedAt: null } });
  const missing = copyTo.find((id) => !rows.some((row) => row.id === id));
  if (missing !== undefined) {
    throw new AppError('NOT_FOUND', `copyTo: there is no destination ${missing}.`, { field: 'copyTo' });
  }
  const first = rows.find((row) => row.storageType === storageType && row.storagePath === storagePath);
  return [...new Set(copyTo)].filter((id) => id !== first?.id);
}

/**
 * Judges a place that archives shall lie in. LOCAL ones lie in a folder that the machine's owner chose; a distant one must be
 * a destination, which says how it is reached.
 */
export async function judgeStorage(
  { places, storages }: Pick<SettingsEnvironment, 'places' | 'storages'>,
  address: StorageAddress,
  field: string,
  config: number | undefined,
): Promise<void> {
  const { storageType, storagePath } = address;
  if (storageType === 'SYSTEM') await places.judge(field, storagePath, 'storage', config);
  if (await storages.isKnown(address)) return;
  throw badInput(field, `there is no destination ${storagePath}.`, 'Make it first: db-manager destinations add.');
}

function assertWhole(field: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return;
  throw badInput(field, `${value} is not a whole number from 1 to ${max}.`, 'A value of 0 would keep nothing.');
}

/** More copies than there are destinations would keep every backup from counting. */
function assertCopies(copies: number, destinations: number): void {
  if (Number.isInteger(copies) && copies >= 1 && copies <= destinations) return;
  const most = destinations === 1 ? '1: there is one destination' : `1 to ${destinations}, the number of destinations`;
  throw badInput('minimumCopies', `${copies} is not a whole number from ${most}.`, 'Name more destinations first.');
}

function assertPrefix(prefix: string | null): void {
  if (prefix === null || /^[A-Za-z0-9][A-Za-z0-9-]{0,39}$/.test(prefix)) return;
  throw badInput(
    'archivePrefix',
    'may hold only letters, digits and hyphens, at most 40, and begins with none of the last.',
  );
}

/** A command that the config has already is judged when it is run. */
async function checkedCommand(
  { commands }: { commands: Commands },
  given: string | null,
  saved?: BackupConfigRow,
): Promise<string | null> {
  const name = given?.trim() ?? '';
  if (name === '') return null;
  if (name !== saved?.drillCommand) await commands.find(name);
  return name;
}

/** @throws AppError BAD_USER_INPUT naming `drillSchedule` or `timezone` */
function checkedDrills({ drillSchedule, timezone }: Settings): string | null {
  const given = drillSchedule?.trim() ?? '';
  if (given === '') return null;
  try {
    assertSchedule(given, timezone);
  } catch (error) {
    if (!(error instanceof AppError) || error.field !== 'schedule') throw error;
    throw badInput('drillSchedule', error.message.replace(/^schedule: /, ''), error.hint);
  }
  return normaliseSchedule(given);
}

/** Each folder once: the files of one that is listed twice would be in the archive twice, and could not be brought back. */
async function mediaFolders(paths: string[]): Promise<string[]> {
  const known = new Map<string, string>();
  for (const path of paths.map(mediaPath)) {
    const real = await realpath(path).catch(() => path);
    const same = known.get(real);
    if (same !== undefined && same !== path) {
      throw badInput('mediaPaths', `"${same}" and "${path}" are the same folder.`, 'Name it once.');
    }
    known.set(real, path);
  }
  return [...known.values()];
}

function mediaPath(path: string): string {
  if (!isAbsolute(path) || path.includes('\0')) {
    throw badInput('mediaPaths', `"${path}" is not an absolute path.`, 'Write paths such as /srv/okpuja/media.');
  }
  return resolve(path);
}

/** As `assertNotControl`, where the control database is on a server. @throws AppError DATABASE_IS_CONTROL */
export async function assertNotControlServer(
  engine: Engine,
  url: string,
  controlKey: string | null | undefined,
): Promise<void> {
  if (!controlKey || (await engine.keyOf(url)) !== controlKey) return;
  const text = `databaseUrl: ${engine.resolve(url).display} is db-manager's own control database.`;
  throw new AppError('DATABASE_IS_CONTROL', text, { field: 'databaseUrl' });
}

/**
 * Refuses a protected database that is the control database itself, also through links.
 * @throws AppError DATABASE_IS_CONTROL
 */
export async function assertNotControl(file: string, controlFile: string | null): Promise<void> {
  if (controlFile === null) return;
  const same = async () => {
    const [one, other] = await Promise.all([stat(file), stat(controlFile)]);
    return one.dev === other.dev && one.ino === other.ino;
  };
  if (resolve(file) === resolve(controlFile) || (await same().catch(() => false))) {
    throw new AppError('DATABASE_IS_CONTROL', `databaseUrl: ${file} is db-manager's own control database.`, {
      field: 'databaseUrl',
    });
  }
}

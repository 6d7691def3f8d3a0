import { basename, dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../../errors.js';
import type { BackupConfigRow } from '../../models/index.js';
import type { ConfigInput, Configs } from './configs.js';
import { prefixFrom } from '../archives/names.js';
import type { StorageType } from '../ports.js';

/** The settings of a config that the environment names, each with its variable. */
const VARIABLES = {
  databaseUrl: 'DATABASE_URL',
  mediaPaths: 'MEDIA_PATHS',
  storageType: 'DB_BACKUP_STORAGE_TYPE',
  storagePath: 'DB_BACKUP_PATH',
  autoBackupEnabled: 'DB_BACKUP_AUTO_ENABLED',
  schedule: 'DB_BACKUP_SCHEDULE',
  timezone: 'DB_BACKUP_TIMEZONE',
  backupRetentionDays: 'DB_BACKUP_RETENTION_DAYS',
  maxBackupFiles: 'DB_BACKUP_MAX_FILES',
} as const;

type Setting = keyof typeof VARIABLES;

const SETTINGS = Object.keys(VARIABLES) as Setting[];

/** What the environment says about the config that is made of it. */
export type EnvironmentSettings = Required<Pick<ConfigInput, Setting>>;

/** The process's settings, as far as they are about the config that is made of them. */
interface Seed {
  usesPrefix: boolean;
  databaseUrl: string;
  mediaPaths: string[];
  storageType: StorageType;
  storagePath: string;
  retentionDays: number;
  maxFiles: number;
  autoEnabled: boolean;
  schedule: string;
  timezone: string;
}

/** The settings of the environment's config; null where the environment names no database. */
export function environmentSettings(seed: Seed): EnvironmentSettings | null {
  return seed.databaseUrl === '' ? null : seedSettings(seed);
}

/** The settings of the first config, whatever it protects. */
export function seedSettings(seed: Seed): EnvironmentSettings {
  return {
    databaseUrl: seed.databaseUrl,
    mediaPaths: seed.mediaPaths,
    storageType: seed.storageType,
    storagePath: seed.storagePath,
    autoBackupEnabled: seed.autoEnabled,
    schedule: seed.schedule,
    timezone: seed.timezone,
    backupRetentionDays: seed.retentionDays,
    maxBackupFiles: seed.maxFiles,
  };
}

/** A setting that is one thing in the environment and another in the product. */
export interface Difference {
  variable: string;
  environment: string;
  product: string;
}

/** What a start did with the environment's config. */
export type Followed =
  /** All is equal. */
  | { state: 'same' }
  /** The config was changed as the environment was. */
  | { state: 'followed'; variables: string[]; database: boolean }
  /** The config was edited in the product, or is in use: nothing was changed. */
  | { state: 'differs'; differences: Difference[]; busy: boolean };

/**
 * Makes the environment's config.
 * @param usesPrefix its archives are named by DB_BACKUP_PREFIX and not by the application
 * @throws AppError naming the variable
 */
export async function createFromEnvironment(
  configs: Configs,
  settings: EnvironmentSettings,
  actor: string,
  usesPrefix: boolean,
): Promise<BackupConfigRow> {
  try {
    const name = applicationName(settings.databaseUrl);
    const archivePrefix = usesPrefix ? null : prefixFrom(name);
    const row = await configs.create({ ...settings, name, archivePrefix }, actor, { origin: 'ENVIRONMENT' });
    return await row.update({ environment: settingsOf(row) });
  } catch (error) {
    throw namingVariable(error);
  }
}

/**
 * Changes the environment's config as the environment was changed, unless it was edited in the product.
 * @throws AppError naming the variable whose value cannot be used
 */
export async function followEnvironment(
  configs: Configs,
  row: BackupConfigRow,
  settings: EnvironmentSettings,
  actor: string,
): Promise<Followed> {
  const wanted = await checked(configs, row, settings);
  const saved = settingsOf(row);
  const differing = SETTINGS.filter((name) => !isDeepStrictEqual(wanted[name], saved[name]));
  if (differing.length === 0) {
    if (!isDeepStrictEqual(row.environment, wanted)) await row.update({ environment: wanted });
    return { state: 'same' };
  }
  const shown = { ...wanted, databaseUrl: configs.maskedUrl(row, wanted.databaseUrl) };
  const differences = differing.map((name) => ({
    variable: VARIABLES[name],
    environment: textOf(shown[name]),
    product: textOf(name === 'databaseUrl' ? configs.maskedUrl(row) : saved[name]),
  }));
  if (!isDeepStrictEqual(row.environment, saved)) return { state: 'differs', differences, busy: false };
  try {
    await adoptEnvironment(configs, row, settings, actor);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'CONFIG_IN_USE') throw error;
    return { state: 'differs', differences, busy: true };
  }
  const variables = differing.map((name) => VARIABLES[name]);
  return { state: 'followed', variables, database: differing.includes('databaseUrl') };
}

/** Gives the config the environment's settings, whatever was edited; from then on it follows the environment. */
export async function adoptEnvironment(
  configs: Configs,
  row: BackupConfigRow,
  settings: EnvironmentSettings,
  actor: string,
): Promise<BackupConfigRow> {
  const named = row.name === applicationName(row.databaseUrl);
  const name = applicationName(settings.databaseUrl);
  const free = named && !(await configs.list()).some((other) => other.name === name);
  try {
    const changed = await configs.update(row.id, { ...settings, ...(free ? { name } : {}) }, actor);
    return await changed.update({ origin: 'ENVIRONMENT', environment: settingsOf(changed) });
  } catch (error) {
    throw namingVariable(error);
  }
}

/** Leaves the config as it is; from then on it belongs to the product and the environment is not compared any more. */
export function adoptProduct(row: BackupConfigRow): Promise<BackupConfigRow> {
  return row.update({ origin: null, environment: null });
}

async function checked(configs: Configs, row: BackupConfigRow, settings: EnvironmentSettings) {
  try {
    return settingsOf(await configs.preview(row.id, settings));
  } catch (error) {
    throw namingVariable(error);
  }
}

function settingsOf(row: BackupConfigRow): Record<Setting, unknown> & { databaseUrl: string } {
  const values = Object.fromEntries(SETTINGS.map((name) => [name, row[name]])) as Record<Setting, unknown>;
  return { ...values, databaseUrl: row.databaseUrl };
}

const textOf = (value: unknown) => (Array.isArray(value) ? value.join(',') : String(value));

/** The same error about the variable that the setting comes from. */
function namingVariable(error: unknown): unknown {
  if (!(error instanceof AppError) || error.field === undefined || !(error.field in VARIABLES)) return error;
  const variable = VARIABLES[error.field as Setting];
  const message = `${variable}: ${error.message.replace(`${error.field}: `, '')}`;
  return new AppError(error.code, message, { hint: error.hint, field: error.field, cause: error });
}

/** Names that say nothing about the application: then its folder's name does. */
const COMMON =
  /^(\W*|db|database|data|app|application|backend|server|src|site|web|www|html|var|lib|srv|opt|home|root|users|tmp|instance|storage|prisma|django|main|default|dev|development|prod|production|staging|test|current|releases?)$/i;

/** What the application is called, as far as the path of its database says. */
export function applicationName(databaseUrl: string): string {
  if (!databaseUrl.startsWith('sqlite:') && databaseUrl.includes('://')) return nameOnServer(databaseUrl);
  const path = databaseUrl.replace(/^[a-z+]+:/i, '').replace(/\?.*$/, '');
  const file = basename(path).replace(/\.[a-z0-9]{2,8}$/i, '');
  // A database may be called after its engine, as the URL is.
  const engine = /^[a-z]+/i.exec(databaseUrl)?.[0].toLowerCase();
  if (!COMMON.test(file) && file.toLowerCase().replace(/\d+$/, '') !== engine) return file.slice(0, 200);
  for (let folder = dirname(path); basename(folder) !== ''; folder = dirname(folder)) {
    if (!COMMON.test(basename(folder))) return basename(folder).slice(0, 200);
  }
  return file || 'Application';
}

/** The database's own name; a common one says nothing, and then its host does. Nothing else of the URL: it may hold a password. */
function nameOnServer(databaseUrl: string): string {
  if (!URL.canParse(databaseUrl)) return 'Application';
  const { pathname, hostname } = new URL(databaseUrl);
  const plain = (text: string) =>
    text
      .replace(/%[0-9a-f]{2}/gi, ' ')
      .trim()
      .slice(0, 200);
  const name = plain(pathname.replace(/^\//, ''));
  if (name !== '' && !COMMON.test(name) && !/^(postgres(ql)?|mysql|mariadb|mongodb)$/i.test(name)) return name;
  const isName = /[a-z]/i.test(hostname) && !hostname.includes('%') && hostname !== 'localhost';
  return (isName ? plain(hostname) : name) || 'Application';
}

import { AppError, badInput } from '../../errors.js';
import type { BackupConfigRow } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import type { Keys } from '../keys/keys.js';
import type { Engine } from '../ports.js';
import type { ConfigInput, Configs } from './configs.js';
import type { ConfigTests } from './trials.js';

/** What looking at a server needs of the process around it. */
export type ServerEnvironment = Pick<CoreEnvironment, 'engines' | 'controlKey'> & {
  configs: Configs;
  configTests: ConfigTests;
  keys: Keys;
};

/** A database of a server, and whether it is protected. */
export interface DatabaseOnServer {
  name: string;
  /** Its URL as it may be shown: without a password. */
  databaseUrl: string;
  /** Bytes; null where the user may not know. */
  size: number | null;
  /** The config that backs it up; null if none does. */
  configId: number | null;
}

/** A database of a server, with what stays in this process. */
export interface FoundDatabase extends DatabaseOnServer {
  /** As `Engine.keyOf`. */
  key: string;
  /** With its password, sealed or not. */
  url: string;
}

/** Settings that configs of one server may share: not what names one database, its media or its archives. */
const SHARED = [
  'storageType',
  'storagePath',
  'copyTo',
  'minimumCopies',
  'autoBackupEnabled',
  'schedule',
  'timezone',
  'jitterSeconds',
  'backupRetentionDays',
  'maxBackupFiles',
  'keepLast',
  'keepHourly',
  'keepDaily',
  'keepWeekly',
  'keepMonthly',
  'keepYearly',
  'keepWithin',
  'maxTotalSize',
  'incremental',
  'fullEveryDays',
  'compression',
  'compressionLevel',
  'restoreLockTimeout',
  'safetyRetentionDays',
] as const satisfies (keyof ConfigInput)[];

/** Servers that have more than one database. */
export class Servers {
  constructor(private readonly env: ServerEnvironment) {}

  /**
   * The databases of a server, by name.
   * @param of a URL, which need not name a database; or the config of a database on it
   * @throws AppError BAD_USER_INPUT where it is a file; NOT_FOUND; DATABASE_…
   */
  async discover(of: { url: string } | { configId: number }, signal: AbortSignal): Promise<DatabaseOnServer[]> {
    const found = 'url' in of ? await this.foundAt(of.url, signal) : await this.found(of.configId, signal);
    return found.map(({ url: _url, key: _key, ...shown }) => shown);
  }

  /** The databases of the server that the database of a config is on. @throws AppError as `discover` */
  async found(configId: number, signal: AbortSignal): Promise<FoundDatabase[]> {
    const { engine, databaseUrl } = await this.env.configs.get(configId);
    return databasesOf(this.env, this.env.engines.of(engine), databaseUrl, signal);
  }

  /** As `found`. Errors name the argument, and not the setting that a config would have. */
  private async foundAt(url: string, signal: AbortSignal): Promise<FoundDatabase[]> {
    if (/:\*\*\*@/.test(url)) {
      throw badInput('url', 'holds *** in place of the password.', 'Write the whole URL, or give configId.');
    }
    try {
      return await databasesOf(this.env, this.env.engines.forUrl(url), url, signal);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const { code, message, hint, field } = error;
      const named = (text: string) => text.replaceAll('databaseUrl', 'url');
      throw new AppError(code, named(message), {
        ...{ hint: named(hint), cause: error },
        ...(field !== undefined && { field: named(field) }),
      });
    }
  }

  /**
   * Makes a config for each of these databases of the server that the database of a config is on, with the schedule, retention,
   * destinations and keys of that config, or for none. All of them are tested before.
   * @param names of databases that no config backs up yet
   * @throws AppError NOT_FOUND; BAD_USER_INPUT naming a database that is not there, or is protected; what a test found
   */
  async protect(
    { configId, names, actor }: { configId: number; names: readonly string[]; actor: string },
    signal: AbortSignal,
  ): Promise<BackupConfigRow[]> {
    const { configs, configTests, engines, keys } = this.env;
    if (names.length === 0) throw badInput('names', 'is empty.', 'Name the databases that are to be backed up.');
    const like = await configs.get(configId);
    const found = await databasesOf(this.env, engines.of(like.engine), like.databaseUrl, signal);
    const shared = Object.fromEntries(SHARED.map((field) => [field, like[field]])) as ConfigInput;
    const encryptionKeyIds = (await keys.ofConfig(configId)).map(({ id }) => id);
    const taken = new Set((await configs.columns(['name'])).map(({ name }) => name));
    const inputs = [...new Set(names)].map((wanted): ConfigInput => {
      const name = freeName(wanted, taken);
      taken.add(name);
      return { ...shared, name, databaseUrl: unprotected(found, wanted).url, mediaPaths: [], encryptionKeyIds };
    });
    for (const input of inputs) await configTests.assertWorks(input, signal);
    return configs.createLike(like, inputs, actor);
  }
}

function unprotected(found: FoundDatabase[], wanted: string): FoundDatabase {
  const database = found.find(({ name }) => name === wanted);
  if (database === undefined) {
    throw badInput('names', `has "${wanted}", which is no database of that server.`, 'List them: discoverDatabases.');
  }
  if (database.configId === null) return database;
  throw badInput('names', `has "${wanted}", which config ${database.configId} backs up.`, 'Leave it out.');
}

async function databasesOf(
  { configs, controlKey }: ServerEnvironment,
  engine: Engine,
  url: string,
  signal: AbortSignal,
): Promise<FoundDatabase[]> {
  const databases = await engine.databases(url, signal);
  if (databases === null) {
    throw badInput('url', 'is of a file, which is one database.', 'Give the URL of a server, such as postgres://….');
  }
  const owners = new Map<string, number>();
  for (const row of await configs.columns(['id', 'databaseKey'])) owners.set(row.databaseKey, row.id);
  const found: FoundDatabase[] = [];
  for (const { name, url: own, bytes: size } of databases) {
    const key = await engine.keyOf(own);
    // db-manager's own is backed up every day without a config.
    if (key === controlKey) continue;
    const databaseUrl = engine.resolve(own).display;
    found.push({ name, url: own, key, databaseUrl, size, configId: owners.get(key) ?? null });
  }
  return found;
}

/** Names of configs are unique, and those of databases only on their server. */
function freeName(wanted: string, taken: ReadonlySet<string>): string {
  for (let number = 1; ; number++) {
    const name = number === 1 ? wanted : `${wanted} (${number})`;
    if (!taken.has(name)) return name;
  }
}

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CoreEnvironment } from '../environment.js';
import { measureMedia } from '../../archive/measure.js';
import { AppError, badInput, type ErrorCode } from '../../errors.js';
import type { BackupConfigRow, FailedTest, Invariant, InvariantResult } from '../../models/index.js';
import { askInvariants, checkInvariants, isUnanswered } from '../invariants/invariants.js';
import { Hold, type HoldEnvironment, runLease } from '../runs/hold.js';
import { newId } from '../text/ids.js';
import type { ConfigInput, Configs } from './configs.js';
import type { DatabaseInfo, Engine, ExcludedTable, Exclusions } from '../ports.js';
import { rowsOfLive } from './live-copy.js';
import { protectedPaths } from './protection.js';
import { checkExclusions, checkSource, checkStorage, type SettingsEnvironment, unmatchedWarnings } from './settings.js';
import { answered, type StorageTest, tryStorage } from './try-storage.js';

/** What testing settings needs of the process around it. */
export type ConfigTestsEnvironment = SettingsEnvironment &
  HoldEnvironment &
  Pick<CoreEnvironment, 'exclude' | 'now' | 'workFolder'> & { configs: Configs };

/** What was found at one media path. */
export interface MediaPathTest {
  path: string;
  ok: boolean;
  /** As far as they were counted; null where nothing could be. */
  files: number | null;
  bytes: number | null;
  error: AppError | null;
}

/** What was found at the database and the media of some settings. */
export interface ConnectionTest {
  /** Whether a backup would find everything that it reads. */
  ok: boolean;
  /** What is wrong with the database. */
  error: AppError | null;
  databaseName: string | null;
  /** Bytes. */
  size: number | null;
  /** How many; null if they could not be looked at (in time). */
  tables: number | null;
  facts: Record<string, string | number>;
  /** What `excludeTables` and `excludeTableData` leave out now. */
  excluded: ExcludedTable[];
  /** What `invariants` come to now; empty where they could not be asked (in time). */
  invariants: InvariantResult[];
  media: MediaPathTest[];
  warnings: string[];
}

/** How long to count, in milliseconds: a user waits in front of a form. */
const PATIENCE = { tables: 10_000, media: 5_000, invariants: 20_000 };

/**
 * Tries settings before they are saved. What does not work is an answer; what makes no sense is thrown, as when a config is
 * saved. The settings are those that `Configs.create` would make of the input, or `Configs.update` where an id is given.
 */
export class ConfigTests {
  constructor(
    private readonly env: ConfigTestsEnvironment,
    private readonly patience = PATIENCE,
  ) {}

  /**
   * Looks at database and media. Changes nothing.
   * @throws AppError NOT_FOUND, BAD_USER_INPUT, ENGINE_UNSUPPORTED, DATABASE_IS_CONTROL; the signal's reason
   */
  async connection(input: ConfigInput, configId: number | undefined, signal: AbortSignal): Promise<ConnectionTest> {
    const settings = await this.env.configs.settings(input, configId);
    const { engine, url, mediaPaths } = await checkSource(this.env, settings);
    const exclusions = checkExclusions(engine, settings);
    const warnings: string[] = [];
    const looking = () => lookAt({ engine, url, exclusions }, this.patience.tables, warnings, signal);
    const database = await answered(looking, signal);
    const invariants = checkInvariants(engine, settings.invariants);
    const asked =
      database.error === null && invariants.length > 0
        ? await this.ask({ engine, url, invariants }, warnings, signal)
        : { results: [], error: null };
    const protection = await protectedPaths(this.env, { engine, url });
    const media: MediaPathTest[] = [];
    const deadline = AbortSignal.timeout(this.patience.media);
    for (const path of mediaPaths) {
      const found = { files: 0, bytes: 0 };
      const counting = async () => {
        await protection.assertMedia([path]);
        return measureMedia([path], protection.covers, AbortSignal.any([signal, deadline]), found);
      };
      const { value, error } = await answered(counting, signal, deadline);
      if (value === null && error === null) warnings.push(late(path, 'files', this.patience.media));
      media.push({ path, ok: error === null, ...(error === null ? found : { files: null, bytes: null }), error });
    }
    const { info, size, excluded } = database.value ?? { info: null, size: null, excluded: [] };
    return {
      ok: database.error === null && asked.error === null && media.every(({ ok }) => ok),
      error: database.error ?? asked.error,
      databaseName: database.value === null ? null : engine.resolve(url).name,
      size,
      tables: info?.tables.length ?? null,
      facts: info?.source ?? {},
      excluded,
      invariants: asked.results,
      media,
      warnings,
    };
  }

  /**
   * Asks invariants of the database: of a private copy, where it is a file. One that breaks now is a warning, and one that no database could
   * answer an error.
   */
  private async ask(
    { engine, url, invariants }: { engine: Engine; url: string; invariants: readonly Invariant[] },
    warnings: string[],
    signal: AbortSignal,
  ): Promise<{ results: InvariantResult[]; error: AppError | null }> {
    const { rows } = engine;
    if (rows === null) return { results: [], error: null };
    const deadline = AbortSignal.timeout(this.patience.invariants);
    const asking = () =>
      this.inScratch(async (folder, lost) => {
        const step = { signal: AbortSignal.any([signal, deadline, lost]), onProgress: () => undefined };
        const place = await rowsOfLive(engine, url, folder, step);
        return askInvariants(rows, place, invariants, { before: new Map(), signal: step.signal });
      });
    const { value, error } = await answered(asking, signal, deadline);
    if (error !== null) return { results: [], error };
    if (value === null) {
      warnings.push(late('The database', 'invariants', this.patience.invariants));
      return { results: [], error: null };
    }
    const wrong = value.find((result) => isUnanswered(result));
    const broken = value.filter((result) => !result.holds && result !== wrong);
    warnings.push(...broken.map(({ message }) => `Invariant ${message}`));
    return { results: value, error: wrong === undefined ? null : badInput('invariants', wrong.message, ONE_VALUE) };
  }

  /** Gives an empty folder, and a signal that aborts if it must be given up. It is removed afterwards. */
  private async inScratch<T>(work: (folder: string, lost: AbortSignal) => Promise<T>): Promise<T> {
    const id = newId('look', this.env.now());
    const folder = join(this.env.workFolder, id);
    const during = async ({ lost }: Hold) => {
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        return await work(folder, lost);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    };
    return Hold.during(this.env, [runLease(id)], during, () => {
      throw new Error(`The lease of the new id ${id} is held.`);
    });
  }

  /** As `tryStorage`. @throws AppError NOT_FOUND, BAD_USER_INPUT, PATH_NOT_ALLOWED; the signal's reason */
  async storage(input: ConfigInput, configId: number | undefined, signal: AbortSignal): Promise<StorageTest> {
    const address = await checkStorage(this.env, await this.env.configs.settings(input, configId));
    return tryStorage(this.env.storages.open(address), this.env.log, signal);
  }

  /**
   * Creates a config of settings that work, or, with `untested`, of any that make sense: then what failed is noted on it.
   * @throws AppError as `Configs.create`; what failed, with the field that it is about and how to save all the same
   */
  async create(input: ConfigInput, untested: boolean, actor: string, signal: AbortSignal): Promise<BackupConfigRow> {
    const failed = await this.failure(input, signal);
    if (failed !== null && !untested) throw refused(failed);
    const row = await this.env.configs.create(input, actor);
    return row.update({ testError: failed });
  }

  /** @throws AppError as `create` for settings that do not work */
  async assertWorks(input: ConfigInput, signal: AbortSignal): Promise<void> {
    const failed = await this.failure(input, signal);
    if (failed !== null) throw refused(failed);
  }

  /** What of a new config's settings does not work; null if all does. @throws AppError where they make no sense */
  private async failure(input: ConfigInput, signal: AbortSignal): Promise<FailedTest | null> {
    await this.env.configs.validate(input);
    return this.failed(input, undefined, signal);
  }

  /** As `create`, for a change: only what is changed of database, media and storage is tested. @throws AppError */
  async update(
    id: number,
    input: ConfigInput,
    untested: boolean,
    actor: string,
    signal: AbortSignal,
  ): Promise<BackupConfigRow> {
    const saved = await this.env.configs.get(id);
    const changed = (await this.env.configs.preview(id, input)).changed();
    const tested = Array.isArray(changed) && changed.some((name) => TESTED.has(name));
    const failed = tested ? await this.failed(input, id, signal) : null;
    if (failed !== null && !untested) throw refused(failed);
    const row = await this.env.configs.update(id, input, actor);
    return row.update({ testError: tested ? failed : saved.testError });
  }

  /** What of these settings does not work first; null if all does. */
  private async failed(input: ConfigInput, id: number | undefined, signal: AbortSignal): Promise<FailedTest | null> {
    const { error, media } = await this.connection(input, id, signal);
    const own = error?.field !== undefined && TESTED.has(error.field) ? error.field : 'databaseUrl';
    if (error !== null) return failedTest(error, own);
    const folder = media.find((path) => path.error !== null)?.error ?? null;
    if (folder !== null) return failedTest(folder, 'mediaPaths');
    const storage = await this.storage(input, id, signal);
    return storage.error === null ? null : failedTest(storage.error, 'storagePath');
  }
}

/** The settings that can be tried out. */
const TESTED: ReadonlySet<string> = new Set([
  ...['databaseUrl', 'mediaPaths', 'excludeTables', 'excludeTableData', 'invariants'],
  ...['storageType', 'storagePath'],
]);

const ONE_VALUE = 'Give one SELECT that gives one value, or with EMPTY no row.';

const failedTest = ({ code, message, hint }: AppError, field: string): FailedTest => ({ code, message, hint, field });

function refused({ code, message, hint, field }: FailedTest): AppError {
  const named = message.startsWith(`${field}: `) ? message : `${field}: ${message}`;
  return new AppError(code as ErrorCode, named, {
    field,
    hint: `${hint} To save the config all the same, set saveUntested: true (command line: --untested).`,
  });
}

async function lookAt(
  { engine, url, exclusions }: { engine: Engine; url: string; exclusions: Exclusions },
  patienceMs: number,
  warnings: string[],
  signal: AbortSignal,
): Promise<{ size: number; info: DatabaseInfo | null; excluded: ExcludedTable[] }> {
  const { bytes: size } = await engine.check(url);
  const deadline = AbortSignal.timeout(patienceMs);
  const describing = () => engine.describe(url, AbortSignal.any([signal, deadline]));
  const { value: info, error } = await answered(describing, signal, deadline);
  if (error !== null) throw error;
  if (info === null && !deadline.aborted) {
    throw new AppError('DATABASE_NOT_FOUND', `${engine.resolve(url).display} is not there any more.`);
  }
  const damage = info?.findings.find(({ kind }) => kind === 'pages');
  if (damage !== undefined) throw new AppError('DATABASE_CORRUPT', damage.message);
  warnings.push(...(info?.findings.map(({ message }) => message) ?? [late('The database', 'tables', patienceMs)]));
  if (exclusions.excludeTables.length + exclusions.excludeTableData.length === 0) return { size, info, excluded: [] };
  const { excluded, unmatched } = await engine.exclusions(url, exclusions, signal);
  warnings.push(...unmatchedWarnings(unmatched));
  return { size, info, excluded };
}

const late = (where: string, what: string, patienceMs: number) =>
  `${where}: its ${what} were not counted to the end, which takes more than ${patienceMs / 1_000} seconds.`;

import { sampleUrl } from './sample/index.js';
import { backupEnded } from './core/backups/ended.js';
import type { CoreEnvironment } from './core/environment.js';
import { mkdir, mkdtemp, rmdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Auth } from './auth/index.js';
import { Audit } from './core/audit.js';
import { Cleanup } from './core/retention/cleanup.js';
import { Scheduler } from './core/schedules/scheduler.js';
import { Hold } from './core/runs/hold.js';
import { nodeLease, Overview } from './core/status/overview.js';
import { Backups } from './core/backups/backups.js';
import { Copies } from './core/backups/copies.js';
import { Browser } from './core/discovery/browse.js';
import { DatabaseWatch } from './core/configs/database-watch.js';
import { Servers } from './core/configs/server.js';
import { ConfigTests } from './core/configs/trials.js';
import { Commands } from './core/commands/commands.js';
import { DRILL_COMMANDS } from './core/drills/drill.js';
import { DrillReports } from './core/drills/reports.js';
import { Configs } from './core/configs/configs.js';
import { assertNotControl, assertNotControlServer } from './core/configs/settings.js';
import { Places } from './core/configs/places.js';
import { Destinations } from './core/destinations/destinations.js';
import { savedSettings, settingsOf } from './core/destinations/saved.js';
import { Keys } from './core/keys/keys.js';
import { Channels } from './core/notifications/channels.js';
import { Notifications } from './core/notifications/notifications.js';
import { notifyPlanned } from './core/notifications/deletions.js';
import { notifyEnded, notifyStarted } from './core/notifications/runs.js';
import { openUrl, sealUrl } from './core/sealed-url.js';
import { Secrets } from './core/secrets.js';
import { Hooks, HOOKS } from './core/hooks/hooks.js';
import { restoreEnded } from './core/restores/ended.js';
import { ControlBackups } from './core/recovery/control-backups.js';
import { RecoveryKits } from './core/recovery/kit.js';
import { Recovery } from './core/recovery/recovery.js';
import { Insight } from './core/insight/insight.js';
import { Restores } from './core/restores/restores.js';
import { Reverification } from './core/verifications/reverification.js';
import { Verifications } from './core/verifications/verifications.js';
import { createEngines } from './engines/index.js';
import type { Jobs, JobStore, Workers } from './jobs/index.js';
import type { Environment } from './environment.js';
import { AppError } from './errors.js';
import type { HttpServer } from './http/index.js';
import type { Engines, Job, StorageAddress, Storages, StorageSettings } from './core/ports.js';
import { createLog, type Log } from './log.js';
import { controlFiles, controlPath, type Models, openModels } from './models/index.js';
import type { GdriveLogin } from './storages/gdrive-login.js';
import { createNotifier } from './notifications/index.js';
import { createStorages } from './storages/index.js';
import { VERSION } from './version.js';

/** How the parts are put together for one process. */
export interface AppOptions {
  log?: Log;
  now?: () => Date;
  /** In place of the real ones: for tests that make a part fail. */
  engines?: Engines;
  storages?: Storages;
}

/** How often dead runs, due configs and waiting work are looked for, and how often retention runs, in milliseconds. */
const SWEEP_EVERY = 10_000;
const CLEANUP_EVERY = 3_600_000;

/** All parts of the product in one process, not yet doing anything on their own. */
export interface App {
  environment: Environment;
  log: Log;
  now: () => Date;
  models: Models;
  engines: Engines;
  storages: Storages;
  auth: Auth;
  audit: Audit;
  configs: Configs;
  configTests: ConfigTests;
  servers: Servers;
  databaseWatch: DatabaseWatch;
  destinations: Destinations;
  keys: Keys;
  places: Places;
  browser: Browser;
  backups: Backups;
  copies: Copies;
  restores: Restores;
  verifications: Verifications;
  reports: DrillReports;
  reverification: Reverification;
  insight: Insight;
  scheduler: Scheduler;
  cleanup: Cleanup;
  overview: Overview;
  channels: Channels;
  notifications: Notifications;
  hooks: Hooks;
  recoveryKits: RecoveryKits;
  controlBackups: ControlBackups;
  recovery: Recovery;
  /** Opens the job store; work may then be added. */
  connectQueue(): Promise<Jobs>;
  /** Ends dead runs and hands waiting ones to the queue, now and then every few seconds; begins to run jobs. */
  startWork(): Promise<void>;
  /** Takes no more work and lets the running work end within `deadlineMs`. */
  stopWork(deadlineMs?: number): Promise<void>;
  /** As `stopWork`, then closes everything. */
  close(deadlineMs?: number): Promise<void>;
}

/** @throws AppError CONTROL_DATABASE_FAILED, DATABASE_IS_CONTROL, CONFIG_INVALID */
export async function createApp(given: Environment, options: AppOptions = {}): Promise<App> {
  const log = options.log ?? createLog(given.logLevel);
  const now = options.now ?? (() => new Date());
  const distant = environmentStorage(given);
  const environment =
    distant === null ? given : { ...given, seed: { ...given.seed, storagePath: distant.address.storagePath } };
  const services = await createServices(environment, options, log, now, distant);
  const { models, audit, insight, queue } = services;
  const work = createWork({ ...services, environment, log, now });
  return {
    ...services,
    environment,
    log,
    now,
    connectQueue: queue.connect,
    startWork: work.start,
    stopWork: work.stop,
    async close(deadlineMs) {
      await work.stop(deadlineMs);
      await work.release();
      await insight.close();
      await queue.close();
      await audit.makeUp();
      await models.sequelize.close();
    },
  };
}

/** Has a person consent to Google Drive: see `gdriveLogin` of storages. Loaded only when a command asks for it. */
export async function loginToGdrive(options: GdriveLogin): Promise<string> {
  const { gdriveLogin } = await import('./storages/gdrive-login.js');
  return gdriveLogin(options);
}

/** The distant storage that the environment names, with the address that its settings lead to. */
interface EnvironmentStorage {
  address: StorageAddress;
  settings: StorageSettings;
}

/** Null where the environment names a folder. @throws AppError CONFIG_INVALID naming the variable */
function environmentStorage({
  seed: { storageType },
  storageValues,
  localRoot,
}: Environment): EnvironmentStorage | null {
  const values = storageValues[storageType];
  if (values === undefined) return null;
  const storages = createStorages(localRoot);
  const settings = settingsOf(storages.kindOf(storageType), storageType, values);
  try {
    return { address: storages.addressOf(settings), settings };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const variable = `${storageType}_${(error.field ?? '').replace(/[A-Z]/g, '_$&').toUpperCase()}`;
    const problem = error.message.replace(`${error.field}: `, `${variable} `);
    throw new AppError('CONFIG_INVALID', `The environment has a problem:\n- ${problem}`, { cause: error });
  }
}

/** The domain, put together: each part gets what it needs of the others. */
async function createServices(
  environment: Environment,
  options: AppOptions,
  log: Log,
  now: () => Date,
  distant: EnvironmentStorage | null,
) {
  const { dataDir, localRoot, allowedPaths } = environment;
  const controlFile = controlPath(environment.controlDatabaseUrl);
  const workFolder = join(dataDir, 'tmp');
  const secrets = new Secrets({ given: environment.secretsKey, file: environment.secretsKeyFile });
  const passwords = {
    sealUrl: (url: string, saved?: string) => sealUrl(secrets, url, saved),
    openUrl: (url: string) => openUrl(secrets, url),
  };
  const engines =
    options.engines ??
    createEngines({
      ...{ scratch: workFolder, pgBinDir: environment.pgBinDir, mysqlBinDir: environment.mysqlBinDir, passwords },
    });
  const controlKey = await controlKeyOf(engines, environment.controlDatabaseUrl);
  // Before the control database is opened, which would make its tables in the database that is to be protected.
  const [seedFile] = await engines.filesOf(environment.seed.databaseUrl);
  if (seedFile !== undefined) await assertNotControl(seedFile, controlFile);
  if (environment.seed.databaseUrl !== '') {
    const engine = engines.forUrl(environment.seed.databaseUrl);
    await assertNotControlServer(engine, engine.resolve(environment.seed.databaseUrl).url, controlKey);
  }
  const models = await openModels(environment.controlDatabaseUrl);
  const saved = (address: StorageAddress) => savedSettings({ models, secrets }, address, distant);
  const storages = options.storages ?? createStorages(localRoot, saved);
  const audit = new Audit(models, now, log);
  const keys = new Keys({ models, secrets, audit, now });
  const auth = new Auth(models, environment.auth, audit, now);
  const productFolder = fileURLToPath(new URL('..', import.meta.url));
  const commands = new Commands(environment.drillCommands, DRILL_COMMANDS);
  const hookCommands = new Commands(environment.hooks, HOOKS);
  const laid = [commands, hookCommands];
  const places = new Places({
    ...{ models, engines, allowedPaths, productFolder, dataDir, localRoot, commands: laid },
  });
  const configs = new Configs({
    ...{ places, keys, models, engines, storages, audit, now, commands, controlFile, controlKey },
  });
  await mkdir(workFolder, { recursive: true, mode: 0o700 });
  const queue = lazyQueue(environment, models, log, () => ({
    backups: {
      async run(id, signal) {
        const outcome = await backups.run(id, signal);
        await copies.tick();
        return outcome;
      },
    },
    restores,
    verifications,
    cleanup,
    controlBackups,
  }));
  const { leaseMs, prefix, compressionThreads, maxUploadBytes, maxUploadEntries } = environment;
  const controlled = controlFiles(environment.controlDatabaseUrl);
  const exclude = [dataDir, localRoot, ...controlled, ...laid.flatMap(({ folder }) => folder ?? [])];
  const notifier = createNotifier({ mail: environment.mail, publicUrl: environment.publicUrl });
  const onEnded: CoreEnvironment['onEnded'] = async (run, transaction) => {
    if (run.table === 'Backup') await backupEnded({ models, now, storages }, run, transaction);
    if (run.table === 'Restore') await restoreEnded(models, run, transaction);
    await notifyEnded({ models, now, log, notifier }, run, transaction);
    notifications.noteEnded();
  };
  const onStarted: CoreEnvironment['onStarted'] = (run) =>
    notifyStarted({ models, now, log, notifier }, run).catch((error: unknown) => {
      log.warn({ err: error, run: run.id }, 'the start of a run could not be told to its heartbeats');
    });
  const hooks = new Hooks({ log, workFolder }, hookCommands);
  const onDeletionPlanned: CoreEnvironment['onDeletionPlanned'] = async (rows) => {
    await notifyPlanned({ models, now, log }, rows);
    notifications.noteEnded();
  };
  const shared = {
    places,
    onDeletionPlanned,
    deletionDelayMs: environment.deletionDelayMs,
    hooks,
    keys,
    models,
    log,
    leaseMs,
    onEnded,
    onStarted,
    now,
    engines,
    storages,
    audit,
    queue,
    workFolder,
    exclude,
  };
  const limits = { maxUploadBytes, maxUploadEntries, compressionThreads };
  const backups = new Backups({ ...shared, ...limits, configs, dataDir, prefix, version: VERSION });
  const copies = new Copies(shared);
  const restores = new Restores({ ...shared, backups, controlFile, controlKey });
  const reports = new DrillReports({ ...shared, secrets, version: VERSION });
  const drilling = { ...shared, reports, commands, drillDatabaseUrl: environment.drillDatabaseUrl };
  const verifications = new Verifications(drilling);
  const reverification = new Reverification({
    ...shared,
    verifications,
    dailyBytes: environment.reverifyDailyBytes,
  });
  const insight = new Insight({ ...shared, backups, drillDatabaseUrl: environment.drillDatabaseUrl });
  const configTests = new ConfigTests({ ...shared, configs, controlFile, controlKey });
  const servers = new Servers({ engines, configs, configTests, keys, controlKey });
  const databaseWatch = new DatabaseWatch({ ...shared, configs, servers });
  const destinations = new Destinations({ ...shared, secrets });
  const browser = new Browser({ engines, allowedPaths, controlFile });
  const scheduler = new Scheduler({ ...shared, backups, drills: verifications });
  const cleanup = new Cleanup({ ...shared, backups, configs, keys });
  const overview = new Overview(shared);
  const told = { ...shared, notifier, secrets, timezone: environment.seed.timezone };
  const channels = new Channels(told);
  const notifications = new Notifications({ ...told, overview });
  const controlBackups = new ControlBackups({ ...shared, secrets, version: VERSION });
  const recoveryKits = new RecoveryKits({ ...shared, secrets, version: VERSION });
  const recovery = new Recovery({ ...shared, secrets, destinations, backups, configs, copies, cleanup, scheduler });
  return {
    models,
    engines,
    storages,
    auth,
    audit,
    configs,
    configTests,
    servers,
    databaseWatch,
    destinations,
    keys,
    places,
    browser,
    backups,
    copies,
    restores,
    verifications,
    reports,
    reverification,
    insight,
    scheduler,
    cleanup,
    overview,
    channels,
    notifications,
    hooks,
    recoveryKits,
    controlBackups,
    recovery,
    queue,
  };
}

/** The control database as an engine names it in locks; null for a file, or for what no engine knows. */
async function controlKeyOf(engines: Engines, url: string): Promise<string | null> {
  if (controlPath(url) !== null) return null;
  try {
    // Its parameters are those of another driver.
    const plain = url.replace(/\?.*$/, '');
    return await engines.forUrl(plain).keyOf(plain);
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}

/** A queue that opens its job store at the first use: most commands need none, and its libraries take a while to load. */
function lazyQueue(environment: Environment, models: Models, log: Log, workers: () => Workers) {
  let opening: Promise<Jobs> | null = null;
  let store: JobStore | null = null;
  const open = async (): Promise<Jobs> => {
    const { createBackend, createHandlers, createJobs } = await import('./jobs/index.js');
    const downloadFolder = join(environment.dataDir, 'mongodb');
    store = await createBackend(environment.jobsUrl, models.sequelize, { log, downloadFolder });
    const handlers = createHandlers(workers(), queue);
    return createJobs({ backend: store.backend, handlers, concurrency: environment.jobConcurrency, log });
  };
  const queue = {
    /** Opens the job store; called again after a failure, it tries again. */
    connect: (): Promise<Jobs> =>
      (opening ??= open().catch((error: unknown) => {
        opening = null;
        throw error;
      })),
    add: async (job: Job, options?: { delayMs?: number }) => (await queue.connect()).add(job, options),
    /** Ends the work of this process's queue, if it was ever opened. */
    stop: async (deadlineMs: number) => (await opening?.catch(() => null))?.stop(deadlineMs),
    close: async () => store?.close(),
  };
  return queue;
}

interface WorkParts {
  environment: Environment;
  log: Log;
  models: Models;
  now: () => Date;
  queue: ReturnType<typeof lazyQueue>;
  audit: Audit;
  scheduler: Scheduler;
  backups: Backups;
  copies: Copies;
  restores: Restores;
  verifications: Verifications;
  reverification: Reverification;
  cleanup: Cleanup;
  databaseWatch: DatabaseWatch;
  notifications: Notifications;
}

/** What a process does that runs jobs: it sweeps every few seconds, and its queue works. */
function createWork(parts: WorkParts) {
  const { environment, log, queue, scheduler, copies, reverification, databaseWatch, notifications } = parts;
  let node: Hold | null = null;
  let sweeper: NodeJS.Timeout | null = null;
  let stopped: Promise<void> | null = null;
  return {
    async start() {
      const jobs = await queue.connect();
      const held = await Hold.take({ ...parts, leaseMs: environment.leaseMs }, [nodeLease()]);
      if (held instanceof Hold) node = held;
      await scheduler.realign();
      copies.start();
      await sweep(parts);
      notifications.start();
      sweeper = setInterval(
        () => void sweep(parts).catch((error: unknown) => log.error({ err: error }, 'the sweep failed')),
        Math.min(SWEEP_EVERY, environment.leaseMs / 2),
      );
      await jobs.start();
    },
    stop(deadlineMs = environment.shutdownMs) {
      if (sweeper !== null) clearInterval(sweeper);
      const all = () => [queue.stop(deadlineMs), copies.stop(), reverification.stop(), databaseWatch.stop()];
      // The runs that end here are told of by whoever delivers next.
      return (stopped ??= Promise.all([...all(), notifications.stop()]).then(() => undefined));
    },
    release: async () => node?.release(),
  };
}

/** Ends what died, hands what waits to the queue, begins copies, makes what is due, and asks once an hour for what is done then. */
async function sweep({
  audit,
  restores,
  backups,
  verifications,
  reverification,
  copies,
  scheduler,
  models,
  queue,
  databaseWatch,
}: WorkParts): Promise<void> {
  await audit.makeUp();
  await restores.recover();
  await backups.recover();
  await verifications.recover();
  await backups.requeue();
  await restores.requeue();
  await verifications.requeue();
  await copies.tick();
  await scheduler.tick();
  await scheduler.tickDrills();
  // Only the node that takes this lease asks for what is done once an hour.
  const mine = await models.leases.acquire('due:cleanup', `${Date.now()}-${Math.random()}`, CLEANUP_EVERY);
  if (!mine) return;
  await scheduler.realign();
  await queue.add({ name: 'cleanup' });
  await queue.add({ name: 'control-backup' });
  databaseWatch.begin();
  reverification.begin();
}

/** What every run needs: a record that can be written, and a work folder. @throws AppError */
async function tryWriting({ environment, models }: App): Promise<void> {
  await models.leases.acquire('probe', `${hostname()}:${process.pid}`, 1_000);
  const folder = join(environment.dataDir, 'tmp');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await rmdir(await mkdtemp(join(folder, 'probe-')));
}

/** The API and the downloads of an app over HTTP. Loaded only by a process that serves. */
export async function createServer(app: App): Promise<HttpServer> {
  const [{ createGraphql }, { createHttp }, { assistantDoor }] = await Promise.all([
    import('./graphql/server.js'),
    import('./http/index.js'),
    import('./mcp/index.js'),
  ]);
  const { environment } = app;
  const stopping = new AbortController();
  const about = {
    version: VERSION,
    startedAt: app.now(),
    sampleUrl: sampleUrl(join(environment.dataDir, 'sample')),
    controlDatabase: controlPath(environment.controlDatabaseUrl) === null ? ('POSTGRES' as const) : ('SQLITE' as const),
    jobStore: jobStoreOf(environment.jobsUrl),
    basePath: environment.basePath,
  };
  const services = { ...app, about, stopping: stopping.signal };
  const { maxUploadBytes, corsOrigins, trustProxy, publicUrl, basePath } = environment;
  const ownOrigin = publicUrl === null ? [] : [new URL(publicUrl).origin];
  const origins = [...corsOrigins, ...ownOrigin];
  const settings = { ...environment.graphql, maxUploadBytes, corsOrigins: origins, trustProxy };
  const graphql = await createGraphql(services, settings);
  const http = createHttp({
    ...services,
    graphql,
    assistant: assistantDoor({
      auth: app.auth,
      ask: graphql.ask,
      maxBodyBytes: settings.maxBodyBytes,
      version: VERSION,
    }),
    explorer: environment.graphql.explorer,
    corsOrigins,
    basePath,
    version: VERSION,
    metricsToken: environment.metricsToken,
    ping: () => tryWriting(app),
  });
  return {
    listen: (port, host) => http.listen(port, host),
    close(deadlineMs) {
      stopping.abort(new AppError('INTERRUPTED', 'The server is stopping.'));
      return http.close(deadlineMs);
    },
  };
}

function jobStoreOf(url: string): 'CONTROL_DATABASE' | 'MONGODB' | 'POSTGRES' | 'MONGODB_MEMORY' {
  if (url === '') return 'CONTROL_DATABASE';
  if (url.startsWith('mongodb-memory:')) return 'MONGODB_MEMORY';
  return url.startsWith('mongodb') ? 'MONGODB' : 'POSTGRES';
}

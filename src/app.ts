import { mkdir, mkdtemp, rmdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Auth } from './auth/index.js';
import { Audit } from './core/audit.js';
import { Cleanup } from './core/retention/cleanup.js';
import { Scheduler } from './core/schedules/scheduler.js';
import { Hold } from './core/runs/hold.js';
import { databaseFiles } from './core/text/names.js';
import { nodeLease, Overview } from './core/status/overview.js';
import { Backups } from './core/backups/backups.js';
import { Browser } from './core/discovery/browse.js';
import { ConfigTests } from './core/configs/trials.js';
import { Configs } from './core/configs/configs.js';
import { assertNotControl } from './core/configs/settings.js';
import { Places } from './core/configs/places.js';
import { Restores } from './core/restores/restores.js';
import { createEngines } from './engines/index.js';
import type { Jobs } from './jobs/index.js';
import type { Environment } from './environment.js';
import { AppError } from './errors.js';
import type { HttpServer } from './http/index.js';
import type { Engines, Job, JobQueue, Storages } from './core/ports.js';
import { createLog, type Log } from './log.js';
import { controlPath, type Models, openModels } from './models/index.js';
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
  auth: Auth;
  audit: Audit;
  configs: Configs;
  configTests: ConfigTests;
  places: Places;
  browser: Browser;
  backups: Backups;
  restores: Restores;
  scheduler: Scheduler;
  cleanup: Cleanup;
  overview: Overview;
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
export async function createApp(environment: Environment, options: AppOptions = {}): Promise<App> {
  const log = options.log ?? createLog(environment.logLevel);
  const now = options.now ?? (() => new Date());
  const controlFile = controlPath(environment.controlDatabaseUrl);
  const workFolder = join(environment.dataDir, 'tmp');
  const engines = options.engines ?? createEngines({ scratch: workFolder });
  const seedFile = environment.seed.databaseUrl.startsWith('sqlite:') ? environment.seed.databaseUrl.slice(7) : null;
  if (seedFile !== null) await assertNotControl(seedFile, controlFile);
  const models = await openModels(environment.controlDatabaseUrl);
  const storages = options.storages ?? createStorages(environment.localRoot);
  const audit = new Audit(models, now, log);
  const auth = new Auth(models, environment.auth, audit, now);
  const places = new Places({
    models,
    engines,
    allowedPaths: environment.allowedPaths,
    productFolder: fileURLToPath(new URL('..', import.meta.url)),
    dataDir: environment.dataDir,
    localRoot: environment.localRoot,
  });
  const configs = new Configs({ places, models, engines, storages, audit, now, controlFile });
  await mkdir(workFolder, { recursive: true, mode: 0o700 });

  let jobs: Jobs | null = null;
  let closeStore: (() => Promise<void>) | null = null;
  let sweeper: NodeJS.Timeout | null = null;
  let opening: Promise<Jobs> | null = null;
  const connectQueue = () =>
    (opening ??= openQueue().catch((error: unknown) => {
      // Asked again, it tries again.
      opening = null;
      throw error;
    }));
  const openQueue = async (): Promise<Jobs> => {
    // Most commands need no queue, and its libraries take a while to load.
    const parts = await import('./jobs/index.js');
    const { cleanupJob, createBackend, createJobs, dailyBackupJob, runBackupJob, runRestoreJob } = parts;
    const store = await createBackend(environment.jobsUrl, models.sequelize, {
      log,
      downloadFolder: join(environment.dataDir, 'mongodb'),
    });
    closeStore = store.close;
    const handlers = {
      // In the order in which a free slot looks for work: restores first.
      'run-restore': runRestoreJob(restores, () => queue),
      'run-backup': runBackupJob(backups, () => queue),
      'daily-backup': dailyBackupJob(scheduler),
      cleanup: cleanupJob(cleanup),
    };
    jobs = createJobs({ backend: store.backend, handlers, concurrency: environment.jobConcurrency, log });
    return jobs;
  };
  const queue: JobQueue = {
    add: async (job: Job, addOptions) => (await connectQueue()).add(job, addOptions),
  };
  const shared = {
    places,
    models,
    log,
    leaseMs: environment.leaseMs,
    now,
    engines,
    storages,
    audit,
    queue,
    workFolder,
  };
  const exclude = [
    environment.dataDir,
    environment.localRoot,
    ...(controlFile === null ? [] : databaseFiles(controlFile)),
  ];
  const backups = new Backups({
    ...shared,
    configs,
    prefix: environment.prefix,
    version: VERSION,
    exclude,
    maxUploadBytes: environment.maxUploadBytes,
    maxUploadEntries: environment.maxUploadEntries,
  });
  const restores = new Restores({ ...shared, backups, controlFile, exclude });
  const configTests = new ConfigTests({ ...shared, configs, controlFile, exclude });
  const browser = new Browser({ allowedPaths: environment.allowedPaths, controlFile });

  const scheduler = new Scheduler({ ...shared, backups });
  const cleanup = new Cleanup({ ...shared, backups, configs });
  const overview = new Overview(shared);

  let hold: Hold | null = null;
  const sweep = async () => {
    await audit.makeUp();
    await restores.recover();
    await backups.recover();
    await backups.requeue();
    await restores.requeue();
    await queue.add({ name: 'daily-backup' });
    // One node in the hour wins this lease, and asks for the clean-up.
    const mine = await models.leases.acquire('due:cleanup', `${Date.now()}-${Math.random()}`, CLEANUP_EVERY);
    if (!mine) return;
    await scheduler.realign();
    await queue.add({ name: 'cleanup' });
  };
  let stopped: Promise<void> | null = null;
  const stopWork = (deadlineMs = environment.shutdownMs) => {
    if (sweeper !== null) clearInterval(sweeper);
    return (stopped ??= jobs?.stop(deadlineMs) ?? Promise.resolve());
  };
  return {
    environment,
    log,
    now,
    models,
    engines,
    auth,
    audit,
    configs,
    configTests,
    places,
    browser,
    backups,
    restores,
    scheduler,
    cleanup,
    overview,
    connectQueue,
    async startWork() {
      const work = await connectQueue();
      const node = await Hold.take(shared, [nodeLease()]);
      if (node instanceof Hold) hold = node;
      await scheduler.realign();
      await sweep();
      sweeper = setInterval(
        () => void sweep().catch((error: unknown) => log.error({ err: error }, 'the sweep of dead runs failed')),
        Math.min(SWEEP_EVERY, environment.leaseMs / 2),
      );
      await work.start();
    },
    stopWork,
    async close(deadlineMs) {
      await stopWork(deadlineMs);
      await hold?.release();
      await closeStore?.();
      await audit.makeUp();
      await models.sequelize.close();
    },
  };
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
  const [{ createGraphql }, { createHttp }] = await Promise.all([
    import('./graphql/server.js'),
    import('./http/index.js'),
  ]);
  const { environment } = app;
  const stopping = new AbortController();
  const about = {
    version: VERSION,
    startedAt: app.now(),
    sampleUrl: `sqlite:${join(environment.dataDir, 'sample', 'db.sqlite3')}`,
    controlDatabase: controlPath(environment.controlDatabaseUrl) === null ? ('POSTGRES' as const) : ('SQLITE' as const),
    jobStore: jobStoreOf(environment.jobsUrl),
  };
  const services = { ...app, about, stopping: stopping.signal };
  const { maxUploadBytes, corsOrigins } = environment;
  const graphql = await createGraphql(services, { ...environment.graphql, maxUploadBytes, corsOrigins });
  const http = createHttp({
    ...services,
    graphql,
    explorer: environment.graphql.explorer,
    corsOrigins,
    version: VERSION,
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

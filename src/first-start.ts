import { rm } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from './app.js';
import {
  createFromEnvironment,
  type Difference,
  type EnvironmentSettings,
  environmentSettings,
  followEnvironment,
  seedSettings,
} from './core/configs/from-environment.js';
import { Hold } from './core/runs/hold.js';
import { humanSize } from './core/text/format.js';
import type { BackupConfigRow, BackupRow } from './models/index.js';
import { createSample } from './sample/index.js';

const ACTOR = 'system';
const SAMPLE_NAME = 'Sample application';
/** How long a start waits for the end of its first backup, in milliseconds, and how often it looks. */
const FIRST_BACKUP_WITHIN = 60_000;
const LOOK_MS = 200;

/** What a start found and did. */
export interface FirstStart {
  /** True if this start made a config, or gave it another database; a later one does not. */
  created: boolean;
  /** True if that config is the sample application's. */
  sample: boolean;
  /** Sentences about the environment that its reader should know. */
  notes: string[];
}

const nothing = (notes: string[] = []): FirstStart => ({ created: false, sample: false, notes });

/**
 * Makes the first config: from DATABASE_URL, or, where that is empty, of a sample application that is made below DATA_DIR.
 * Does so once in the life of a control database, whatever is deleted later and however many processes start at once.
 * A config that was made of the environment follows it until it is edited in the product. When DATABASE_URL is set after a
 * start with the sample, its config takes the place of the sample's.
 * @param options `serves: false` for a command or a worker: it makes no sample, and its environment may lack what the
 * server's has, so it changes nothing that is there
 */
export async function ensureFirstConfig(app: App, { serves = true } = {}): Promise<FirstStart> {
  if (!serves && !(await isWanted(app, serves))) return nothing();
  const { environment, log, models } = app;
  for (;;) {
    const made = await Hold.during<FirstStart | 'busy'>(
      { models, log, leaseMs: environment.leaseMs },
      ['first-start'],
      () => ensure(app, serves),
      () => 'busy',
    );
    if (made !== 'busy') return made;
    await sleep(LOOK_MS);
  }
}

async function ensure(app: App, serves: boolean): Promise<FirstStart> {
  if (await isWanted(app, serves)) return makeConfig(app);
  if (!serves) return nothing();
  const settings = environmentSettings(app.environment.seed);
  const started = settings === null ? nothing() : await follow(app, settings);
  await removeSample(app);
  return started;
}

async function follow(app: App, settings: EnvironmentSettings): Promise<FirstStart> {
  const row = await app.models.BackupConfig.findOne({ where: { origin: 'ENVIRONMENT' }, order: [['id', 'ASC']] });
  if (row === null) return nothing(await unused(app, settings));
  const followed = await followEnvironment(app.configs, row, settings, ACTOR);
  if (followed.state === 'same') return nothing();
  if (followed.state === 'differs') return nothing(differs(row, followed.differences, followed.busy));
  const notes = [`Config ${row.id} now follows the changed environment: ${followed.variables.join(', ')}.`];
  return { created: followed.database, sample: false, notes };
}

/** What to say of a DATABASE_URL of which no config was made. */
async function unused({ configs, engines }: App, { databaseUrl }: EnvironmentSettings): Promise<string[]> {
  const engine = engines.forUrl(databaseUrl);
  const key = await engine.keyOf(engine.resolve(databaseUrl).url);
  const present = await configs.list();
  if (present.some((row) => row.databaseKey === key)) return [];
  return [
    'DATABASE_URL names a database that no config protects. To protect it: npx db-manager config create --from-environment',
  ];
}

function differs({ id, name }: BackupConfigRow, differences: Difference[], busy: boolean): string[] {
  const head = busy
    ? `Config ${id} "${name}" has a run under way and does not follow the changed environment yet:`
    : `Config ${id} "${name}" was edited in the product, so it does not follow the environment any more. They differ in:`;
  const lines = differences.map(
    ({ variable, environment, product }) => `  ${variable}: ${environment} (environment), ${product} (config)`,
  );
  const remedy = busy
    ? ['Start again when the run has ended.']
    : [
        `To use the environment's settings: npx db-manager config adopt environment`,
        `To keep the config's settings:     npx db-manager config adopt product`,
      ];
  return [head, ...lines, ...remedy];
}

/**
 * Takes the first backup and waits for its end, but not for ever: that of a large database may take long.
 * @param within in milliseconds
 * @returns the row, which may still wait or be under way
 */
export async function takeFirstBackup(
  app: App,
  { sample }: Pick<FirstStart, 'sample'>,
  within = FIRST_BACKUP_WITHIN,
): Promise<BackupRow> {
  const configId = (await firstConfig(app)).id;
  const request = { backupType: 'MANUAL', note: 'First backup', configId } as const;
  if (sample) {
    const { id } = await app.backups.create(request, ACTOR);
    await app.backups.run(id, new AbortController().signal);
    return app.backups.get(id);
  }
  const row = await app.backups.request(request, ACTOR);
  const until = performance.now() + within;
  while (isOpen(row) && performance.now() < until) {
    await sleep(LOOK_MS);
    await row.reload();
  }
  return row;
}

const isOpen = ({ status }: BackupRow) => status === 'PENDING' || status === 'RUNNING';

/**
 * Makes the first channel where the environment says how mail leaves and who is to get it.
 * @returns what to say of it; null if nothing was made
 */
export async function ensureFirstChannel({ channels, environment }: App): Promise<string | null> {
  const { mail, notifyEmail } = environment;
  if (mail === null || notifyEmail === null) return null;
  const made = await channels.ensureFirst(notifyEmail, ACTOR);
  if (made === null) return null;
  // No reason to keep backups from being made.
  if (made instanceof Error) return `No notifications: ${made.message} Set NOTIFY_EMAIL to an address that gets mail.`;
  return `Notifications: mail to ${made.target}. Try it: npx db-manager channels test ${made.id}`;
}

/** What to say after a first start: what is protected, where the first backup lies, and what to do next. */
export async function firstSteps(app: App, { sample }: Pick<FirstStart, 'sample'>, backup: BackupRow): Promise<string> {
  const config = await firstConfig(app);
  const first = sample
    ? 'Protect your own application: write DATABASE_URL=… and MEDIA_PATHS=… into .env (see .env.example), then start again.'
    : `See the settings of "${config.name}": npx db-manager config show ${config.id}`;
  const steps =
    backup.status === 'FAILED'
      ? ['Correct the cause, then start again; or correct the config on the admin page and back up from there.']
      : [
          first,
          `See what a restore would do: npx db-manager restore ${isOpen(backup) ? 'latest' : backup.id} --dry-run`,
          `Keep copies away from this machine: the archives in ${dirname(backup.filePath)} are plain ZIP files.`,
        ];
  const done = backup.status === 'COMPLETED';
  const title = done ? 'Protected:    ' : 'Not protected:';
  return [
    `${title}${done ? '' : ' '}${config.name}: ${app.configs.maskedUrl(config)}`,
    `First backup: ${backupState(backup)}`,
    'Next steps:',
    ...steps.map((step, index) => `  ${index + 1}. ${step}`),
  ].join('\n');
}

function backupState(backup: BackupRow): string {
  if (backup.status === 'COMPLETED') return `${backup.filePath} (${humanSize(backup.fileSize ?? 0)}, verified)`;
  if (backup.status === 'FAILED') {
    return `FAILED with ${backup.errorCode}: ${backup.errorMessage}\n              ${backup.errorHint}`;
  }
  return `still under way; to see how it goes: npx db-manager show ${backup.id}`;
}

/**
 * What to say at a later start if the first config's database cannot be backed up now.
 * @returns null if it can, or if there is no config
 */
export async function missingDatabase(app: App): Promise<string | null> {
  const [config] = await app.configs.list();
  const problem = config === undefined ? null : await app.configs.databaseProblem(config);
  if (config === undefined || problem === null) return null;
  return `Not protected: ${config.name}: ${problem.code}: ${problem.message}\n               ${problem.hint}`;
}

/** The config that a first start is about. */
async function firstConfig(app: App): Promise<BackupConfigRow> {
  const made = await app.models.BackupConfig.findOne({ where: { origin: 'ENVIRONMENT' }, order: [['id', 'ASC']] });
  return made ?? app.configs.get();
}

const sampleFolder = (app: App) => join(app.environment.dataDir, 'sample');

async function isWanted(app: App, sample: boolean): Promise<boolean> {
  const present = await app.models.BackupConfig.findAll({ attributes: ['origin'] });
  const seeded = app.environment.seed.databaseUrl !== '';
  if (present.length > 0) return seeded && present.every(({ origin }) => origin === 'SAMPLE');
  if (!seeded && !sample) return false;
  // A user who deleted every config does not want one to come back.
  return (await app.models.AuditEvent.count({ where: { action: 'config.create' } })) === 0;
}

async function makeConfig(app: App): Promise<FirstStart> {
  const settings = environmentSettings(app.environment.seed);
  if (settings === null) {
    const made = await createSample(sampleFolder(app));
    const input = { ...seedSettings(app.environment.seed), ...made, name: SAMPLE_NAME };
    await app.configs.create(input, ACTOR, { origin: 'SAMPLE' });
    return { created: true, sample: true, notes: [] };
  }
  const before = await sampleBackups(app);
  const { name } = await createFromEnvironment(app.configs, settings, ACTOR, app.environment.seed.usesPrefix);
  await removeSample(app, before, name);
  return { created: true, sample: false, notes: [] };
}

/** The backups of the sample that the product made on its own: nothing in them is anyone's. */
async function sampleBackups({ models }: App): Promise<string[]> {
  const samples = await models.BackupConfig.findAll({ attributes: ['id'], where: { origin: 'SAMPLE' } });
  const where = { configId: samples.map(({ id }) => id), createdBy: ACTOR, pinned: false, status: 'COMPLETED' };
  return (await models.Backup.findAll({ attributes: ['id'], where })).map(({ id }) => id);
}

/** Removes the sample application once it has no config and nothing of it is used any more. */
async function removeSample(app: App, backups: string[] = [], successor = ''): Promise<void> {
  const configs = await app.configs.list();
  const folder = sampleFolder(app);
  const uses = async ({ origin, databaseUrl, mediaPaths }: BackupConfigRow) =>
    origin === 'SAMPLE' ||
    [...(await app.engines.filesOf(databaseUrl)), ...mediaPaths].some((path) =>
      `${path}${sep}`.startsWith(`${folder}${sep}`),
    );
  if (configs.length === 0) return;
  for (const config of configs) if (await uses(config)) return;
  try {
    if (backups.length > 0) await app.backups.remove(backups, ACTOR, `the sample gave way to "${successor}"`);
    await rm(folder, { recursive: true, force: true });
  } catch (error) {
    app.log.warn({ err: error }, 'what is left of the sample application could not be removed');
  }
}

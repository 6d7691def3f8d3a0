import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from './app.js';
import { Hold } from './core/hold.js';
import { humanSize } from './core/names.js';
import type { BackupConfigRow, BackupRow } from './models/index.js';
import { createSample } from './sample/index.js';

const ACTOR = 'system';
const SAMPLE_NAME = 'Sample application';

/** What a start found and did. */
export interface FirstStart {
  /** True if this start made a config; a later one does not. */
  created: boolean;
  /** True if that config is the sample application's. */
  sample: boolean;
}

/**
 * Makes the first config: from DATABASE_URL, or, where that is empty, of a sample application that is made below DATA_DIR.
 * Does so once in the life of a control database, whatever is deleted later and however many processes start at once.
 * When DATABASE_URL is set after a start with the sample, its config takes the place of the sample's, whose backups stay.
 * @param options `sample: false` makes no sample, for a command that only works with what there is
 */
export async function ensureFirstConfig(app: App, { sample = true } = {}): Promise<FirstStart> {
  const nothing = { created: false, sample: false };
  if (!(await isWanted(app, sample))) return nothing;
  const { config, log, models } = app;
  for (;;) {
    const made = await Hold.during<FirstStart | 'busy'>(
      { models, log, leaseMs: config.leaseMs },
      ['first-start'],
      async () => ((await isWanted(app, sample)) ? makeConfig(app) : nothing),
      () => 'busy',
    );
    if (made !== 'busy') return made;
    await sleep(200);
  }
}

/**
 * Takes the first backup. The sample's is made at once, so that it can be shown; that of a database of any size is left to
 * the queue.
 */
export async function takeFirstBackup(app: App, { sample }: Pick<FirstStart, 'sample'>): Promise<BackupRow> {
  const request = { backupType: 'MANUAL', note: 'First backup' } as const;
  if (!sample) return app.backups.request(request, ACTOR);
  const { id } = await app.backups.create(request, ACTOR);
  await app.backups.run(id, new AbortController().signal);
  return app.backups.get(id);
}

/** What to tell after a first start: what is protected, where the first backup lies, and what to do next. */
export async function firstSteps(app: App, { sample }: FirstStart, backup: BackupRow): Promise<string> {
  const config = await app.configs.get();
  const state =
    backup.status === 'COMPLETED'
      ? `${backup.filePath} (${humanSize(backup.fileSize ?? 0)}, verified)`
      : `${backup.status}: see \`db-manager show ${backup.id}\``;
  const first = sample
    ? 'Protect your own application: write DATABASE_URL=… and MEDIA_PATHS=… into .env (see .env.example), then start again.'
    : `Look at the settings of "${config.name}": npx db-manager configs`;
  return [
    `Protected:    ${config.name}: ${app.configs.maskedUrl(config)}`,
    `First backup: ${state}`,
    'Next steps:',
    `  1. ${first}`,
    `  2. See what a restore would do: npx db-manager restore ${backup.id} --dry-run`,
    `  3. Keep copies away from this machine: the archives in ${dirname(backup.filePath)} are plain ZIP files.`,
  ].join('\n');
}

const sampleFolder = (app: App) => join(app.config.dataDir, 'sample');

const isSample = (app: App, row: BackupConfigRow) =>
  row.name === SAMPLE_NAME && row.databaseUrl === `sqlite:${join(sampleFolder(app), 'db.sqlite3')}`;

async function isWanted(app: App, sample: boolean): Promise<boolean> {
  const present = await app.configs.list();
  const seeded = app.config.seed.databaseUrl !== '';
  if (present.length > 0) return seeded && present.every((row) => isSample(app, row));
  if (!seeded && !sample) return false;
  // Whoever has deleted every config does not want one to come back.
  return (await app.models.AuditEvent.count({ where: { action: 'config.create' } })) === 0;
}

async function makeConfig(app: App): Promise<FirstStart> {
  const { seed, prefix } = app.config;
  const common = {
    storageType: seed.storageType,
    storagePath: seed.storagePath,
    autoBackupEnabled: seed.autoEnabled,
    schedule: seed.schedule,
    timezone: seed.timezone,
    backupRetentionDays: seed.retentionDays,
    maxBackupFiles: seed.maxFiles,
  };
  if (seed.databaseUrl === '') {
    const made = await createSample(sampleFolder(app));
    await app.configs.create({ ...common, ...made, name: SAMPLE_NAME }, ACTOR);
    return { created: true, sample: true };
  }
  const { databaseUrl, mediaPaths } = seed;
  const samples = await app.configs.list();
  // Made before the sample's goes: a wrong setting, which fails here, leaves everything as it was.
  const made = await app.configs.create({ ...common, databaseUrl, mediaPaths, name: prefix }, ACTOR);
  try {
    for (const row of samples) await app.configs.remove(row.id, ACTOR);
  } catch (error) {
    await app.configs.remove(made.id, ACTOR);
    throw error;
  }
  return { created: true, sample: false };
}

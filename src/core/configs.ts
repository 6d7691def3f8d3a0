import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { UniqueConstraintError } from 'sequelize';
import { AppError, badInput } from '../errors.js';
import type { BackupConfigRow, Models } from '../models/index.js';
import type { Audit } from './audit.js';
import type { Engine, Engines, Storages, StorageType } from './ports.js';
import { assertPolicy, type RetentionPolicy } from './retention.js';
import { assertSchedule, jitter, nextRun, normaliseSchedule } from './schedules.js';

/** What the configs need of the process around them. */
export interface ConfigsEnvironment {
  models: Models;
  engines: Engines;
  storages: Storages;
  audit: Audit;
  now: () => Date;
  /** The control database's file, or null where it is a server. */
  controlFile: string | null;
}

/** The fields of a config that can be set; what is left out stays as it is, or gets its default. */
export interface ConfigInput {
  name?: string | undefined;
  databaseUrl?: string | undefined;
  mediaPaths?: string[] | undefined;
  storageType?: StorageType | undefined;
  storagePath?: string | undefined;
  autoBackupEnabled?: boolean | undefined;
  schedule?: string | undefined;
  timezone?: string | undefined;
  backupRetentionDays?: number | undefined;
  maxBackupFiles?: number | undefined;
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
}

const DEFAULTS = {
  mediaPaths: [] as string[],
  storageType: 'LOCAL' as StorageType,
  autoBackupEnabled: true,
  schedule: '0 2 * * *',
  timezone: 'UTC',
  backupRetentionDays: 30,
  maxBackupFiles: 30,
  restoreLockTimeout: 30,
  safetyRetentionDays: 7,
  jitterSeconds: 0,
  keepLast: null,
  keepHourly: null,
  keepDaily: null,
  keepWeekly: null,
  keepMonthly: null,
  keepYearly: null,
  keepWithin: null,
  maxTotalSize: null,
};

/** Configs: what to protect and how. Nothing is saved that could not work or could hurt. */
export class Configs {
  constructor(private readonly env: ConfigsEnvironment) {}

  list(): Promise<BackupConfigRow[]> {
    return this.env.models.BackupConfig.findAll({ order: [['id', 'ASC']] });
  }

  find(id: number): Promise<BackupConfigRow | null> {
    return this.env.models.BackupConfig.findByPk(id);
  }

  /** The config of this id, or the first one where no id is given. @throws AppError NOT_FOUND */
  async get(id?: number): Promise<BackupConfigRow> {
    const row =
      id === undefined ? await this.env.models.BackupConfig.findOne({ order: [['id', 'ASC']] }) : await this.find(id);
    if (row !== null) return row;
    throw id === undefined
      ? new AppError('NOT_FOUND', 'There is no config yet.', {
          hint: 'Set DATABASE_URL, or make one: createConfig(input: {…}).',
        })
      : new AppError('NOT_FOUND', `configId: there is no config ${id}.`, { field: 'configId' });
  }

  /** @throws AppError BAD_USER_INPUT and others, naming the field */
  async create(input: ConfigInput, actor: string): Promise<BackupConfigRow> {
    if (input.name === undefined) throw badInput('name', 'is missing.');
    if (input.databaseUrl === undefined) throw badInput('databaseUrl', 'is missing.');
    const now = this.env.now();
    const values = await this.checked({ ...DEFAULTS, ...defined(input) } as Required<ConfigInput>, null);
    const row = await this.unlessNameTaken(() =>
      this.env.models.BackupConfig.create({ ...values, createdAt: now, updatedAt: now }),
    );
    await row.update({ nextRunAt: nextDue(row, now) });
    await this.env.audit.record(actor, 'config.create', row.id, { name: row.name });
    return row;
  }

  /** @throws AppError as `create`, and CONFIG_IN_USE when the database of a config with runs under way would change */
  async update(id: number, input: ConfigInput, actor: string): Promise<BackupConfigRow> {
    const row = await this.get(id);
    const given = defined(input);
    if (given.databaseUrl === this.maskedUrl(row)) delete given.databaseUrl;
    const kept =
      given.storageType !== undefined && given.storageType !== row.storageType ? {} : { storagePath: row.storagePath };
    const values = await this.checked({ ...row.get({ plain: true }), storagePath: '', ...kept, ...given }, row);
    if (values.databaseKey !== row.databaseKey) await this.assertIdle(row);
    const now = this.env.now();
    const schedule = { ...row.get({ plain: true }), ...values };
    const same = (['autoBackupEnabled', 'schedule', 'timezone', 'jitterSeconds'] as const).every(
      (field) => row[field] === schedule[field],
    );
    const due = same ? {} : { nextRunAt: nextDue(schedule, now), retryAt: null };
    await this.unlessNameTaken(() => row.update({ ...values, ...due, updatedAt: now }));
    await this.env.audit.record(actor, 'config.update', id, { fields: Object.keys(given) });
    return row;
  }

  /** Deletes the config; its backups stay, with their archives. @throws AppError CONFIG_IN_USE */
  async remove(id: number, actor: string): Promise<BackupConfigRow> {
    const row = await this.get(id);
    await this.assertIdle(row);
    await row.destroy();
    await this.env.audit.record(actor, 'config.delete', id, { name: row.name });
    return row;
  }

  /** The database URL as it may be shown: without a password. */
  maskedUrl(row: BackupConfigRow): string {
    return this.env.engines.of(row.engine).resolve(row.databaseUrl).display;
  }

  private async checked(input: Required<ConfigInput>, present: BackupConfigRow | null) {
    const name = input.name.trim();
    if (name === '' || name.length > 200) throw badInput('name', 'must have 1 to 200 characters.');
    const engine = this.env.engines.forUrl(input.databaseUrl);
    if (/:\*\*\*@/.test(input.databaseUrl)) {
      throw badInput(
        'databaseUrl',
        'holds *** in place of the password.',
        'Write the whole URL, or leave the field out.',
      );
    }
    const { url } = engine.resolve(input.databaseUrl);
    const file = engine.fileOf(url);
    if (file !== null) await assertNotControl(file, this.env.controlFile);
    assertWhole('backupRetentionDays', input.backupRetentionDays, 36_500);
    assertWhole('maxBackupFiles', input.maxBackupFiles, 100_000);
    assertWhole('restoreLockTimeout', input.restoreLockTimeout, 86_400);
    assertWhole('safetyRetentionDays', input.safetyRetentionDays, 36_500);
    if (!Number.isInteger(input.jitterSeconds) || input.jitterSeconds < 0 || input.jitterSeconds > 3_600) {
      throw badInput('jitterSeconds', `${input.jitterSeconds} is not a whole number from 0 to 3600.`);
    }
    assertPolicy(policyOf(input as never));
    assertSchedule(input.schedule, input.timezone);
    const storagePath = input.storagePath || (input.storageType === 'LOCAL' ? '.' : '');
    const address = this.env.storages.resolve({ storageType: input.storageType, storagePath }, 'storagePath');
    return {
      name,
      engine: engine.kind,
      databaseUrl: url,
      databaseKey: await databaseKey(engine, url),
      mediaPaths: input.mediaPaths.map((path) => mediaPath(path)),
      ...address,
      autoBackupEnabled: input.autoBackupEnabled,
      schedule: normaliseSchedule(input.schedule),
      timezone: input.timezone,
      backupRetentionDays: input.backupRetentionDays,
      maxBackupFiles: input.maxBackupFiles,
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
      ...(present === null ? {} : { id: present.id }),
    };
  }

  private async unlessNameTaken<T>(save: () => Promise<T>): Promise<T> {
    try {
      return await save();
    } catch (error) {
      if (!(error instanceof UniqueConstraintError)) throw error;
      throw badInput('name', 'is the name of another config.', 'Choose another name.');
    }
  }

  private async assertIdle(row: BackupConfigRow): Promise<void> {
    const where = { configId: row.id, status: ['PENDING', 'RUNNING'] };
    const backups = await this.env.models.Backup.count({ where });
    const restores = await this.env.models.Restore.count({ where });
    if (backups + restores > 0) {
      throw new AppError('CONFIG_IN_USE', `Config "${row.name}" has ${backups + restores} run(s) under way.`);
    }
  }
}

/** Names a database in locks: the same for every way of writing its URL, also through links. */
export async function databaseKey(engine: Engine, url: string): Promise<string> {
  const file = engine.fileOf(url);
  if (file === null) return engine.resolve(url).key;
  const folder = await realpath(dirname(file)).catch(() => dirname(file));
  return `${engine.kind}:${await realpath(file).catch(() => join(folder, basename(file)))}`;
}

const KEEP_RULES = [
  'keepLast',
  'keepHourly',
  'keepDaily',
  'keepWeekly',
  'keepMonthly',
  'keepYearly',
  'keepWithin',
  'maxTotalSize',
] as const;

/** What was given: null takes a keep-rule away, and means "left out" for every other field. */
function defined(input: ConfigInput): ConfigInput {
  const nullable: readonly string[] = KEEP_RULES;
  const given = ([name, value]: [string, unknown]) =>
    value !== undefined && (value !== null || nullable.includes(name));
  return Object.fromEntries(Object.entries(input).filter(given));
}

/** The retention policy of a config. */
export function policyOf(config: Pick<BackupConfigRow, PolicyField>): RetentionPolicy {
  const rules = Object.fromEntries(KEEP_RULES.map((rule) => [rule, config[rule]]));
  return {
    ...rules,
    retentionDays: config.backupRetentionDays,
    maxFiles: config.maxBackupFiles,
    safetyRetentionDays: config.safetyRetentionDays,
  };
}

type PolicyField = (typeof KEEP_RULES)[number] | 'backupRetentionDays' | 'maxBackupFiles' | 'safetyRetentionDays';

/** When the config's next automatic backup is due after a moment; null if it makes none. */
export function nextDue(
  config: Pick<BackupConfigRow, 'id' | 'autoBackupEnabled' | 'schedule' | 'timezone' | 'jitterSeconds'>,
  after: Date,
): Date | null {
  if (!config.autoBackupEnabled) return null;
  const delay = jitter(config.id, config.jitterSeconds);
  const due = nextRun(config.schedule, config.timezone, new Date(after.getTime() - delay));
  return new Date(due.getTime() + delay);
}

function assertWhole(field: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return;
  throw badInput(field, `${value} is not a whole number from 1 to ${max}.`, 'A value of 0 would keep nothing.');
}

function mediaPath(path: string): string {
  if (!isAbsolute(path) || path.includes('\0')) {
    throw badInput('mediaPaths', `"${path}" is not an absolute path.`, 'Write paths such as /srv/okpuja/media.');
  }
  return resolve(path);
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

import type { Command } from 'commander';
import type { InferAttributes } from 'sequelize';
import { humanSize } from '../core/text/format.js';
import type { BackupConfigRow, ConfigOrigin } from '../models/index.js';
import { fields, moment, table, type GlobalOptions } from './print.js';
import { inSession } from './session.js';

export function addConfigs(program: Command): void {
  program
    .command('configs')
    .description('List the configs: what is protected, and how. JSON: {configs: […]}')
    .action((_options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const configs = (await app.configs.list()).map((row) => configDocument(row, app.configs.maskedUrl(row)));
        print.result({ configs }, () => (configs.length === 0 ? 'No configs.' : text(configs)));
      }),
    );
}

/** What --json shows of a config: its columns, but for those that are the product's own business. */
type ConfigDocument = Omit<
  InferAttributes<BackupConfigRow>,
  'databaseKey' | 'environment' | 'mediaMoved' | 'origin' | 'retryAt' | 'retryAttempt' | 'retryDueAt'
> & { origin: ConfigOrigin | null };

/** A config as --json shows it. Sizes in bytes. @param databaseUrl without a password */
export function configDocument(row: BackupConfigRow, databaseUrl: string): ConfigDocument {
  return {
    id: row.id,
    name: row.name,
    applicationId: row.applicationId,
    archivePrefix: row.archivePrefix ?? null,
    origin: (row.origin ?? null) as ConfigOrigin | null,
    engine: row.engine,
    databaseUrl,
    mediaPaths: row.mediaPaths,
    excludeTables: row.excludeTables,
    excludeTableData: row.excludeTableData,
    autoInclude: row.autoInclude ?? null,
    invariants: row.invariants,
    drillCommand: row.drillCommand ?? null,
    drillSchedule: row.drillSchedule ?? null,
    nextDrillAt: row.nextDrillAt ?? null,
    storageType: row.storageType,
    storagePath: row.storagePath,
    copyTo: row.copyTo,
    minimumCopies: row.minimumCopies,
    autoBackupEnabled: row.autoBackupEnabled,
    schedule: row.schedule,
    timezone: row.timezone,
    jitterSeconds: row.jitterSeconds,
    nextRunAt: row.nextRunAt ?? null,
    backupRetentionDays: row.backupRetentionDays,
    maxBackupFiles: row.maxBackupFiles,
    keepLast: row.keepLast ?? null,
    keepHourly: row.keepHourly ?? null,
    keepDaily: row.keepDaily ?? null,
    keepWeekly: row.keepWeekly ?? null,
    keepMonthly: row.keepMonthly ?? null,
    keepYearly: row.keepYearly ?? null,
    keepWithin: row.keepWithin ?? null,
    maxTotalSize: row.maxTotalSize ?? null,
    incremental: row.incremental,
    fullEveryDays: row.fullEveryDays,
    compression: row.compression,
    compressionLevel: row.compressionLevel,
    restoreLockTimeout: row.restoreLockTimeout,
    safetyRetentionDays: row.safetyRetentionDays,
    testError: row.testError,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
  };
}

const ORIGINS: Record<ConfigOrigin, string> = {
  ENVIRONMENT: 'the environment (.env)',
  SAMPLE: 'the sample application',
};

/** One config with all its settings. @param encryption for which keys, in words */
export function configText(config: ConfigDocument, encryption: string): string {
  return fields([
    ['Config', `${config.id} "${config.name}"`],
    ['Made from', config.origin === null ? null : ORIGINS[config.origin]],
    ['Database', `${config.databaseUrl} (${config.engine})`],
    ['Media', config.mediaPaths.join(', ') || 'none'],
    ['Without tables', config.excludeTables.join(', ') || null],
    ['Without rows of', config.excludeTableData.join(', ') || null],
    ['Takes in databases', config.autoInclude],
    ['Invariants', config.invariants.map(({ name }) => name).join(', ') || null],
    ['Drills', config.drillSchedule && `${config.drillSchedule} (${config.timezone})`],
    ['Next drill', moment(config.nextDrillAt)],
    ['Drill command', config.drillCommand],
    ['Storage', `${config.storageType} ${config.storagePath}`],
    ['Encryption', encryption],
    ['Copies', config.copyTo.length === 0 ? null : `in destination ${config.copyTo.join(', ')}`],
    ['Archive prefix', config.archivePrefix],
    ['Incremental', config.incremental ? `with a full backup every ${config.fullEveryDays} days` : null],
    ['Minimum copies', config.minimumCopies === 1 ? null : config.minimumCopies],
    ['Schedule', config.autoBackupEnabled ? `${config.schedule} (${config.timezone})` : 'off'],
    ['Start delay', config.jitterSeconds === 0 ? null : `up to ${config.jitterSeconds} s`],
    ['Next run', moment(config.nextRunAt)],
    ['Retention', `${config.backupRetentionDays} days, ${config.maxBackupFiles} files`],
    ['Keep last', config.keepLast],
    ['Keep hourly', config.keepHourly],
    ['Keep daily', config.keepDaily],
    ['Keep weekly', config.keepWeekly],
    ['Keep monthly', config.keepMonthly],
    ['Keep yearly', config.keepYearly],
    ['Keep within', config.keepWithin],
    ['Total size', config.maxTotalSize === null ? null : `at most ${humanSize(config.maxTotalSize)}`],
    ['Safety backups', `pinned for ${config.safetyRetentionDays} days`],
    ['Lock timeout', `${config.restoreLockTimeout} s`],
    ['Created', moment(config.createdAt)],
    ['Changed', moment(config.updatedAt)],
  ]);
}

function text(configs: ConfigDocument[]): string {
  return table(configs, [
    { title: 'id', cell: (config) => config.id, right: true },
    { title: 'name', cell: (config) => config.name },
    { title: 'database', cell: (config) => config.databaseUrl },
    { title: 'media', cell: (config) => config.mediaPaths.join(', ') || null },
    { title: 'storage', cell: (config) => `${config.storageType} ${config.storagePath}` },
    { title: 'schedule', cell: (config) => (config.autoBackupEnabled ? config.schedule : 'off') },
    { title: 'next run', cell: (config) => moment(config.nextRunAt) },
    { title: 'keep', cell: (config) => `${config.backupRetentionDays} days, ${config.maxBackupFiles} files` },
  ]);
}

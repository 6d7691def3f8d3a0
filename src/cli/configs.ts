import type { Command } from 'commander';
import { nextRun } from '../core/schedules.js';
import type { BackupConfigRow } from '../models/index.js';
import { moment, table } from './print.js';
import { type GlobalOptions, inSession } from './session.js';

export function addConfigs(program: Command): void {
  program
    .command('configs')
    .description('List the configs: what is protected, and how. JSON: {configs: […]}')
    .action((_options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const now = new Date();
        const configs = (await app.configs.list()).map((row) => document(row, app.configs.maskedUrl(row), now));
        print.result({ configs }, () => (configs.length === 0 ? 'No configs.' : text(configs)));
      }),
    );
}

function document(row: BackupConfigRow, databaseUrl: string, now: Date) {
  return {
    id: row.id,
    name: row.name,
    engine: row.engine,
    databaseUrl,
    mediaPaths: row.mediaPaths,
    storageType: row.storageType,
    storagePath: row.storagePath,
    autoBackupEnabled: row.autoBackupEnabled,
    schedule: row.schedule,
    timezone: row.timezone,
    nextRunAt: row.autoBackupEnabled ? nextRun(row.schedule, row.timezone, now) : null,
    backupRetentionDays: row.backupRetentionDays,
    maxBackupFiles: row.maxBackupFiles,
    restoreLockTimeout: row.restoreLockTimeout,
    safetyRetentionDays: row.safetyRetentionDays,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
  };
}

function text(configs: ReturnType<typeof document>[]): string {
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

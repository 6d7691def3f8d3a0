import type { Command } from 'commander';
import { listBackups } from '../core/lists/lists.js';
import type { StorageType } from '../core/ports.js';
import type { BackupStatus, BackupType } from '../models/index.js';
import { configNames, moreText, readUpTo } from './paging.js';
import { date, someOf, RUN_STATUSES, whole } from './options.js';
import { inRecords, type Records } from './records.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { backupDocument, backupTable } from './views.js';

interface Options {
  config?: number;
  status?: BackupStatus[];
  type?: BackupType[];
  storage?: StorageType[];
  after?: Date;
  before?: Date;
  search?: string;
  newestOfChain?: boolean;
  limit: number;
}

const TYPES = ['MANUAL', 'AUTO', 'UPLOADED', 'SAFETY'] satisfies BackupType[];
const STORAGES = ['LOCAL', 'SYSTEM', 'S3', 'GDRIVE', 'SFTP', 'RCLONE'] satisfies StorageType[];

export function addList(program: Command): void {
  program
    .command('list')
    .description('List backups, newest first. Deleted ones only with --status DELETED. JSON: {backups: […], more}')
    .option('--config <id>', 'only of this config', whole)
    .option('--status <status...>', 'one or more statuses', someOf([...RUN_STATUSES, 'DELETED']))
    .option('--type <type...>', 'one or more types', someOf(TYPES))
    .option('--storage <type...>', 'one or more storages', someOf(STORAGES))
    .option('--after <date>', 'only those created after this time (UTC)', date)
    .option('--before <date>', 'only those created before this time (UTC)', date)
    .option('--search <text>', 'only those with this text in id, file name, note, database or error')
    .option('--newest-of-chain', 'leave out incremental ones that another one builds on')
    .option('--limit <n>', 'at most so many', whole, 50)
    .action(async (options: Options, command: Command) => {
      const global = command.optsWithGlobals<GlobalOptions>();
      const done = await inRecords(global, async (records) => {
        // One of them may be dead: only the whole product can end it as what it is.
        if ((await records.models.Backup.count({ where: { status: 'RUNNING' } })) > 0) return false;
        await show(records, options);
        return true;
      });
      if (!done) await inSession(global, ({ app, print }) => show({ models: app.models, print }, options));
    });
}

async function show({ models, print }: Records, options: Options): Promise<void> {
  const filter = {
    configId: options.config,
    status: options.status ?? RUN_STATUSES,
    backupType: options.type,
    storageType: options.storage,
    createdAfter: options.after,
    createdBefore: options.before,
    search: options.search,
    newestOfChain: options.newestOfChain,
  };
  const read = (first: number, after: string | null) =>
    listBackups(models, filter, 'CREATED_AT_DESC', { first, after });
  const { rows, more } = await readUpTo(options.limit, read);
  const names = await configNames(models);
  const backups = rows.map((row) => ({ ...backupDocument(row), configName: names.get(row.configId) ?? null }));
  print.result({ backups, more }, () =>
    rows.length === 0 ? 'No backups.' : `${backupTable(rows, names)}${moreText(more)}`,
  );
}

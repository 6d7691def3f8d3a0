import { type Command, InvalidArgumentError } from 'commander';
import { listBackups, listRestores } from '../core/lists.js';
import { MAX_PAGE, type Page } from '../core/pages.js';
import type { StorageType } from '../core/ports.js';
import type { BackupStatus, BackupType, RunStatus } from '../models/index.js';
import { date, whole } from './options.js';
import { type GlobalOptions, inSession } from './session.js';
import { backupDocument, backupTable, restoreDocument, restoreTable } from './views.js';

interface Options {
  config?: number;
  status?: BackupStatus[];
  type?: BackupType[];
  storage?: StorageType[];
  after?: Date;
  before?: Date;
  search?: string;
  limit: number;
}

const RUN_STATUSES = ['PENDING', 'RUNNING', 'COMPLETED', 'FAILED'] satisfies RunStatus[];
const TYPES = ['MANUAL', 'AUTO', 'UPLOADED', 'SAFETY'] satisfies BackupType[];
const STORAGES = ['LOCAL', 'SYSTEM', 'GDRIVE', 'S3'] satisfies StorageType[];

export function addList(program: Command): void {
  program
    .command('list')
    .description('List backups, newest first. Deleted ones only with --status DELETED. JSON: {backups: […], more}')
    .option('--config <id>', 'only of this config', whole)
    .option('--status <status...>', 'one or more statuses', oneOf([...RUN_STATUSES, 'DELETED']))
    .option('--type <type...>', 'one or more types', oneOf(TYPES))
    .option('--storage <type...>', 'one or more storages', oneOf(STORAGES))
    .option('--after <date>', 'only those created after this time (UTC)', date)
    .option('--before <date>', 'only those created before this time (UTC)', date)
    .option('--search <text>', 'only those with this text in id, file name, note, database or error')
    .option('--limit <n>', 'at most so many', whole, 50)
    .action((options: Options, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const filter = {
          configId: options.config,
          status: options.status ?? RUN_STATUSES,
          backupType: options.type,
          storageType: options.storage,
          createdAfter: options.after,
          createdBefore: options.before,
          search: options.search,
        };
        const read = (first: number, after: string | null) =>
          listBackups(app.models, filter, 'CREATED_AT_DESC', { first, after });
        const { rows, more } = await readUpTo(options.limit, read);
        print.result({ backups: rows.map(backupDocument), more }, () =>
          rows.length === 0 ? 'No backups.' : `${backupTable(rows)}${moreText(more)}`,
        );
      }),
    );
}

export function addRestores(program: Command): void {
  program
    .command('restores')
    .description('List restores, newest first. JSON: {restores: […], more}')
    .option('--config <id>', 'only of this config', whole)
    .option('--status <status...>', 'one or more statuses', oneOf(RUN_STATUSES))
    .option('--limit <n>', 'at most so many', whole, 50)
    .action((options: { config?: number; status?: RunStatus[]; limit: number }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const filter = { configId: options.config, status: options.status };
        const { rows, more } = await readUpTo(options.limit, (first, after) =>
          listRestores(app.models, filter, { first, after }),
        );
        const restores = rows.map((row) => restoreDocument(row, app.restores.maskedTarget(row)));
        print.result({ restores, more }, () =>
          rows.length === 0 ? 'No restores.' : `${restoreTable(rows)}${moreText(more)}`,
        );
      }),
    );
}

const moreText = (more: boolean) => (more ? '\nThere are more: raise --limit.' : '');

/** Reads page after page until there are enough rows. */
async function readUpTo<Row>(
  limit: number,
  read: (first: number, after: string | null) => Promise<Page<Row>>,
): Promise<{ rows: Row[]; more: boolean }> {
  const rows: Row[] = [];
  for (let after: string | null = null; ;) {
    const page: Page<Row> = await read(Math.min(MAX_PAGE, limit - rows.length), after);
    rows.push(...page.nodes);
    after = page.cursors.at(-1) ?? null;
    if (!page.hasNextPage || rows.length >= limit) return { rows, more: page.hasNextPage };
  }
}

/** Parses one of some words, in any case, and collects them. */
function oneOf<Word extends string>(words: Word[]) {
  return (value: string, before: Word[] | undefined): Word[] => {
    const found = words.find((word) => word === value.toUpperCase());
    if (found === undefined) throw new InvalidArgumentError(`Choose from ${words.join(', ')}.`);
    return [...(before ?? []), found];
  };
}

import type { Command } from 'commander';
import type { RetentionPlan } from '../core/cleanup.js';
import { humanSize } from '../core/names.js';
import { whole } from './options.js';
import { CommandError, type Document, fields, moment, table } from './print.js';
import { type GlobalOptions, inSession } from './session.js';

export function addCleanupBackups(program: Command): void {
  program
    .command('cleanup-backups')
    .description(
      'Delete what the retention policy does not keep, and say why for each backup. JSON: {plans: [{configId, at, ' +
        'hash, dryRun, items: [{id, storagePath, keep, unpin, reasons, error}]}]}',
    )
    .option('--dry-run', 'only show the plan')
    .option('--config <id>', 'only this config', whole)
    .option('--hash <hash>', 'only if the plan is still the one with this hash (with --config)')
    .action((options: { dryRun?: boolean; config?: number; hash?: string }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const dryRun = options.dryRun === true;
        const configs =
          options.config === undefined ? await app.configs.list() : [await app.configs.get(options.config)];
        const plans: RetentionPlan[] = [];
        for (const { id } of configs) {
          plans.push(dryRun ? await app.cleanup.plan(id) : await app.cleanup.run(id, actor, options.hash));
        }
        const documents = { plans: plans.map((plan) => document(plan, dryRun)) };
        const failed = plans.flatMap(({ items }) => items).find(({ error }) => error !== null)?.error;
        if (failed) throw new CommandError(failed, documents);
        print.result(
          documents,
          () => plans.map((plan) => text(plan, dryRun)).join('\n\n') || 'There is no config yet.',
        );
      }),
    );
}

function document({ config, at, hash, items }: RetentionPlan, dryRun: boolean): Document {
  return {
    configId: config.id,
    at,
    hash,
    dryRun,
    items: items.map(({ id, backup, keep, unpin, reasons, error }) => ({
      id,
      storagePath: backup.storagePath,
      keep,
      unpin,
      reasons,
      error: error === null ? null : { code: error.code, message: error.message, hint: error.hint },
    })),
  };
}

function text({ config, items, deleteCount, deleteSize, hash }: RetentionPlan, dryRun: boolean): string {
  const list = table(items, [
    { title: 'id', cell: ({ id }) => id },
    { title: 'created', cell: ({ backup }) => moment(backup.createdAt) },
    { title: 'type', cell: ({ backup }) => backup.backupType },
    { title: 'size', cell: ({ backup }) => humanSize(backup.fileSize ?? 0), right: true },
    { title: '', cell: ({ keep, unpin }) => (keep ? (unpin ? 'unpin' : 'keep') : dryRun ? 'DELETE' : 'deleted') },
    { title: 'why', cell: ({ reasons }) => reasons.map((reason) => reason.text).join(' ') },
  ]);
  const summary = fields([
    ['Config', `${config.id} "${config.name}"`],
    [dryRun ? 'To delete' : 'Deleted', `${deleteCount} of ${items.length} (${humanSize(deleteSize)})`],
    ['Plan', dryRun ? hash : null],
  ]);
  return `${summary}\n\n${list}`;
}

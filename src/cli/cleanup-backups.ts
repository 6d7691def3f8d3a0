import type { Command } from 'commander';
import type { App } from '../app.js';
import {
  type CleanedUp,
  failureOf,
  type RetentionItem,
  type RetentionPlan,
  stoppedBy,
} from '../core/retention/cleanup.js';
import { humanSize } from '../core/text/format.js';
import { badInput } from '../errors.js';
import { whole } from './options.js';
import { CommandError, type Document, fields, moment, table, type GlobalOptions } from './print.js';
import { inSession } from './session.js';

export function addCleanupBackups(program: Command): void {
  program
    .command('cleanup-backups')
    .description(
      'Delete what the retention policy does not keep, and say why for each backup. JSON: {plans: [{configId, at, ' +
        'hash, dryRun, items: [{id, storagePath, keep, unpin, consolidate, reasons, error}]}]}',
    )
    .option('--dry-run', 'only show the plan')
    .option('--config <id>', 'only this config', whole)
    .option('--hash <hash>', 'only if the plan is still the one with this hash (with --config)')
    .action((options: { dryRun?: boolean; config?: number; hash?: string }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print, stop }) => {
        const { dryRun = false, config, hash } = options;
        if (hash !== undefined && config === undefined) {
          throw badInput('hash', '--hash needs --config: a plan is of one config.');
        }
        const done = dryRun ? await plansOf(app, config) : await run(app, { actor, stop, config, hash });
        const { plans } = done;
        const documents = { plans: plans.map((plan) => document(plan, dryRun)) };
        const failed =
          failureOf(done) ?? plans.flatMap(({ items }) => items).find(({ error }) => error !== null)?.error;
        if (failed) throw new CommandError(failed, documents);
        print.result(
          documents,
          () => plans.map((plan) => text(plan, dryRun)).join('\n\n') || 'There is no config yet.',
        );
      }),
    );
}

async function plansOf({ cleanup, configs }: App, config: number | undefined): Promise<CleanedUp> {
  const ids = config === undefined ? (await configs.list()).map(({ id }) => id) : [config];
  const plans: RetentionPlan[] = [];
  for (const id of ids) plans.push(await cleanup.plan(await configs.get(id)));
  return { plans, failures: [] };
}

async function run(
  { cleanup }: App,
  { actor, stop, config, hash }: { actor: string; stop: AbortSignal; config?: number; hash?: string },
): Promise<CleanedUp> {
  if (config === undefined) return cleanup.tryAll(actor, stop);
  return { plans: [await cleanup.run(config, actor, { hash, stop })], failures: [] };
}

function document({ config, at, hash, items }: RetentionPlan, dryRun: boolean): Document {
  return {
    configId: config.id,
    at,
    hash,
    dryRun,
    items: items.map(({ id, backup, keep, unpin, consolidate, reasons, error }) => ({
      id,
      storagePath: backup.address.storagePath,
      keep,
      unpin,
      consolidate,
      reasons,
      error: error === null ? null : { code: error.code, message: error.message, hint: error.hint },
    })),
  };
}

function text(plan: RetentionPlan, dryRun: boolean): string {
  const { config, items, deleteCount, deleteSize, hash } = plan;
  const list = table(items, [
    { title: 'id', cell: ({ id }) => id },
    { title: 'created', cell: ({ backup }) => moment(backup.createdAt) },
    { title: 'type', cell: ({ backup }) => backup.backupType },
    { title: 'size', cell: ({ backup }) => humanSize(backup.fileSize ?? 0), right: true },
    { title: '', cell: (item) => outcome(item, dryRun) },
    { title: 'why', cell: ({ reasons }) => reasons.map((reason) => reason.text).join(' ') },
  ]);
  const summary = fields([
    ['Config', `${config.id} "${config.name}"`],
    [
      dryRun || items.some(({ backup }) => backup.deleteAfter) ? 'To delete' : 'Deleted',
      `${deleteCount} of ${items.length} (${humanSize(deleteSize)})`,
    ],
    ['Stopped', stoppedBy(plan)?.text ?? null],
    ['Plan', dryRun ? hash : null],
  ]);
  return `${summary}\n\n${list}`;
}

function outcome({ keep, unpin, consolidate, backup }: RetentionItem, dryRun: boolean): string {
  if (!keep && backup.deleteAfter) return `deleted after ${moment(backup.deleteAfter)}`;
  if (!keep) return dryRun ? 'DELETE' : 'deleted';
  if (consolidate) return 'consolidate';
  return unpin ? 'unpin' : 'keep';
}

import type { App } from '../app.js';
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { resolve } from 'node:path';
import type { RowsMode } from '../core/ports.js';
import type { RestoreRequest } from '../core/restores/restores.js';
import { AppError } from '../errors.js';
import type { RestoreRow } from '../models/index.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { backupId, ID_HELP, restoreId } from './ids.js';
import { databaseUrl, oneOf, whole } from './options.js';
import { planDocument, planText } from './plan-view.js';
import { CommandError, type Printer, type GlobalOptions } from './print.js';
import { carryOut, errorOf } from './runs.js';
import { inSession, type Session } from './session.js';
import { restoreDocument, restoreText } from './views.js';

interface Options extends IdentityOptions {
  config?: number;
  confirm?: boolean;
  dryRun?: boolean;
  table?: string[];
  rows?: RowsMode;
  where?: string;
  withParents?: boolean;
  includeRelated?: boolean;
  /** Paths; false with --no-media. */
  media?: string[] | false;
  mediaMode?: 'MERGE' | 'MIRROR';
  /** False with --no-database. */
  database: boolean;
  to?: string;
  toMedia?: string;
  overwrite?: boolean;
  allowForeign?: boolean;
  allowExcluded?: boolean;
  allowDamaged?: boolean;
  rebuildIndexes?: boolean;
}

export function addRestore(program: Command): void {
  withIdentity(
    program
      .command('restore')
      .description(
        'Restore a backup: verified first, with a safety backup of what is there now. JSON: {restore}; with --dry-run {plan}',
      )
      .argument('<backupId>', `a COMPLETED backup: ${ID_HELP}`)
      .option('--config <id>', 'with `latest`: the newest backup of this config', whole)
      .option('--confirm', 'needed: yes, replace the data (on a terminal you are asked instead)')
      .option('--dry-run', 'only show what would change and what stands in the way')
      .option('--table <name...>', 'only these tables')
      .option(
        '--rows <mode>',
        'with --table: REPLACE the tables, or bring back rows that are MISSING, or also those that are CHANGED (SQLite, PostgreSQL)',
        oneOf(['REPLACE', 'MISSING', 'CHANGED'] satisfies RowsMode[]),
      )
      .option('--where <condition>', 'with --rows: only rows of the backup that meet this SQL condition')
      .option('--with-parents', 'with --rows: also missing rows that these refer to by foreign keys')
      .option('--include-related', 'also the tables that belong to the chosen ones by foreign keys')
      .option('--media <path...>', "only these media files or folders, as the archive's paths")
      .option(
        '--media-mode <mode>',
        'MERGE keeps files that the backup does not have, MIRROR moves them away',
        oneOf(['MERGE', 'MIRROR']),
      )
      .option('--no-database', 'leave the database alone')
      .option('--no-media', 'leave the media alone')
      .option('--to <target>', 'another database: a file, or a URL such as sqlite:./copy.sqlite3')
      .option('--to-media <dir>', 'the folder for the media, with --to')
      .option('--allow-foreign', 'restore a backup of another application, after a look at whose data replaces whose')
      .option('--allow-excluded', 'restore a backup that was made without tables or rows that the target has')
      .option('--allow-damaged', 'restore a backup of a damaged database: its files are put in place as they are')
      .option('--rebuild-indexes', 'rebuild indexes that are out of step with their tables in the backup')
      .option('--overwrite', 'allow --to to name a database that already holds something'),
  ).action((given: string, options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print } = session;
      const backup = await backupId(app.models, given, { configId: options.config });
      const request = { ...requestOf(backup, options, app), identity: await identityOf(session, options) };
      if (options.dryRun === true) {
        const plan = await app.restores.plan(request);
        return print.result({ plan: planDocument(plan) }, () => planText(plan));
      }
      if (options.confirm !== true) await askFor(session, request);
      const pending = await app.restores.create({ ...request, confirm: true }, actor);
      await carryOutRestore(session, pending);
    }),
  );
}

export function addUndo(program: Command): void {
  withIdentity(
    program
      .command('undo')
      .description('Bring back the state before a restore, by a restore of its own. JSON: {restore}')
      .argument('<restoreId>', `a COMPLETED restore: ${ID_HELP}`)
      .option('--confirm', 'needed: yes, replace the data'),
  ).action((given: string, options: IdentityOptions & { confirm?: boolean }, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { models, restores } = session.app;
      const id = await restoreId(models, given);
      if (options.confirm !== true) {
        throw new AppError('CONFIRMATION_REQUIRED', `Undoing ${id} replaces the present data.`, {
          hint: 'Repeat the command with --confirm.',
        });
      }
      const identity = await identityOf(session, options);
      await carryOutRestore(session, await restores.createUndo(id, session.actor, identity));
    }),
  );
}

/** Does a PENDING restore in this process and prints what came of it. @throws CommandError with the row, if it fails */
export async function carryOutRestore(session: Session, pending: RestoreRow): Promise<void> {
  const { restores } = session.app;
  const row = await carryOut(session, restores, pending.id, pending.targetKey);
  const target = restores.maskedTarget(row);
  const restore = restoreDocument(row, target);
  if (row.status !== 'COMPLETED') throw new CommandError(errorOf(row), { restore });
  session.print.result({ restore }, () => restoreText(row, target));
}

function requestOf(backup: string, options: Options, { engines }: App): RestoreRequest {
  const { media } = options;
  return {
    backupId: backup,
    confirm: false,
    restoreDatabase: options.database,
    restoreMedia: media !== false,
    tables: options.table,
    rows: options.rows,
    where: options.where,
    withParents: options.withParents,
    includeRelated: options.includeRelated,
    media: media === false ? undefined : media,
    mediaMode: options.mediaMode,
    targetDatabaseUrl: options.to === undefined ? undefined : databaseUrl(options.to, engines),
    targetMediaPath: options.toMedia === undefined ? undefined : resolve(options.toMedia),
    overwrite: options.overwrite,
    allowForeign: options.allowForeign,
    allowExcluded: options.allowExcluded,
    allowDamaged: options.allowDamaged,
    rebuildIndexes: options.rebuildIndexes,
  };
}

/**
 * Shows the plan on a terminal and has the backup's file name typed.
 * @throws AppError CONFIRMATION_REQUIRED if there is no terminal to ask at or the answer differs, or why the plan is refused
 */
export async function askFor({ app, print, stop }: Session, request: RestoreRequest): Promise<void> {
  if (!print.interactive) {
    throw new AppError('CONFIRMATION_REQUIRED', 'A restore replaces data, and --confirm was not given.', {
      hint: 'Look at the plan with --dry-run, then repeat the command with --confirm.',
    });
  }
  const plan = await app.restores.plan(request);
  print.note(`${planText(plan)}\n`);
  const [refusal] = plan.refusals;
  if (refusal !== undefined) throw refusal;
  const { fileName } = plan.backup;
  if ((await ask(print, `To restore, type the file name ${fileName}: `, stop)) === fileName) return;
  throw new AppError('CONFIRMATION_REQUIRED', 'Nothing was restored: the file name of the backup was not typed.', {
    hint: `Repeat the command and type ${fileName}, or give --confirm.`,
  });
}

async function ask(print: Printer, question: string, signal: AbortSignal): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: print.err });
  try {
    return (await lines.question(question, { signal })).trim();
  } catch {
    signal.throwIfAborted();
    return '';
  } finally {
    lines.close();
  }
}

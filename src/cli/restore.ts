import { createInterface } from 'node:readline/promises';
import { type Command, Option } from 'commander';
import { resolve } from 'node:path';
import { absoluteSqliteUrl } from '../config.js';
import type { RestoreRequest } from '../core/restores.js';
import { AppError } from '../errors.js';
import type { RestoreRow } from '../models/index.js';
import { planDocument, planText } from './plan-view.js';
import { CommandError, type Printer } from './print.js';
import { carryOut, errorOf } from './runs.js';
import { type GlobalOptions, inSession, type Session } from './session.js';
import { restoreDocument, restoreText } from './views.js';

interface Options {
  confirm?: boolean;
  dryRun?: boolean;
  table?: string[];
  includeRelated?: boolean;
  /** Paths; false with --no-media. */
  media?: string[] | false;
  mediaMode?: 'MERGE' | 'MIRROR';
  /** False with --no-database. */
  database: boolean;
  to?: string;
  toMedia?: string;
  overwrite?: boolean;
}

export function addRestore(program: Command): void {
  program
    .command('restore')
    .description(
      'Restore a backup: verified first, with a safety backup of what is there now. JSON: {restore}; with --dry-run {plan}',
    )
    .argument('<backupId>', 'the id of a COMPLETED backup')
    .option('--confirm', 'needed: yes, replace the data (on a terminal you are asked instead)')
    .option('--dry-run', 'only show what would change and what stands in the way')
    .option('--table <name...>', 'only these tables')
    .option('--include-related', 'also the tables that belong to the chosen ones by foreign keys')
    .option('--media <path...>', "only these media files or folders, as the archive's paths")
    .addOption(
      new Option('--media-mode <mode>', 'MERGE keeps files that the backup does not have, MIRROR moves them away')
        .choices(['MERGE', 'MIRROR'])
        .argParser((value: string) => value.toUpperCase()),
    )
    .option('--no-database', 'leave the database alone')
    .option('--no-media', 'leave the media alone')
    .option('--to <target>', 'another database: a file, or a URL such as sqlite:./copy.sqlite3')
    .option('--to-media <dir>', 'the folder for the media, with --to')
    .option('--overwrite', 'allow --to to name a database that already holds something')
    .action((backupId: string, options: Options, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { app, actor, print } = session;
        const request = requestOf(backupId, options);
        if (options.dryRun === true) {
          const plan = await app.restores.plan(request);
          return print.result({ plan: planDocument(plan) }, () => planText(plan));
        }
        const confirm = options.confirm === true || (await askFor(session, request));
        const pending = await app.restores.create({ ...request, confirm }, actor);
        await carryOutRestore(session, pending);
      }),
    );
}

export function addUndo(program: Command): void {
  program
    .command('undo')
    .description('Bring back the state before a restore, by a restore of its own. JSON: {restore}')
    .argument('<restoreId>', 'the id of a COMPLETED restore')
    .option('--confirm', 'needed: yes, replace the data')
    .action((id: string, { confirm }: { confirm?: boolean }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { restores } = session.app;
        await restores.get(id);
        if (confirm !== true) {
          throw new AppError('CONFIRMATION_REQUIRED', `Undoing ${id} replaces the present data.`, {
            hint: 'Repeat the command with --confirm.',
          });
        }
        await carryOutRestore(session, await restores.createUndo(id, session.actor));
      }),
    );
}

async function carryOutRestore(session: Session, pending: RestoreRow): Promise<void> {
  const { restores } = session.app;
  const row = await carryOut(session, restores, pending.id, pending.targetKey);
  const target = restores.maskedTarget(row);
  const restore = restoreDocument(row, target);
  if (row.status !== 'COMPLETED') throw new CommandError(errorOf(row), { restore });
  session.print.result({ restore }, () => restoreText(row, target));
}

function requestOf(backupId: string, options: Options): RestoreRequest {
  const { media } = options;
  return {
    backupId,
    confirm: false,
    restoreDatabase: options.database,
    restoreMedia: media !== false,
    tables: options.table,
    includeRelated: options.includeRelated,
    media: media === false ? undefined : media,
    mediaMode: options.mediaMode,
    targetDatabaseUrl: options.to === undefined ? undefined : urlOf(options.to),
    targetMediaPath: options.toMedia === undefined ? undefined : resolve(options.toMedia),
    overwrite: options.overwrite,
  };
}

/** A bare path means a SQLite file. */
function urlOf(target: string): string {
  const url = /^[a-z][a-z0-9+.-]+:/i.test(target) ? target : `sqlite:${resolve(target)}`;
  return absoluteSqliteUrl(url, process.cwd());
}

/** Shows the plan on a terminal and has the backup's file name typed. @returns false where nobody can be asked */
async function askFor({ app, print, stop }: Session, request: RestoreRequest): Promise<boolean> {
  if (!print.interactive) {
    throw new AppError('CONFIRMATION_REQUIRED', 'A restore replaces data, and --confirm was not given.', {
      hint: 'Look at the plan with --dry-run, then repeat the command with --confirm.',
    });
  }
  const plan = await app.restores.plan(request);
  print.note(`${planText(plan)}\n`);
  if (!plan.allowed) return false;
  return (await ask(print, `To restore, type the file name ${plan.backup.fileName}: `, stop)) === plan.backup.fileName;
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

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { isatty } from 'node:tty';
import type { Command } from 'commander';
import { AppError, badInput, errnoOf } from '../errors.js';
import type { BackupConfigRow, BackupRow, InvariantResult } from '../models/index.js';
import { makeBackup } from './backup.js';
import { configOf } from './config.js';
import { planDocument, planText } from './plan-view.js';
import { CommandError, type Document, type GlobalOptions, type Printer } from './print.js';
import { carryOut, errorOf } from './runs.js';
import { inSession, type Session } from './session.js';
import { backupDocument, restoreDocument, restoreText } from './views.js';

interface Options {
  config?: string;
  undoOnFailure?: boolean;
  keep?: boolean;
}

export function addGuard(program: Command): void {
  program
    .command('guard')
    .description(
      'Back up, run a command that changes the database, and check the invariants after it. Ends with the exit code of the ' +
        'command. JSON: {backup, command, invariants, plan, restore}',
    )
    .argument('<command...>', 'the command with its arguments, after --, such as: -- python manage.py migrate')
    .option('--config <config>', 'id or name of the config (default: the first)')
    .option('--undo-on-failure', 'restore the backup if the command fails or an invariant breaks')
    .option('--keep', 'leave the backup pinned, also if all went well')
    .action((command: string[], options: Options, self: Command) =>
      inSession(self.optsWithGlobals<GlobalOptions>(), (session) => guard(session, command, options)),
    );
}

/** What is kept of a command: its plain words. An option, and what follows one, may be a secret. */
export const nameOf = (command: readonly string[]): string =>
  command
    .filter((word, index) => index === 0 || (/^[\w./]+$/.test(word) && !command[index - 1]?.startsWith('-')))
    .join(' ');

/** How a command ended. */
interface Ended {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  seconds: number;
}

async function guard(session: Session, command: string[], { config: given, undoOnFailure, keep }: Options) {
  const { app, actor, print, stop } = session;
  const config = await configOf(app, given);
  const words = command.join(' ');
  const note = `Before: ${nameOf(command)}`.slice(0, 200);
  const backup = await makeBackup(session, { backupType: 'MANUAL', configId: config.id, note });
  await app.backups.pin(backup.id, true, actor);
  print.note(`${backup.id} is pinned. Running: ${words}`);
  let ended: Ended;
  try {
    ended = await run(command, print);
  } catch (error) {
    await app.backups.pin(backup.id, false, actor);
    throw error;
  }
  const known = { backup: backupDocument(await backup.reload()), command: { ...ended } };
  const failed = ended.exitCode !== 0;
  const invariants = failed ? [] : await invariantsAfter(session, config, backup);
  const broken = invariants.filter(({ holds }) => !holds);
  if (!failed && broken.length === 0) {
    stop.throwIfAborted();
    if (keep !== true) await app.backups.pin(backup.id, false, actor);
    const document = { ...known, backup: backupDocument(await backup.reload()), invariants, plan: null, restore: null };
    return print.result(document, () => `${howEnded(words, ended)} ${keptText(backup, invariants, keep === true)}`);
  }
  const document = { ...known, invariants };
  print.note([howEnded(words, ended), ...broken.map(({ message }) => message)].join('\n'));
  const undone = undoOnFailure === true ? await undo(session, backup) : await planOf(session, backup);
  if (failed) {
    print.result({ ...document, ...undone.document }, () => undone.text);
    process.exitCode = ended.exitCode ?? 128 + constants.signals[ended.signal ?? 'SIGTERM'];
    return;
  }
  print.note(undone.text);
  const text = broken.map(({ message }) => message).join(' ');
  throw new CommandError(new AppError('INVARIANT_BROKEN', `After the command: ${text}`), {
    ...document,
    ...undone.document,
  });
}

/** Runs the command as the shell would: with this process's environment and terminal. @throws AppError naming `command` */
async function run([file = '', ...args]: string[], print: Printer): Promise<Ended> {
  const start = performance.now();
  // Standard output is for the one JSON document, if that is asked for.
  const child = spawn(file, args, { stdio: ['inherit', print.json ? 2 : 'inherit', 'inherit'] });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  // A terminal gives Ctrl-C to all of its processes.
  const signals: NodeJS.Signals[] = isatty(0) ? ['SIGTERM'] : ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, forward);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (exitCode, signal) =>
        resolve({ exitCode, signal, seconds: (performance.now() - start) / 1_000 }),
      );
    });
  } catch (error) {
    const reason =
      errnoOf(error) === 'ENOENT' ? 'is no program that can be found' : `cannot be run (${errnoOf(error)})`;
    throw badInput('command', `"${file}" ${reason}; it changed nothing.`, 'Give it with its path, after --.');
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}

/** What the invariants come to now. One that cannot be asked is an error: the change is not proven to be good. */
async function invariantsAfter(
  { app, print }: Session,
  config: BackupConfigRow,
  backup: BackupRow,
): Promise<InvariantResult[]> {
  const { signal } = new AbortController();
  const { invariants, findings } = await app.insight.askLive(config, backup, signal);
  for (const { message } of findings) print.note(`Warning: ${message}`);
  return invariants;
}

/** What came of a failure: for the JSON document, and for people. */
interface Aftermath {
  document: Document;
  text: string;
}

async function planOf({ app }: Session, backup: BackupRow): Promise<Aftermath> {
  const plan = await app.restores.plan({ backupId: backup.id, confirm: false });
  const undoing = `To undo it: db-manager restore ${backup.id} --confirm`;
  return { document: { plan: planDocument(plan), restore: null }, text: `${planText(plan)}\n\n${undoing}` };
}

/**
 * Restores the backup, also if the command was stopped by a signal: what it did half is what must be undone.
 * @throws CommandError with the row, if the restore fails
 */
async function undo(session: Session, backup: BackupRow): Promise<Aftermath> {
  const { app, actor } = session;
  const undoing = { ...session, stop: new AbortController().signal };
  const pending = await app.restores.create({ backupId: backup.id, confirm: true }, actor);
  const row = await carryOut(undoing, app.restores, pending.id, pending.targetKey);
  const target = app.restores.maskedTarget(row);
  const restore = restoreDocument(row, target);
  if (row.status !== 'COMPLETED') throw new CommandError(errorOf(row), { restore });
  return { document: { plan: null, restore }, text: restoreText(row, target) };
}

function howEnded(words: string, { exitCode, signal, seconds }: Ended): string {
  const how = signal === null ? `ended with ${exitCode}` : `was ended by ${signal}`;
  return `${words} ${how} after ${seconds.toFixed(1)} s.`;
}

function keptText({ id }: BackupRow, invariants: readonly InvariantResult[], pinned: boolean): string {
  const hold = invariants.length === 0 ? '' : `All ${invariants.length} invariants hold. `;
  return `${hold}${id} is ${pinned ? 'still pinned' : 'kept as the retention says'}.`;
}

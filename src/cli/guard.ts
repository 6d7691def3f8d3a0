import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { isatty } from 'node:tty';
import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RestoreRequest } from '../core/restores/restores.js';
import { AppError, badInput, errnoOf, toAppError } from '../errors.js';
import type { BackupConfigRow, BackupRow, InvariantResult, RestoreRow } from '../models/index.js';
import { makeBackup } from './backup.js';
import { configOf } from './config.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { planDocument, planText } from './plan-view.js';
import { CommandError, type Document, type GlobalOptions, type Printer } from './print.js';
import { carryOut, errorOf } from './runs.js';
import { inSession, type Session } from './session.js';
import { backupDocument, restoreDocument, restoreText } from './views.js';

interface Options extends IdentityOptions {
  config?: string;
  allowExcluded?: boolean;
  undoOnFailure?: boolean;
  keep?: boolean;
}

export function addGuard(program: Command): void {
  withIdentity(
    program
      .command('guard')
      .description(
        'Back up, run a command that changes the database, and check the invariants after it. Ends with the exit code of the ' +
          'command. JSON: {backup, command, invariants, plan, restore}',
      )
      .argument('<command...>', 'the command with its arguments, after --, such as: -- python manage.py migrate')
      .option('--config <config>', 'id or name of the config (default: the first)')
      .option('--undo-on-failure', 'restore the backup if the command fails or an invariant breaks')
      .option('--allow-excluded', 'undo also where the backup was made without tables or rows that are there')
      .option('--keep', 'leave the backup pinned, also if all went well'),
  ).action((command: string[], options: Options, self: Command) =>
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

async function guard(session: Session, command: string[], options: Options) {
  const { app, actor, print, stop } = session;
  const { config: given, undoOnFailure, keep } = options;
  const config = await configOf(app, given);
  const words = command.join(' ');
  const note = `Before: ${nameOf(command)}`.slice(0, 200);
  const identity = await identityOf(session, options);
  const backup = await makeBackup(session, { backupType: 'MANUAL', configId: config.id, note });
  const way: RestoreRequest = {
    ...{ backupId: backup.id, confirm: false, allowExcluded: options.allowExcluded, identity },
    // It was made of this very database; what the command left may look like another one.
    allowForeign: true,
  };
  await assertUndoable(session, way, undoOnFailure === true);
  await app.backups.pin(backup.id, true, actor);
  print.note(`${backup.id} is pinned. Running: ${words}`);
  let ended: Ended;
  try {
    ended = await run(command, print);
  } catch (error) {
    await app.backups.pin(backup.id, false, actor);
    throw error;
  }
  const how = { command: { ...ended } };
  const isFailed = ended.exitCode !== 0;
  const { invariants, problem } = isFailed ? NOT_ASKED : await judge(session, config, backup);
  if (!isFailed && problem === null) {
    stop.throwIfAborted();
    if (keep !== true) await app.backups.pin(backup.id, false, actor);
    const document = { backup: backupDocument(await backup.reload()), ...how, invariants, plan: null, restore: null };
    return print.result(document, () => `${howEnded(words, ended)} ${keptText(backup, invariants, keep === true)}`);
  }
  print.note([howEnded(words, ended), ...(problem === null ? [] : [problem.message])].join('\n'));
  // That it cannot be looked at now, as on a full disk, does not mean that it is bad.
  const isBad = problem === null || IS_BAD.test(problem.code);
  const undone = undoOnFailure === true && isBad ? await undo(session, way) : await planOf(session, way);
  const document = { backup: backupDocument(await backup.reload()), ...how, invariants, ...undone.document };
  if (problem !== null) {
    print.note(undone.text);
    throw new CommandError(problem, document);
  }
  print.result(document, () => undone.text);
  process.exitCode = ended.exitCode ?? 128 + constants.signals[ended.signal ?? 'SIGTERM'];
}

const IS_BAD = /^(INVARIANT_BROKEN|DATABASE_(CORRUPT|NOT_FOUND|UNREADABLE|WRONG_KIND))$/;
const NOT_ASKED = { invariants: [], problem: null };

/** Makes sure of the way back before anything is changed. @throws AppError the first reason to refuse it, if it is relied on */
async function assertUndoable({ app, print }: Session, way: RestoreRequest, isRelied: boolean): Promise<void> {
  const refusal = await app.restores.plan(way).then(
    ({ refusals }) => refusals[0] ?? null,
    (error: unknown) => toAppError(error),
  );
  if (refusal === null) return;
  if (isRelied) throw refusal;
  print.note(`Warning ${refusal.code}: the backup could not be restored as it is: ${refusal.message}\n${refusal.hint}`);
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
      // Later errors are of signals that it may not be sent: it goes on, and is waited for.
      child.on('error', (error) => child.pid === undefined && reject(error));
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

/**
 * Looks at the database that the command left.
 * @returns what the invariants come to, and why the change is not good: one broke that held before, or it cannot be looked at
 */
async function judge(
  { app, print }: Session,
  config: BackupConfigRow,
  backup: BackupRow,
): Promise<{ invariants: InvariantResult[]; problem: AppError | null }> {
  try {
    const { invariants, findings } = await app.insight.askLive(config, backup, NEVER);
    for (const { message } of findings) print.note(`Warning: ${message}`);
    const wasBroken = new Set(backup.invariants.filter(({ holds }) => !holds).map(({ sql }) => sql));
    const broken = invariants.filter(({ holds }) => !holds);
    for (const { message } of broken.filter(({ sql }) => wasBroken.has(sql))) print.note(`As before: ${message}`);
    const messages = broken.filter(({ sql }) => !wasBroken.has(sql)).map(({ message }) => message);
    const text = `After the command: ${messages.join(' ')}`;
    return { invariants, problem: messages.length === 0 ? null : new AppError('INVARIANT_BROKEN', text) };
  } catch (error) {
    const { code, message, hint } = toAppError(error);
    const text = `After the command the database cannot be looked at: ${message}`;
    return { invariants: [], problem: new AppError(code, text, { hint, cause: error }) };
  }
}

const NEVER = new AbortController().signal;

/** What came of a failure: for the JSON document, and for people. */
interface Aftermath {
  document: Document;
  text: string;
}

async function planOf({ app }: Session, way: RestoreRequest): Promise<Aftermath> {
  const excluded = way.allowExcluded === true ? ' --allow-excluded' : '';
  const undoing = `To undo it: db-manager restore ${way.backupId} --allow-foreign${excluded} --confirm`;
  try {
    const plan = await app.restores.plan(way);
    return { document: { plan: planDocument(plan), restore: null }, text: `${planText(plan)}\n\n${undoing}` };
  } catch (error) {
    const { code, message, hint } = toAppError(error);
    const text = `The plan to undo it cannot be made now. ${code}: ${message}\n${hint}\n\n${undoing}`;
    return { document: { plan: null, restore: null }, text };
  }
}

/**
 * Restores the backup, also if the command was stopped by a signal: what it did half is what must be undone. Waits for whatever
 * holds the database.
 * @throws AppError the first reason to refuse; CommandError with the row, if the restore fails
 */
async function undo(session: Session, way: RestoreRequest): Promise<Aftermath> {
  const { app, actor, print } = session;
  const undoing = { ...session, stop: NEVER };
  let pending: RestoreRow | null = null;
  for (let isTold = false; pending === null;) {
    try {
      pending = await app.restores.create({ ...way, confirm: true }, actor);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'BUSY') throw error;
      if (!isTold) print.note(`Waiting to undo it: ${error.message}`);
      isTold = true;
      await sleep(ASK_AGAIN_MS);
    }
  }
  const row = await carryOut(undoing, app.restores, pending.id, pending.targetKey);
  const target = app.restores.maskedTarget(row);
  const restore = restoreDocument(row, target);
  if (row.status !== 'COMPLETED') throw new CommandError(errorOf(row), { restore });
  return { document: { plan: null, restore }, text: restoreText(row, target) };
}

/** How often a database that is held is asked for again. */
const ASK_AGAIN_MS = 1_000;

function howEnded(words: string, { exitCode, signal, seconds }: Ended): string {
  const how = signal === null ? `ended with ${exitCode}` : `was ended by ${signal}`;
  return `${words} ${how} after ${seconds.toFixed(1)} s.`;
}

function keptText({ id }: BackupRow, invariants: readonly InvariantResult[], pinned: boolean): string {
  const hold = invariants.length === 0 ? '' : `All ${invariants.length} invariants hold. `;
  return `${hold}${id} is ${pinned ? 'still pinned' : 'kept as the retention says'}.`;
}

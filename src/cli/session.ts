import { userInfo } from 'node:os';
import { isatty } from 'node:tty';
import type { App } from '../app.js';
import { type Environment, loadEnvironment } from '../environment.js';
import { COMMAND_ACTOR } from '../core/text/ids.js';
import { AppError, errnoOf, toAppError } from '../errors.js';
import { keepHeapSmall } from '../memory.js';
import { CommandError, type GlobalOptions, Printer, reportFailure } from './print.js';

/** What a command works with. */
export interface Session {
  app: App;
  /** Who is recorded as the one who did it. */
  actor: string;
  print: Printer;
  /** Aborts when a signal stops the process; its reason is an AppError CANCELLED. */
  stop: AbortSignal;
}

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Does one command with the whole product in this process, but no queue and no server: opens it, ends what dead runs have
 * left, works, closes it, and sets the process's exit code. The first SIGINT, SIGTERM or SIGHUP (the terminal was closed) lets
 * running work end cleanly, a second SIGINT or SIGTERM ends the process at once.
 * @param adjust settings of this command that differ from the environment's
 * @param options.firstConfig false for a command that needs a control database without the config of the environment
 */
export async function inSession(
  options: GlobalOptions,
  work: (session: Session) => Promise<void>,
  adjust: (environment: Environment) => Environment = (environment) => environment,
  { firstConfig = true }: { firstConfig?: boolean } = {},
): Promise<void> {
  keepHeapSmall();
  const print = new Printer(options.json === true);
  const stop = new AbortController();
  const onTerminal = [0, 1, 2].some((file) => isatty(file));
  let stopped: number | null = null;
  const onSignal = (signal: NodeJS.Signals) => {
    // Closing a terminal sends SIGHUP more than once: by the system and by the shell.
    if (stopped !== null && signal === 'SIGHUP') return;
    if (stopped !== null) process.exit(stopped);
    stopped = SIGNALS[signal as keyof typeof SIGNALS];
    if (signal === 'SIGHUP') withoutTerminal();
    stop.abort(new AppError('CANCELLED', `The command was stopped by ${signal}.`));
  };
  for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal);
  let app: App | null = null;
  try {
    // What goes wrong is shown as the command's own error: a log of the same would only stand in its way.
    const environment = adjust(loadEnvironment(undefined, undefined, { LOG_LEVEL: 'silent' }));
    for (const warning of environment.warnings) print.note(`Warning: ${warning}.`);
    const [{ createApp }, { ensureFirstConfig }, { createLog }] = await Promise.all([
      import('../app.js'),
      import('../first-start.js'),
      import('../log.js'),
    ]);
    const log = createLog(environment.logLevel);
    app = await createApp(environment, { log });
    await app.restores.recover();
    await app.backups.recover();
    await app.verifications.recover();
    if (firstConfig) await ensureFirstConfig(app, { serves: false });
    await work({ app, actor: `${COMMAND_ACTOR}${systemUser()}`, print, stop: stop.signal });
  } catch (thrown) {
    app?.log.error({ err: thrown }, 'the command failed');
    reportFailure(print, explained(thrown));
  } finally {
    if (app !== null) await deliver(app, print, stop.signal);
    await app?.close();
    const lost = app?.audit.unwritten ?? 0;
    if (lost > 0) print.note(`${lost} event(s) of the audit trail could not be written.`);
    for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
    if (stopped !== null) process.exitCode = stopped;
    if (stopped === SIGNALS.SIGHUP && onTerminal) dieOfSighup();
  }
}

/** What the command has to tell to channels leaves before it ends, as far as they take it in time. */
async function deliver({ notifications, log }: App, print: Printer, stop: AbortSignal): Promise<void> {
  try {
    const waiting = await notifications.flush(stop);
    if (waiting > 0) print.note(`${waiting} message(s) wait for their channels: db-manager channels list`);
  } catch (error) {
    log.error({ err: error }, 'messages could not be delivered');
    print.note('Messages to channels could not be delivered; they wait for the next command, server or worker.');
  }
}

/** An unexpected error, with its own words: a command has no other log that would hold them. */
function explained(thrown: unknown): unknown {
  if (thrown instanceof CommandError || toAppError(thrown).code !== 'INTERNAL_ERROR') return thrown;
  const words = thrown instanceof Error ? thrown.message : String(thrown);
  const hint = 'Repeat the command with LOG_LEVEL=error for the details, and please report it.';
  return new AppError('INTERNAL_ERROR', `An unexpected error happened: ${words}`, { hint, cause: thrown });
}

/** What is still to be said has nowhere to go; that must not end the process before its run has ended cleanly. */
function withoutTerminal(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}

/** Node's own way to end puts the terminal in order first, and aborts with a core dump where there is none any more. */
function dieOfSighup(): void {
  if (process.platform !== 'win32') process.kill(process.pid, 'SIGHUP');
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    // A user id without an entry in the system's list, as in many containers.
    if (errnoOf(error) === undefined) throw error;
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}

import { userInfo } from 'node:os';
import { isatty } from 'node:tty';
import { type App, createApp } from '../app.js';
import { type Config, loadConfig } from '../config.js';
import { COMMAND_ACTOR } from '../core/names.js';
import { AppError, errnoOf, toAppError } from '../errors.js';
import { ensureFirstConfig } from '../first-start.js';
import { createLog } from '../log.js';
import { EXIT_CODES } from './exit-codes.js';
import { CommandError, Printer } from './print.js';

/** The options that every command takes. */
export interface GlobalOptions {
  json?: boolean;
}

/** What a command works with. */
export interface Session {
  app: App;
  /** Who is recorded as the one who did it. */
  actor: string;
  print: Printer;
  /** Aborts when the process was told to stop; its reason is an AppError CANCELLED. */
  stop: AbortSignal;
}

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Does one command with the whole product in this process, but no queue and no server: opens it, ends what dead runs have
 * left, works, closes it, and sets the process's exit code. The first SIGINT, SIGTERM or SIGHUP (the terminal was closed) lets
 * running work end cleanly, a second SIGINT or SIGTERM ends the process at once.
 * @param adjust settings of this command that differ from the environment's
 */
export async function inSession(
  options: GlobalOptions,
  work: (session: Session) => Promise<void>,
  adjust: (config: Config) => Config = (config) => config,
): Promise<void> {
  const print = new Printer(options.json === true);
  const stop = new AbortController();
  const onTerminal = [0, 1, 2].some((file) => isatty(file));
  let stopped: number | null = null;
  const onSignal = (signal: NodeJS.Signals) => {
    // Whoever closes a terminal sends SIGHUP more than once: the system, and the shell too.
    if (stopped !== null && signal === 'SIGHUP') return;
    if (stopped !== null) process.exit(stopped);
    stopped = SIGNALS[signal as keyof typeof SIGNALS];
    if (signal === 'SIGHUP') withoutTerminal();
    stop.abort(new AppError('CANCELLED', `The command was stopped by ${signal}.`));
  };
  for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal);
  let app: App | null = null;
  try {
    const config = adjust(loadConfig(undefined, undefined, { LOG_LEVEL: 'warn' }));
    const log = createLog(config.logLevel);
    app = await createApp(config, { log });
    await app.restores.recover();
    await app.backups.recover();
    await ensureFirstConfig(app, { serves: false });
    await work({ app, actor: `${COMMAND_ACTOR}${systemUser()}`, print, stop: stop.signal });
  } catch (thrown) {
    const error = toAppError(thrown instanceof CommandError ? thrown.error : thrown);
    if (error.code === 'INTERNAL_ERROR') createLog('error').error({ err: thrown }, 'the command failed');
    print.error(error, thrown instanceof CommandError ? thrown.details : {});
    process.exitCode = EXIT_CODES[error.code];
  } finally {
    await app?.close();
    for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
    if (stopped !== null) process.exitCode = stopped;
    if (stopped === SIGNALS.SIGHUP && onTerminal) dieOfSighup();
  }
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

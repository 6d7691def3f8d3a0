import { userInfo } from 'node:os';
import { type App, createApp } from '../app.js';
import { type Config, loadConfig } from '../config.js';
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

const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Does one command with the whole product in this process, but no queue and no server: opens it, ends what dead runs have
 * left, works, closes it, and sets the process's exit code. The first SIGINT or SIGTERM lets running work end cleanly, the
 * second ends the process at once.
 * @param adjust settings of this command that differ from the environment's
 */
export async function inSession(
  options: GlobalOptions,
  work: (session: Session) => Promise<void>,
  adjust: (config: Config) => Config = (config) => config,
): Promise<void> {
  const print = new Printer(options.json === true);
  const stop = new AbortController();
  let stopped: number | null = null;
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopped !== null) process.exit(stopped);
    stopped = SIGNALS[signal as keyof typeof SIGNALS];
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
    await ensureFirstConfig(app, { sample: false });
    await work({ app, actor: `cli:${systemUser()}`, print, stop: stop.signal });
  } catch (thrown) {
    const error = toAppError(thrown instanceof CommandError ? thrown.error : thrown);
    if (error.code === 'INTERNAL_ERROR') createLog('error').error({ err: thrown }, 'the command failed');
    print.error(error, thrown instanceof CommandError ? thrown.details : {});
    process.exitCode = EXIT_CODES[error.code];
  } finally {
    await app?.close();
    for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
    if (stopped !== null) process.exitCode = stopped;
  }
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

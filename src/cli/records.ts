import { loadEnvironment } from '../environment.js';
import { toAppError } from '../errors.js';
import { type Models, openModels } from '../models/index.js';
import { EXIT_CODES } from '../exit-codes.js';
import { CommandError, Printer } from './print.js';
import type { GlobalOptions } from './session.js';

/** What a command that only reads records works with. */
export interface Records {
  models: Models;
  print: Printer;
}

/**
 * Does one command with nothing but the records, which takes a fraction of the time that the whole product takes to load.
 * @param work returns false if it needs the whole product: nothing was printed then
 * @returns what `work` returned; true also when it failed
 */
export async function inRecords(
  options: GlobalOptions,
  work: (records: Records) => Promise<boolean>,
): Promise<boolean> {
  const print = new Printer(options.json === true);
  let models: Models | null = null;
  try {
    models = await openModels(loadEnvironment().controlDatabaseUrl);
    return await work({ models, print });
  } catch (thrown) {
    reportFailure(print, thrown);
    return true;
  } finally {
    await models?.sequelize.close();
  }
}

/** Shows why a command failed and sets the process's exit code. */
export function reportFailure(print: Printer, thrown: unknown): void {
  const error = toAppError(thrown instanceof CommandError ? thrown.error : thrown);
  print.error(error, thrown instanceof CommandError ? thrown.details : {});
  process.exitCode = EXIT_CODES[error.code];
}

import { loadEnvironment } from '../environment.js';
import { type Models, openModels } from '../models/index.js';
import { type GlobalOptions, Printer, reportFailure } from './print.js';

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
    const environment = loadEnvironment();
    for (const warning of environment.warnings) print.note(`Warning: ${warning}.`);
    models = await openModels(environment.controlDatabaseUrl);
    return await work({ models, print });
  } catch (thrown) {
    reportFailure(print, thrown);
    return true;
  } finally {
    await models?.sequelize.close();
  }
}

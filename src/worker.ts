import { loadEnvironment } from './environment.js';
import { isMain, runProcess } from './process.js';

/** A worker's process: the jobs only. It shares the work with every other process on the same control database. */
export function main(): Promise<void> {
  return runProcess(async (opened) => {
    const environment = loadEnvironment();
    // Not before: loading them is what the process would keep memory for.
    const [{ createApp }, { ensureFirstConfig }] = await Promise.all([import('./app.js'), import('./first-start.js')]);
    const app = await createApp(environment);
    opened(() => app.close());
    await ensureFirstConfig(app, { serves: false });
    await app.startWork();
    for (const warning of environment.warnings) process.stdout.write(`Warning: ${warning}.\n`);
    process.stdout.write('db-manager worker is ready: it runs jobs until it is stopped.\n');
  });
}

if (isMain(import.meta.url)) await main();

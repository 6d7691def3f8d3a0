import { createApp, createServer } from './app.js';
import { loadConfig } from './config.js';
import { ensureFirstConfig, firstSteps, takeFirstBackup } from './first-start.js';
import { isMain, runProcess } from './process.js';

/** The server's process: the API, the downloads, and the jobs. */
export function main(): Promise<void> {
  return runProcess(async (opened) => {
    const config = loadConfig();
    const app = await createApp(config);
    opened(() => app.close());
    const password = await app.auth.users.ensureFirstAdmin(config.auth.adminEmail, config.auth.adminPassword);
    const first = await ensureFirstConfig(app);
    const http = await createServer(app);
    const address = await http.listen(config.port, config.host);
    opened(async () => {
      await Promise.all([http.close(config.shutdownMs), app.stopWork(config.shutdownMs)]);
      await app.close();
    });
    app.log.info({ address }, 'listening');
    say(`db-manager is ready at ${address}  (open it in a browser)`);
    if (first.created) say(`Login:        ${config.auth.adminEmail}`);
    if (password !== null)
      say(`Password:     ${password}  (shown only now; change it: npx db-manager password ${config.auth.adminEmail})`);
    await app.startWork();
    if (first.created) say(await firstSteps(app, first, await takeFirstBackup(app, first)));
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

if (isMain(import.meta.url)) await main();

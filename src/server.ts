import type { App } from './app.js';
import { loadEnvironment } from './environment.js';
import { isMain, runProcess } from './process.js';

/** The server's process: the API, the downloads, and the jobs. */
export function main(): Promise<void> {
  return runProcess(async (opened) => {
    const environment = loadEnvironment();
    // Not before: loading them is what the process would keep memory for.
    const [{ createApp, createServer }, start] = await Promise.all([import('./app.js'), import('./first-start.js')]);
    const app = await createApp(environment);
    opened(() => app.close());
    const login = await ensureLogin(app);
    const first = await start.ensureFirstConfig(app);
    const channel = await start.ensureFirstChannel(app);
    const http = await createServer(app);
    const address = await http.listen(environment.port, environment.host);
    opened(async () => {
      await Promise.all([http.close(environment.shutdownMs), app.stopWork(environment.shutdownMs)]);
      await app.close();
    });
    app.log.debug({ address }, 'listening');
    say(`db-manager is ready at ${address}  (open it in a browser)`);
    login.forEach(say);
    environment.warnings.map((warning) => `Warning:      ${warning}.`).forEach(say);
    first.notes.forEach(say);
    say(channel ?? '');
    await app.startWork();
    if (first.created) (await withoutRecord(app)).forEach(say);
    if (first.created && process.stderr.isTTY) process.stderr.write('Taking the first backup …\n');
    if (first.created) say(await start.firstSteps(app, first, await start.takeFirstBackup(app, first)));
    else say((await start.missingDatabase(app)) ?? '');
  });
}

/** Makes sure that there is an account to sign in with. @returns the lines about it for the terminal */
async function ensureLogin({ auth, audit, environment }: App): Promise<string[]> {
  const { adminEmail, adminPassword } = environment.auth;
  const { email, generated, change } = await auth.users.ensureAdmin(adminEmail, adminPassword);
  if (change === null) return [`Login:        ${email}`];
  await audit.record('system', 'user.provide', email, { change });
  const from = generated === null ? 'ADMIN_PASSWORD' : null;
  const done = {
    created: null,
    renamed: 'The account admin@localhost became this one: its old password works no longer.',
    password: 'The password was set to ADMIN_PASSWORD: everyone who was signed in with the old one signs in again.',
  }[change];
  return [
    `Login:        ${email}`,
    `Password:     ${from ?? `${generated}  (shown only now; change it: npx db-manager password ${email})`}`,
    ...(done === null ? [] : [`              ${done}`]),
  ];
}

/** After the loss of DATA_DIR the old archives are still there: mention them before anything else. */
async function withoutRecord({ cleanup }: App): Promise<string[]> {
  const found = (await cleanup.reconcile()).flatMap(({ files }) => files);
  if (found.length === 0) return [];
  return [
    `Archives:     ${found.length} without a record, such as ${found.at(-1)}. Take them in: npx db-manager reconcile --take-in`,
  ];
}

function say(text: string): void {
  if (text !== '') process.stdout.write(`${text}\n`);
}

if (isMain(import.meta.url)) await main();

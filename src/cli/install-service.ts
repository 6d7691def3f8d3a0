import { constants, existsSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { makeFolder } from '../archive/make-folder.js';
import { readSettings } from '../environment.js';
import { AppError, badInput, errnoOf } from '../errors.js';
import { type GlobalOptions, Printer, reportFailure } from './print.js';
import { outermost, serviceUnit, type ServiceTarget } from './service-unit.js';
import { type Account, accountOf, assertActive, installUnits, removeUnits, unitFolder } from './timers.js';
import type { UnitSet } from './systemd-units.js';
import { programOf } from './timer-shape.js';

interface Options {
  worker?: boolean;
  account?: string;
  name?: string;
  install?: boolean;
  remove?: boolean;
  yes?: boolean;
}

type Settings = ReturnType<typeof readSettings>;

export function addInstallService(program: Command): void {
  program
    .command('install-service')
    .description(
      'A unit of systemd that runs the server of this folder from boot on, with few rights. Prints it; --install puts it in ' +
        'place and starts it, and --remove stops it and takes it away. Settings come from .env in this folder. ' +
        'JSON: {name, kind, account, action, changed, texts}',
    )
    .option('--worker', 'for a worker: jobs only, no HTTP')
    .option('--account <name>', 'who the service runs as (default: the owner of this folder); never root')
    .option('--name <name>', 'of the unit (default: db-manager, or db-manager-worker)')
    .option('--install', 'put it in place; as root')
    .option('--remove', 'take it away; as root')
    .option('--yes', 'with --install or --remove: yes, do it (on a terminal you are asked instead)')
    .action(async (options: Options, command: Command) => {
      const print = new Printer(command.optsWithGlobals<GlobalOptions>().json === true);
      try {
        await setUp(print, options);
      } catch (error) {
        reportFailure(print, error);
      }
    });
}

/** Opens nothing of the installation: as root it would leave files that the service cannot read. */
async function setUp(print: Printer, options: Options): Promise<void> {
  if (options.install && options.remove) throw badInput('install', 'and --remove cannot both be done.');
  const settings = readSettings();
  const owner = await accountOf(options.account ?? String((await stat(process.cwd())).uid));
  const target = targetOf(options, settings, owner);
  const units = serviceUnit(target);
  const { name, kind, account } = target;
  const action = options.install ? 'install' : options.remove ? 'remove' : 'print';
  const place = join(unitFolder(false), `${name}.service`);
  if (action !== 'print') await assertMay(print, action, place, options);
  if (action === 'install') await provide(settings, owner);
  const changed = {
    print: async () => false,
    install: () => start(units),
    remove: () => removeUnits(units, false, (line) => print.note(line)),
  }[action];
  const texts = { [place]: units.files[`${name}.service`] ?? '' };
  const document = { name, kind, account, action, changed: await changed(), texts };
  print.result(document, () => textOf(document));
  if (action !== 'remove') for (const line of notes(target, settings)) print.note(line);
}

/** How long a service has to find that it cannot run, in milliseconds. */
const FIRST_STEPS = 3_000;

/** @throws AppError also if the service has ended soon after its start, as with settings that it refuses */
async function start(units: UnitSet): Promise<boolean> {
  const changed = await installUnits(units, false);
  await sleep(FIRST_STEPS);
  await assertActive(units.starts);
  return changed;
}

function textOf({ name, action, changed, texts }: { name: string; action: string; changed: boolean; texts: object }) {
  if (action === 'remove') return changed ? `${name} is stopped and removed.` : `${name} was not installed.`;
  if (action === 'install') return `${name} ${changed ? 'is installed and' : 'was already installed, and'} runs.`;
  return Object.entries(texts)
    .map(([place, text]) => `# ${place}\n${text}`)
    .join('\n');
}

function targetOf(options: Options, settings: Settings, { name: account, uid }: Account): ServiceTarget {
  const folder = process.cwd();
  const kind = options.worker ? 'worker' : 'server';
  const name = options.name ?? (options.worker ? 'db-manager-worker' : 'db-manager');
  if (!/^[A-Za-z0-9][\w.-]{0,99}$/.test(name)) {
    throw badInput('name', 'may hold only letters, digits, dots, hyphens and underscores.', 'Write another name.');
  }
  if (uid === 0) {
    const why = options.account === undefined ? ', who owns this folder' : '';
    throw badInput(
      'account',
      `is root${why}: the service needs none of its rights.`,
      'Name an account with --account.',
    );
  }
  const { shutdownMs, allowedPaths } = settings;
  const writes = outermost(foldersOf(settings));
  // Each becomes a line of the unit, which root runs.
  const odd = writes.find((path) => /\p{Cc}/u.test(path));
  if (odd !== undefined) throw badInput('.env', `names a path with a control character: ${JSON.stringify(odd)}.`);
  return { ...programOf(folder), name, kind, account, shutdownMs, writes, confined: allowedPaths.length > 0 };
}

/** Where the service writes as far as its settings say: a restore puts files and folders beside those that it replaces. */
function foldersOf({ dataDir, localRoot, allowedPaths, seed, controlDatabaseUrl }: Settings): string[] {
  const { databaseUrl, mediaPaths, storageType, storagePath } = seed;
  const files = [databaseUrl, controlDatabaseUrl].flatMap((url) => /^sqlite:(.+)$/.exec(url)?.[1] ?? []);
  const beside = [...files, ...mediaPaths].map((path) => dirname(path));
  const storages = storageType === 'SYSTEM' ? [storagePath] : storageType === 'LOCAL' ? [localRoot] : [];
  return [dataDir, ...allowedPaths, ...storages, ...beside];
}

async function assertMay(print: Printer, action: string, place: string, { yes }: Options): Promise<void> {
  if (process.getuid?.() !== 0) {
    const hint = 'Repeat the command as root, such as with sudo; without --install it only prints the unit.';
    throw new AppError('FORBIDDEN', `Only root may ${action} a service of the system.`, { hint });
  }
  if (yes === true) return;
  const question = action === 'install' ? `Install ${place} and start it?` : `Stop the service and remove ${place}?`;
  const refusal = new AppError('CONFIRMATION_REQUIRED', question, { hint: 'Repeat the command with --yes.' });
  if (!print.interactive) throw refusal;
  const terminal = createInterface({ input: process.stdin, output: print.err });
  try {
    if (!/^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim())) throw refusal;
  } finally {
    terminal.close();
  }
}

/** What the service needs before its first start, because it may not make it itself. */
async function provide({ dataDir, localRoot, seed }: Settings, { uid, gid }: Account): Promise<void> {
  for (const folder of [dataDir, ...(seed.storageType === 'LOCAL' ? [localRoot] : [])]) {
    try {
      // The innermost first: what is the account's it may replace by a link.
      for (const made of (await makeFolder(folder, 0o700)).reverse()) await handOver(made, uid, gid);
    } catch (error) {
      const message = `${folder} cannot be made (${errnoOf(error) ?? 'unknown'}).`;
      throw new AppError('BAD_USER_INPUT', message, { hint: 'Make it, and give it to the account of the service.' });
    }
  }
}

async function handOver(folder: string, uid: number, gid: number): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    await handle.chown(uid, gid);
  } finally {
    await handle.close();
  }
}

function notes({ account, folder, confined }: ServiceTarget, { warnings, hooks }: Settings): string[] {
  const lines = warnings.map((text) => `Warning: ${text}.`);
  if (!existsSync(join(folder, '.env'))) {
    lines.push(
      `There is no .env in ${folder}: variables that are set only here will be missing when the service runs.`,
    );
  } else {
    lines.push(`${account} must be able to read ${join(folder, '.env')}.`);
  }
  if (hooks.folder !== null) lines.push('Hooks cannot use sudo in the service: docs/hooks.md says what they can do.');
  if (confined) lines.push('After a change of ALLOWED_PATHS or of a path in .env, install it once more.');
  return lines;
}

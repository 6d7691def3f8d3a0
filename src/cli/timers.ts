import { spawn } from 'node:child_process';
import { lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { makeFolder, unmakeFolders } from '../archive/make-folder.js';
import { AppError, errnoOf } from '../errors.js';
import { changedCrontab } from './crontab-text.js';
import type { UnitSet } from './systemd-units.js';

/** A tool of the system must answer within this time, in milliseconds. */
const ANSWER_WITHIN = 60_000;

interface Answer {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Puts units where systemd looks and starts the one that is to run. If that fails, all is as it was before.
 * @returns false if all was so already
 */
export async function installUnits(units: UnitSet, user: boolean): Promise<boolean> {
  const { files, starts } = units;
  const folder = unitFolder(user);
  const present = await unitsIn(folder, units);
  const changed = Object.entries(files).some(([name, text]) => present[name] !== text);
  const call = systemctl(units, user);
  await call('--version');
  const made = changed ? await writeUnits(folder, units) : [];
  try {
    if (changed) await call('daemon-reload');
    await call('enable', '--now', starts);
    // One that was running already goes on as it was started otherwise.
    if (changed && starts in present) await call('restart', starts);
  } catch (error) {
    if (changed) await putBack(folder, units, present, made, user);
    throw error;
  }
  return changed;
}

/** @returns the folders that were made for them */
async function writeUnits(folder: string, { files, hints }: UnitSet): Promise<string[]> {
  let made: string[] = [];
  try {
    made = await makeFolder(folder);
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    return made;
  } catch (error) {
    for (const name of Object.keys(files)) await rm(join(folder, name), { force: true }).catch(() => undefined);
    await unmakeFolders(made);
    throw refused(`The units cannot be written to ${folder} (${errnoOf(error) ?? 'unknown'}).`, hints.write);
  }
}

/** As far as possible: what stays is taken away by `--remove`. */
async function putBack(
  folder: string,
  units: UnitSet,
  present: Record<string, string>,
  made: string[],
  user: boolean,
): Promise<void> {
  const { files, starts } = units;
  const call = systemctl(units, user);
  const attempts = [
    ...(starts in present ? [] : [() => call('disable', '--now', starts), () => unlink(folder, units)]),
    ...Object.keys(files).map((name) => async () => {
      const text = present[name];
      await (text === undefined ? rm(join(folder, name), { force: true }) : writeFile(join(folder, name), text));
    }),
    () => unmakeFolders(made),
    () => call('daemon-reload'),
  ];
  for (const attempt of attempts) await attempt().catch(() => undefined);
}

/**
 * Stops what they started and removes the units, also where only some of their parts are there or systemd does not answer.
 * @param warn called with what could not be done
 * @returns false if there were none
 */
export async function removeUnits(units: UnitSet, user: boolean, warn: (line: string) => void): Promise<boolean> {
  const folder = unitFolder(user);
  const present = Object.keys(await unitsIn(folder, units));
  const linked = await unlink(folder, units, true);
  const call = systemctl(units, user);
  if (present.length === 0 && !linked) return false;
  const tell = (error: unknown) => warn(error instanceof AppError ? error.message : String(error));
  await call('disable', '--now', units.starts).catch(tell);
  await unlink(folder, units);
  for (const name of present) {
    await rm(join(folder, name), { force: true }).catch((error: unknown) => {
      throw refused(`${join(folder, name)} cannot be removed (${errnoOf(error) ?? 'unknown'}).`, units.hints.write);
    });
  }
  await call('daemon-reload').catch(tell);
  return true;
}

/** The link by which `enable` has a unit started at boot. @returns whether it is, or was, there */
async function unlink(folder: string, { starts, target }: UnitSet, onlyLook = false): Promise<boolean> {
  const link = join(folder, `${target}.wants`, starts);
  const there = await lstat(link).then(
    () => true,
    () => false,
  );
  if (there && !onlyLook) await rm(link, { force: true });
  return there;
}

/** Where systemd looks for units of the user or of the system. */
export const unitFolder = (user: boolean) =>
  user ? join(homedir(), '.config', 'systemd', 'user') : '/etc/systemd/system';

/** Those of the units that are there. @throws AppError if one of that name is not ours */
async function unitsIn(folder: string, { files, mark }: UnitSet): Promise<Record<string, string>> {
  const present: Record<string, string> = {};
  for (const name of Object.keys(files)) {
    const text = await readFile(join(folder, name), 'utf8').catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return null;
      throw error;
    });
    if (text === null) continue;
    if (!text.startsWith(mark)) {
      const message = `${join(folder, name)} was not made by db-manager for this installation.`;
      throw refused(message, 'Move it away, or have another name where the command takes one.');
    }
    present[name] = text;
  }
  return present;
}

function systemctl({ hints }: UnitSet, user: boolean): (...args: string[]) => Promise<void> {
  return (...args) => succeed('systemctl', [...(user ? ['--user'] : []), ...args], hints.systemd);
}

/** @throws AppError if a unit of the system does not run */
export async function assertActive(unit: string): Promise<void> {
  await succeed('systemctl', ['is-active', unit], `Look why: journalctl -u ${unit} -n 20`);
}

/** An account of this system. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** @param given its name or number @throws AppError BAD_USER_INPUT if there is none */
export async function accountOf(given: string): Promise<Account> {
  const answer = await ask('id', ['--', given], 'Run it on a machine with systemd.');
  const [, uid, name, gid] = /^uid=(\d+)\(([^)]+)\) gid=(\d+)/.exec(answer.stdout) ?? [];
  if (name !== undefined) return { name, uid: Number(uid), gid: Number(gid) };
  const hint = 'Name another with --account, or make it: useradd --system db-manager';
  throw refused(`There is no account ${given} on this machine.`, hint);
}

/** Puts the block into the user's crontab; an empty one takes it away. @returns false if it was so already */
export async function changeCrontab(name: string, block: string): Promise<boolean> {
  const hint = 'Install cron, or use --systemd.';
  const answer = await ask('crontab', ['-l'], hint);
  if (answer.code !== 0 && !/no crontab/i.test(answer.stderr)) throw failed('crontab -l', answer, hint);
  const present = answer.code === 0 ? answer.stdout : '';
  const wanted = changedCrontab(present, name, block);
  if (wanted === present) return false;
  await succeed('crontab', ['-'], hint, wanted);
  return true;
}

/** Registers the task, in place of the one of the same name. @param folder for the file that schtasks reads */
export async function installTask(name: string, xml: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, `${name}.xml`);
  try {
    await writeFile(file, `\uFEFF${xml.replaceAll('\n', '\r\n')}`, 'utf16le');
    await succeed('schtasks', ['/Create', '/TN', name, '/XML', file, '/F'], WINDOWS_HINT);
  } finally {
    await rm(file, { force: true });
  }
}

/** @returns false if there was no such task */
export async function removeTask(name: string): Promise<boolean> {
  const found = await ask('schtasks', ['/Query', '/TN', name], WINDOWS_HINT);
  if (found.code !== 0) return false;
  await succeed('schtasks', ['/Delete', '/TN', name, '/F'], WINDOWS_HINT);
  return true;
}

const WINDOWS_HINT = 'Run it on Windows in a terminal of an administrator; elsewhere use --systemd or --cron.';

async function succeed(command: string, args: string[], hint: string, input = ''): Promise<void> {
  const answer = await ask(command, args, hint, input);
  if (answer.code !== 0) throw failed([command, ...args].join(' '), answer, hint);
}

function failed(call: string, { code, stdout, stderr }: Answer, hint: string): AppError {
  const words = (stderr.trim() || stdout.trim()).split('\n').slice(-3).join(' ');
  return refused(`\`${call}\` ended with ${code}: ${words}`, hint);
}

const refused = (message: string, hint: string) => new AppError('BAD_USER_INPUT', message, { hint });

/** Runs a tool of the system. @throws AppError if there is none */
function ask(command: string, args: string[], hint: string, input = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'pipe', signal: AbortSignal.timeout(ANSWER_WITHIN) });
    const answer = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => (answer[name] += text));
    }
    child.on('error', (cause) => {
      const message =
        errnoOf(cause) === 'ENOENT' ? 'is not on this machine (not in PATH)' : 'could not be run, or did not answer';
      reject(new AppError('BAD_USER_INPUT', `${command} ${message}.`, { hint, cause }));
    });
    child.on('close', (code) => resolve({ code: code ?? 1, ...answer }));
    child.stdin.on('error', () => undefined); // It did not read its input: its exit code says why.
    child.stdin.end(input);
  });
}

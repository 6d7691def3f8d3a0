import { spawn } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { AppError, errnoOf } from '../errors.js';
import { changedCrontab } from './crontab-text.js';
import { UNIT_MARK } from './systemd-units.js';

/** A tool of the system must answer within this time, in milliseconds. */
const ANSWER_WITHIN = 60_000;

interface Answer {
  code: number;
  stdout: string;
  stderr: string;
}

/** Puts units where systemd looks and starts their timer. @returns false if all was so already */
export async function installUnits(units: Record<string, string>, user: boolean): Promise<boolean> {
  const folder = unitFolder(user);
  const present = await unitsIn(folder, Object.keys(units));
  const changed = Object.entries(units).some(([name, text]) => present[name] !== text);
  await systemctl(user, '--version');
  if (changed) {
    await mkdir(folder, { recursive: true });
    for (const [name, text] of Object.entries(units)) await writeFile(join(folder, name), text);
    await systemctl(user, 'daemon-reload');
  }
  const timer = timerOf(units);
  await systemctl(user, 'enable', '--now', timer);
  // One that was running already goes on by its old times otherwise.
  if (changed && timer in present) await systemctl(user, 'restart', timer);
  return changed;
}

/** Stops the timer and removes the units. @returns false if there were none */
export async function removeUnits(units: Record<string, string>, user: boolean): Promise<boolean> {
  const folder = unitFolder(user);
  const present = Object.keys(await unitsIn(folder, Object.keys(units)));
  if (present.length === 0) return false;
  const timer = timerOf(units);
  if (present.includes(timer)) await systemctl(user, 'disable', '--now', timer);
  for (const name of present) await rm(join(folder, name));
  await systemctl(user, 'daemon-reload');
  return true;
}

/** Where systemd looks for units of the user or of the system. */
export const unitFolder = (user: boolean) =>
  user ? join(homedir(), '.config', 'systemd', 'user') : '/etc/systemd/system';

const timerOf = (units: Record<string, string>) => Object.keys(units).find((name) => name.endsWith('.timer')) ?? '';

/** Those of the units that are there. @throws AppError if one of that name is somebody else's */
async function unitsIn(folder: string, names: string[]): Promise<Record<string, string>> {
  const present: Record<string, string> = {};
  for (const name of names) {
    const text = await readFile(join(folder, name), 'utf8').catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return null;
      throw error;
    });
    if (text === null) continue;
    if (!text.startsWith(UNIT_MARK))
      throw refused(`${join(folder, name)} was not made by db-manager.`, 'Move it away.');
    present[name] = text;
  }
  return present;
}

async function systemctl(user: boolean, ...args: string[]): Promise<void> {
  const hint = user
    ? 'Is this a login of the user itself (not sudo)? Otherwise use --cron, or run it as root.'
    : 'Use --cron, or run it as root on a machine that systemd has started.';
  await succeed('systemctl', [...(user ? ['--user'] : []), ...args], hint);
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
    child.stdin.on('error', () => undefined); // One that does not read: its exit code tells.
    child.stdin.end(input);
  });
}

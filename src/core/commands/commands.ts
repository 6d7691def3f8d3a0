import { spawn } from 'node:child_process';
import { access, constants, lstat, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, type ErrorCode, errnoOf, maskSecrets } from '../../errors.js';

/** What commands are for, and how their errors name them. */
export interface CommandKind {
  /** In the singular: `drill command`. */
  noun: string;
  /** The variables of the environment that name their folder and the time limit. */
  folderVariable: string;
  secondsVariable: string;
  /** Why one is not run. */
  refusal: (text: string, hint: string) => AppError;
  /** The code for one that failed. */
  failed: ErrorCode;
}

/** Where an operator lays commands, and how long one may run. */
export interface CommandsSettings {
  /** Absolute; null: there are none. */
  folder: string | null;
  seconds: number;
}

/** How a command ended. */
export interface CommandEnd {
  /** Null if a signal ended it. */
  exitCode: number | null;
  /** True if it took longer than it may, and was killed. */
  late: boolean;
  seconds: number;
  /** The last of what it wrote, on both of its outputs, without passwords of URLs and that of the database. */
  output: string;
}

/** How much of a command's output is kept, in bytes. */
const KEPT = 16 * 1024;
/** How much of it an error quotes at most, in characters. */
const QUOTED = 500;
/** How long a command may take to end when it is told to, in milliseconds. */
const END_WITHIN = 3_000;
/** Only what an operator and no one else can have written. */
const OTHERS_MAY_WRITE = 0o022;
/** Of a folder: what lies in it can be renamed by its owner alone. */
const STICKY = 0o1000;
const PROGRAMS = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** A user of the API may name a command; only an operator of the machine can lay one down. */
export class Commands {
  constructor(
    private readonly settings: CommandsSettings,
    readonly kind: CommandKind,
  ) {}

  /** Where they lie; null if there are none. */
  get folder(): string | null {
    return this.settings.folder;
  }

  /**
   * The path of the command with this file name.
   * @throws AppError the kind's refusal, if there is none or if someone else could have written it
   */
  async find(name: string): Promise<string> {
    const path = await this.look(name);
    if (path !== null) return path;
    const { refusal, folderVariable } = this.kind;
    throw refusal(`there is no "${name}" in ${folderVariable}.`, 'Lay an executable file of this name there.');
  }

  /** As `find`, but null if there is no such file in the folder. */
  async look(name: string): Promise<string | null> {
    const { noun, folderVariable, refusal: wrong } = this.kind;
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) {
      const text = `"${name}" is not a file name of letters, digits, dots, hyphens and underscores, at most 100.`;
      throw wrong(text, `Give the bare name of a file in ${folderVariable}.`);
    }
    const { folder } = this.settings;
    if (folder === null) {
      throw wrong(`cannot be used, because ${folderVariable} is not set.`, `Set it to the folder of the ${noun}s.`);
    }
    const own = process.geteuid?.();
    if (own === undefined) {
      throw wrong('cannot be used on Windows, where no rights of files can be judged.', 'Leave it out.');
    }
    const place = await realpath(folder).catch((error: unknown) => {
      throw wrong(`the folder ${folder} cannot be read (${errnoOf(error) ?? 'unknown'}).`, MAKE);
    });
    const path = join(place, name);
    await this.assertSafe(place, own);
    // Whoever may rename a folder above could put another one in its place.
    for (const above of ancestorsOf(place)) {
      const { uid, mode } = await stat(above);
      if (uid !== 0 && uid !== own) throw wrong(`${above}, above it, belongs to another user (${uid}).`, OWN);
      if ((mode & OTHERS_MAY_WRITE) === 0 || (mode & STICKY) !== 0) continue;
      throw wrong(`${above}, above it, can be written by its group or others.`, OWN);
    }
    const file = await lstat(path).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return null;
      throw wrong(`${path} cannot be read (${errnoOf(error) ?? 'unknown'}).`, MAKE);
    });
    if (file === null) return null;
    if (!file.isFile())
      throw wrong(`${path} is not a file itself.`, 'Put a copy there in place of a link or a folder.');
    await this.assertSafe(path, own);
    await access(path, constants.X_OK).catch(() => {
      throw wrong(`${path} cannot be executed.`, `Run: chmod 755 ${path}`);
    });
    return path;
  }

  private async assertSafe(path: string, own: number): Promise<void> {
    const { uid, mode } = await lstat(path);
    if (uid !== 0 && uid !== own) throw this.kind.refusal(`${path} belongs to another user (${uid}).`, OWN);
    if ((mode & OTHERS_MAY_WRITE) === 0) return;
    throw this.kind.refusal(`${path} can be written by its group or others.`, OWN);
  }

  /**
   * Runs a command in a process group of its own, which ends with it, on time-out and when the signal aborts.
   * @param options.env what it gets of the environment, beside PATH and LANG
   * @throws AppError as `find`; the signal's reason; the kind's code if it cannot be started
   */
  async run(
    name: string,
    { cwd, env, signal }: { cwd: string; env: Record<string, string>; signal: AbortSignal },
  ): Promise<CommandEnd> {
    const path = await this.find(name);
    signal.throwIfAborted();
    const late = AbortSignal.timeout(this.settings.seconds * 1_000);
    const start = performance.now();
    const child = spawn(path, [], {
      cwd,
      env: { PATH: PROGRAMS, LANG: 'C.UTF-8', HOME: cwd, TMPDIR: cwd, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const tail = new Tail(Object.values(env).flatMap(passwordOf));
    child.stdout.on('data', (chunk: Buffer) => tail.add(chunk));
    child.stderr.on('data', (chunk: Buffer) => tail.add(chunk));
    const kill = (how: NodeJS.Signals) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, how);
      } catch {
        // All of its group has ended.
      }
    };
    let killing: NodeJS.Timeout | undefined;
    const end = () => {
      kill('SIGTERM');
      killing ??= setTimeout(() => kill('SIGKILL'), END_WITHIN);
    };
    const atExit = () => kill('SIGKILL');
    process.once('exit', atExit);
    const ending = AbortSignal.any([signal, late]);
    ending.addEventListener('abort', end, { once: true });
    try {
      const exitCode = await new Promise<number | null>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', resolve);
        // What it leaves running would go on with a database that is about to be removed, and hold its outputs open.
        child.once('exit', () => kill('SIGKILL'));
        child.once('exit', (code) => setTimeout(() => resolve(code), END_WITHIN).unref());
      });
      signal.throwIfAborted();
      const seconds = (performance.now() - start) / 1_000;
      return { exitCode, late: late.aborted, seconds, output: tail.text() };
    } catch (error) {
      signal.throwIfAborted();
      const text = `The ${this.kind.noun} ${path} could not be started (${errnoOf(error) ?? 'unknown'}).`;
      throw new AppError(this.kind.failed, text, {
        hint: 'Check that its first line names a program that is there, such as #!/bin/sh.',
        cause: error,
      });
    } finally {
      ending.removeEventListener('abort', end);
      process.off('exit', atExit);
      clearTimeout(killing);
      child.stdout.destroy();
      child.stderr.destroy();
    }
  }
}

/**
 * Why a command is a failure, as the rest of a sentence that begins with its name; null if it ended with 0 in time.
 * @param lines how many of the last lines of its output are quoted
 */
export function failureOf({ exitCode, late, seconds, output }: CommandEnd, lines: number): string | null {
  if (exitCode === 0 && !late) return null;
  const how = late
    ? `was ended after ${seconds.toFixed(1)} seconds, its limit`
    : exitCode === null
      ? 'was ended by a signal'
      : `ended with ${exitCode}`;
  const last = output
    .trim()
    .split('\n')
    .slice(-lines)
    .join(' | ')
    .replace(/\p{Cc}/gu, ' ')
    .slice(-QUOTED)
    .trim();
  return last === '' ? `${how}.` : `${how}. It said last: ${last}`;
}

const MAKE = 'Make the folder, owned by the user that runs db-manager or by root, and writable by no one else.';
const OWN = 'Give it to the user that runs db-manager or to root, and take it from others: chmod go-w.';

/** All folders above a real path, up to the root. */
function ancestorsOf(path: string): string[] {
  const above = dirname(path);
  return above === path ? [] : [above, ...ancestorsOf(above)];
}

/** The password of a URL in each form that a shell or a program may write it in, the longest first; none of other values. */
function passwordOf(value: string): string[] {
  const written = URL.canParse(value) ? new URL(value).password : '';
  if (written === '') return [];
  const plain = decodeURIComponent(written);
  return [...new Set([written, plain.replaceAll("'", String.raw`'\''`), plain])].sort((a, b) => b.length - a.length);
}

/** Keeps the end of an output. */
class Tail {
  private kept: Buffer = Buffer.alloc(0);
  private isCut = false;

  /** @param secrets what never stands in the text */
  constructor(private readonly secrets: readonly string[]) {}

  /** Adds what was written. More is kept than is shown: what is cut in half is not known as a secret. */
  add(chunk: Buffer): void {
    const all = Buffer.concat([this.kept, chunk]);
    this.isCut ||= all.length > 2 * KEPT;
    this.kept = all.subarray(-2 * KEPT);
  }

  /** What was kept, as text that every control database can hold. */
  text(): string {
    const kept = this.kept.toString('utf8').replaceAll('\0', '');
    const whole = this.isCut ? kept.slice(kept.slice(0, KEPT).indexOf('\n') + 1) : kept;
    const masked = maskSecrets(this.secrets.reduce((text, secret) => text.replaceAll(secret, '***'), whole));
    // A character that was cut in half is left out.
    return Buffer.from(masked)
      .subarray(-KEPT)
      .toString('utf8')
      .replace(/^\uFFFD+/, '');
  }
}

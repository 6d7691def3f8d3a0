import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { AppError, maskSecrets } from '../errors.js';

/** What a program is started for. */
export interface ProcessRun {
  /** Absolute path. */
  program: string;
  /** The folder of the run, below which the program's own folder lies meanwhile: it goes with the run in any case. */
  scratch: string;
  signal: AbortSignal;
  /** Lays what the program needs in its own private folder. */
  prepare(folder: string): Promise<{ args: string[]; env: NodeJS.ProcessEnv }>;
  /** The server as messages name it, such as ` at db:5432`; empty for none. */
  at: string;
  /** Lines of its messages that say why it failed: what stands beside an error may be a row of the application's. */
  errorLine: RegExp;
}

/** A program that runs. */
export interface RunningProcess {
  stdin: Writable;
  stdout: Readable;
  /** Settles when the program has ended and all is tidied up. @throws AppError DATABASE_FAILED with what it said last */
  ended: Promise<void>;
  /** What it said so far, line by line, without secrets; the last ones only. */
  messages: readonly string[];
}

/** Lines of a program's messages that are kept. */
const TAIL = 40;
/** How long a program may take to end by itself when it is told to, in milliseconds. */
const END_WITHIN = 3_000;
/** How long a program may take to say its version, in milliseconds. */
const ANSWER_WITHIN = 10_000;

/** Starts a program in a process group of its own and a private folder, which end with it. */
export async function startProcess(run: ProcessRun): Promise<RunningProcess> {
  const { program, scratch, signal } = run;
  signal.throwIfAborted();
  const folder = await mkdtemp(join(scratch, 'program_'));
  const messages: string[] = [];
  try {
    const { args, env } = await run.prepare(folder);
    const child = spawn(program, args, { env, cwd: folder, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    // How the program ends says why it no longer reads.
    child.stdin.on('error', () => undefined);
    const kill = (name: NodeJS.Signals) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, name);
      } catch {
        // It has ended already.
      }
    };
    let late: NodeJS.Timeout | undefined;
    const stop = () => {
      kill('SIGTERM');
      late = setTimeout(() => kill('SIGKILL'), END_WITHIN);
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    const lines = createInterface({ input: child.stderr });
    lines.on('line', (line) => {
      messages.push(maskSecrets(line).slice(0, 500));
      if (messages.length > TAIL) messages.shift();
    });
    const ended = ending(child)
      .catch((error: unknown) => ({ code: null, name: null, error }))
      .then((how) => assertEnded(run, how, messages))
      .finally(async () => {
        clearTimeout(late);
        signal.removeEventListener('abort', stop);
        await rm(folder, { recursive: true, force: true });
      });
    ended.catch(() => undefined);
    return { stdin: child.stdin, stdout: child.stdout, ended, messages };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

interface End {
  code: number | null;
  name: string | null;
  error?: unknown;
}

async function ending(child: ChildProcess): Promise<End> {
  const [code, name] = (await once(child, 'close')) as [number | null, string | null];
  return { code, name };
}

function assertEnded(run: ProcessRun, { code, name, error }: End, messages: readonly string[]): void {
  run.signal.throwIfAborted();
  if (code === 0 && name === null && error === undefined) return;
  const how =
    error !== undefined ? 'could not be started' : name !== null ? `was ended by ${name}` : `ended with ${code}`;
  const said = messages.filter((line) => run.errorLine.test(line)).slice(-3);
  const program = run.program.slice(dirname(run.program).length + 1);
  const text = `${program}${run.at} ${how}${said.length === 0 ? '.' : `: ${said.join(' ').trim()}`}`;
  throw new AppError('DATABASE_FAILED', text, { cause: error });
}

/** What a program answers; nothing if it cannot be started, fails, or takes too long. */
export async function answerOf(program: string, args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { timeout: ANSWER_WITHIN }).catch(() => ({ stdout: '' }));
  return stdout;
}

/** The folder of the program that the PATH finds: a shell is asked, as for every program that is started by name. */
export async function folderOnPath(program: string): Promise<string[]> {
  const path = await answerOf('sh', ['-c', `command -v ${program}`]);
  return path.startsWith('/') ? [dirname(path.trim())] : [];
}

/** A program that sends nothing for so many milliseconds although it is waited for hangs. */
export const IDLE_LIMIT = 10 * 60_000;

/** What `work` comes to. @throws AppError DATABASE_FAILED after `idleMs`: the program hangs */
export async function withinIdle<T>(work: Promise<T>, idleMs: number, program: string, hint: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const text = `${program} sent nothing for ${Math.round(idleMs / 1_000)} seconds.`;
      reject(new AppError('DATABASE_FAILED', text, { hint }));
    }, idleMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

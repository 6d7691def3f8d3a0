import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { AppError, type ErrorCode, toAppError } from './errors.js';
import { startable } from './modules.js';

/** What a child answers: its result, or why there is none. `cause` is the text of what was thrown, for the log. */
type Reply = { answer: unknown } | { error: AppErrorParts };
type AppErrorParts = { code: ErrorCode; message: string; hint: string; field?: string; cause?: string };

/** The heap of its JavaScript, in MiB. */
const HEAP = '--max-old-space-size=128';

/**
 * Runs a module in a process of its own until it answers: what it is given to read may be made to do harm, so it gets nothing
 * of the environment, and its death is an error like any other.
 * @param module the module's URL without its extension: it is TypeScript while the program is developed
 * @param task what `answerParent` in the module is called with
 * @param options.env all of its environment
 * @throws AppError as the module; DATABASE_FAILED if it died; the signal's reason, when it is killed
 */
export async function answerOfChild<Answer>(
  module: URL,
  task: unknown,
  { env, signal }: { env: Record<string, string>; signal: AbortSignal },
): Promise<Answer> {
  signal.throwIfAborted();
  const child = start(module, env);
  const abort = () => child.kill('SIGKILL');
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await new Promise<Answer>((resolve, reject) => {
      child.on('error', reject);
      child.on('message', (reply: Reply) => {
        if ('answer' in reply) return resolve(reply.answer as Answer);
        const { code, message, ...about } = reply.error;
        reject(new AppError(code, message, about));
      });
      child.on('exit', (code, killedBy) => {
        const why: unknown = signal.aborted ? signal.reason : died(killedBy ?? `exit code ${code}`);
        reject(why as Error);
      });
      child.send({ task }, (error) => error && reject(signal.aborted ? (signal.reason as Error) : error));
    });
  } finally {
    signal.removeEventListener('abort', abort);
    child.kill('SIGKILL');
  }
}

function start(module: URL, env: Record<string, string>): ChildProcess {
  const { url, execArgv } = startable(module);
  return fork(fileURLToPath(url), [], {
    env,
    execArgv: [...execArgv, HEAP],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
}

const died = (how: string) =>
  new AppError('DATABASE_FAILED', `The process that read the database ended early (${how}).`, {
    hint: 'It may have needed too much memory, or the database is damaged: verify the backup at level CONTENT.',
  });

/** The other side of `answerOfChild`: does the task, answers, and ends. */
export function answerParent<Task>(work: (task: Task) => Promise<unknown>): void {
  // To exit would be to wait for the threads of the pool, and a statement may never end.
  process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  process.once('message', ({ task }: { task: Task }) => {
    work(task).then(
      (answer) => process.send?.({ answer }),
      (error: unknown) => {
        const { code, message, hint, field, cause } = toAppError(error);
        const why = cause instanceof Error ? { cause: cause.stack ?? cause.message } : {};
        const parts: AppErrorParts = { code, message, hint, ...(field !== undefined && { field }), ...why };
        process.send?.({ error: parts });
      },
    );
  });
}

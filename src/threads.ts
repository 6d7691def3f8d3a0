import { Worker } from 'node:worker_threads';
import { startable } from './modules.js';

/** The young generation of a thread that works on buffers needs little, and each thread has one. */
const LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 };

/**
 * Starts a module of this program in a thread of its own.
 * @param module the module's URL without its extension: it is TypeScript while the program is developed
 * @param data what the module finds as `workerData`
 */
export function startThread(module: URL, data?: unknown): Worker {
  const { url, execArgv } = startable(module);
  return new Worker(url, { workerData: data, execArgv, resourceLimits: LIMITS });
}

/**
 * Runs a module in a thread of its own until it answers, and ends the thread.
 * @param module as for `startThread`
 * @param receive called with each message, and with what takes the answer; by default the first message is that
 * @throws what the thread threw; the signal's reason
 */
export async function answerOfThread<Answer, Message = Answer>(
  module: URL,
  data: unknown,
  signal: AbortSignal,
  receive: (message: Message, answer: (value: Answer) => void) => void = (message, answer) =>
    answer(message as unknown as Answer),
): Promise<Answer> {
  signal.throwIfAborted();
  const thread = startThread(module, data);
  const abort = () => void thread.terminate();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await new Promise<Answer>((resolve, reject) => {
      thread.on('message', (message: Message) => receive(message, resolve));
      thread.on('error', reject);
      thread.on('exit', () => {
        const why: unknown = signal.aborted ? signal.reason : new Error(`The thread ${module.pathname} ended early.`);
        reject(why as Error);
      });
    });
  } finally {
    signal.removeEventListener('abort', abort);
    await thread.terminate();
  }
}

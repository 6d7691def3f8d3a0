import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

/** The young generation of a thread that works on buffers needs little, and each thread has one. */
const LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 };

/**
 * Starts a module of this program in a thread of its own.
 * @param module the module's URL without its extension: it is TypeScript while the program is developed
 * @param data what the module finds as `workerData`
 */
export function startThread(module: URL, data?: unknown): Worker {
  const extension = extname(import.meta.url);
  const loader = extension === '.ts' ? ['--import', '@swc-node/register/esm-register'] : [];
  return new Worker(new URL(module.href + extension), {
    workerData: data,
    execArgv: loader,
    resourceLimits: LIMITS,
  });
}

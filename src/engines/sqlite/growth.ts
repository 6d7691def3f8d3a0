import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StepContext } from '../../core/ports.js';

/** The online backup reports no progress: the growing files show it. Counts up to `bytes`, which are all done at the end. */
export async function whileGrowing<T>(
  files: string[],
  bytes: number,
  step: StepContext,
  work: () => Promise<T>,
): Promise<T> {
  const ended = new AbortController();
  const before = await sizeOf(files);
  const watching = (async () => {
    while (!ended.signal.aborted) {
      step.onProgress(Math.min(Math.max(0, (await sizeOf(files)) - before), bytes), bytes);
      await sleep(100, undefined, { signal: ended.signal }).catch(() => undefined);
    }
  })();
  try {
    return await work();
  } finally {
    ended.abort();
    await watching;
  }
}

async function sizeOf(files: string[]): Promise<number> {
  let sum = 0;
  for (const file of files) {
    sum += await stat(file).then(
      ({ size }) => size,
      () => 0,
    );
  }
  return sum;
}

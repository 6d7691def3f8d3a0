import type { Job, JobQueue } from '../core/ports.js';

/** How long a run waits before it asks again for a database that another run holds, in milliseconds. */
const ASK_AGAIN = 2_000;

/** Puts the job of a run that met a busy database back into the queue, for a little later. */
export async function askAgainIfBusy(outcome: 'done' | 'busy', job: Job, queue: JobQueue): Promise<void> {
  if (outcome === 'busy') await queue.add(job, { delayMs: ASK_AGAIN });
}

import type { JobQueue } from '../core/ports.js';
import type { JobHandlers } from './index.js';

/** How long a restore waits before it asks again for a database that another run holds, in milliseconds. */
const ASK_AGAIN = 2_000;

/** Does one restore. While another run holds the same database, the job gives its slot back and comes again. */
export const runRestoreJob =
  (
    restores: { run(id: string, signal: AbortSignal): Promise<'done' | 'busy'> },
    queue: () => JobQueue,
  ): JobHandlers['run-restore'] =>
  async (job, { signal }) => {
    const outcome = await restores.run(job.restoreId, signal);
    if (outcome === 'busy') await queue().add(job, { delayMs: ASK_AGAIN });
  };

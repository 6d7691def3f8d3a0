import type { JobQueue } from '../core/ports.js';
import { askAgainIfBusy } from './ask-again.js';
import type { JobHandlers } from './index.js';

/** Does one restore. While another run holds the same database, the job gives its slot back and comes again. */
export const runRestoreJob =
  (
    restores: { run(id: string, signal: AbortSignal): Promise<'done' | 'busy'> },
    queue: () => JobQueue,
  ): JobHandlers['run-restore'] =>
  async (job, { signal }) => {
    await askAgainIfBusy(await restores.run(job.restoreId, signal), job, queue());
  };

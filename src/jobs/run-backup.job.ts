import type { JobQueue } from '../core/ports.js';
import type { JobHandlers } from './index.js';

/** How long a run waits before it asks again for a database that another run holds, in milliseconds. */
const ASK_AGAIN = 2_000;

/** Does one backup run. While another run holds the same database, the job gives its slot back and comes again. */
export const runBackupJob =
  (
    backups: { run(id: string, signal: AbortSignal): Promise<'done' | 'busy'> },
    queue: () => JobQueue,
  ): JobHandlers['run-backup'] =>
  async (job, { signal }) => {
    const outcome = await backups.run(job.backupId, signal);
    if (outcome === 'busy') await queue().add(job, { delayMs: ASK_AGAIN });
  };

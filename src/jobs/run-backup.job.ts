import type { JobQueue } from '../core/ports.js';
import { askAgainIfBusy } from './ask-again.js';
import type { JobHandlers } from './index.js';

/** Does one backup run. While another run holds the same database, the job gives its slot back and comes again. */
export const runBackupJob =
  (
    backups: { run(id: string, signal: AbortSignal): Promise<'done' | 'busy'> },
    queue: () => JobQueue,
  ): JobHandlers['run-backup'] =>
  async (job, { signal }) => {
    await askAgainIfBusy(await backups.run(job.backupId, signal), job, queue());
  };

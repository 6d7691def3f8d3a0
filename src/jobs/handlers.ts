import type { Job, JobQueue } from '../core/ports.js';

/** What a handler gets with its job. `signal` aborts when the process must stop or the job has been lost to another worker. */
export interface JobContext {
  signal: AbortSignal;
}

/** One handler per kind of job. The order of the names is the order in which a free slot looks for work. */
export type JobHandlers = {
  [Name in Job['name']]: (job: Extract<Job, { name: Name }>, context: JobContext) => Promise<void>;
};

/** How long a run that found its database held by another run waits before it is tried again, in milliseconds. */
const ASK_AGAIN = 2_000;

/** What does the work of the jobs. */
export interface Workers {
  backups: { run(id: string, signal: AbortSignal): Promise<'done' | 'busy'> };
  restores: { run(id: string, signal: AbortSignal): Promise<'done' | 'busy'> };
  verifications: { run(id: string, signal: AbortSignal): Promise<'done' | 'busy'> };
  cleanup: { runScheduled(stop: AbortSignal): Promise<void> };
  controlBackups: { runDue(signal: AbortSignal): Promise<void> };
}

/**
 * The handlers of all jobs, in the order in which a free slot looks for work: restores first, then backups, then
 * verifications. While another run holds the same database or backup, a run gives its slot back and is tried again later.
 */
export function createHandlers(
  { backups, restores, verifications, cleanup, controlBackups }: Workers,
  queue: JobQueue,
): JobHandlers {
  const again = async (outcome: 'done' | 'busy', job: Job) => {
    if (outcome === 'busy') await queue.add(job, { delayMs: ASK_AGAIN });
  };
  return {
    'run-restore': async (job, { signal }) => again(await restores.run(job.restoreId, signal), job),
    'run-backup': async (job, { signal }) => again(await backups.run(job.backupId, signal), job),
    'run-verification': async (job, { signal }) => again(await verifications.run(job.verificationId, signal), job),
    cleanup: (_job, { signal }) => cleanup.runScheduled(signal),
    'control-backup': (_job, { signal }) => controlBackups.runDue(signal),
  };
}

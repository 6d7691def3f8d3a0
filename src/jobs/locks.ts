import type { JobParameters, JobRepository } from 'agenda';

/** The lock time that Agenda sees on a job it runs: never so old that Agenda itself would give the job up. */
const HELD = new Date(8.64e15);

/** A job repository with its own lock lifetime instead of Agenda's. */
export interface LockedRepository extends JobRepository {
  /** Removes a job that has been run, while its lock is still held, so that no crash leaves a finished job behind. */
  finish(job: JobParameters): Promise<void>;
  /** From now on no job is taken. Returns when every taking that was under way has ended. */
  close(): Promise<void>;
}

/**
 * Takes the lifetime of locks out of Agenda's hands. Agenda looks after each running job with a timer of half the
 * lifetime that cannot be stopped, so a lifetime of minutes would hold the process for minutes after its last
 * job. Here Agenda gets a short lifetime (short timers) and shown locks that never age, while the store holds the
 * real time of the last sign of life, which any other process judges by `lifetime`.
 * @param lifetime how long a silent worker keeps its jobs, in milliseconds
 */
export function lastingLocks(inner: JobRepository, lifetime: number, onError: (error: unknown) => void) {
  let open = true;
  const taking = new Set<Promise<JobParameters | undefined>>();
  const finished = new Set<JobParameters>();

  const unlockJob = (job: JobParameters) => inner.unlockJob(job).catch(onError); // Agenda does not wait for it
  const changed: Partial<LockedRepository> = {
    async getNextJobToRun(name, nextScanAt, _lockDeadline, now, options) {
      if (!open) return undefined;
      const lockDeadline = new Date(Date.now() - lifetime);
      const taken = inner.getNextJobToRun(name, nextScanAt, lockDeadline, now, options).then(async (job) => {
        if (job && !open) return void (await inner.unlockJob(job));
        return job && { ...job, lockedAt: HELD };
      });
      taking.add(taken);
      return taken.finally(() => taking.delete(taken));
    },
    async saveJobState(job, options) {
      // Agenda saves once more after the run; a job that is gone is fine for it.
      if (finished.delete(job)) throw new Error(`The job ${job._id} is finished and gone.`);
      await inner.saveJobState(job.lockedAt ? { ...job, lockedAt: new Date() } : job, options);
    },
    async finish(job) {
      if (job._id) await inner.removeJobs({ id: job._id });
      finished.add(job);
    },
    unlockJob,
    async unlockJobs(ids) {
      // One by one, as that leaves a job locked that a dead worker had begun: unlocked, it would never run again.
      const jobs = await Promise.all(ids.map((id) => inner.getJobById(String(id))));
      await Promise.all(jobs.filter((job) => job !== null).map(unlockJob));
    },
    async close() {
      open = false;
      await Promise.allSettled(taking);
    },
  };
  return new Proxy(inner, {
    get(target, key, receiver) {
      const value: unknown = Reflect.get(key in changed ? changed : target, key, receiver);
      return typeof value === 'function' ? value.bind(key in changed ? changed : target) : value;
    },
  }) as LockedRepository;
}

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createJobs } from '../../src/jobs/index.js';
import { createLog } from '../../src/log.js';
import { openStore, type StoreAddress } from './store.js';

/** How a worker process is told what to do: JSON in its first argument. */
export interface WorkerOptions {
  address: StoreAddress;
  concurrency: number;
  /** How long each job takes, in milliseconds. */
  holdMs: number;
  lockLifetime?: number;
  /** Nothing that has begun ends before standard input says something. */
  waitForGo?: boolean;
  /** By how much this process's clock is ahead, in milliseconds. */
  clockAheadMs?: number;
}

/*
 * A worker process for the contract suite. Writes `ready`, then `begin <id>` and `end <id>` for each job; stops in an
 * orderly way when its standard input ends, and must then end by itself.
 */
const options = JSON.parse(process.argv[2] ?? '') as WorkerOptions;
if (options.clockAheadMs) setClockAhead(options.clockAheadMs);

const store = await openStore(options.address);
const go = options.waitForGo ? once(process.stdin, 'data') : undefined;
const hold = async (id: string) => {
  process.stdout.write(`begin ${id}\n`);
  await go;
  if (options.holdMs > 0) await sleep(options.holdMs);
  process.stdout.write(`end ${id}\n`);
};
const jobs = createJobs({
  backend: store.backend,
  handlers: {
    'run-restore': (job) => hold(job.restoreId),
    'run-backup': (job) => hold(job.backupId),
    'run-verification': (job) => hold(job.verificationId),
    cleanup: () => hold('cleanup'),
    'control-backup': () => hold('control-backup'),
  },
  concurrency: options.concurrency,
  log: createLog('error'),
  ...(options.lockLifetime === undefined ? {} : { lockLifetime: options.lockLifetime }),
});
await jobs.start();
process.stdout.write('ready\n');
process.stdin.resume().once('end', async () => {
  await jobs.stop(10_000);
  await store.close();
});

function setClockAhead(ms: number): void {
  const RealDate = Date;
  class AheadDate extends RealDate {
    constructor(...given: [] | [number | string | Date]) {
      super(given.length === 0 ? RealDate.now() + ms : given[0]);
    }
    static override now(): number {
      return RealDate.now() + ms;
    }
    static override [Symbol.hasInstance](value: unknown): boolean {
      return Object.prototype.toString.call(value) === '[object Date]';
    }
  }
  globalThis.Date = AheadDate as DateConstructor;
}

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Agenda } from 'agenda';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from '../../src/core/ports.js';
import { createJobs, type JobHandlers, type Jobs, type JobsOptions, type JobStore } from '../../src/jobs/index.js';
import { createLog } from '../../src/log.js';
import { translate } from '../cli/command.js';
import { openStore, type StoreAddress } from '../jobs/store.js';
import type { WorkerOptions } from '../jobs/worker.js';

export interface JobQueueContract {
  /** The store under test; `null` skips the suite, with `missing` in the title. */
  open: (() => Promise<StoreAddress>) | null;
  missing?: string;
  /** How many jobs two processes race for. */
  race: number;
}

/** So seldom does a worker look by itself where it has to be woken, in milliseconds. */
const SELDOM = 10_000;

/** What every job store has to keep. One suite for all of them, over real connections and with real processes. */
export function jobQueueContract(name: string, { open, missing, race }: JobQueueContract): void {
  const suite = open ? describe : describe.skip;
  suite(`jobs in ${name}${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
    let address: StoreAddress;
    let store: JobStore;
    let program: string;
    let opened: Jobs[] = [];
    const workers: Worker[] = [];

    beforeAll(async () => {
      program = await translate(await mkdtemp(join(tmpdir(), 'db-manager-worker-')));
      if (open) address = await open();
      store = await openStore(address);
    });
    beforeEach(() => store.backend.repository.purgeAllJobs());
    afterEach(async () => {
      await Promise.all(opened.map((jobs) => jobs.stop(0)));
      opened = [];
      await Promise.all(workers.splice(0).map((worker) => worker.kill()));
    });
    afterAll(async () => {
      await store.close();
      await rm(program, { recursive: true });
    });

    /** A queue in this process; jobs that have no handler here are recorded in `ran`. */
    const queue = (options: Partial<Omit<JobsOptions, 'handlers'>> & { handlers?: Partial<JobHandlers> } = {}) => {
      const ran: string[] = [];
      const handlers: JobHandlers = {
        'run-restore': async (job) => void ran.push(job.restoreId),
        'run-backup': async (job) => void ran.push(job.backupId),
        'run-verification': async (job) => void ran.push(job.verificationId),
        cleanup: async () => void ran.push('cleanup'),
        'control-backup': async () => void ran.push('control-backup'),
        ...options.handlers,
      };
      const jobs = createJobs({
        backend: store.backend,
        concurrency: 4,
        log: createLog('silent'),
        ...options,
        handlers,
      });
      opened.push(jobs);
      return { jobs, ran };
    };
    const backup = (backupId: string): Job => ({ name: 'run-backup', backupId });
    const left = async () => (await store.backend.repository.queryJobs()).total;
    const start = async (options: Omit<WorkerOptions, 'address'>) => {
      const worker = new Worker(program, { ...options, address });
      workers.push(worker);
      await worker.line('ready');
      return worker;
    };

    it('a job that is added runs once, at once, and leaves nothing behind', async () => {
      const { jobs, ran } = queue({ processEvery: SELDOM });
      await jobs.start();
      await sleep(300);
      await jobs.add(backup('a'));
      await until(() => ran.length > 0, SELDOM / 2);
      await until(async () => (await left()) === 0);
      await sleep(1_200);
      expect(ran).toEqual(['a']);
    });

    it('a job that is added twice before it runs is one job; another payload or kind is another', async () => {
      const { jobs, ran } = queue();
      for (const job of [backup('a'), backup('a'), backup('b')]) await jobs.add(job);
      await jobs.add({ name: 'run-restore', restoreId: 'a' });
      expect(await left()).toBe(3);
      await jobs.start();
      await until(() => ran.length === 3);
      await sleep(300);
      expect(ran.sort()).toEqual(['a', 'a', 'b']);
    });

    it('a job that is added again while it runs, also by itself, runs once more', async () => {
      let runs = 0;
      const { jobs } = queue({
        handlers: {
          'run-backup': async (job) => {
            runs += 1;
            if (runs === 1) await jobs.add(job, { delayMs: 500 });
          },
        },
      });
      await jobs.start();
      await jobs.add(backup('a'));
      await until(() => runs === 2);
      await until(async () => (await left()) === 0);
      expect(runs).toBe(2);
    });

    it('a delayed job does not run before its time', async () => {
      const { jobs, ran } = queue();
      await jobs.start();
      const added = Date.now();
      await jobs.add(backup('later'), { delayMs: 1_500 });
      await until(() => ran.length === 1);
      expect(Date.now() - added).toBeGreaterThanOrEqual(1_490);
    });

    it('no more jobs run at the same time than allowed, and a free slot is filled without waiting', async () => {
      let now = 0;
      let most = 0;
      let done = 0;
      const hold = async () => {
        most = Math.max(most, ++now);
        await sleep(50);
        now -= 1;
        done += 1;
      };
      const handlers = { 'run-backup': hold, 'run-restore': hold };
      const { jobs } = queue({ concurrency: 2, handlers, processEvery: SELDOM });
      for (let index = 0; index < 8; index++) await jobs.add(backup(`b${index}`));
      for (let index = 0; index < 4; index++) await jobs.add({ name: 'run-restore', restoreId: `r${index}` });
      await jobs.start();
      await until(() => done === 12, SELDOM / 2);
      expect(most).toBe(2);
    });

    it('a job whose handler throws is not run again by the queue, and the others run on', async () => {
      let failures = 0;
      const fail = async () => {
        failures += 1;
        throw new Error('no');
      };
      const { jobs, ran } = queue({ handlers: { 'run-backup': fail } });
      await jobs.start();
      await jobs.add(backup('bad'));
      await jobs.add({ name: 'run-restore', restoreId: 'good' });
      await until(() => failures === 1 && ran.length === 1);
      await until(async () => (await left()) === 0);
      await sleep(1_200);
      expect(failures).toBe(1);
    });

    it(`two processes that race for ${race} jobs run each exactly once`, async () => {
      const concurrency = 4;
      const options = { concurrency, holdMs: 0, waitForGo: true };
      const racers = await Promise.all([start(options), start(options)]);
      const ids = Array.from({ length: race }, (_, index) => `race-${index}`);
      const row = { name: 'run-backup', type: 'normal' as const, priority: 0, nextRunAt: new Date() };
      const { repository } = store.backend;
      await Promise.all(ids.map((backupId) => repository.saveJob({ ...row, data: { backupId } }, undefined)));
      // Both have all their hands full before either may go on: from there on every free hand races for the next job.
      await until(() => racers.every((racer) => racer.ids('begin').length === concurrency));
      for (const racer of racers) racer.go();
      const begun = () => racers.flatMap((racer) => racer.ids('begin'));
      await until(() => begun().length >= race, 60_000);
      await until(async () => (await left()) === 0);
      expect(begun().sort()).toEqual(ids.sort());
    }, 90_000);

    it('a job whose worker is killed is run again by another, once its lock has lapsed', async () => {
      const { jobs } = queue();
      await jobs.add(backup('a'));
      const first = await start({ concurrency: 1, holdMs: 60_000, lockLifetime: 2_000 });
      await first.line('begin a');
      await first.kill();
      const killed = Date.now();
      const { jobs: second, ran } = queue({ lockLifetime: 2_000 });
      await second.start();
      await until(() => ran.length === 1);
      expect(Date.now() - killed).toBeGreaterThan(1_000);
      await until(async () => (await left()) === 0);
    });

    it('a long job keeps its lock by its signs of life', async () => {
      const { jobs } = queue();
      await jobs.add(backup('long'));
      const first = await start({ concurrency: 1, holdMs: 3_500, lockLifetime: 1_500 });
      await first.line('begin long');
      const { jobs: second, ran } = queue({ lockLifetime: 1_500 });
      await second.start();
      await first.line('end long');
      await until(async () => (await left()) === 0);
      expect(ran).toEqual([]);
    });

    it('workers whose clocks are a minute apart do not run a job twice', async () => {
      const [slow, ahead] = await Promise.all([
        start({ concurrency: 2, holdMs: 1_500 }),
        start({ concurrency: 2, holdMs: 1_500, clockAheadMs: 60_000 }),
      ]);
      const { jobs } = queue();
      const ids = ['a', 'b', 'c', 'd', 'e'];
      for (const id of ids) await jobs.add(backup(id));
      const begun = () => [...slow.ids('begin'), ...ahead.ids('begin')].sort();
      await until(async () => (await left()) === 0);
      expect(begun()).toEqual(ids);
      expect(ahead.ids('begin').length).toBeGreaterThan(0);
    });

    it('a repeating job is one row and fires once per turn, however many workers look', async () => {
      const turns: number[] = [];
      const stores = await Promise.all([openStore(address), openStore(address)]);
      const agendas = stores.map(
        ({ backend }) => new Agenda({ backend, processEvery: 200, defaultLockLifetime: 1_000 }),
      );
      for (const agenda of agendas) {
        agenda.define('tick', async () => void turns.push(Date.now()));
        await agenda.every('1 second', 'tick');
      }
      // Only now: to save a repeating job takes away the lock of who runs it at that moment (@agendajs/mongo-backend).
      for (const agenda of agendas) await agenda.start();
      await sleep(3_600);
      expect(await left()).toBe(1);
      for (const agenda of agendas) await agenda.stop(false);
      await Promise.all(stores.map(({ close }) => close()));
      expect(turns.length).toBeGreaterThanOrEqual(3);
      expect(turns.length).toBeLessThanOrEqual(6);
      const gaps = turns.slice(1).map((turn, index) => turn - turns[index]!);
      expect(Math.min(...gaps)).toBeGreaterThan(500);
    });

    it('stop takes no more jobs and waits for the running one', async () => {
      const begun: string[] = [];
      const ran: string[] = [];
      const slow: JobHandlers['run-backup'] = async (job, { signal }) => {
        begun.push(job.backupId);
        await sleep(700);
        if (!signal.aborted) ran.push(job.backupId);
      };
      const { jobs } = queue({ concurrency: 1, handlers: { 'run-backup': slow } });
      await jobs.start();
      await jobs.add(backup('a'));
      await jobs.add(backup('b'));
      await until(() => begun.length === 1);
      await jobs.stop(20_000);
      // Which of two that are due comes first is the queue's to choose.
      expect(ran).toEqual(begun);
      const { jobs: next, ran: rest } = queue();
      await next.start();
      await until(() => rest.length === 1);
      expect([...ran, ...rest].sort()).toEqual(['a', 'b']);
    });

    it('stop aborts what is still running at its deadline', async () => {
      const reasons: unknown[] = [];
      let begun = false;
      const endless: JobHandlers['run-backup'] = (_job, { signal }) =>
        new Promise((resolve) => {
          begun = true;
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason);
            resolve();
          });
        });
      const { jobs } = queue({ handlers: { 'run-backup': endless } });
      await jobs.start();
      await jobs.add(backup('a'));
      await until(() => begun);
      const asked = Date.now();
      await jobs.stop(500);
      expect(Date.now() - asked).toBeGreaterThanOrEqual(490);
      expect(reasons).toMatchObject([{ code: 'INTERRUPTED' }]);
    });

    it('a process whose queue has stopped ends by itself soon after', async () => {
      const worker = await start({ concurrency: 2, holdMs: 100 });
      const { jobs } = queue();
      await jobs.add(backup('a'));
      await worker.line('end a');
      expect(await worker.stop()).toBe(0);
    });
  });
}

/** A worker process and the lines that it wrote. */
class Worker {
  private readonly process: ChildProcess;
  private readonly lines: string[] = [];

  constructor(program: string, options: WorkerOptions) {
    this.process = spawn(process.execPath, [join(program, 'test/jobs/worker.js'), JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    createInterface({ input: this.process.stdout! }).on('line', (line) => this.lines.push(line));
  }

  line(text: string): Promise<void> {
    return until(() => this.lines.includes(text));
  }

  ids(event: 'begin' | 'end'): string[] {
    return this.lines.filter((line) => line.startsWith(`${event} `)).map((line) => line.slice(event.length + 1));
  }

  /** Lets a worker that waits for it go on. */
  go(): void {
    this.process.stdin?.write('go\n');
  }

  /** Asks for an orderly end and returns the exit code. */
  async stop(): Promise<unknown> {
    const exit = once(this.process, 'exit');
    this.process.stdin?.end();
    return (await exit)[0];
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exit = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await exit;
  }
}

async function until(condition: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${condition.toString()}`);
    await sleep(20);
  }
}

import { afterAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { JobParameters } from 'agenda';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../support/servers.js';
import { openStore, prepareControl } from './store.js';

const folder = mkdtempSync(join(tmpdir(), 'db-manager-jobs-'));
const postgres = await startPostgres();
afterAll(async () => {
  rmSync(folder, { recursive: true });
  if ('stop' in postgres) await postgres.stop();
});

repositoryTests('SQLite', `sqlite:${join(folder, 'control.sqlite3')}`);
repositoryTests('PostgreSQL', 'missing' in postgres ? postgres : postgres.url);

function repositoryTests(dialect: string, url: string | { missing: string }): void {
  if (typeof url !== 'string') return describe.skip(`the job table on ${dialect} (skipped: ${url.missing})`, () => {});
  describe(`the job table on ${dialect}`, () => {
    const ready = prepareControl(url).then(() => openStore({ jobsUrl: '', controlUrl: url }));
    const repository = async () => (await ready).backend.repository;
    beforeEach(async () => (await repository()).purgeAllJobs());
    afterAll(async () => (await ready).close());

    const at = (ms: number) => new Date(Date.now() + ms);
    const job = (more: Partial<JobParameters> = {}): JobParameters => ({
      name: 'tick',
      type: 'normal',
      priority: 0,
      nextRunAt: at(-1_000),
      data: {},
      ...more,
    });
    const save = async (more: Partial<JobParameters> = {}) => (await repository()).saveJob(job(more), undefined);
    const take = async (lockDeadline = at(-60_000)) =>
      (await repository()).getNextJobToRun('tick', at(0), lockDeadline, undefined, { lastModifiedBy: 'worker' });

    it('gives back what was saved, with times to the millisecond', async () => {
      const saved = await save({
        nextRunAt: new Date(1_753_367_422_123),
        data: { a: { b: "it's" }, list: [1, null] },
        repeatInterval: 5_000,
        skipDays: [0, 6],
        disabled: true,
      });
      const found = await (await repository()).getJobById(String(saved._id));
      expect(found).toEqual(saved);
      expect(found).toMatchObject({
        nextRunAt: new Date(1_753_367_422_123),
        data: { a: { b: "it's" }, list: [1, null] },
        repeatInterval: 5_000,
        skipDays: [0, 6],
        disabled: true,
      });
    });

    it('takes due jobs by time and then priority, each once; leaves future and disabled ones', async () => {
      const due = at(-5_000);
      await save({ data: 'second', nextRunAt: due, priority: 1 });
      await save({ data: 'first', nextRunAt: due, priority: 9 });
      await save({ data: 'future', nextRunAt: at(60_000) });
      await save({ data: 'off', disabled: true });
      expect([(await take())?.data, (await take())?.data, (await take())?.data]).toEqual([
        'first',
        'second',
        undefined,
      ]);
    });

    it('takes a job again when its lock is older than the deadline, even if it had begun', async () => {
      const { _id } = await save();
      const taken = await take();
      await (await repository()).saveJobState({ ...taken!, nextRunAt: null }, undefined);
      expect(await take()).toBeUndefined();
      expect((await take(at(1)))?._id).toBe(_id);
    });

    it('locks a job only at the time at which it was seen', async () => {
      const saved = await save();
      expect(await (await repository()).lockJob({ ...saved, nextRunAt: at(5) }, undefined)).toBeUndefined();
      expect((await (await repository()).lockJob(saved, undefined))?._id).toBe(saved._id);
      expect(await (await repository()).lockJob(saved, undefined)).toBeUndefined();
    });

    it('unlocks a job that waits, not one that has begun', async () => {
      await save();
      const taken = (await take())!;
      await (await repository()).unlockJob(taken);
      expect(await take()).toBeDefined();
      await (await repository()).saveJobState({ ...taken, nextRunAt: null }, undefined);
      await (await repository()).unlockJob(taken);
      expect((await (await repository()).getJobById(String(taken._id)))?.lockedAt).toBeDefined();
    });

    it('keeps a repeating job once, and a start of a process does not move its planned run', async () => {
      const planned = at(3_600_000);
      await save({ type: 'single', nextRunAt: planned, repeatInterval: '1 day' });
      const again = await save({ type: 'single', nextRunAt: at(-1), repeatInterval: '1 day' });
      expect(again.nextRunAt).toEqual(planned);
      const moved = at(7_200_000);
      expect((await save({ type: 'single', nextRunAt: moved, repeatInterval: '2 days' })).nextRunAt).toEqual(moved);
      expect((await (await repository()).queryJobs()).total).toBe(1);
    });

    it('keeps unique jobs once, however many ask at the same time', async () => {
      const unique = { 'data.id': 'x', lastRunAt: null };
      const ask = () => save({ data: { id: 'x' }, unique, uniqueOpts: { insertOnly: true } });
      const asked = await Promise.all(Array.from({ length: 20 }, ask));
      expect(new Set(asked.map(({ _id }) => _id)).size).toBe(1);
      await save({ data: { id: 'y' }, unique: { 'data.id': 'y' }, uniqueOpts: { insertOnly: true } });
      expect((await (await repository()).queryJobs()).total).toBe(2);
      await expect(save({ unique: { 'name; DROP TABLE jobs': 1 } })).rejects.toThrow('no job parameter');
    });

    it('moves a debounced job on until its longest wait is over', async () => {
      const debounce = { delay: 10_000, maxWait: 300 };
      const ask = () => save({ data: { id: 'x' }, unique: { 'data.id': 'x' }, uniqueOpts: { debounce } });
      const first = await ask();
      expect(first.nextRunAt!.getTime()).toBeGreaterThan(Date.now() + 9_000);
      await new Promise((resolve) => setTimeout(resolve, 350));
      const last = await ask();
      expect(last._id).toBe(first._id);
      expect(last.nextRunAt!.getTime()).toBeLessThanOrEqual(Date.now());
    });

    it('says so when the state of a job that is gone is saved', async () => {
      const saved = await save();
      expect(await (await repository()).removeJobs({ id: saved._id! })).toBe(1);
      await expect((await repository()).saveJobState(saved, undefined)).rejects.toThrow('not in the store any more');
    });

    it('finds, counts, disables and removes by name and part of the data, nothing without criteria', async () => {
      const store = await repository();
      await save({ data: { config: { id: 1 }, note: 'a' } });
      await save({ data: { config: { id: 2 } }, name: 'other_job' });
      expect((await store.queryJobs({ data: { config: { id: 1 } } })).jobs.map(({ name }) => name)).toEqual(['tick']);
      expect((await store.queryJobs({ search: 'R_J', state: 'queued' })).total).toBe(1);
      expect(await store.getDistinctJobNames()).toEqual(['other_job', 'tick']);
      expect(await store.getQueueSize()).toBe(2);
      expect(await store.disableJobs({ name: 'tick' })).toBe(1);
      expect(await store.getJobsOverview()).toMatchObject([
        { name: 'other_job', total: 1, queued: 1, paused: 0 },
        { name: 'tick', total: 1, paused: 1 },
      ]);
      expect(await store.removeJobs({})).toBe(0);
      expect(await store.removeJobs({ notNames: ['tick'] })).toBe(1);
      expect(await store.purgeAllJobs()).toBe(1);
    });
  });
}

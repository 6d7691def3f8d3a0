import { afterAll } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jobQueueContract } from '../contracts/job-queue.contract.js';
import { prepareControl } from './store.js';

const folder = mkdtempSync(join(tmpdir(), 'db-manager-jobs-'));
afterAll(() => rmSync(folder, { recursive: true }));

jobQueueContract('the control database on SQLite', {
  race: 2_000,
  async open() {
    const controlUrl = `sqlite:${join(folder, 'control.sqlite3')}`;
    await prepareControl(controlUrl);
    return { jobsUrl: '', controlUrl };
  },
});

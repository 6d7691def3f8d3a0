import { afterAll } from '@jest/globals';
import { jobQueueContract } from '../contracts/job-queue.contract.js';
import { startPostgres } from '../support/servers.js';

const server = await startPostgres();
afterAll(async () => {
  if ('stop' in server) await server.stop();
});

jobQueueContract('a PostgreSQL of their own', {
  race: 200,
  ...('missing' in server
    ? { open: null, missing: server.missing }
    : { open: async () => ({ jobsUrl: server.url, controlUrl: 'sqlite::memory:' }) }),
});

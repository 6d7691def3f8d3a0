import { afterAll } from '@jest/globals';
import { jobQueueContract } from '../contracts/job-queue.contract.js';
import { startMongo } from '../support/servers.js';

const server = await startMongo();
afterAll(async () => {
  if ('stop' in server) await server.stop();
});

jobQueueContract('a MongoDB of their own', {
  race: 200,
  ...('missing' in server
    ? { open: null, missing: server.missing }
    : { open: async () => ({ jobsUrl: server.url, controlUrl: 'sqlite::memory:' }) }),
});

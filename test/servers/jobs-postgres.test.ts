import { afterAll } from '@jest/globals';
import { jobQueueContract } from '../contracts/job-queue.contract.js';
import { startPostgres } from '../support/servers.js';
import { prepareControl } from '../jobs/store.js';

const server = await startPostgres();
afterAll(async () => {
  if ('stop' in server) await server.stop();
});

jobQueueContract('the control database on PostgreSQL', {
  race: 200,
  ...('missing' in server
    ? { open: null, missing: server.missing }
    : {
        async open() {
          await prepareControl(server.url);
          return { jobsUrl: '', controlUrl: server.url };
        },
      }),
});

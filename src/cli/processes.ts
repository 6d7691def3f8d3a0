import type { Command } from 'commander';

/** `serve` and `worker` are the two processes themselves, which end by their own rules. */
export function addServe(program: Command): void {
  program
    .command('serve')
    .description('Run the server: API, download, jobs. The same as `npm start`')
    .action(async () => (await import('../server.js')).main());
}

export function addWorker(program: Command): void {
  program
    .command('worker')
    .description('Run a worker: jobs only, no HTTP. The same as `npm run worker`')
    .action(async () => (await import('../worker.js')).main());
}

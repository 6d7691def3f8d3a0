/* How long an application's commits take while its database is backed up and restored. */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { mkdir } from 'node:fs/promises';
import { makeDatabase } from './data.mjs';
import { quantile, table } from './measure.mjs';
import { Product } from './product.mjs';

/** How long commits are watched while nothing else happens, in milliseconds. */
const IDLE = 10_000;

export async function writerSection(folder, { size }) {
  const place = join(folder, 'writer');
  await mkdir(place, { recursive: true });
  const database = join(place, 'db.sqlite3');
  await makeDatabase(database, 'text', size);
  const product = new Product(join(place, 'product'), { database });
  await product.prepare();
  const rows = [];
  const watch = async (name, work) => {
    const latencies = await whileWriting(database, work);
    const at = (part) => quantile(latencies, part).toFixed(2);
    rows.push([name, latencies.length, at(0.5), at(0.99), at(1)]);
  };
  await watch('idle', () => sleep(IDLE));
  await watch('during a backup', product.backup);
  const id = product.backupId();
  await watch('during a live restore', () => product.run(`restore ${id} --confirm`));
  await rm(place, { recursive: true, force: true });
  return [
    `### Commits of a busy writer, ${size} MB, WAL mode`,
    table(['when', 'commits', 'p50 ms', 'p99 ms', 'longest ms'], rows),
  ];
}

/** Commits in a thread of its own until the work is done. @returns milliseconds of each commit */
async function whileWriting(database, work) {
  const worker = new Worker(fileURLToPath(new URL('writer-thread.mjs', import.meta.url)), { workerData: { database } });
  await once(worker, 'message');
  await work();
  worker.postMessage('stop');
  const [latencies] = await once(worker, 'message');
  await worker.terminate();
  return latencies;
}

import { parentPort, workerData } from 'node:worker_threads';
import { hashPagesSync, type PageHashTask } from './page-hashes.js';

// The thread of `hashPages`: does one task.
const hashes = hashPagesSync(workerData as PageHashTask);
parentPort?.postMessage(hashes, hashes === null ? [] : [hashes.pages.buffer as ArrayBuffer]);

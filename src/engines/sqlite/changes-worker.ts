import { parentPort, workerData } from 'node:worker_threads';
import { type ChangesTask, layChangesSync } from './changes.js';

// The thread of `layChanges`: does one task, and says how far it is.
const laid = layChangesSync(workerData as ChangesTask, (pages) => parentPort?.postMessage(pages));
parentPort?.postMessage({ laid }, laid === null ? [] : [laid.pages.buffer as ArrayBuffer]);

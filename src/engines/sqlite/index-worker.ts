import { parentPort, workerData } from 'node:worker_threads';
import { type TableShape, unprovenTables } from './index-compare.js';

// The thread that `unproven` in index-shapes.ts starts: it answers once and ends.
const { path, tables } = workerData as { path: string; tables: TableShape[] };
parentPort?.postMessage(unprovenTables(path, tables));

import { parentPort } from 'node:worker_threads';
import { type FilesToLay, layFiles } from './lay-files.js';

// The thread of a `FileThread`: answers each task in turn, until it is ended.
parentPort?.on('message', (task: FilesToLay) => {
  parentPort?.postMessage(layFiles(task));
});

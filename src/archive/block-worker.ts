import { parentPort } from 'node:worker_threads';
import { type BlockTask, workBlock } from './block.js';

// A thread of `BlockThreads`: answers each task in turn, until it is ended.
parentPort?.on('message', (task: BlockTask) => {
  try {
    const found = workBlock(task);
    // What zlib gives may be a part of a larger buffer: only what counts goes on.
    const isWhole = found?.length === found?.buffer.byteLength;
    const bytes = found === null || isWhole ? found : new Uint8Array(found);
    parentPort?.postMessage({ bytes }, bytes === null ? [] : [bytes.buffer as ArrayBuffer]);
  } catch (error) {
    parentPort?.postMessage({ error });
  }
});

import type { Worker } from 'node:worker_threads';
import { startThread } from '../threads.js';
import type { FilesLaid, FilesToLay } from './lay-files.js';

interface Waiting {
  resolve(laid: FilesLaid): void;
  reject(error: Error): void;
}

/** Lays files in a thread of its own, so that this one can read on. Call `close` once, last. */
export class FileThread {
  private readonly thread: Worker = startThread(new URL('./file-worker', import.meta.url));
  private readonly waiting: Waiting[] = [];
  private failure: Error | undefined;

  constructor() {
    this.thread.on('message', (laid: FilesLaid) => this.waiting.shift()?.resolve(laid));
    this.thread.on('error', (error) => this.fail(error));
    this.thread.on('exit', () => this.fail(new Error('The thread that lays files ended before its work was done.')));
  }

  /** @param task its bytes must fill their buffer, which is moved to the thread: they are not to be used afterwards */
  lay(task: FilesToLay): Promise<FilesLaid> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) return reject(this.failure);
      this.waiting.push({ resolve, reject });
      this.thread.postMessage(task, [task.bytes.buffer as ArrayBuffer]);
    });
  }

  /** Ends the thread. What it still had to do fails. */
  async close(): Promise<void> {
    this.fail(new Error('The work was broken off.'));
    await this.thread.terminate();
  }

  private fail(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.waiting.splice(0)) reject(this.failure);
  }
}

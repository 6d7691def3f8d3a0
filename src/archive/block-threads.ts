import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { AppError } from '../errors.js';
import { startThread } from '../threads.js';
import { type BlockTask, workBlock } from './block.js';

/** Tasks of fewer bytes are done at once: a thread would take longer to be told. */
const SMALL = 128 * 1024;
/** So many larger ones are done before the first thread is started, which takes as long. */
const FIRST = 2;

interface Waiting {
  task: BlockTask;
  resolve(bytes: Buffer): void;
  reject(error: Error): void;
}

/** Compresses and expands blocks on all cores, in threads that start when there is enough to do. Call `close` once, last. */
export class BlockThreads {
  private readonly threads = new Set<Worker>();
  private readonly idle: Worker[] = [];
  private readonly busy = new Map<Worker, Waiting>();
  private readonly queue: Waiting[] = [];
  private done = 0;

  /** @param most threads; by default one for each core */
  constructor(readonly most = availableParallelism()) {}

  /**
   * @param task its bytes may be moved to the thread: they are not to be used afterwards
   * @throws AppError INTERNAL_ERROR if a block does not expand to what was compressed; an error of zlib
   */
  async run(task: BlockTask): Promise<Buffer> {
    const isLarge = task.bytes.length >= SMALL;
    if (!isLarge || this.done < FIRST) {
      if (isLarge) this.done += 1;
      return compared(workBlock(task));
    }
    return new Promise<Buffer>((resolve, reject) => {
      this.queue.push({ task, resolve, reject });
      if (this.idle.length === 0 && this.threads.size < this.most) this.start();
      this.next();
    });
  }

  /** Ends the threads. What they still had to do fails. */
  async close(): Promise<void> {
    const threads = [...this.threads];
    this.fail(new Error('The work was broken off.'));
    await Promise.all(threads.map((thread) => thread.terminate()));
  }

  private start(): void {
    const thread = startThread(new URL('./block-worker', import.meta.url));
    this.threads.add(thread);
    this.idle.push(thread);
    thread.on('message', (answer: { bytes: Uint8Array | null; error?: Error }) => this.answer(thread, answer));
    thread.on('error', (error) => this.fail(error));
    thread.on('exit', () => this.fail(new Error('A thread ended before its work was done.')));
  }

  private next(): void {
    while (this.idle.length > 0 && this.queue.length > 0) {
      const thread = this.idle.pop() as Worker;
      const waiting = this.queue.shift() as Waiting;
      const { bytes } = waiting.task;
      this.busy.set(thread, waiting);
      const isWhole = bytes.byteLength === bytes.buffer.byteLength;
      thread.postMessage(waiting.task, isWhole ? [bytes.buffer as ArrayBuffer] : []);
    }
  }

  private answer(thread: Worker, { bytes, error }: { bytes: Uint8Array | null; error?: Error }): void {
    const waiting = this.busy.get(thread);
    this.busy.delete(thread);
    this.idle.push(thread);
    this.next();
    if (error !== undefined) return waiting?.reject(error);
    try {
      waiting?.resolve(compared(bytes && Buffer.from(bytes.buffer as ArrayBuffer)));
    } catch (mismatch) {
      waiting?.reject(mismatch as Error);
    }
  }

  /** After a thread has failed nothing more is done. */
  private fail(error: Error): void {
    const left = [...this.busy.values(), ...this.queue.splice(0)];
    this.busy.clear();
    this.idle.length = 0;
    for (const { reject } of left) reject(error);
  }
}

/** @throws AppError INTERNAL_ERROR if there is none: see `workBlock` */
export function compared(bytes: Buffer | null): Buffer {
  if (bytes !== null) return bytes;
  throw new AppError(
    'INTERNAL_ERROR',
    'A block does not expand to what was compressed: memory or processor is faulty.',
    {
      hint: 'Test the memory of this machine, then back up again.',
    },
  );
}

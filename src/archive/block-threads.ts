import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { AppError } from '../errors.js';
import { bufferCollector } from '../memory.js';
import { startThread } from '../threads.js';
import { BLOCK_BYTES, type BlockTask, workBlock } from './block.js';
import { SMALL_BYTES } from './format.js';
import {
  type FilesTask,
  type PackedFiles,
  type SmallFile,
  type SmallFileOptions,
  type SmallFileTask,
  unpacked,
} from './small-file.js';

/** So many larger ones are done before the first thread is started, which takes as long. */
const FIRST = 2;

type Task = BlockTask | FilesTask;
type Answer = Uint8Array | PackedFiles | null;

interface Waiting {
  task: Task;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** Compresses and expands blocks on all cores, in threads that start when there is enough to do. Call `close` once, last. */
export class BlockThreads {
  private readonly threads = new Set<Worker>();
  private readonly idle: Worker[] = [];
  private readonly busy = new Map<Worker, Waiting>();
  private readonly queue: Waiting[] = [];
  /** For blocks that are expanded: new memory for each would be collected by stopping everything, again and again. */
  private readonly spare: ArrayBuffer[] = [];
  private readonly collect = bufferCollector();
  private done = 0;
  /** Why nothing more is done: a thread has failed, or this is closed. */
  private over: Error | undefined;

  /** @param most threads; by default one for each core */
  constructor(readonly most = availableParallelism()) {}

  /**
   * @param task its bytes may be moved to the thread: they are not to be used afterwards
   * @throws AppError INTERNAL_ERROR if a block does not expand to what was compressed; an error of zlib
   */
  async run(task: BlockTask): Promise<Buffer> {
    // A thread would take longer to be told of a small one.
    const isLarge = task.bytes.length >= SMALL_BYTES;
    if (!isLarge || this.done < FIRST) {
      if (isLarge) this.done += 1;
      return compared(workBlock(task));
    }
    const into = task.kind === 'expand' ? this.spare.pop() : undefined;
    const bytes = (await this.ask(into === undefined ? task : ({ ...task, into } as BlockTask))) as Uint8Array | null;
    return compared(bytes && Buffer.from(bytes.buffer as ArrayBuffer, 0, bytes.length));
  }

  /** Takes back what `run` gave for a block that was expanded: it must not be used afterwards. */
  reuse(bytes: Buffer): void {
    if (bytes.byteOffset === 0 && bytes.buffer.byteLength === BLOCK_BYTES) this.spare.push(bytes.buffer as ArrayBuffer);
  }

  /** Reads small files: see `readSmallFile`. */
  async readFiles(files: SmallFileTask[], options: SmallFileOptions): Promise<(SmallFile | null)[]> {
    return unpacked((await this.ask({ kind: 'files', files, ...options })) as PackedFiles);
  }

  private async ask(task: Task): Promise<Answer> {
    if (this.over !== undefined) throw this.over;
    return new Promise<Answer>((resolve, reject) => {
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
    thread.on('message', (message: { answer: Answer; error?: Error }) => this.answer(thread, message));
    thread.on('error', (error) => this.fail(error));
    thread.on('exit', () => this.fail(new Error('A thread ended before its work was done.')));
  }

  private next(): void {
    while (this.idle.length > 0 && this.queue.length > 0) {
      const thread = this.idle.pop() as Worker;
      const waiting = this.queue.shift() as Waiting;
      this.busy.set(thread, waiting);
      thread.postMessage(waiting.task, moved(waiting.task));
    }
  }

  private answer(thread: Worker, { answer, error }: { answer: Answer; error?: Error }): void {
    const waiting = this.busy.get(thread);
    this.busy.delete(thread);
    this.idle.push(thread);
    this.next();
    this.collect(BLOCK_BYTES);
    if (error === undefined) waiting?.resolve(answer);
    else waiting?.reject(error);
  }

  /** After a thread has failed nothing more is done. */
  private fail(error: Error): void {
    this.over ??= error;
    const left = [...this.busy.values(), ...this.queue.splice(0)];
    this.busy.clear();
    this.idle.length = 0;
    for (const { reject } of left) reject(error);
  }
}

/** What of a task is moved to the thread instead of being copied. */
function moved(task: Task): ArrayBuffer[] {
  if (task.kind === 'files') return [];
  const { buffer, byteLength } = task.bytes;
  const whole = buffer.byteLength === byteLength ? [buffer as ArrayBuffer] : [];
  return task.kind === 'expand' && task.into !== undefined ? [...whole, task.into] : whole;
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

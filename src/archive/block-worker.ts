import { parentPort } from 'node:worker_threads';
import { bufferCollector } from '../memory.js';
import { BLOCK_BYTES, type BlockTask, workBlock } from './block.js';
import { type FilesTask, type PackedFiles, readSmallFile } from './small-file.js';

const collect = bufferCollector();

// A thread of `BlockThreads`: answers each task in turn, until it is ended.
parentPort?.on('message', (task: BlockTask | FilesTask) => {
  try {
    if (task.kind === 'files') return answerFiles(task);
    const found = workBlock(task);
    // What came, what was made of it, and what that was compared with.
    collect(3 * BLOCK_BYTES);
    const bytes = found && movable(found, task.kind === 'expand' ? task.into : undefined);
    parentPort?.postMessage({ answer: bytes }, bytes === null ? [] : [bytes.buffer as ArrayBuffer]);
  } catch (error) {
    parentPort?.postMessage({ error });
  }
});

/** Bytes that begin the memory they lie in: what zlib gives may be a part of a larger buffer. */
function movable(found: Uint8Array, into: ArrayBuffer | undefined): Uint8Array {
  if (into === undefined) return found.length === found.buffer.byteLength ? found : new Uint8Array(found);
  const bytes = new Uint8Array(into, 0, found.length);
  bytes.set(found);
  return bytes;
}

/** All bytes go back as one buffer. */
function answerFiles({ files, method, level }: FilesTask): void {
  const found = files.map((file) => readSmallFile(file, { method, level }));
  const bytes = new Uint8Array(found.reduce((sum, file) => sum + (file?.bytes.length ?? 0), 0));
  let at = 0;
  const packed: PackedFiles['files'] = found.map((file) => {
    if (file === null) return null;
    const { bytes: own, ...about } = file;
    bytes.set(own, at);
    return { ...about, end: (at += own.length) };
  });
  const answer: PackedFiles = { bytes, files: packed };
  parentPort?.postMessage({ answer }, [bytes.buffer]);
}

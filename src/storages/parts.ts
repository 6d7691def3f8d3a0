import type { Readable } from 'node:stream';

/**
 * The bytes of a stream in blocks of exactly `size` bytes; the last one may be shorter, an empty stream has none.
 * @param free blocks that nobody uses any more: they are filled again, so that no memory waits to be collected
 */
export async function* blocksOf(stream: Readable, size: number, free: Buffer[] = []): AsyncGenerator<Buffer> {
  let block: Buffer | undefined;
  let filled = 0;
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    for (let at = 0; at < bytes.length;) {
      block ??= free.pop() ?? Buffer.allocUnsafeSlow(size);
      const copied = bytes.copy(block, filled, at);
      filled += copied;
      at += copied;
      if (filled < size) continue;
      yield block;
      block = undefined;
      filled = 0;
    }
  }
  if (block !== undefined && filled > 0) yield block.subarray(0, filled);
}

/**
 * Sends blocks, some at a time. After a failure no more are begun, and those under way have ended.
 * @param limit how many are under way at once
 * @param send `signal` aborts when another block has failed
 * @throws the first failure, of a block or of the source
 */
export async function sendAll(
  blocks: AsyncIterable<Buffer>,
  limit: number,
  send: (block: Buffer, index: number, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const running = new Set<Promise<void>>();
  let index = 0;
  try {
    for await (const block of blocks) {
      if (running.size >= limit) await Promise.race(running);
      either.throwIfAborted();
      const sending = send(block, index, either).finally(() => running.delete(sending));
      // The first failure is thrown below; those that follow from it are of no interest.
      sending.catch((error: unknown) => failed.abort(error));
      running.add(sending);
      index += 1;
    }
    await Promise.all(running);
  } catch (error) {
    const cause: unknown = failed.signal.aborted ? failed.signal.reason : error;
    failed.abort(error);
    await Promise.allSettled(running);
    throw cause;
  }
}

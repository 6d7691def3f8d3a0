import type { Readable } from 'node:stream';

/** The bytes of a stream in blocks of exactly `size` bytes; the last one may be shorter, an empty stream has none. */
export async function* blocksOf(stream: Readable, size: number): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let filled = 0;
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    let rest = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    while (rest.length > 0) {
      const part = rest.subarray(0, size - filled);
      parts.push(part);
      filled += part.length;
      rest = rest.subarray(part.length);
      if (filled < size) continue;
      yield Buffer.concat(parts);
      parts = [];
      filled = 0;
    }
  }
  if (filled > 0) yield Buffer.concat(parts);
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

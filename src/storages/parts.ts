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

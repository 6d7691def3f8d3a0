import { Readable } from 'node:stream';
import { AppError } from '../errors.js';

/** How long a transfer may pass no bytes before it counts as stalled, in milliseconds. */
export const STALLED_AFTER = 60_000;

/**
 * A stream of what a generator yields. Unlike with `Readable.from`, destroying it ends a read that waits.
 * @param stop frees what the generator waits for
 */
export function pulled(chunks: AsyncGenerator<Buffer>, stop: () => void): Readable {
  return new Readable({
    read() {
      chunks.next().then(
        ({ done, value }) => this.push(done ? null : value),
        (error: unknown) => this.destroy(error as Error),
      );
    },
    destroy(error, done) {
      stop();
      done(error);
    },
  });
}

/**
 * The same bytes in a stream that fails with AppErrors only, also when the source passes nothing for `stalledAfter`
 * milliseconds although it is read.
 * @param what names the source in an error: its location
 * @param translate makes an AppError of the source's own errors
 */
export function guarded(
  source: Readable,
  what: string,
  translate: (error: unknown) => AppError,
  stalledAfter = STALLED_AFTER,
): Readable {
  const chunks = async function* () {
    const iterator = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    try {
      for (;;) {
        const { done, value } = await unlessStalled(iterator.next(), source, what, stalledAfter);
        if (done) return;
        yield value;
      }
    } catch (error) {
      throw error instanceof AppError ? error : translate(error);
    }
  };
  // What breaks before it is read would otherwise be an error without a listener.
  source.on('error', () => undefined);
  return pulled(chunks(), () => source.destroy());
}

async function unlessStalled<T>(next: Promise<T>, source: Readable, what: string, after: number): Promise<T> {
  const stall = () => source.destroy(stalled(what, after));
  const timer = setTimeout(stall, after);
  try {
    return await next;
  } finally {
    clearTimeout(timer);
  }
}

/** @param after in milliseconds */
export const stalled = (what: string, after: number) =>
  new AppError('STORAGE_UNAVAILABLE', `${what}: no bytes were transferred for ${after / 1_000} seconds.`, {
    hint: 'Check the connection to the storage, then try again.',
  });

import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageDecorator } from './decorator.js';
import { pulled } from './stream.js';
import type { PutOptions, Storage, StoredObject } from '../core/ports.js';

/** Passes the bytes of all transfers of a storage together at no more than so many bytes per second. */
export class ThrottledStorage extends StorageDecorator {
  private readonly clock: Clock;

  constructor(inner: Storage, bytesPerSecond: number) {
    super(inner);
    this.clock = new Clock(bytesPerSecond);
  }

  override put(name: string, body: Readable, options: PutOptions): Promise<StoredObject> {
    return this.inner.put(name, this.slowed(body), options);
  }

  override async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    return this.slowed(await this.inner.get(name, range));
  }

  private slowed(source: Readable): Readable {
    const { clock } = this;
    const chunks = async function* () {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        await clock.pass(chunk.length);
        yield chunk;
      }
    };
    return pulled(chunks(), () => source.destroy());
  }
}

/** Tells when the next bytes may pass. */
class Clock {
  /** When all bytes up to now have passed, in milliseconds of the monotonic clock. */
  private free = 0;

  constructor(private readonly bytesPerSecond: number) {}

  async pass(bytes: number): Promise<void> {
    const now = performance.now();
    this.free = Math.max(this.free, now) + (bytes * 1_000) / this.bytesPerSecond;
    if (this.free > now) await sleep(this.free - now);
  }
}

import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { App } from '../../src/app.js';
import type { PutOptions, Storage, StoredObject } from '../../src/core/ports.js';
import { AppError } from '../../src/errors.js';
import { isListed, plainName } from '../../src/storages/names.js';

/** A distant storage in memory, which tests can make fail. */
export class MemoryStorage implements Storage {
  readonly type = 'SYSTEM';
  readonly place = 'memory://test';
  readonly objects = new Map<string, Buffer>();
  /** One line for each call, such as `get a.zip 0-9`. */
  readonly calls: string[] = [];
  /** Errors of the next calls, in order; null lets one pass. */
  readonly failures: (AppError | null)[] = [];
  /** After how many bytes each of the next reads breaks. */
  readonly breaks: number[] = [];

  folder(): null {
    return null;
  }

  locate(name: string): string {
    return `${this.place}/${plainName(name)}`;
  }

  async prepare() {
    this.called('prepare');
    return { made: [], undo: async () => undefined };
  }

  async put(name: string, body: Readable, { signal }: PutOptions): Promise<StoredObject> {
    try {
      this.locate(name);
      this.called(`put ${name}`);
      const parts: Buffer[] = [];
      for await (const chunk of body) {
        signal.throwIfAborted();
        parts.push(Buffer.from(chunk as Buffer));
      }
      if (this.objects.has(name)) throw new AppError('NAME_TAKEN', `${name} is already there.`);
      this.objects.set(name, Buffer.concat(parts));
      return this.object(name);
    } catch (error) {
      body.destroy();
      throw error;
    }
  }

  async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    this.called(`get ${name}${range === undefined ? '' : ` ${range.start}-${range.end ?? ''}`}`);
    const found = this.objects.get(name);
    if (found === undefined) throw new AppError('ARCHIVE_MISSING', `${name} is not there.`);
    const bytes = found.subarray(range?.start ?? 0, (range?.end ?? found.length) + 1);
    const after = this.breaks.shift();
    if (after === undefined) return Readable.from([bytes], { objectMode: false });
    return Readable.from(
      (async function* () {
        yield bytes.subarray(0, after);
        throw new AppError('STORAGE_UNAVAILABLE', 'The connection broke.');
      })(),
      { objectMode: false },
    );
  }

  async stat(name: string): Promise<StoredObject | null> {
    this.called(`stat ${name}`);
    return this.objects.has(name) ? this.object(name) : null;
  }

  async remove(name: string): Promise<void> {
    this.called(`remove ${name}`);
    this.objects.delete(name);
  }

  async discard(): Promise<void> {
    this.called('discard');
  }

  async *list(prefix = ''): AsyncIterable<StoredObject> {
    this.called('list');
    for (const name of this.objects.keys()) if (isListed(name, prefix)) yield this.object(name);
  }

  async space() {
    this.called('space');
    return null;
  }

  private called(what: string): void {
    this.calls.push(what);
    const failure = this.failures.shift();
    if (failure) throw failure;
  }

  private object(name: string): StoredObject {
    return {
      name,
      location: this.locate(name),
      size: this.objects.get(name)?.length ?? 0,
      modifiedAt: new Date(0),
    };
  }
}

/** All bytes of an object or of a range of it. */
export async function bytesOf(storage: Storage, name: string, range?: { start: number; end?: number }) {
  return buffer(await storage.get(name, range));
}

/** Makes an application store in memory whatever goes to the address of such a storage. */
export function serveMemory({ storages }: Pick<App, 'storages'>, memory: MemoryStorage): void {
  const open = storages.open.bind(storages);
  storages.open = (address) => (address.storagePath === memory.place ? memory : open(address));
}

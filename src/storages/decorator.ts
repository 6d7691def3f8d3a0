import type { Readable } from 'node:stream';
import type { Preparation, PutOptions, Storage, StorageType, StoredObject } from '../core/ports.js';

/** A storage in front of another one, which does all that a subclass does not change. */
export class StorageDecorator implements Storage {
  constructor(protected readonly inner: Storage) {}

  get type(): StorageType {
    return this.inner.type;
  }

  get place(): string {
    return this.inner.place;
  }

  folder(): string | null {
    return this.inner.folder();
  }

  locate(name: string): string {
    return this.inner.locate(name);
  }

  prepare(): Promise<Preparation> {
    return this.inner.prepare();
  }

  put(name: string, body: Readable, options: PutOptions): Promise<StoredObject> {
    return this.inner.put(name, body, options);
  }

  get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    return this.inner.get(name, range);
  }

  stat(name: string): Promise<StoredObject | null> {
    return this.inner.stat(name);
  }

  remove(name: string): Promise<void> {
    return this.inner.remove(name);
  }

  discard(owner: string, name: string): Promise<void> {
    return this.inner.discard(owner, name);
  }

  list(prefix?: string): AsyncIterable<StoredObject> {
    return this.inner.list(prefix);
  }

  space(): Promise<{ free: number; total: number } | null> {
    return this.inner.space();
  }
}

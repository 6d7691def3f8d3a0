import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { PutOptions, StoredObject } from '../core/ports.js';
import { StorageDecorator } from './decorator.js';

/** Bytes of one block, and how many blocks are held. */
const BLOCK = 2 * 1024 * 1024;
const HELD = 8;

/**
 * Serves small ranges from whole blocks, so that a reader that jumps about in an archive (its directory, its metadata, many
 * small files) asks a distant storage once for a few MiB and not for each piece. Longer ranges pass through.
 */
export class ReadAheadStorage extends StorageDecorator {
  /** The newest last. */
  private readonly blocks = new Map<string, Promise<Buffer>>();
  private readonly sizes = new Map<string, number>();

  override put(name: string, body: Readable, options: PutOptions): Promise<StoredObject> {
    this.forget();
    return this.inner.put(name, body, options);
  }

  override async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    if (range?.end === undefined || range.end - range.start >= BLOCK) return this.inner.get(name, range);
    const size = await this.sizeOf(name);
    if (size === undefined) return this.inner.get(name, range);
    const { start } = range;
    const end = Math.min(range.end, size - 1);
    const parts: Buffer[] = [];
    for (let index = Math.floor(start / BLOCK); index * BLOCK <= end; index++) {
      const block = await this.block(name, index, size);
      parts.push(block.subarray(Math.max(0, start - index * BLOCK), end + 1 - index * BLOCK));
    }
    return Readable.from(parts, { objectMode: false });
  }

  override async stat(name: string): Promise<StoredObject | null> {
    const found = await this.inner.stat(name);
    if (found === null || this.sizes.get(name) !== found.size) this.forget();
    if (found !== null) this.sizes.set(name, found.size);
    return found;
  }

  override remove(name: string): Promise<void> {
    this.forget();
    return this.inner.remove(name);
  }

  private async sizeOf(name: string): Promise<number | undefined> {
    return this.sizes.get(name) ?? (await this.stat(name))?.size;
  }

  private block(name: string, index: number, size: number): Promise<Buffer> {
    const key = `${index} ${name}`;
    const held = this.blocks.get(key) ?? this.load(key, name, index, size);
    this.blocks.delete(key);
    this.blocks.set(key, held);
    const [oldest] = this.blocks.keys();
    if (this.blocks.size > HELD && oldest !== undefined) this.blocks.delete(oldest);
    return held;
  }

  private load(key: string, name: string, index: number, size: number): Promise<Buffer> {
    const range = { start: index * BLOCK, end: Math.min(size, (index + 1) * BLOCK) - 1 };
    const loading = this.inner.get(name, range).then((stream) => buffer(stream));
    // A failed read must not be remembered.
    loading.catch(() => this.blocks.delete(key));
    return loading;
  }

  private forget(): void {
    this.blocks.clear();
    this.sizes.clear();
  }
}

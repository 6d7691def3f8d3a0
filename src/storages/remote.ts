import type { Storage, StorageSettings, StorageType } from '../core/ports.js';
import { ReadAheadStorage } from './ahead.js';
import { valuesOf } from './kinds.js';
import { plainName } from './names.js';
import type { RemoteKind } from './remote-kind.js';
import { RetryingStorage } from './retry.js';
import { ThrottledStorage } from './throttle.js';

/** A distant storage with all that stands in front of one. */
export async function openRemote(kind: RemoteKind, settings: StorageSettings): Promise<Storage> {
  const storage = await kind.connect(valuesOf(settings));
  const { bandwidthLimit } = settings.settings;
  const limited = typeof bandwidthLimit === 'number' ? new ThrottledStorage(storage, bandwidthLimit) : storage;
  return new ReadAheadStorage(new RetryingStorage(limited));
}

/** A distant storage that is opened at its first use: until then it is known only where it is. */
export class LazyStorage implements Storage {
  private opening: Promise<Storage> | null = null;

  constructor(
    readonly type: StorageType,
    readonly place: string,
    private readonly open: () => Promise<Storage>,
  ) {}

  folder(): null {
    return null;
  }

  locate(name: string): string {
    return `${this.place}/${plainName(name)}`;
  }

  async prepare() {
    return (await this.opened()).prepare();
  }

  async put(...args: Parameters<Storage['put']>) {
    const [name, body] = args;
    try {
      this.locate(name);
      return await (await this.opened()).put(...args);
    } catch (error) {
      body.destroy();
      throw error;
    }
  }

  async get(...args: Parameters<Storage['get']>) {
    this.locate(args[0]);
    return (await this.opened()).get(...args);
  }

  async stat(name: string) {
    this.locate(name);
    return (await this.opened()).stat(name);
  }

  async remove(name: string) {
    this.locate(name);
    return (await this.opened()).remove(name);
  }

  async discard(...args: Parameters<Storage['discard']>) {
    return (await this.opened()).discard(...args);
  }

  async *list(prefix?: string) {
    yield* (await this.opened()).list(prefix);
  }

  async space() {
    return (await this.opened()).space();
  }

  private opened(): Promise<Storage> {
    return (this.opening ??= this.open().catch((error: unknown) => {
      this.opening = null;
      throw error;
    }));
  }
}

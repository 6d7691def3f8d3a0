import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { Storage } from '../../src/core/ports.js';
import { AppError } from '../../src/errors.js';

/** A place for the suite: what is stored, and what lies there beside it, temporary things included. */
export interface StoragePlace {
  storage: Storage;
  /** Names of everything that lies at the place. */
  everything(): Promise<string[]>;
  dispose(): Promise<void>;
}

const NEVER = new AbortController().signal;
const NAME = 'okpuja_backup_20250724_143022.zip';

/** What every storage promises: see `Storage` in core/ports. */
export function storageContract(title: string, makePlace: () => Promise<StoragePlace>): void {
  describe(`The ${title} storage`, () => {
    let place: StoragePlace;
    let storage: Storage;
    beforeEach(async () => {
      place = await makePlace();
      storage = place.storage;
      await storage.prepare();
    });
    afterEach(() => place.dispose());

    const put = (name: string, body: Readable, owner = 'run-1', signal = NEVER) =>
      storage.put(name, body, { owner, signal });

    it('is prepared again without creating anything, and undoing that removes nothing stored', async () => {
      await put(NAME, Readable.from(['x']));
      const { made, undo } = await storage.prepare();
      expect(made).toEqual([]);
      await undo();
      expect(await place.everything()).toEqual([NAME]);
    });

    it('gives back the bytes that it took, whole and in ranges', async () => {
      const bytes = randomBytes(3 * 1024 * 1024 + 17);
      const stored = await put(NAME, Readable.from([bytes.subarray(0, 1000), bytes.subarray(1000)]));
      expect(stored).toMatchObject({ name: NAME, size: bytes.length });
      expect((await buffer(await storage.get(NAME))).equals(bytes)).toBe(true);
      expect((await buffer(await storage.get(NAME, { start: 10, end: 19 }))).equals(bytes.subarray(10, 20))).toBe(true);
      expect((await buffer(await storage.get(NAME, { start: bytes.length - 5 }))).equals(bytes.subarray(-5))).toBe(
        true,
      );
      expect(await storage.stat(NAME)).toMatchObject({
        name: NAME,
        size: bytes.length,
        location: storage.locate(NAME),
      });
      expect(await place.everything()).toEqual([NAME]);
    });

    it('never overwrites: a taken name is refused and the object that has it stays', async () => {
      await put(NAME, Readable.from(['first']));
      await expect(put(NAME, Readable.from(['second']), 'run-2')).rejects.toMatchObject({ code: 'NAME_TAKEN' });
      expect((await buffer(await storage.get(NAME))).toString()).toBe('first');
      expect(await place.everything()).toEqual([NAME]);
    });

    it('stores a whole object or nothing: when the source breaks, and when the run is stopped', async () => {
      const breaking = Readable.from(
        (function* () {
          yield Buffer.alloc(200_000, 1);
          throw new AppError('DATABASE_FAILED', 'the source broke');
        })(),
      );
      await expect(put(NAME, breaking)).rejects.toMatchObject({ code: 'DATABASE_FAILED' });
      const stop = new AbortController();
      const endless = Readable.from(
        (async function* () {
          for (let i = 0; ; i++) {
            if (i === 5) stop.abort(new AppError('CANCELLED', 'stopped'));
            await new Promise((wake) => setImmediate(wake));
            yield Buffer.alloc(100_000, 1);
          }
        })(),
      );
      await expect(put(NAME, endless, 'run-1', stop.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(await storage.stat(NAME)).toBeNull();
      expect(await place.everything()).toEqual([]);
    });

    it('distinguishes a missing object from a storage that does not answer', async () => {
      expect(await storage.stat(NAME)).toBeNull();
      await expect(storage.get(NAME)).rejects.toMatchObject({ code: 'ARCHIVE_MISSING' });
    });

    it('removes for good, and removing what is not there is no error', async () => {
      await put(NAME, Readable.from(['x']));
      await storage.remove(NAME);
      await storage.remove(NAME);
      expect(await storage.stat(NAME)).toBeNull();
      expect(await place.everything()).toEqual([]);
    });

    it('lists its objects', async () => {
      await put(NAME, Readable.from(['x']));
      await put(NAME.replace('.zip', '_2.zip'), Readable.from(['yy']));
      const found = [];
      for await (const object of storage.list()) found.push([object.name, object.size]);
      expect(found.sort()).toEqual([
        [NAME, 1],
        [NAME.replace('.zip', '_2.zip'), 2],
      ]);
    });

    it('lists those whose name begins with a prefix', async () => {
      const other = NAME.replace('okpuja', 'other');
      for (const name of [NAME, other]) await put(name, Readable.from(['x']));
      const found = [];
      for await (const { name } of storage.list('other_')) found.push(name);
      expect(found).toEqual([other]);
    });

    it('removes nothing of a whole object when the remains of its run are discarded', async () => {
      await put(NAME, Readable.from(['x']));
      await storage.discard('run-1', NAME);
      expect(await storage.stat(NAME)).toMatchObject({ size: 1 });
      expect(await place.everything()).toEqual([NAME]);
    });

    it('can be read by many at once, and goes on when a reader leaves early', async () => {
      const bytes = randomBytes(1_000_000);
      await put(NAME, Readable.from([bytes]));
      const left = await storage.get(NAME);
      left.on('error', () => undefined).once('data', () => left.destroy());
      const starts = Array.from({ length: 8 }, (_, index) => index * 1_000);
      const read = await Promise.all(
        starts.map(async (start) => buffer(await storage.get(NAME, { start, end: start + 99_999 }))),
      );
      read.forEach((part, index) =>
        expect(part.equals(bytes.subarray(index * 1_000, index * 1_000 + 100_000))).toBe(true),
      );
    });

    it('refuses names that could lead elsewhere', async () => {
      for (const name of ['../x.zip', 'a/b.zip', '', '.hidden.zip', 'a\\b.zip', 'a\0.zip', '/x.zip']) {
        expect(() => storage.locate(name)).toThrow(AppError);
        await expect(put(name, Readable.from(['x']))).rejects.toMatchObject({ code: 'PATH_NOT_ALLOWED' });
      }
      expect(await place.everything()).toEqual([]);
    });
  });
}

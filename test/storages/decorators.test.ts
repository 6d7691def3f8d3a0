import { beforeEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { AppError } from '../../src/errors.js';
import { ReadAheadStorage } from '../../src/storages/ahead.js';
import { RetryingStorage } from '../../src/storages/retry.js';
import { guarded } from '../../src/storages/stream.js';
import { ThrottledStorage } from '../../src/storages/throttle.js';
import { storageContract } from '../contracts/storage.contract.js';
import { bytesOf, MemoryStorage } from '../support/memory-storage.js';
import { NEVER } from '../support/world.js';

const NAME = 'a_backup_20250724_143022.zip';
const POLICY = { budget: 20, first: 1, longest: 4 };
const away = () => new AppError('STORAGE_UNAVAILABLE', 'away');

const makePlace = async () => {
  const inner = new MemoryStorage();
  const storage = new ReadAheadStorage(new RetryingStorage(new ThrottledStorage(inner, 1e9), POLICY));
  return { storage, everything: async () => [...inner.objects.keys()], dispose: async () => undefined };
};
storageContract('decorated', makePlace);

let inner: MemoryStorage;
const bytes = randomBytes(5_000_000);
beforeEach(() => {
  inner = new MemoryStorage();
  inner.objects.set(NAME, bytes);
});

describe('A storage that is tried again', () => {
  it('answers after failures that pass', async () => {
    inner.failures.push(away(), away());
    const storage = new RetryingStorage(inner, POLICY);
    expect((await storage.stat(NAME))?.size).toBe(bytes.length);
    expect(inner.calls).toHaveLength(3);
  });

  it('fails at once when the failure does not pass, and in the end when it lasts', async () => {
    const storage = new RetryingStorage(inner, POLICY);
    inner.failures.push(new AppError('STORAGE_NOT_WRITABLE', 'no'));
    await expect(storage.remove(NAME)).rejects.toMatchObject({ code: 'STORAGE_NOT_WRITABLE' });
    expect(inner.calls).toHaveLength(1);
    inner.failures.push(...Array.from({ length: 50 }, away));
    await expect(storage.stat(NAME)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(inner.calls.length).toBeLessThan(20);
  });

  it('goes on with a broken read at the byte at which it broke', async () => {
    inner.breaks.push(1_000, 0, 2_000_000);
    const storage = new RetryingStorage(inner, POLICY);
    expect((await bytesOf(storage, NAME)).equals(bytes)).toBe(true);
    expect(inner.calls.filter((call) => call.startsWith('get'))).toEqual([
      `get ${NAME}`,
      `get ${NAME} 1000-4999999`,
      `get ${NAME} 1000-4999999`,
      `get ${NAME} 2001000-4999999`,
    ]);
    inner.breaks.push(10);
    expect((await bytesOf(storage, NAME, { start: 5, end: 24 })).equals(bytes.subarray(5, 25))).toBe(true);
    expect(inner.calls.at(-1)).toBe(`get ${NAME} 15-24`);
  });

  it('ends a read that breaks after its last byte', async () => {
    inner.breaks.push(20);
    const storage = new RetryingStorage(inner, POLICY);
    expect((await bytesOf(storage, NAME, { start: 5, end: 24 })).equals(bytes.subarray(5, 25))).toBe(true);
  });
});

describe('Reading ahead', () => {
  it('asks once for a block that many small ranges lie in', async () => {
    const storage = new ReadAheadStorage(inner);
    for (let start = 0; start < bytes.length; start += 9_999) {
      const end = Math.min(start + 9_998, bytes.length - 1);
      expect((await bytesOf(storage, NAME, { start, end })).equals(bytes.subarray(start, end + 1))).toBe(true);
    }
    expect(inner.calls.filter((call) => call.startsWith('get'))).toHaveLength(3);
  });

  it('passes long ranges and whole objects through', async () => {
    const storage = new ReadAheadStorage(inner);
    expect((await bytesOf(storage, NAME, { start: 1, end: 4_000_000 })).length).toBe(4_000_000);
    expect((await bytesOf(storage, NAME)).length).toBe(bytes.length);
    expect(inner.calls).toEqual([`get ${NAME} 1-4000000`, `get ${NAME}`]);
  });

  it('reads a block again after a read of it failed', async () => {
    const storage = new ReadAheadStorage(inner);
    await storage.stat(NAME);
    inner.failures.push(away());
    await expect(bytesOf(storage, NAME, { start: 0, end: 9 })).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect((await bytesOf(storage, NAME, { start: 0, end: 9 })).equals(bytes.subarray(0, 10))).toBe(true);
  });
});

describe('A guarded stream', () => {
  const translate = (error: unknown) => new AppError('STORAGE_UNAVAILABLE', `broke: ${(error as Error).message}`);

  it('ends with an error when nothing comes any more', async () => {
    const source = new PassThrough();
    source.write('x');
    await expect(buffer(guarded(source, 'here', translate, 10))).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: 'here: no bytes were transferred for 0.01 seconds.',
    });
    expect(source.destroyed).toBe(true);
  });

  it("translates the source's errors", async () => {
    const source = Readable.from(
      (function* () {
        yield Buffer.from('x');
        throw new Error('reset');
      })(),
    );
    await expect(buffer(guarded(source, 'here', translate))).rejects.toMatchObject({ message: 'broke: reset' });
  });

  it('frees its source when it is destroyed while it waits', async () => {
    const source = new PassThrough();
    const stream = guarded(source, 'here', translate);
    stream.on('data', () => undefined);
    stream.destroy();
    await once(stream, 'close');
    expect(source.destroyed).toBe(true);
  });
});

it('passes a throttled transfer in both directions unchanged', async () => {
  const storage = new ThrottledStorage(inner, 100_000_000);
  await storage.put('b.zip', Readable.from([bytes.subarray(0, 1_000_000)]), { owner: 'run', signal: NEVER });
  expect((await bytesOf(storage, 'b.zip')).equals(bytes.subarray(0, 1_000_000))).toBe(true);
});

import { randomBytes, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { AppError } from '../../errors.js';
import type { Log } from '../../log.js';
import type { SettingValue, Storage } from '../ports.js';

/** What came of writing, reading and deleting a few bytes at a storage. */
export interface StorageTest {
  ok: boolean;
  error: AppError | null;
  /** Where archives would lie. */
  location: string;
  /** Bytes; null where the storage does not report it. */
  free: number | null;
  total: number | null;
  warnings: string[];
  /** As `Preparation.learned`. */
  learned: Record<string, SettingValue>;
}

/**
 * Writes a few bytes, reads them back, lists, deletes them, and makes sure that they are gone. A folder that is not there is
 * made, as the first backup would, and taken away again, so that a mistake in its name leaves nothing.
 * @throws what is no AppError; the signal's reason
 */
export async function tryStorage(storage: Storage, log: Log, signal: AbortSignal): Promise<StorageTest> {
  const warnings: string[] = [];
  const learned: Record<string, SettingValue> = {};
  const { value: space, error } = await answered(async () => {
    const { made, undo, learned: found = {} } = await storage.prepare();
    Object.assign(learned, found);
    warnings.push(...made.slice(0, 1).map(missing));
    try {
      await probe(storage, log, signal);
      return await storage.space();
    } finally {
      await undo();
    }
  }, signal);
  const { place: location } = storage;
  const { free = null, total = null } = space ?? {};
  return { ok: error === null, error, location, free, total, warnings, learned };
}

/** The name has no ending, so that nothing ever takes the probe for an archive. */
async function probe(storage: Storage, log: Log, signal: AbortSignal): Promise<void> {
  const name = `db-manager-probe-${randomUUID()}`;
  const bytes = randomBytes(64);
  try {
    const { location } = await storage.put(name, Readable.from([bytes]), { owner: name, signal, size: bytes.length });
    if (!bytes.equals(await buffer(await storage.get(name)))) throw unreliable(`${location} came back changed.`);
    for await (const _ of storage.list()) break;
    await storage.remove(name);
    if ((await storage.stat(name)) !== null) throw unreliable(`${location} is still there after it was deleted.`);
  } catch (error) {
    const left = (cause: unknown) => log.warn({ err: cause, name }, 'a probe could not be removed');
    await storage.discard(name, name).catch(left);
    await storage.remove(name).catch(left);
    throw error;
  }
}

/**
 * What does not work, as a value; a deadline that has passed is nothing that does not work. Anything else than an AppError,
 * and everything once the caller is gone, is thrown.
 */
export async function answered<T>(
  work: () => Promise<T>,
  signal: AbortSignal,
  deadline?: AbortSignal,
): Promise<{ value: T | null; error: AppError | null }> {
  try {
    return { value: await work(), error: null };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AppError) return { value: null, error };
    if (deadline?.aborted) return { value: null, error: null };
    throw error;
  }
}

const missing = (folder: string) =>
  `${folder} did not exist and was made for this test. If a disk should be mounted there, it is not.`;

function unreliable(what: string): AppError {
  return new AppError('STORAGE_UNAVAILABLE', what, {
    hint: 'Do not keep backups there: check the disk or the service.',
  });
}

import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../errors.js';

/**
 * Makes a folder that a user named, and those above it. Node's own `recursive` never ends where a folder takes none, such
 * as /proc, and keeps a thread busy for ever.
 * @param mode of the folders that are made
 * @returns true if it was made, false if it was there
 * @throws the error of the system call: EEXIST for a file of this name
 */
export async function makeFolder(path: string, mode = 0o777): Promise<boolean> {
  const found = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return null;
  });
  if (found?.isDirectory()) return false;
  if (found === null && dirname(path) !== path) await makeFolder(dirname(path), mode);
  try {
    await mkdir(path, { mode });
    return true;
  } catch (error) {
    // Another process was quicker.
    if (found === null && errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}

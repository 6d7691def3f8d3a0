import { mkdir, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../errors.js';

/**
 * Makes a folder that a user named, and those above it: all or, if one cannot be made, none. Node's own `recursive` never
 * ends where a folder takes none, such as /proc, and keeps a thread busy for ever.
 * @param mode of the folders that are made
 * @returns the folders that were made, outermost first; none if it was there
 * @throws the error of the system call: EEXIST for a file of this name
 */
export async function makeFolder(path: string, mode = 0o777): Promise<string[]> {
  const made: string[] = [];
  try {
    await make(path, mode, made);
    return made;
  } catch (error) {
    await unmakeFolders(made);
    throw error;
  }
}

/** Takes away what `makeFolder` made, innermost first, as far as it is empty. */
export async function unmakeFolders(made: string[]): Promise<void> {
  for (const folder of [...made].reverse()) {
    const gone = await rmdir(folder).then(
      () => true,
      () => false,
    );
    // What is in use stays, and so must all above it.
    if (!gone) return;
  }
}

async function make(path: string, mode: number, made: string[]): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return null;
  });
  if (found?.isDirectory()) return;
  if (found === null && dirname(path) !== path) await make(dirname(path), mode, made);
  try {
    await mkdir(path, { mode });
    made.push(path);
  } catch (error) {
    // Another process was quicker.
    if (found === null && errnoOf(error) === 'EEXIST') return;
    throw error;
  }
}

import { closeSync, constants, fstatSync, open, read, statSync } from 'node:fs';
import { promisify } from 'node:util';

// POSIX drops all locks that a process holds on a file as soon as it closes any handle of that file, also those that SQLite
// took through another one (https://www.sqlite.org/howtocorrupt.html, 2.2). A header that is read of a database while a
// backup of it runs would end the backup's lock.

const openFile = promisify(open);
const readFile = promisify(read);

/** By device and inode: how many connections have the file open, and what is to be closed once they are gone. */
const locked = new Map<string, { connections: number; files: number[] }>();

const keyOf = ({ dev, ino }: { dev: bigint; ino: bigint }) => `${dev}:${ino}`;

/**
 * Notes that SQLite opens a file, until the function that it returns is called.
 * @param path may not be there yet
 */
export function keepLocks(path: string): () => void {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return () => undefined;
  const key = keyOf(found);
  const entry = locked.get(key) ?? { connections: 0, files: [] };
  entry.connections += 1;
  locked.set(key, entry);
  let released = false;
  return () => {
    if (released) return;
    released = true;
    entry.connections -= 1;
    if (entry.connections > 0) return;
    locked.delete(key);
    entry.files.forEach((file) => closeSync(file));
  };
}

/**
 * The first bytes of a file, fewer if it is shorter. Costs no lock on it.
 * @throws the error of the system call
 */
export async function readStart(path: string, bytes: number): Promise<Buffer> {
  // Opening a pipe without a writer would block for ever.
  const file = await openFile(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0), 0);
  try {
    const { buffer, bytesRead } = await readFile(file, Buffer.alloc(bytes), 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    // In one go with the look at the connections: none can come in between.
    const entry = locked.get(keyOf(fstatSync(file, { bigint: true })));
    if (entry === undefined) closeSync(file);
    else entry.files.push(file);
  }
}

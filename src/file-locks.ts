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

/** A file that is read beside SQLite. */
export interface FileBeside {
  fd: number;
  /** Closes it, once no connection has the database open. */
  close(): void;
}

/**
 * Opens a file for reading, without cost to the locks that this process holds on it.
 * @param of the database whose connections may hold them; by default the file itself
 * @throws the error of the system call
 */
export async function openBeside(path: string, of?: FileBeside): Promise<FileBeside> {
  // Opening a pipe without a writer would block for ever.
  const fd = await openFile(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0), 0);
  const key = keyOf(fstatSync(of?.fd ?? fd, { bigint: true }));
  const close = () => {
    // In one go with the look at the connections: none can come in between.
    const entry = locked.get(key);
    if (entry === undefined) closeSync(fd);
    else entry.files.push(fd);
  };
  return { fd, close };
}

/**
 * The first bytes of a file, fewer if it is shorter. Costs no lock on it.
 * @throws the error of the system call
 */
export async function readStart(path: string, bytes: number): Promise<Buffer> {
  const file = await openBeside(path);
  try {
    const { buffer, bytesRead } = await readFile(file.fd, Buffer.alloc(bytes), 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    file.close();
  }
}

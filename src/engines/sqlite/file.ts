import { constants } from 'node:fs';
import { access, readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Holder } from '../../core/ports.js';
import { AppError, errnoOf, fromErrno } from '../../errors.js';
import { readStart } from '../../file-locks.js';

const HEADER = 'SQLite format 3\0';

/**
 * Fails with the reason unless the path is a readable file with SQLite's header.
 * @returns its size in bytes
 */
export async function assertSqliteFile(path: string): Promise<number> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new AppError('DATABASE_WRONG_KIND', `${path} is not a file.`);
    if (found.size === 0) throw new AppError('DATABASE_WRONG_KIND', `${path} is empty (0 bytes).`);
    if (!(await hasHeader(path))) {
      throw new AppError('DATABASE_WRONG_KIND', `${path} does not begin like a SQLite database.`);
    }
    return found.size;
  } catch (error) {
    throw fromErrno(error, `read the database ${path}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  }
}

/** True if the file begins like a SQLite database. @throws the error of the system call if it cannot be read */
export async function hasHeader(path: string): Promise<boolean> {
  return (await readStart(path, HEADER.length)).toString('latin1') === HEADER;
}

/** Bytes of a page, as the header of a SQLite file says. @throws the error of the system call if it cannot be read */
export async function pageSizeOf(path: string): Promise<number> {
  const stored = (await readStart(path, 18)).readUInt16BE(16);
  // The largest does not fit into its two bytes.
  return stored === 1 ? 65_536 : stored;
}

/** True if there is something to replace: a file with at least one byte. @throws AppError if the path cannot be looked at */
export async function hasContent(path: string): Promise<boolean> {
  try {
    return (await stat(path)).size > 0;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw fromErrno(error, `look at ${path}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  }
}

/** Fails with the reason if the file could not be replaced: not SQLite, read-only, or in a folder that cannot be written. */
export async function checkWritable(path: string): Promise<void> {
  try {
    await access(await presentFolder(dirname(path)), constants.W_OK | constants.X_OK);
    if (!(await hasContent(path))) return;
    await assertSqliteFile(path);
    await access(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw fromErrno(error, `write the database ${path}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  }
}

/** The folder itself, or the nearest above it that is there: a load makes those that are missing. */
async function presentFolder(folder: string): Promise<string> {
  const found = await stat(folder).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return null;
  });
  return found !== null || dirname(folder) === folder ? folder : presentFolder(dirname(folder));
}

/** The processes of this machine that have the file open. Known only on Linux, and only for processes that this user may inspect. */
export async function holders(path: string): Promise<Holder[]> {
  const real = await realpath(path).catch(() => null);
  const pids = real === null ? [] : (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const found: Holder[] = [];
  for (const pid of pids) {
    const links = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const link of links) {
      if ((await readlink(join('/proc', pid, 'fd', link)).catch(() => '')) !== real) continue;
      const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'unknown');
      if (Number(pid) !== process.pid) found.push({ pid: Number(pid), command: command.trim() });
      break;
    }
  }
  return found;
}

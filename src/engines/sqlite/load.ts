import { link, lstat, stat } from 'node:fs/promises';
import type { LoadOptions } from '../../core/ports.js';
import { dirname } from 'node:path';
import { makeFolder } from '../../archive/make-folder.js';
import { flushFile, flushFolder } from '../../disk.js';
import { AppError, errnoOf, fromErrno } from '../../errors.js';
import { SqliteConnection, withConnection } from './connection.js';
import { whileGrowing } from './growth.js';
import { checkWritable, hasContent } from './file.js';
import { whatIsMissing } from './missing.js';
import { loadRows, nothingToRepair } from './repair.js';
import { giveRights, makeDatabaseFile } from './rights.js';
import { writeStamp } from './stamp.js';
import { loadTables } from './tables.js';

/**
 * Replaces the target's content by the dump's, through SQLite itself: one transaction at the target, so that other
 * connections see all of the old or all of the new, and a crash leaves one of them after SQLite's own recovery.
 * `dump` is a private copy and is changed: it gets the stamp, and the target's page size and journal mode.
 */
export async function loadDump(dump: string, target: string, options: LoadOptions): Promise<string[]> {
  await checkWritable(target);
  const exists = await hasContent(target);
  if (options.repair !== undefined && !exists) throw nothingToRepair(target);
  await makeFolder(dirname(target)).catch((error: unknown) => {
    throw fromErrno(error, `make the folder of ${target}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  });
  if (exists) {
    await load(dump, target, options, true);
    return [];
  }
  const placed = options.tables === null ? await place(dump, target, options) : null;
  if (placed !== null) return placed;
  const { warnings, undo } = await makeDatabaseFile(target, options.source, options.madeHere).catch(
    (error: unknown) => {
      throw fromErrno(error, `make ${target}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
    },
  );
  try {
    await load(dump, target, options, false);
    return warnings;
  } catch (error) {
    await undo();
    throw error;
  }
}

/**
 * Hands the dump itself over as the new database: by a hard link, which never replaces anything.
 * @returns warnings; null where that cannot be: on another disk, or where something lies at the target
 */
async function place(dump: string, target: string, { stamp, source, madeHere }: LoadOptions): Promise<string[] | null> {
  // SQLite would replay what lies beside a file, whatever it belonged to.
  for (const suffix of ['', ...BESIDE]) if (await isTaken(target + suffix)) return null;
  try {
    const { file } = await prepare(dump, { pageSize: null, keepJournal: true, stamp, durable: true });
    await flushFile(file);
    const warnings = await giveRights(file, target, source, madeHere);
    await link(file, target);
    await flushFolder(dirname(target));
    return warnings;
  } catch (error) {
    if (NO_LINKS.has(errnoOf(error) ?? '')) return null;
    throw fromErrno(error, `make ${target}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  }
}

async function isTaken(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

const BESIDE = ['-wal', '-shm', '-journal'];
/** What `link` fails with across disks, on a disk without links, and where the name is taken. */
const NO_LINKS = new Set(['EXDEV', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EEXIST']);

async function load(dump: string, target: string, options: LoadOptions, exists: boolean): Promise<void> {
  const { tables, repair } = options;
  if (tables !== null && repair !== undefined) return loadRows(dump, target, { ...options, tables, repair });
  if (tables !== null) return loadTables(dump, target, { ...options, tables });
  const connection = await SqliteConnection.open(target, 'create', options.lockTimeoutMs);
  try {
    const wal = exists && (await connection.value<string>('PRAGMA journal_mode')) === 'wal';
    const pageSize = exists && wal ? await connection.value<number>('PRAGMA page_size') : null;
    const ready = await prepare(dump, { pageSize, keepJournal: !exists || wal, stamp: options.stamp, durable: false });
    const { size } = await stat(ready.file);
    const files = ['', '-wal', '-journal'].map((suffix) => target + suffix);
    const copy = () => connection.copy(ready.file, 'from-file', options);
    await whileGrowing(files, size, options, () => (ready.fits ? copy() : outsideWal(connection, copy)));
    options.onProgress(size, size);
  } finally {
    await connection.close();
  }
}

/**
 * Gives the dump what the target dictates.
 * @param want `durable`: the dump becomes the database; otherwise it is copied, and of no use after a crash
 * @returns the file to load, and false if its page size could not be changed
 */
async function prepare(
  dump: string,
  want: { pageSize: number | null; keepJournal: boolean; stamp: string; durable: boolean },
): Promise<{ file: string; fits: boolean }> {
  return withConnection(dump, 'readwrite', undefined, async (connection) => {
    if (!want.durable) await connection.run('PRAGMA synchronous = OFF');
    if (!want.keepJournal) await connection.run('PRAGMA journal_mode = DELETE');
    await connection.run('BEGIN');
    await writeStamp(connection, want.stamp);
    await connection.run('COMMIT');
    const same = want.pageSize === null || (await connection.value<number>('PRAGMA page_size')) === want.pageSize;
    if (same) return { file: dump, fits: true };
    // A target in WAL mode keeps its page size, so the dump takes it on.
    const file = `${dump}.${want.pageSize}`;
    await connection.run(`PRAGMA page_size = ${want.pageSize}`);
    // It makes every table and index anew, which takes the application's own functions where the schema has such.
    const missing = await whatIsMissing(() => connection.run('VACUUM INTO ?', file));
    return missing === null ? { file, fits: true } : { file: dump, fits: false };
  });
}

/**
 * Copies while the target is not in WAL mode: then it can take on the page size of what it gets. SQLite lets the mode go
 * only while no other process has the file open; the content is the same in both modes, whatever happens in between.
 */
async function outsideWal(connection: SqliteConnection, copy: () => Promise<void>): Promise<void> {
  try {
    await connection.run('PRAGMA journal_mode = DELETE');
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'DATABASE_IN_USE') throw error;
    throw new AppError(
      'DATABASE_IN_USE',
      `${connection.path} has another page size than the backup, whose schema needs the application's own functions: it can be replaced only while no other program has it open.`,
      {
        hint: 'Stop the application and restore again, or restore into a new file with targetDatabaseUrl.',
        cause: error,
      },
    );
  }
  try {
    await copy();
  } finally {
    // Where it fails the database is whole all the same, in the other mode: no reason to call the load failed.
    await connection.run('PRAGMA journal_mode = WAL').catch(() => undefined);
  }
}

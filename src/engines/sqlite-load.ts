import type { LoadOptions } from '../core/ports.js';
import { SqliteConnection, withConnection } from './sqlite-connection.js';
import { checkWritable, hasContent } from './sqlite-file.js';
import { stampSql } from './sqlite-stamp.js';
import { loadTables } from './sqlite-tables.js';

/**
 * Replaces the target's content by the dump's, through SQLite itself: one transaction at the target, so that other
 * connections see all of the old or all of the new, and a crash leaves one of them after SQLite's own recovery.
 * `dump` is a private copy and is changed: it gets the stamp, and the target's page size and journal mode.
 */
export async function loadDump(dump: string, target: string, options: LoadOptions): Promise<void> {
  await checkWritable(target);
  if (options.tables !== null) return loadTables(dump, target, { ...options, tables: options.tables });
  const exists = await hasContent(target);
  const connection = await SqliteConnection.open(target, 'create', options.lockTimeoutMs);
  try {
    const wal = exists && (await connection.value<string>('PRAGMA journal_mode')) === 'wal';
    const pageSize = exists && wal ? await connection.value<number>('PRAGMA page_size') : null;
    const ready = await prepare(dump, { pageSize, keepJournal: !exists || wal, stamp: options.stamp });
    options.onProgress(0.3, 1);
    await connection.copy(ready, 'from-file', options);
    options.onProgress(1, 1);
  } finally {
    await connection.close();
  }
}

/** Gives the dump what the target dictates. @returns the file to load: another one if the page size had to change */
async function prepare(
  dump: string,
  want: { pageSize: number | null; keepJournal: boolean; stamp: string },
): Promise<string> {
  return withConnection(dump, 'readwrite', undefined, async (connection) => {
    if (!want.keepJournal) await connection.exec('PRAGMA journal_mode = DELETE');
    await connection.exec(stampSql(want.stamp));
    if (want.pageSize === null || (await connection.value<number>('PRAGMA page_size')) === want.pageSize) return dump;
    // A target in WAL mode keeps its page size, so the dump takes it on.
    const rewritten = `${dump}.${want.pageSize}`;
    await connection.exec(`PRAGMA page_size = ${want.pageSize}; VACUUM INTO '${rewritten.replaceAll("'", "''")}'`);
    return rewritten;
  });
}

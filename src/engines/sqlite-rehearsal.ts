import { rm } from 'node:fs/promises';
import type { StepContext, TablesRehearsal } from '../core/ports.js';
import { AppError } from '../errors.js';
import { SqliteConnection } from './sqlite-connection.js';
import { hasContent } from './sqlite-file.js';
import { selectObjects } from './sqlite-selection.js';
import { inTransaction, replaceSelected, schemasOf } from './sqlite-tables.js';

/** How long to wait for a writer of the target, in milliseconds: as long as a snapshot does. */
const PATIENCE = 60_000;

/**
 * Restores single tables into a private copy of the target beside the dump, with the code of the real load, and throws the
 * copy away. Whatever the load would refuse is found here.
 */
export async function rehearseTables(
  dump: string,
  target: string,
  options: StepContext & { tables: string[]; includeRelated: boolean },
): Promise<TablesRehearsal> {
  const copy = `${dump}.rehearsal`;
  const found: TablesRehearsal = { tables: options.tables, related: [], warnings: [], refusals: [] };
  try {
    if (await hasContent(target)) await copyDatabase(target, copy, options.signal);
    await inTransaction(dump, copy, { lockTimeoutMs: PATIENCE, signal: options.signal }, async (connection) => {
      const schemas = await schemasOf(connection);
      const selection = selectObjects(options.tables, schemas.dump, schemas.target, options.includeRelated);
      const nameOf = (key: string) => (schemas.dump.get(key) ?? schemas.target.get(key))?.name ?? key;
      found.tables = [...selection.keys].map(nameOf);
      found.related = selection.related;
      found.warnings = selection.warnings;
      found.refusals = selection.refusals;
      if (selection.refusals.length > 0) return;
      found.warnings = [...found.warnings, ...(await replaceSelected(connection, selection, schemas, options))];
    });
  } catch (error) {
    if (!(error instanceof AppError) || options.signal.aborted) throw error;
    found.refusals = [...found.refusals, ofTarget(error, copy, target)];
  } finally {
    for (const suffix of ['', '-wal', '-shm', '-journal']) await rm(copy + suffix, { force: true });
  }
  return found;
}

async function copyDatabase(from: string, to: string, signal: AbortSignal): Promise<void> {
  const connection = await SqliteConnection.open(from, 'readonly', PATIENCE);
  try {
    await connection.copy(to, 'to-file', { lockTimeoutMs: PATIENCE, signal });
  } finally {
    await connection.close();
  }
}

/** The error as the load would give it: no one knows the copy. */
const ofTarget = (error: AppError, copy: string, target: string) =>
  new AppError(error.code, error.message.replaceAll(copy, target), {
    hint: error.hint,
    cause: error,
    ...(error.field === undefined ? {} : { field: error.field }),
  });

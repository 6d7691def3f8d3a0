import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { RehearseOptions, StepContext, TablesRehearsal } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { hasContent } from './file.js';
import { readSource } from './source.js';
import { nothingToRepair, rehearseRows } from './repair.js';
import { inTransaction, replaceSelected, schemasOf, select } from './tables.js';

/** How long to wait for a writer of the target, in milliseconds: as long as a snapshot does. */
const PATIENCE = 60_000;

/**
 * Restores single tables into a private copy of the target beside the dump, with the code of the real load, and throws the
 * copy away. Whatever the load would refuse is found here.
 */
export async function rehearseTables(
  dump: string,
  target: string,
  options: StepContext & RehearseOptions,
): Promise<TablesRehearsal> {
  const copy = `${dump}.rehearsal`;
  const found: TablesRehearsal = { tables: options.tables, related: [], warnings: [], repairs: [], refusals: [] };
  try {
    const exists = await hasContent(target);
    if (exists) await copyDatabase(target, copy, options.signal);
    if (options.repair !== undefined) {
      if (!exists) throw nothingToRepair(target);
      return await rehearseRows(dump, copy, { ...options, repair: options.repair, lockTimeoutMs: PATIENCE });
    }
    await inTransaction(dump, copy, { lockTimeoutMs: PATIENCE, signal: options.signal }, async (connection) => {
      const schemas = await schemasOf(connection);
      const selection = await select(connection, schemas, options);
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

/** The live database is only read, and nothing is left beside it. */
async function copyDatabase(from: string, to: string, signal: AbortSignal): Promise<void> {
  const options = { lockTimeoutMs: PATIENCE, signal };
  await readSource(from, { wait: options, signal, scratch: dirname(to) }, async (connection) => {
    await rm(to, { force: true });
    await connection.copy(to, 'to-file', options);
  });
}

/** The error as the load would give it: no one knows the copy. */
const ofTarget = (error: AppError, copy: string, target: string) =>
  new AppError(error.code, error.message.replaceAll(copy, target), {
    hint: error.hint,
    cause: error,
    ...(error.field === undefined ? {} : { field: error.field }),
  });

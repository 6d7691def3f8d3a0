import { dirname } from 'node:path';
import { answerOfChild } from '../../child.js';
import type { CompareOptions, DatabaseComparison, QueryRows } from '../../core/ports.js';

/** What the process in `rows-process.ts` does. Paths are those of private copies. */
export type RowsTask =
  | { kind: 'query'; path: string; sql: string; limit: number }
  | { kind: 'compare'; before: string; after: string; tables: string[] | null; samples: number };

/**
 * The rows that one SELECT gives. It runs in a process of its own, which is killed when the signal aborts.
 * @param path of a private copy
 * @throws AppError as `Engine.query`; the signal's reason
 */
export const queryRows = (
  path: string,
  { sql, limit }: { sql: string; limit: number },
  signal: AbortSignal,
): Promise<QueryRows> => ask({ kind: 'query', path, sql, limit }, dirname(path), signal);

/**
 * Compares the rows of two private copies, in a process of its own.
 * @throws AppError as `Engine.compare`; the signal's reason
 */
export const compareRows = (
  before: string,
  after: string,
  { tables, samples, signal }: CompareOptions,
): Promise<DatabaseComparison> => ask({ kind: 'compare', before, after, tables, samples }, dirname(before), signal);

/** @param scratch where SQLite may lay what does not fit into memory */
const ask = <Answer>(task: RowsTask, scratch: string, signal: AbortSignal): Promise<Answer> =>
  answerOfChild(new URL('./rows-process', import.meta.url), task, { env: { SQLITE_TMPDIR: scratch }, signal });

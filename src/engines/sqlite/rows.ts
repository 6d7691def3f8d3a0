import { dirname } from 'node:path';
import { answerOfChild } from '../../child.js';
import { badInput } from '../../errors.js';
import type {
  Cell,
  CompareOptions,
  DatabaseComparison,
  FileReferences,
  FoundRow,
  QueryRows,
  ReferencesOptions,
  SuggestedInvariant,
} from '../../core/ports.js';

/** What the process in `rows-process.ts` does. Paths are those of private copies. */
export type RowsTask =
  | { kind: 'query'; path: string; sql: string; limit: number }
  | { kind: 'row'; path: string; table: string; key: Record<string, Cell> }
  | { kind: 'suggest'; path: string; growing: string[] }
  | { kind: 'choose'; path: string; table: string; where: string }
  | { kind: 'references'; path: string; files: string[]; prefixes: string[]; columns: string[] | null; samples: number }
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
 * Looks for one row of a private copy, in a process of its own.
 * @throws AppError as `RowReader.row`; the signal's reason
 */
export const findRow = (
  path: string,
  wanted: { table: string; key: Record<string, Cell> },
  signal: AbortSignal,
): Promise<FoundRow | null | 'unknown'> => ask({ kind: 'row', path, ...wanted }, dirname(path), signal);

/**
 * Invariants that a private copy keeps, in a process of its own.
 * @throws AppError as `RowReader.suggest`; the signal's reason
 */
export const suggestInvariants = (
  path: string,
  growing: readonly string[],
  signal: AbortSignal,
): Promise<SuggestedInvariant[]> => ask({ kind: 'suggest', path, growing: [...growing] }, dirname(path), signal);

/**
 * Compares the rows of two private copies, in a process of its own.
 * @throws AppError as `Engine.compare`; the signal's reason
 */
export const compareRows = (
  before: string,
  after: string,
  { tables, samples, signal }: CompareOptions,
): Promise<DatabaseComparison> => ask({ kind: 'compare', before, after, tables, samples }, dirname(before), signal);

/** The most bytes of a list of paths that SQLite is given at once, and so the most of one path. */
const LIST_BYTES = 256 * 1024;

/**
 * Looks for rows and files without each other, in a process of its own.
 * @throws AppError as `RowReader.references`; the signal's reason
 */
export function readReferences(
  path: string,
  { columns, files, prefixes, samples, signal }: ReferencesOptions,
): Promise<FileReferences> {
  const lists: string[][] = [[]];
  let bytes = 0;
  for (const file of files) {
    if (bytes > LIST_BYTES) {
      lists.push([]);
      bytes = 0;
    }
    lists.at(-1)?.push(file);
    bytes += 2 * file.length;
  }
  const task = { path, files: lists.map((list) => JSON.stringify(list)), prefixes, columns, samples };
  return ask({ kind: 'references', ...task }, dirname(path), signal);
}

/** How long a condition may take, in milliseconds. */
const CHOOSE_TIME = 30_000;

/**
 * Notes in a private copy which rows of a table meet a condition, in a process of its own.
 * @returns the table that lists them: `s0, s1, …` are what names one row
 * @throws AppError BAD_USER_INPUT naming `where` or `tables`; the signal's reason
 */
export async function chooseRows(
  path: string,
  { table, where }: { table: string; where: string },
  signal: AbortSignal,
): Promise<string> {
  const late = AbortSignal.timeout(CHOOSE_TIME);
  const ended = AbortSignal.any([signal, late]);
  try {
    return await ask<string>({ kind: 'choose', path, table, where }, dirname(path), ended);
  } catch (error) {
    if (!late.aborted || signal.aborted) throw error;
    throw badInput('where', `took longer than ${CHOOSE_TIME / 1_000} seconds.`, 'Give a simpler condition.');
  }
}

/** @param scratch where SQLite may lay what does not fit into memory */
const ask = <Answer>(task: RowsTask, scratch: string, signal: AbortSignal): Promise<Answer> =>
  answerOfChild(new URL('./rows-process', import.meta.url), task, { env: { SQLITE_TMPDIR: scratch }, signal });

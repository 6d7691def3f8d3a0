import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../errors.js';
import { type DumpFile, ENTRY, listOf } from './dump.js';
import { IDENTIFIER, readTableName, type TableName, tableName } from './names.js';
import { startTool } from './tools.js';

/** What stands in the data of a dump, in its order. */
export type DumpPart =
  /** The rows of a table follow. */
  | { kind: 'table'; table: TableName; columns: string }
  /** Bytes of these rows, as COPY reads them: they begin and end anywhere. */
  | { kind: 'rows'; bytes: Buffer }
  | { kind: 'end' }
  /** Where a sequence stands. */
  | { kind: 'sequence'; sequence: TableName; last: bigint; isCalled: boolean };

/** Bytes of a line that is no row: a large object comes in pieces of less. */
const LINE_LIMIT = 1 << 20;
/** What stands after the last row of a table. In a row it would be escaped. */
const END = Buffer.from('\n\\.\n');
const LINE_END = 0x0a;

const COPY = new RegExp(
  String.raw`^COPY (${IDENTIFIER}\.${IDENTIFIER}) ?(\((?:${IDENTIFIER}(?:, ${IDENTIFIER})*)?\)|) FROM stdin;$`,
);
const SEQUENCE = /^SELECT pg_catalog\.setval\('((?:[^']|'')+)', (-?\d+), (true|false)\);$/;

/**
 * The rows of some tables of a dump, and where some sequences stand; all else is passed over. pg_restore reads the dump and
 * writes what it holds: nothing of that is run.
 * @throws AppError DATABASE_CORRUPT; ENGINE_UNSUPPORTED for rows that are written as statements
 */
export async function* rowsIn(dump: DumpFile, tables: TableName[], sequences: TableName[]): AsyncGenerator<DumpPart> {
  const lines = await linesOf(dump, tables, sequences);
  if (lines.length === 0) return;
  const { tools, scratch, signal } = dump;
  const list = join(scratch, 'rows.list');
  await writeFile(list, `${lines.join('\n')}\n`, { mode: 0o600 });
  try {
    const args = ['--file=-', '--data-only', `--use-list=${list}`, dump.path];
    const run = { tools, program: 'pg_restore' as const, args, place: null, scratch, signal };
    const { stdout, ended } = await startTool(run);
    try {
      yield* partsOf(
        stdout as AsyncIterable<Buffer>,
        new Set(tables.map(tableName)),
        new Set(sequences.map(tableName)),
      );
      await ended;
    } finally {
      stdout.destroy();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AppError) || error.code !== 'DATABASE_FAILED') throw error;
    throw new AppError('DATABASE_CORRUPT', `${ENTRY} in the archive cannot be read: ${error.message}`, {
      cause: error,
    });
  } finally {
    await rm(list, { force: true });
  }
}

/** The lines of the dump's list that may be of these tables and sequences: a name with a space can be taken for another. */
async function linesOf(dump: DumpFile, tables: TableName[], sequences: TableName[]): Promise<string[]> {
  // The list writes line ends in names as spaces.
  const shown = ({ schema, name }: TableName) => `${schema} ${name} `.replace(/[\r\n]/g, ' ');
  const wanted = [
    ...tables.map((table) => `TABLE DATA ${shown(table)}`),
    ...sequences.map((sequence) => `SEQUENCE SET ${shown(sequence)}`),
  ];
  return (await listOf(dump)).filter((line) => {
    const what = /^\d+; \d+ \d+ (.*)$/.exec(line)?.[1];
    return what !== undefined && wanted.some((begin) => what.startsWith(begin));
  });
}

/** @param chunks what pg_restore writes @internal */
export async function* partsOf(
  chunks: AsyncIterable<Buffer>,
  tables: ReadonlySet<string>,
  sequences: ReadonlySet<string>,
): AsyncGenerator<DumpPart> {
  /** Within the rows of a table; null: between them. */
  let rows: { isWanted: boolean; isFirst: boolean } | null = null;
  let held: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    held = Buffer.concat([held, chunk]);
    for (;;) {
      if (rows === null) {
        const end = held.indexOf(LINE_END);
        if (end === -1) {
          if (held.length > LINE_LIMIT) throw new AppError('DATABASE_CORRUPT', `${ENTRY}: a line has no end.`);
          break;
        }
        const part = readLine(held.subarray(0, end).toString(), sequences);
        if (part?.kind === 'table') {
          rows = { isWanted: tables.has(tableName(part.table)), isFirst: true };
          if (rows.isWanted) yield part;
          // The line end before the rows: what ends them may be the first line.
          held = held.subarray(end);
          continue;
        }
        if (part !== null) yield part;
        held = held.subarray(end + 1);
        continue;
      }
      const end = held.indexOf(END);
      // What is held back may be the beginning of the end.
      const until = end === -1 ? Math.max(held.length - END.length + 1, 0) : end + 1;
      const from = rows.isFirst ? 1 : 0;
      if (until > from) {
        if (rows.isWanted) yield { kind: 'rows', bytes: held.subarray(from, until) };
        rows.isFirst = false;
      }
      if (end === -1) {
        if (!rows.isFirst) held = held.subarray(until);
        break;
      }
      if (rows.isWanted) yield { kind: 'end' };
      held = held.subarray(end + END.length);
      rows = null;
    }
  }
  if (rows !== null) throw new AppError('DATABASE_CORRUPT', `${ENTRY}: the rows of a table have no end.`);
}

function readLine(line: string, sequences: ReadonlySet<string>): DumpPart | null {
  if (line.startsWith('INSERT INTO ')) {
    throw new AppError('ENGINE_UNSUPPORTED', 'The rows of the dump are written as statements, which are not run.', {
      hint: 'Restore the whole database, or make the dump without --inserts.',
    });
  }
  const [, copied = '', columns = ''] = COPY.exec(line) ?? [];
  const table = readTableName(copied);
  if (table !== null) return { kind: 'table', table, columns };
  const [, text = '', last = '0', isCalled] = SEQUENCE.exec(line) ?? [];
  const sequence = readTableName(text.replaceAll("''", "'"));
  if (sequence === null || !sequences.has(tableName(sequence))) return null;
  return { kind: 'sequence', sequence, last: BigInt(last), isCalled: isCalled === 'true' };
}

import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { DatabaseInfo, TableInfo } from '../../core/ports.js';
import { AppError, errnoOf } from '../../errors.js';
import { withinIdle } from '../process.js';
import { readIdentifier, readTableName, tableName } from './names.js';
import { readTool, startTool, type Tools } from './tools.js';

/** The archive's entry: what `pg_dump --format=custom` writes. */
export const ENTRY = 'database.dump';
/** The first bytes of that format. */
export const MAGIC = Buffer.from('PGDMP');

/** A dump that lies in a file, and what reads it. */
export interface DumpFile {
  path: string;
  tools: Tools;
  /** As `ToolRun.scratch`. */
  scratch: string;
  signal: AbortSignal;
}

/** @throws AppError DATABASE_WRONG_KIND if the file is no dump of pg_dump's own format */
export async function assertDump(folder: string): Promise<string> {
  const path = join(folder, ENTRY);
  const file = await open(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new AppError('DATABASE_NOT_FOUND', `There is no ${ENTRY} in the archive.`, { cause: error });
  });
  try {
    const { buffer } = await file.read(Buffer.alloc(MAGIC.length), 0, MAGIC.length, 0);
    if (buffer.equals(MAGIC)) return path;
  } finally {
    await file.close();
  }
  throw new AppError('DATABASE_WRONG_KIND', `${ENTRY} in the archive is not a dump of pg_dump's custom format.`, {
    hint: 'Make it with `pg_dump --format=custom`.',
  });
}

/** Bytes of a line that are looked at: one of a table with large values may have a gigabyte. */
const LINE_LIMIT = 1 << 20;

/**
 * The dump as SQL, line by line, either its definitions or its rows. Nothing of it is run.
 * @param onLine the line without its end, cut off after `LINE_LIMIT` @param onBytes called with the bytes read so far
 */
async function readLines(
  { path, tools, scratch, signal }: DumpFile,
  part: '--schema-only' | '--data-only',
  onLine: (line: Buffer) => void,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<void> {
  const run = { tools, program: 'pg_restore' as const, args: ['--file=-', part, path], place: null, scratch, signal };
  const { stdout, ended } = await startTool(run);
  let rest: Buffer[] = [];
  let kept = 0;
  let bytes = 0;
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(LINE_END); end !== -1; end = chunk.indexOf(LINE_END, start)) {
        const last = chunk.subarray(start, end);
        onLine(rest.length === 0 ? last : Buffer.concat([...rest, last]));
        [rest, kept, start] = [[], 0, end + 1];
      }
      if (start < chunk.length && kept < LINE_LIMIT) {
        rest.push(chunk.subarray(start));
        kept += chunk.length - start;
      }
      onBytes((bytes += chunk.length));
    }
    await ended;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AppError) || error.code !== 'DATABASE_FAILED') throw error;
    throw new AppError('DATABASE_CORRUPT', `${ENTRY} in the archive cannot be read: ${error.message}`, {
      hint: 'Do not rely on this backup. If the dump is of a newer PostgreSQL, install its client programs.',
      cause: error,
    });
  } finally {
    stdout.destroy();
  }
}

const LINE_END = 0x0a;

/** What the definitions of a dump say. */
export interface DumpOutline {
  /** Names of the tables that hold rows, as lists name them. */
  tables: string[];
  /** The roles that own its objects. */
  owners: string[];
}

/** Reads the definitions of a dump. */
export async function outlineOf(dump: DumpFile): Promise<DumpOutline> {
  const tables: string[] = [];
  const owners = new Set<string>();
  await readLines(dump, '--schema-only', (bytes) => {
    const line = bytes.toString();
    const made = /^CREATE (?:UNLOGGED )?TABLE (.+)$/.exec(line)?.[1];
    const table = made === undefined ? null : readTableName(made);
    if (table !== null) tables.push(tableName(table));
    // Its rows lie in its partitions.
    else if (line.startsWith('PARTITION BY ')) tables.pop();
    const owner = OWNER.exec(line)?.[1];
    if (owner !== undefined) owners.add(readIdentifier(owner));
  });
  return { tables, owners: [...owners] };
}

const OWNER = /^ALTER .* OWNER TO ("(?:[^"]|"")+"|[^\s";]+);$/;

/** Reads a dump to its end. @returns the rows of each table that has data in it */
export async function countRows(dump: DumpFile, onBytes: (bytes: number) => void): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  let table: string | null = null;
  const onLine = (line: Buffer) => {
    if (table !== null) {
      if (line.length === END_OF_ROWS.length && line.equals(END_OF_ROWS)) table = null;
      else counts.set(table, (counts.get(table) ?? 0) + 1);
      return;
    }
    const copied = /^COPY (.+) FROM stdin;$/.exec(line.toString())?.[1];
    const name = copied === undefined ? null : readTableName(copied);
    if (name === null) return;
    table = tableName(name);
    counts.set(table, counts.get(table) ?? 0);
  };
  await readLines(dump, '--data-only', onLine, onBytes);
  return counts;
}

/** What stands after the last row of a table. In a row it would be escaped. */
const END_OF_ROWS = Buffer.from('\\.');

/** The lines of the list of what a dump holds: each begins with a number and a semicolon. */
export async function listOf({ path, tools, scratch, signal }: DumpFile): Promise<string[]> {
  const args = ['--list', path];
  return (await readTool({ tools, program: 'pg_restore', args, place: null, scratch, signal })).split('\n');
}

/** A dump as `Engine.describeDump` shows it. @param counts null: the rows were not counted */
export function describedDump({ tables }: DumpOutline, counts: Map<string, number> | null): DatabaseInfo {
  const listed = tables.map((name): TableInfo => {
    return { name, rows: counts === null ? null : (counts.get(name) ?? 0), schema: '', references: [] };
  });
  return { engine: 'POSTGRES', name: ENTRY, tables: listed, apps: [], source: {}, findings: [] };
}

/** Bytes of a dump. */
export const dumpBytes = async (path: string): Promise<number> => (await stat(path)).size;

/**
 * The bytes of a program's output, refused unless they begin as a dump does. Fails if the program fails, also after its last
 * byte, or if nothing comes for `idleMs` although it is waited for.
 */
export function checkedOutput(stdout: Readable, ended: Promise<void>, idleMs: number): Readable {
  const bytes = async function* () {
    let total = 0;
    let head = Buffer.alloc(0);
    const source = stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    try {
      for (;;) {
        const { value, done } = await withinIdle(source.next(), idleMs, 'pg_dump', IDLE_HINT);
        if (done) break;
        if (head.length < MAGIC.length) {
          head = Buffer.concat([head, value]);
          if (head.length >= MAGIC.length && !head.subarray(0, MAGIC.length).equals(MAGIC)) throw noDump();
        }
        total += value.length;
        yield value;
      }
      // What the program says of its failure counts more than what is missing of its output.
      await ended;
      if (total < MAGIC.length) throw noDump();
    } finally {
      stdout.destroy();
    }
  };
  return Readable.from(bytes(), { objectMode: false });
}

const noDump = () => new AppError('DATABASE_FAILED', 'pg_dump wrote something else than a dump.');

const IDLE_HINT = 'Look in the log of PostgreSQL, and at the network between it and db-manager, for what holds it up.';

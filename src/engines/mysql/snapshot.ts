import { Readable } from 'node:stream';
import type { Exclusions, Snapshot, SnapshotContents, SourceFile, StepContext } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { IDLE_LIMIT, withinIdle } from '../process.js';
import { type ServerVersion, withConnection } from './connection.js';
import { ALL, type LeftOut, leftOut } from './exclusions.js';
import { assertReadable, factsOf, listTables, sizeOf } from './facts.js';
import { STAMP_TABLE } from './names.js';
import { DumpScanner, type DumpTable, ENTRY, type PieceKind } from './scan.js';
import { startTool, type Tools } from './tools.js';
import type { Place } from './url.js';

const IDLE_HINT = 'Look in the log of the server, and at the network between it and db-manager, for what holds it up.';

/** What a dump is made with. */
export interface DumpRun {
  tools: Tools;
  place: Place;
  isTls: boolean;
  /** As `ProcessRun.scratch`. */
  scratch: string;
  signal: AbortSignal;
}

const ARGUMENTS = [
  ...['--single-transaction', '--quick', '--skip-lock-tables', '--skip-add-locks', '--no-tablespaces'],
  ...['--routines', '--triggers', '--events', '--hex-blob', '--default-character-set=utf8mb4', '--skip-dump-date'],
  '--max-allowed-packet=1G',
];

/** For a dump of definitions alone. */
const DEFINITIONS = ['--no-data', '--skip-routines', '--skip-events'];

/** What only the program of one kind knows. */
const OWN_ARGUMENTS: Record<ServerVersion['kind'], string[]> = {
  MariaDB: [],
  MySQL: ['--set-gtid-purged=OFF', '--column-statistics=0'],
};

/** The dump of a database, and what it holds, which is known when it was read to its end. */
export interface OpenDump {
  bytes: Readable;
  tables: Promise<DumpTable[]>;
}

/**
 * Starts to dump a database. Its bytes fail if the program fails, also after its last byte, if the end of the dump is missing,
 * or if nothing comes for ten minutes although it is waited for.
 * @param more arguments of the program @param emit as of `DumpScanner` @param left what is not dumped
 */
export async function openDump(
  { tools, ...run }: DumpRun,
  more: string[] = [],
  emit?: (kind: PieceKind, bytes: Buffer) => void,
  { gone, emptied }: Pick<LeftOut, 'gone' | 'emptied'> = ALL,
): Promise<OpenDump> {
  const { database } = run.place;
  const common = [...ARGUMENTS, ...OWN_ARGUMENTS[tools.kind], ...more];
  const ignored = [STAMP_TABLE, ...gone, ...emptied].map((name) => `--ignore-table=${database}.${name}`);
  const start = async (args: string[]) => {
    const running = await startTool({ ...run, tools, program: 'dump', args: [...common, ...args] });
    running.stdin.end();
    return running;
  };
  const whole = () => start([...ignored, '--', database]);
  // Only the programs of MariaDB can leave out the rows alone. The views of the whole dump need the tables to be there.
  const runs = emptied.length === 0 ? [whole] : [() => start([...DEFINITIONS, '--', database, ...emptied]), whole];
  let running = await (runs.shift() ?? whole)();
  const scanner = new DumpScanner(emit);
  const { promise: tables, resolve, reject } = deferred<DumpTable[]>();
  tables.catch(() => undefined);
  const bytes = async function* () {
    try {
      for (;;) {
        const source = running.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
        for (;;) {
          const { value, done } = await withinIdle(source.next(), IDLE_LIMIT, 'mysqldump', IDLE_HINT);
          if (done) break;
          scanner.push(value);
          yield value;
        }
        // What the program says of its failure counts more than what is missing of its output.
        await running.ended;
        const next = runs.shift();
        if (next === undefined) break;
        running = await next();
      }
      resolve(scanner.end());
    } catch (error) {
      reject(error);
      throw error;
    } finally {
      reject(new AppError('DATABASE_FAILED', 'The dump was not read to its end.'));
      running.stdout.destroy();
    }
  };
  return { bytes: Readable.from(bytes(), { objectMode: false }), tables };
}

/**
 * One state of the database: the program's transaction holds it while the archive is written. What is counted are the rows of
 * the dump itself. Nothing is laid on this machine's disk.
 */
export async function takeSnapshot(
  place: Place,
  with_: { toolsFor(server: ServerVersion): Promise<Tools>; scratch: string },
  step: StepContext,
  exclusions: Exclusions,
): Promise<Snapshot> {
  return withConnection(place, step.signal, async (connection) => {
    await assertReadable(connection, place);
    const left = await leftOut(connection, place.database, exclusions);
    const expected = await sizeOf(connection, place.database, new Set([...left.gone, ...left.emptied]));
    const tools = await with_.toolsFor(connection);
    const facts = await factsOf(connection, place.database);
    const { promise: contents, resolve, reject } = deferred<SnapshotContents>();
    contents.catch(() => undefined);
    step.signal.addEventListener('abort', () => reject(step.signal.reason as Error), { once: true });
    const { isTls } = connection;
    const file: SourceFile = {
      path: ENTRY,
      expected,
      mtime: new Date(),
      mode: 0o600,
      open: async () => {
        const run = { tools, place, isTls, scratch: with_.scratch, signal: step.signal };
        const { bytes, tables } = await openDump(run, [], undefined, left);
        const check = async (found: DumpTable[]) => {
          await assertLeftOut(place, left, found, step.signal);
          return { tables: found, ...facts, damaged: false, exclusions: left.matches };
        };
        tables.then(check).then(resolve, reject);
        return bytes;
      },
    };
    step.onProgress(1, 1);
    return { engine: 'MYSQL', name: place.database, files: [file], contents };
  });
}

/** Fails unless the program has left out what it was told to, and nothing else. */
async function assertLeftOut(
  place: Place,
  { gone, emptied, kept }: LeftOut,
  found: DumpTable[],
  signal: AbortSignal,
): Promise<void> {
  if (gone.length + emptied.length === 0) return;
  const rows = new Map(found.map((table) => [table.name, table.rows]));
  const there = await withConnection(place, signal, (connection) => listTables(connection, place.database));
  const isThere = new Set(there.map(({ name }) => name));
  // What was dropped meanwhile need not be in it.
  const missing = [...kept, ...emptied].find((name) => !rows.has(name) && isThere.has(name));
  const over = gone.find((name) => rows.has(name)) ?? emptied.find((name) => (rows.get(name) ?? 0) > 0);
  if (missing === undefined && over === undefined) return;
  const text = missing === undefined ? `put ${over} into the dump` : `left ${missing} out`;
  throw new AppError('DATABASE_FAILED', `mysqldump ${text}, against what excludeTables and excludeTableData say.`, {
    hint: 'Make the patterns fewer, or remove them.',
  });
}

/** A promise that is settled from outside. */
function deferred<T>() {
  let settle: { resolve: (value: T) => void; reject: (reason: unknown) => void } | undefined;
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }));
  const { resolve = () => undefined, reject = () => undefined } = settle ?? {};
  return { promise, resolve, reject };
}

import type { Exclusions, Snapshot, SnapshotContents, SourceFile, StepContext } from '../../core/ports.js';
import { connect, type Connection } from './connection.js';
import { checkedOutput, ENTRY } from './dump.js';
import { type LeftOut, leftOut } from './exclusions.js';
import { IDLE_LIMIT } from '../process.js';
import { assertReadable, factsOf, sizeOf } from './facts.js';
import { queryAt } from './query.js';
import { startTool, type Tools } from './tools.js';
import type { Place } from './url.js';

/** How long pg_dump waits for a lock on a table, such as that of a migration. */
const LOCK_WAIT = '60s';

/** What a snapshot is taken with. */
export interface SnapshotTools {
  toolsFor(major: number): Promise<Tools>;
  /** As `ToolRun.scratch`. */
  scratch: string;
}

/**
 * One state of the database: our own transaction holds it until the step's signal ends, rows are counted in it, and pg_dump
 * reads the same state while the archive is written. Nothing is laid on this machine's disk.
 */
export async function takeSnapshot(
  place: Place,
  with_: SnapshotTools,
  step: StepContext,
  exclusions: Exclusions,
): Promise<Snapshot> {
  const connection = await connect(place, step.signal);
  try {
    await connection.run('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await assertReadable(connection, place);
    const left = await leftOut(connection, exclusions);
    const bytes = (await sizeOf(connection)) - left.bytes;
    const tools = await with_.toolsFor(connection.major);
    const [exported] = await connection.rows<{ id: string; encoding: string }>(
      `SELECT pg_export_snapshot() AS id, current_setting('server_encoding') AS encoding`,
    );
    const run = {
      tools,
      program: 'pg_dump' as const,
      args: [
        '--format=custom',
        '--compress=0',
        `--snapshot=${exported?.id ?? ''}`,
        `--lock-wait-timeout=${LOCK_WAIT}`,
        // Names are read without a server later. These two have no characters that could be converted.
        ...(/^(SQL_ASCII|MULE_INTERNAL)$/.test(exported?.encoding ?? '') ? [] : ['--encoding=UTF8']),
        ...left.args,
      ],
      place,
      scratch: with_.scratch,
      signal: step.signal,
    };
    const file: SourceFile = {
      path: ENTRY,
      expected: bytes,
      mtime: new Date(),
      mode: 0o600,
      open: async () => {
        const { stdout, ended } = await startTool(run);
        return checkedOutput(stdout, ended, IDLE_LIMIT);
      },
    };
    const contents = contentsOf(connection, left);
    contents.catch(() => undefined);
    step.signal.addEventListener('abort', () => void connection.close(), { once: true });
    step.onProgress(1, 1);
    return {
      engine: 'POSTGRES',
      name: place.database,
      files: [file],
      contents,
      query: (sql, options) => queryAt(place, { sql, ...options, snapshot: exported?.id ?? '' }),
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function contentsOf(connection: Connection, { matches }: LeftOut): Promise<SnapshotContents> {
  const facts = await factsOf(connection, { deadline: null, excluded: matches.excluded });
  return { ...facts, findings: [], damaged: false, exclusions: matches };
}

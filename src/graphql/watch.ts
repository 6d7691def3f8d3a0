import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../errors.js';

/** How often a row that is watched is read, in milliseconds: any node may be working on it. */
const EVERY_MS = 300;

/** The columns by which a watcher sees that a run moved on. */
interface WatchedRun {
  id: string;
  status: string;
  progress: number;
  bytesDone: number | null;
  phase: string | null;
  phases: unknown[];
}

/**
 * The row at once, then again after each change, until its run has ended.
 * @param read the present row
 * @throws AppError NOT_FOUND
 */
export async function* watchRun<Row extends WatchedRun>(
  id: string,
  read: () => Promise<Row | null>,
  signal: AbortSignal,
): AsyncGenerator<Row, void> {
  let seen = '';
  while (!signal.aborted) {
    const row = await read();
    if (row === null) throw new AppError('NOT_FOUND', `There is no record "${id}".`);
    const state = [row.status, row.progress, row.bytesDone, row.phase, row.phases.length].join();
    if (state !== seen) yield row;
    seen = state;
    if (row.status !== 'PENDING' && row.status !== 'RUNNING') return;
    await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

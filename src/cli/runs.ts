import { setTimeout as sleep } from 'node:timers/promises';
import { databaseLease, Hold, waitLease } from '../core/runs/hold.js';
import { AppError, type ErrorCode } from '../errors.js';
import type { BackupRow, RestoreRow, VerificationRow } from '../models/index.js';
import { Progress } from './progress.js';
import type { Session } from './session.js';

/** How often a row that another process works on is looked at, and how often a held database is asked for again. */
const LOOK_MS = 200;
const ASK_AGAIN_MS = 1_000;

/** `Backups`, `Restores` and `Verifications`, as far as carrying out a run goes. */
interface Runs<Row> {
  run(id: string, stop: AbortSignal): Promise<'done' | 'busy'>;
  get(id: string): Promise<Row>;
  cancel(id: string, actor: string): Promise<Row>;
  recover(): Promise<void>;
}

type RunRow = BackupRow | RestoreRow | VerificationRow;

/**
 * Does a PENDING run in this process, showing its progress. While another run holds the database it waits and says for
 * whom; if a worker has taken the row meanwhile, it follows the row to its end. When the command is stopped, the run is
 * cancelled.
 * @param databaseKey the database that the run needs, to show its holder; null if it needs none
 * @returns the row, COMPLETED or FAILED
 */
export async function carryOut<Row extends RunRow>(
  session: Session,
  runs: Runs<Row>,
  id: string,
  databaseKey: string | null,
): Promise<Row> {
  const progress = new Progress(session.print, () => runs.get(id));
  try {
    await progress.during(waitForTurn(session, runs, id, databaseKey, progress));
    return await progress.during(follow(session, runs, id));
  } finally {
    await progress.close();
  }
}

/** Why the row is FAILED, as an error to show. */
export function errorOf(row: RunRow): AppError {
  return new AppError((row.errorCode ?? 'INTERNAL_ERROR') as ErrorCode, row.errorMessage ?? 'The run failed.', {
    ...(row.errorHint === null ? {} : { hint: row.errorHint }),
  });
}

async function waitForTurn<Row extends RunRow>(
  session: Session,
  runs: Runs<Row>,
  id: string,
  databaseKey: string | null,
  progress: Progress,
): Promise<void> {
  if ((await runs.run(id, session.stop)) === 'done') return;
  const { models, log, environment } = session.app;
  // Shows all other processes that this command still waits for the run.
  const waiting = await Hold.take({ models, log, leaseMs: environment.leaseMs }, [waitLease(id)]);
  let told = '';
  try {
    do {
      const holder = databaseKey === null ? null : await holderOf(session, databaseKey);
      if (holder !== null && holder !== told) progress.line(`waiting: ${(told = holder)} holds the database`);
      await sleep(ASK_AGAIN_MS, undefined, { signal: session.stop }).catch(() => undefined);
    } while (!session.stop.aborted && (await runs.run(id, session.stop)) === 'busy');
  } finally {
    if (waiting instanceof Hold) await waiting.release();
  }
}

async function follow<Row extends RunRow>(session: Session, runs: Runs<Row>, id: string): Promise<Row> {
  const { actor, app, stop } = session;
  let cancelled = false;
  let recovered = performance.now();
  for (;;) {
    const row = await runs.get(id);
    if (row.status !== 'PENDING' && row.status !== 'RUNNING') return row;
    if (stop.aborted && !cancelled) {
      cancelled = true;
      await runs.cancel(id, actor).catch((error: unknown) => {
        // It ended in the meantime.
        if (!(error instanceof AppError) || error.code !== 'BUSY') throw error;
      });
      continue;
    }
    if (performance.now() - recovered > app.environment.leaseMs / 2) {
      recovered = performance.now();
      await runs.recover();
    }
    await sleep(LOOK_MS);
  }
}

/** The run that holds the database, in words; null if none does any more. */
async function holderOf({ app: { models } }: Session, databaseKey: string): Promise<string | null> {
  const leaseHolder = await models.leases.holderOf(databaseLease(databaseKey));
  if (leaseHolder === null) return null;
  const where = { leaseHolder, status: 'RUNNING' as const };
  const row = (await models.Backup.findOne({ where })) ?? (await models.Restore.findOne({ where }));
  return row === null ? `another process (${leaseHolder})` : `${row.id} of ${row.createdBy ?? 'system'}`;
}

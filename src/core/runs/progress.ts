import type { PhaseEntry, RunStatus } from '../../models/index.js';
import type { StepContext } from '../ports.js';

/** Before this share and this time of a phase, in milliseconds, the time that is left would be a guess; so before this share of the run. */
const LEAST_SHARE = 0.05;
const LEAST_TIME = 2_000;
/** A speed over less than this, in milliseconds, says nothing. */
const LEAST_PHASE = 250;

/** A part of a step: whatever it counts itself, all of it is what the step counts from `from` to `to` of its `total`. */
export function within(step: StepContext, from: number, to: number, total = 1): StepContext {
  return {
    signal: step.signal,
    onProgress: (done, all) => step.onProgress(from + shareOf(done, all) * (to - from), total),
  };
}

/** How much is done, from 0 to 1. Where there is nothing to do, all is done. */
export function shareOf(done: number, total: number): number {
  return total <= 0 ? 1 : Math.min(1, Math.max(0, done / total));
}

/** How fast a run goes. Null: it is not under way, or the speed is not known (yet). */
export interface Pace {
  /** Bytes of the present phase; null where the phase counts something else. */
  bytesDone: number | null;
  bytesTotal: number | null;
  /** Since the phase began. */
  bytesPerSecond: number | null;
  /** Until the run ends, by what was measured; null in a phase whose work is not counted in bytes. */
  secondsLeft: number | null;
}

/** The columns of a run that its pace is derived from. */
export interface PacedRun {
  status: RunStatus | 'DELETED';
  progress: number;
  phases: PhaseEntry[];
  startedAt: Date | null;
  bytesDone: number | null;
  bytesTotal: number | null;
}

/** Derived from the row whenever it is read, so that every node shows the same. */
export function paceOf(run: PacedRun, now: Date): Pace {
  if (run.status !== 'RUNNING') return { bytesDone: null, bytesTotal: null, bytesPerSecond: null, secondsLeft: null };
  const { bytesDone = null, bytesTotal = null } = run;
  const began = run.phases.at(-1)?.at;
  const inPhase = began === undefined ? 0 : now.getTime() - Date.parse(began);
  const speed = bytesDone === null || inPhase < LEAST_PHASE ? null : (bytesDone * 1_000) / inPhase;
  const share = Math.min(shareOf(bytesDone ?? 0, bytesTotal ?? 0), run.progress);
  const known = speed !== null && speed > 0 && inPhase >= LEAST_TIME && share >= LEAST_SHARE;
  return {
    bytesDone,
    bytesTotal,
    bytesPerSecond: speed,
    secondsLeft: known ? secondsLeft(run, now, ((bytesTotal ?? 0) - (bytesDone ?? 0)) / speed) : null,
  };
}

/**
 * The longer of what the present phase needs at its own speed and what all bytes that are left need at the speed of the run so
 * far: phases go at different speeds, and a promise that is kept late is worse than one that is kept early.
 * @param inPhase seconds that the present phase needs
 */
function secondsLeft({ progress, startedAt }: PacedRun, now: Date, inPhase: number): number {
  const elapsed = startedAt === null ? 0 : (now.getTime() - startedAt.getTime()) / 1_000;
  return Math.ceil(Math.max(inPhase, (elapsed * (1 - progress)) / progress));
}

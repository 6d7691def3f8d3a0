import { useEffect, useRef } from 'react';
import { useSubscription } from 'urql';
import {
  BackupDocument,
  type BackupPartsFragment,
  BackupProgressDocument,
  RestoreDocument,
  type RestorePartsFragment,
  RestoreProgressDocument,
  VerificationDocument,
  type VerificationPartsFragment,
  VerificationProgressDocument,
} from '../client/generated/graphql.js';
import { textOf, useApi } from './api.js';
import { isActive } from './words.js';

/** How often a run is polled beside the live updates, in milliseconds: a socket may not be available. */
const EVERY = 5_000;

/** Follows a backup from whichever node works on it; calls `onEnd` once when its run has ended. */
export function useLiveBackup(id: string, onEnd?: () => void): BackupPartsFragment | undefined {
  const [{ data: told }] = useSubscription({ query: textOf(BackupProgressDocument), variables: { id } });
  const { data: asked } = useApi(BackupDocument, { id }, { every: EVERY });
  const run = newer(told?.backupProgress, asked?.backup ?? undefined);
  useEnd(run, onEnd);
  return run;
}

/** As `useLiveBackup`, for a restore. */
export function useLiveRestore(id: string, onEnd?: () => void): RestorePartsFragment | undefined {
  const [{ data: told }] = useSubscription({ query: textOf(RestoreProgressDocument), variables: { id } });
  const { data: asked } = useApi(RestoreDocument, { id }, { every: EVERY });
  const run = newer(told?.restoreProgress, asked?.restore ?? undefined);
  useEnd(run, onEnd);
  return run;
}

/** As `useLiveBackup`, for a verification. */
export function useLiveVerification(id: string, onEnd?: () => void): VerificationPartsFragment | undefined {
  const [{ data: told }] = useSubscription({ query: textOf(VerificationProgressDocument), variables: { id } });
  const { data: asked } = useApi(VerificationDocument, { id }, { every: EVERY });
  const run = newer(told?.verificationProgress, asked?.verification ?? undefined);
  useEnd(run, onEnd);
  return run;
}

type Run = BackupPartsFragment | RestorePartsFragment | VerificationPartsFragment;

/** Which of two looks at a run is the later one: a run only goes on. */
function newer<Kind extends Run>(one: Kind | undefined, other: Kind | undefined): Kind | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return stage(other) > stage(one) ? other : one;
}

const stage = ({ status, progress }: Run) => (isActive(status) ? (status === 'PENDING' ? 0 : 1) + progress : 3);

function useEnd(run: Run | undefined, onEnd: (() => void) | undefined): void {
  const ended = run !== undefined && !isActive(run.status);
  const latest = useRef(onEnd);
  useEffect(() => {
    latest.current = onEnd;
  });
  useEffect(() => {
    if (ended) latest.current?.();
  }, [ended]);
}

import { useEffect, useRef } from 'react';
import { useSubscription } from 'urql';
import {
  type BackupPartsFragment,
  BackupProgressDocument,
  type RestorePartsFragment,
  RestoreProgressDocument,
} from '../client/generated/graphql.js';
import { textOf } from './api.js';
import { isActive } from './words.js';

/** A run as it is told live, from whichever node works on it. */
export interface Live<Run> {
  /** The last that was heard; undefined until something was. */
  run: Run | undefined;
}

/** Follows a backup until its run ends; then calls `onEnd` once. Nothing is asked where `active` is false. */
export function useLiveBackup(id: string, active: boolean, onEnd?: () => void): Live<BackupPartsFragment> {
  const [{ data }] = useSubscription({ query: textOf(BackupProgressDocument), variables: { id }, pause: !active });
  useEnd(data?.backupProgress, onEnd);
  return { run: data?.backupProgress };
}

/** As `useLiveBackup`, for a restore. */
export function useLiveRestore(id: string, active: boolean, onEnd?: () => void): Live<RestorePartsFragment> {
  const [{ data }] = useSubscription({ query: textOf(RestoreProgressDocument), variables: { id }, pause: !active });
  useEnd(data?.restoreProgress, onEnd);
  return { run: data?.restoreProgress };
}

function useEnd(run: BackupPartsFragment | RestorePartsFragment | undefined, onEnd: (() => void) | undefined): void {
  const ended = run !== undefined && !isActive(run.status);
  const latest = useRef(onEnd);
  useEffect(() => {
    latest.current = onEnd;
  });
  useEffect(() => {
    if (ended) latest.current?.();
  }, [ended]);
}

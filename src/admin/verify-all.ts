import { useState } from 'react';
import { VerifyBackupDocument } from '../client/generated/graphql.js';
import { type Problem, tellDone, tellProblem, useAction } from './api.js';
import { plural } from './format.js';
import { currentToken } from './session.js';

/** What is verified. */
interface Verified {
  id: string;
  fileName: string;
}

/** How far several backups are verified. */
export interface Check {
  of: readonly Verified[];
  /** How many were looked at. */
  done: number;
  /** Those that failed their verification. */
  bad: readonly Verified[];
  /** Those that could not be looked at, and why. */
  failed: readonly (Verified & { why: string })[];
  /** It ended before all were looked at. */
  stopped: boolean;
}

/** What ends the whole of it: the next one would fare no better. */
const ENDING = ['OFFLINE', 'UNAUTHENTICATED'];
/** So many are named. */
const NAMED = 10;

/** Those of which nothing is known after it has ended. */
export const unknownOf = ({ of, done, failed, stopped }: Check): readonly (Verified & { why?: string })[] =>
  stopped ? [...failed, ...of.slice(done)] : failed;

/** Verifies backups one after the other, and reports the result at the end, whatever page is open by then. */
export function useVerifyAll(chosen: readonly Verified[]) {
  const verify = useAction(VerifyBackupDocument, { harmless: true });
  const [check, setCheck] = useState<Check | null>(null);
  const [verifying, setVerifying] = useState(false);
  const verifyAll = async () => {
    setVerifying(true);
    let now: Check = { of: chosen, done: 0, bad: [], failed: [], stopped: false };
    for (const row of chosen) {
      setCheck(now);
      const outcome = await verify.attempt({ id: row.id, level: 'ARCHIVE' });
      // After sign-out, report nothing.
      if (currentToken() === null) return;
      if ('data' in outcome) {
        const intact = !outcome.data.verifyBackup.errorCode;
        now = { ...now, done: now.done + 1, bad: intact ? now.bad : [...now.bad, row] };
      } else if (ENDING.includes(outcome.problem.code)) {
        now = { ...now, stopped: true };
        break;
      } else now = { ...now, done: now.done + 1, failed: [...now.failed, { ...row, why: outcome.problem.message }] };
    }
    setVerifying(false);
    setCheck(now);
    tell(now);
  };
  // What was found counts for what was chosen then.
  const found = check !== null && idsOf(check.of) === idsOf(chosen) ? check : null;
  return { found, verifying, verifyAll };
}

function tell(check: Check): void {
  const { of, bad } = check;
  const unknown = unknownOf(check);
  const backups = plural(bad.length, 'backup is', 'backups are');
  if (bad.length > 0) tellProblem(problem(`${backups} not intact`, bad), { stays: true });
  const others = plural(unknown.length, 'backup');
  if (unknown.length > 0) tellProblem(problem(`${others} could not be verified`, unknown), { stays: true });
  if (bad.length + unknown.length === 0) tellDone(`${plural(of.length, 'backup')} verified.`);
}

function problem(message: string, rows: readonly (Verified & { why?: string })[]): Problem {
  const named = rows.slice(0, NAMED).map(({ id, why }) => (why === undefined ? id : `${id} (${why})`));
  const more = rows.length > NAMED ? ` and ${rows.length - NAMED} more` : '';
  return { code: 'NOT_VERIFIED', message, hint: `${named.join(', ')}${more}` };
}

const idsOf = (rows: readonly Verified[]) => rows.map(({ id }) => id).join();

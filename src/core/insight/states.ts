import { AppError } from '../../errors.js';
import type { BackupRow } from '../../models/index.js';

/** Which backups are read: every one; those that it takes to find where the answer changes; or where it last did. */
export type Thoroughness = 'EVERY' | 'CHANGES' | 'LAST_CHANGE';

/** What one backup answered. */
export interface State<Answer> {
  backup: BackupRow;
  answer: Answer;
}

/** What was read. */
export interface States<Answer> {
  /** In the order of the backups. Where two neighbours differ, no readable backup lies between them. */
  states: State<Answer>[];
  /** Those that could not be read, which others stood in for. */
  unreadable: BackupRow[];
}

/**
 * Asks backups, oldest first, how something was. Between two that answer the same, the answer is taken for the same all along,
 * unless every one is asked: so a change is found with few of them, each time in the middle between two that differ.
 * @param read asks one; an AppError about its archive makes the next one stand in for it
 * @throws the first error of `read` if none could be read; what `read` throws about the question
 */
export async function readStates<Answer>(
  backups: readonly BackupRow[],
  thoroughness: Thoroughness,
  { read, same }: { read: (backup: BackupRow) => Promise<Answer>; same: (one: Answer, other: Answer) => boolean },
): Promise<States<Answer>> {
  const answers = new Map<string, State<Answer>>();
  const unreadable: BackupRow[] = [];
  let failure: unknown = null;
  let left = [...backups];
  for (;;) {
    const known = left.map(({ id }) => answers.get(id) ?? null);
    const next = left[nextOf(known, thoroughness, same) ?? left.length];
    if (next === undefined) {
      if (left.length === 0 && failure !== null) throw failure;
      return { states: known.filter((state) => state !== null), unreadable };
    }
    try {
      answers.set(next.id, { backup: next, answer: await read(next) });
    } catch (error) {
      if (!isAboutArchive(error)) throw error;
      failure ??= error;
      unreadable.push(next);
      left = left.filter((backup) => backup !== next);
    }
  }
}

/** The place of the backup to ask next; null when what was asked suffices. Asks both ends first. */
function nextOf<Answer>(
  known: readonly (State<Answer> | null)[],
  thoroughness: Thoroughness,
  same: (one: Answer, other: Answer) => boolean,
): number | null {
  const unasked = (index: number) => known[index] === null;
  if (thoroughness === 'EVERY') {
    const first = known.indexOf(null);
    return first < 0 ? null : first;
  }
  const last = known.length - 1;
  if (last < 0) return null;
  if (unasked(last)) return last;
  if (unasked(0)) return 0;
  let [after, to] = [last, known[last] as State<Answer>];
  for (let index = last - 1; index >= 0; index--) {
    const from = known[index];
    if (from === null || from === undefined) continue;
    const differ = !same(from.answer, to.answer);
    if (differ && after - index > 1) return Math.floor((index + after) / 2);
    if (differ && thoroughness === 'LAST_CHANGE') return null;
    [after, to] = [index, from];
  }
  return null;
}

/** True for an error of one backup; any other would come of the next one, too. */
function isAboutArchive(error: unknown): boolean {
  return (
    error instanceof AppError &&
    /^(ARCHIVE_|BACKUP_|CHAIN_|DATABASE_|ENCRYPTION_|NOT_FOUND$|STORAGE_(UNAVAILABLE|REFUSED)$)/.test(error.code)
  );
}

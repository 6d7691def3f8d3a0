import { Op } from 'sequelize';
import { AppError, badInput } from '../../errors.js';
import type { BackupConfigRow, BackupRow, Models } from '../../models/index.js';
import type { Cell, FoundRow, QueryRows } from '../ports.js';
import { readStates, type State } from './states.js';

/** How one row was in a stretch of backups. */
export interface RowVersion {
  /** The first backup that has it so, and the last one. */
  backup: BackupRow;
  lastBackup: BackupRow;
  /** Its values by column; null where it is not there. */
  row: Record<string, Cell> | null;
  /** The columns that differ from the version before, where both are rows. */
  changed: string[];
  /** Backups up to the next version, or before the first one, that could not be read. */
  unreadable: string[];
}

/** Where the answer to a query last changed. */
export interface AnswerChange {
  /** The last backup with another answer, and the first with the newest one. */
  before: BackupRow;
  after: BackupRow;
  /** Null also where the query could not be asked, such as of a table that is not there yet. */
  answerBefore: Cell;
  answerAfter: Cell;
  /** How many backups were read. */
  read: number;
  /** Those that could not be. */
  unreadable: string[];
}

/** The backups of a config whose states follow each other, oldest first. Of an uploaded one the time is not certain. */
export async function backupsInOrder(models: Models, { id, engine }: BackupConfigRow): Promise<BackupRow[]> {
  const backups = await models.Backup.findAll({
    where: { configId: id, engine, status: 'COMPLETED', damaged: false, backupType: { [Op.ne]: 'UPLOADED' } },
    order: [
      ['createdAt', 'ASC'],
      ['id', 'ASC'],
    ],
  });
  if (backups.length > 0) return backups;
  throw badInput('configId', `config ${id} has no backup that could be read.`, 'Make a backup first.');
}

/**
 * How one row was through all these backups.
 * @param every reads each of them; false: only those that it takes to find where two that differ meet
 * @throws AppError BAD_USER_INPUT naming `table` if none of those that were read has such a table with such columns
 */
export async function versionsOf(
  backups: readonly BackupRow[],
  read: (backup: BackupRow) => Promise<FoundRow | null | 'unknown'>,
  { table, every }: { table: string; every: boolean },
): Promise<RowVersion[]> {
  const { states, unreadable } = await readStates(backups, every ? 'EVERY' : 'CHANGES', { read, same: isSameRow });
  if (states.every(({ answer }) => answer === 'unknown')) {
    const hint = 'Write the names as `db-manager show latest` and a comparison do.';
    throw badInput('table', `no backup that was read has a table ${table} with the columns of key.`, hint);
  }
  const versions: RowVersion[] = [];
  let last: State<FoundRow | null | 'unknown'> | null = null;
  for (const state of states) {
    const version = versions.at(-1);
    if (last !== null && version !== undefined && isSameRow(last.answer, state.answer)) {
      version.lastBackup = state.backup;
    } else {
      const row = rowOf(state.answer);
      const before = last === null ? null : rowOf(last.answer);
      const changed = row !== null && before !== null ? changedColumns(before, row) : [];
      versions.push({
        backup: state.backup,
        lastBackup: state.backup,
        row: row?.values ?? null,
        changed,
        unreadable: [],
      });
    }
    last = state;
  }
  for (const { id, createdAt } of unreadable) {
    const owner = versions.findLast(({ backup }) => backup.createdAt <= createdAt) ?? versions[0];
    owner?.unreadable.push(id);
  }
  return versions;
}

const rowOf = (answer: FoundRow | null | 'unknown') => (answer === 'unknown' ? null : answer);

function isSameRow(one: FoundRow | null | 'unknown', other: FoundRow | null | 'unknown'): boolean {
  const [a, b] = [rowOf(one), rowOf(other)];
  if (a === null || b === null) return a === b;
  return changedColumns(a, b).length === 0;
}

function changedColumns(one: FoundRow, other: FoundRow): string[] {
  const names = new Set([...Object.keys(one.hashes), ...Object.keys(other.hashes)]);
  return [...names].filter((name) => one.hashes[name] !== other.hashes[name]);
}

/** What a query gave in one backup. */
type Answer = { value: Cell } | { refused: AppError };

/**
 * Where the answer to a query last changed, with few backups read.
 * @param read gives the rows of the query, at most two
 * @returns null if the oldest backup gives the same as the newest
 * @throws AppError BAD_USER_INPUT naming `sql` if the query cannot be asked of the newest one, or gives more than one short value
 */
export async function lastChangeOf(
  backups: readonly BackupRow[],
  read: (backup: BackupRow) => Promise<QueryRows>,
): Promise<AnswerChange | null> {
  const ask = async (backup: BackupRow): Promise<Answer> => {
    try {
      return { value: valueOf(await read(backup)) };
    } catch (error) {
      const isOlder = backup !== backups.at(-1);
      if (isOlder && error instanceof AppError && error.field === 'sql') return { refused: error };
      throw error;
    }
  };
  const { states, unreadable } = await readStates(backups, 'LAST_CHANGE', { read: ask, same: isSameAnswer });
  const newest = states.at(-1)?.answer;
  if (newest !== undefined && 'refused' in newest) throw newest.refused;
  const at = states.findLastIndex(({ answer }, index) => {
    const next = states[index + 1];
    return next !== undefined && !isSameAnswer(answer, next.answer);
  });
  const [before, after] = [states[at], states[at + 1]];
  if (at < 0 || before === undefined || after === undefined) return null;
  return {
    before: before.backup,
    after: after.backup,
    answerBefore: shown(before.answer),
    answerAfter: shown(after.answer),
    read: states.length,
    unreadable: unreadable.map(({ id }) => id),
  };
}

function valueOf({ columns, rows, cut }: QueryRows): Cell {
  const [row] = rows;
  if (cut) {
    const shorter = "Ask for what tells it, such as length(notes), or notes = 'as it was'.";
    throw badInput('sql', 'gives a value that is too long to be compared.', shorter);
  }
  if (row !== undefined && rows.length === 1 && columns.length === 1) return row[0] ?? null;
  const hint = 'Ask for one value, such as: SELECT count(*) FROM booking WHERE id = 17.';
  throw badInput('sql', 'must give one row with one column.', hint);
}

const shown = (answer: Answer): Cell => ('value' in answer ? answer.value : null);

function isSameAnswer(one: Answer, other: Answer): boolean {
  if ('value' in one && 'value' in other) return one.value === other.value;
  return 'refused' in one && 'refused' in other;
}

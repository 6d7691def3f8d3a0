import { badInput } from '../../errors.js';
import type { RowRepair, RowsMode } from '../ports.js';

/** What a request for a restore says of rows. */
export interface RowsRequest {
  /** Which rows of the chosen tables come back: REPLACE, the whole tables, if left out. */
  rows?: RowsMode | undefined;
  /** An SQL condition on the rows of the backup, with exactly one table. */
  where?: string | undefined;
  /** Rows that the restored ones refer to come along where they are missing. */
  withParents?: boolean | undefined;
  /** Also the tables that belong to the chosen ones by foreign keys or by triggers. */
  includeRelated?: boolean | undefined;
}

/** The longest condition, in characters. */
const MAX_WHERE = 10_000;

/**
 * Which rows of the tables come back; null where they are restored as a whole.
 * @param tables the chosen ones, null for all
 * @throws AppError BAD_USER_INPUT for what makes no sense together
 */
export function repairOf(
  { rows: mode = 'REPLACE', where, withParents = false, includeRelated }: RowsRequest,
  tables: string[] | null,
  restoreDatabase: boolean,
): RowRepair | null {
  if (mode === 'REPLACE') {
    if (where !== undefined) throw badInput('where', 'chooses rows to bring back.', ROWS);
    if (withParents) throw badInput('withParents', 'is about rows that are brought back.', ROWS);
    return null;
  }
  if (tables === null || !restoreDatabase) {
    throw badInput('rows', `${mode} needs the tables that rows are brought back into.`, 'Name them in tables.');
  }
  if (includeRelated === true) {
    throw badInput(
      'includeRelated',
      'is for whole tables.',
      'Set withParents: true for the rows that others refer to.',
    );
  }
  if (where === undefined) return { mode, tables, where: null, withParents };
  if (tables.length !== 1) throw badInput('where', 'needs exactly one table.', 'Name one table in tables.');
  if (where.trim() === '') throw badInput('where', 'is empty.', 'Leave it out for all rows.');
  if (where.length > MAX_WHERE) {
    throw badInput('where', `has more than ${MAX_WHERE.toLocaleString('en')} characters.`);
  }
  return { mode, tables, where, withParents };
}

const ROWS = 'Set rows to MISSING or CHANGED, or leave it out.';

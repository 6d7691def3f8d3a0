import type { TableRepair } from '../core/ports.js';
import { AppError } from '../errors.js';

/** The hint for rows that do not fit. */
export const OTHER_ROWS = 'The plan shows them. Choose others with where, or correct the newer rows first.';

/** @returns an error that says why rows cannot come back; nothing was changed */
export const conflict = (text: string, hint: string, cause?: unknown): AppError =>
  new AppError('RESTORE_CONFLICT', text, { field: 'tables', hint, cause });

/** @returns a refusal for each table whose rows do not fit */
export const refusalsOf = (repairs: TableRepair[], hint: string): AppError[] =>
  repairs
    .filter(({ conflicts }) => conflicts.length > 0)
    .map(({ name, conflicts }) => {
      const why = conflicts.map(({ reason, rows }) => `${reason} (${rows} ${rows === 1 ? 'row' : 'rows'})`).join('; ');
      return conflict(`tables: rows of ${name} cannot be brought back: ${why}.`, hint);
    });

/** What to know of a table into which rows come back. @param extra its columns that the backup does not have */
export const aboutTable = (name: string, { hasKey, extra }: { hasKey: boolean; extra: string[] }): string[] => [
  ...(hasKey
    ? []
    : [
        `${name} has no primary key: a row that was changed counts as one that is missing, and comes back beside the newer one.`,
      ]),
  ...(extra.length > 0
    ? [
        `The backup does not have ${extra.join(', ')} of ${name}: rows that are added get the default, others keep what they have.`,
      ]
    : []),
];

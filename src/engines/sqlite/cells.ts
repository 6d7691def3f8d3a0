import type { Cell } from '../../core/ports.js';

/** Characters of a text that are shown, and bytes of a BLOB. */
const TEXT_SHOWN = 500;
const BLOB_SHOWN = 32;

/**
 * The SQL that gives a value as one text with its type in front: SQLite's integers are larger than JavaScript's, and neither
 * a long text nor a BLOB is to leave SQLite whole.
 * @param expression is evaluated several times
 */
export const cellSql = (expression: string): string =>
  `CASE typeof(${expression}) WHEN 'null' THEN NULL WHEN 'integer' THEN 'i' || ${expression}
   WHEN 'real' THEN 'r' || printf('%!.17g', ${expression})
   WHEN 'blob' THEN 'b' || length(${expression}) || ':' || hex(substr(${expression}, 1, ${BLOB_SHOWN}))
   ELSE 't' || (length(${expression}) > ${TEXT_SHOWN}) || substr(${expression}, 1, ${TEXT_SHOWN}) END`;

/** True for a value of which `cellSql` gave the beginning only. */
export const isCut = (text: string | null): boolean => {
  if (text === null) return false;
  return text.startsWith('b') ? Number(text.slice(1).split(':')[0]) > BLOB_SHOWN : text.startsWith('t1');
};

/** The value that `cellSql` gave. */
export function cellOf(text: string | null): Cell {
  if (text === null) return null;
  const rest = text.slice(1);
  switch (text[0]) {
    case 'i':
    case 'r': {
      const number = Number(rest);
      const isExact = text[0] === 'i' ? Number.isSafeInteger(number) : Number.isFinite(number);
      return isExact ? number : rest;
    }
    case 'b': {
      const [bytes, hex = ''] = rest.split(':');
      return `x'${hex}'${Number(bytes) > BLOB_SHOWN ? `… (${bytes} bytes)` : ''}`;
    }
    default:
      return rest.startsWith('1') ? `${rest.slice(1)}…` : rest.slice(1);
  }
}

import type { Cell } from '../../core/ports.js';

/** Characters of a text that are shown, and bytes of a `bytea`. */
const TEXT_SHOWN = 500;
const BYTES_SHOWN = 32;

/** Types by their oids, which no server changes. */
const BYTEA = 17;
/** The lowest oid of what a database has made itself. */
const OWN = 16384;
/** `bigint`, `smallint`, `integer`, `oid`, `numeric`. */
const DECIMAL: ReadonlySet<number> = new Set([20, 21, 23, 26, 1700]);
/** `real`, `double precision`. */
const BINARY: ReadonlySet<number> = new Set([700, 701]);
/** Digits that every JavaScript number keeps. */
const KEPT_DIGITS = 15;

/** True for a type that no server brings along: a role other than the superuser may own it, with its casts. */
export const isOwnType = (type: number): boolean => type >= OWN;

/**
 * The SQL that gives all of a value as a text. That of an own type is written by its output function, which only a superuser
 * can make: a cast to text may be a function of the role that owns the type, and would run with our rights.
 * @param expression is evaluated up to twice
 * @param type the oid of its type, or of the one that its domain is made of
 */
export const textSql = (expression: string, type: number): string =>
  isOwnType(type)
    ? `CASE WHEN ${expression} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', ${expression}) END`
    : `${expression}::pg_catalog.text`;

/**
 * The SQL that gives a value as a text: a long one does not leave the server whole.
 * @param expression is evaluated up to three times
 * @param type the oid of its type, or of the one that its domain is made of
 */
export const cellSql = (expression: string, type: number): string =>
  type === BYTEA
    ? `CASE WHEN ${expression} IS NOT NULL THEN pg_catalog.concat(pg_catalog.octet_length(${expression}), ':',
        pg_catalog.encode(pg_catalog.substring(${expression}, 1, ${BYTES_SHOWN}), 'hex')) END`
    : `pg_catalog.left(${textSql(expression, type)}, ${TEXT_SHOWN + 1})`;

/** True for a value of which `cellSql` gave the beginning only. */
export function isCut(text: string | null, type: number): boolean {
  if (text === null) return false;
  return type === BYTEA ? Number(text.split(':')[0]) > BYTES_SHOWN : isLong(text);
}

/** The value that `cellSql` gave. */
export function cellOf(text: string | null, type: number): Cell {
  if (text === null) return null;
  if (type === BYTEA) {
    const [bytes, hex = ''] = text.split(':');
    return `x'${hex}'${Number(bytes) > BYTES_SHOWN ? `… (${bytes} bytes)` : ''}`;
  }
  if (isLong(text)) return `${[...text].slice(0, TEXT_SHOWN).join('')}…`;
  const isNumber = (BINARY.has(type) && Number.isFinite(Number(text))) || (DECIMAL.has(type) && isExact(text));
  return isNumber ? Number(text) : text;
}

const isLong = (text: string) => text.length > TEXT_SHOWN && [...text].length > TEXT_SHOWN;

/** True for a decimal number that JavaScript has, too. */
function isExact(text: string): boolean {
  if (/^-?\d+$/.test(text)) return Number.isSafeInteger(Number(text));
  return /^-?\d+\.\d+$/.test(text) && text.replace(/^-?0*\.?0*|\./g, '').length <= KEPT_DIGITS;
}

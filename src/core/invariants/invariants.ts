import { AppError, badInput } from '../../errors.js';
import type { Expectation, Invariant, InvariantResult } from '../../models/index.js';
import type { Cell, Engine, QueryRows, RowReader } from '../ports.js';

/** Bounds of what a config may ask. */
const MOST = 50;
const LONGEST_NAME = 100;
const LONGEST_SQL = 10_000;
const LONGEST_VALUE = 200;
/** How long one query may take, in milliseconds. */
const QUERY_TIME = 30_000;

const EXPECTATIONS: readonly Expectation[] = ['EQUALS', 'AT_LEAST', 'AT_MOST', 'NOT_LESS_THAN_BEFORE', 'EMPTY'];
/** What needs a value to compare with. */
const WITH_VALUE: readonly Expectation[] = ['EQUALS', 'AT_LEAST', 'AT_MOST'];

/**
 * The invariants of a config as they are saved. Asks no database.
 * @throws AppError BAD_USER_INPUT naming `invariants`
 */
export function checkInvariants(engine: Engine, given: readonly Invariant[]): Invariant[] {
  const wrong = (text: string, hint?: string) => badInput('invariants', text, hint);
  if (given.length === 0) return [];
  if (engine.rows === null) {
    throw wrong(`cannot be checked in a ${engine.kind} database yet.`, 'Set it to [].');
  }
  if (given.length > MOST) throw wrong(`has more than ${MOST} entries.`);
  const names = new Set<string>();
  return given.map((one) => {
    const name = one.name.trim();
    if (name === '' || name.length > LONGEST_NAME) throw wrong(`has a name without 1 to ${LONGEST_NAME} characters.`);
    if (names.has(name)) throw wrong(`has two entries with the name "${name}".`, 'Give each a name of its own.');
    names.add(name);
    const sql = one.sql.trim();
    if (sql === '' || sql.length > LONGEST_SQL) throw wrong(`"${name}": sql needs 1 to ${LONGEST_SQL} characters.`);
    if (!EXPECTATIONS.includes(one.expect)) throw wrong(`"${name}": expect is none of ${EXPECTATIONS.join(', ')}.`);
    return { name, sql, expect: one.expect, value: checkedValue(one, name) };
  });
}

function checkedValue({ expect, value }: Invariant, name: string): string | null {
  const text = value?.trim() ?? '';
  if (!WITH_VALUE.includes(expect)) {
    if (text === '') return null;
    throw badInput('invariants', `"${name}": ${expect} takes no value.`, 'Leave value out.');
  }
  if (text === '' || text.length > LONGEST_VALUE) {
    throw badInput('invariants', `"${name}": ${expect} needs a value of 1 to ${LONGEST_VALUE} characters.`);
  }
  if (expect === 'EQUALS' || isNumber(text)) return text;
  throw badInput('invariants', `"${name}": value "${text}" is not a number, which ${expect} needs.`);
}

/**
 * Asks the invariants of a database, one after the other.
 * @param place as for `RowReader.query`
 * @param before the answers that NOT_LESS_THAN_BEFORE compares with, by name
 * @returns what each came to, in their order; one that could not be asked does not hold
 * @throws the signal's reason; AppError DATABASE_NOT_FOUND, DATABASE_IN_USE: then nothing is known of any
 */
export async function askInvariants(
  rows: Pick<RowReader, 'query'>,
  place: string,
  invariants: readonly Invariant[],
  { before, signal }: { before: ReadonlyMap<string, string | null>; signal: AbortSignal },
): Promise<InvariantResult[]> {
  const results: InvariantResult[] = [];
  for (const { name, sql, expect, value } of invariants) {
    const invariant = { name, sql, expect, value };
    const answer = await ask(rows, place, invariant, signal);
    results.push(judgeInvariant(invariant, answer, before.get(name) ?? null));
  }
  return results;
}

/** What a query gave, or why it gave nothing. */
type Answer = Pick<QueryRows, 'columns' | 'rows'> | AppError;

async function ask(
  rows: Pick<RowReader, 'query'>,
  place: string,
  invariant: Invariant,
  signal: AbortSignal,
): Promise<Answer> {
  signal.throwIfAborted();
  const late = AbortSignal.timeout(QUERY_TIME);
  try {
    return await rows.query(place, invariant.sql, { limit: 2, signal: AbortSignal.any([signal, late]) });
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) return badInput('sql', `took longer than ${QUERY_TIME / 1_000} seconds.`);
    // A database that cannot be asked now breaks no invariant.
    if (!(error instanceof AppError) || /^DATABASE_(NOT_FOUND|IN_USE)$/.test(error.code)) throw error;
    return error;
  }
}

/** Compares an answer with what is expected. Pure. @param before the answer in the backup before; null if there is none */
export function judgeInvariant(invariant: Invariant, answer: Answer, before: string | null): InvariantResult {
  const { name, expect, value } = invariant;
  const known = expect === 'NOT_LESS_THAN_BEFORE' ? before : null;
  const found = (actual: string | null, holds: boolean, words: string): InvariantResult => ({
    ...invariant,
    actual,
    before: known,
    holds,
    message: `"${name}" ${words}`,
  });
  if (answer instanceof AppError) {
    return found(null, false, `could not be checked: ${answer.message.replace(/^sql: /, '')}`);
  }
  if (expect === 'EMPTY') {
    const [first] = answer.rows;
    const row = first?.map((cell) => textOf(cell) ?? 'NULL').join(', ') ?? '';
    return first === undefined
      ? found(null, true, 'gave no row, as it must.')
      : found(null, false, `must give no row, and gave: ${row.slice(0, LONGEST_VALUE)}.`);
  }
  if (answer.columns.length !== 1 || answer.rows.length !== 1) return found(null, false, MANY);
  const actual = textOf(answer.rows[0]?.[0] ?? null);
  const shown = actual ?? 'NULL';
  if (expect === 'EQUALS') {
    const same = actual !== null && (actual === value || compare(actual, value ?? '') === 0);
    return found(actual, same, same ? `is ${shown}, as it must be.` : `is ${shown}, and must be ${value}.`);
  }
  if (actual === null || !isNumber(actual)) return found(actual, false, `is ${shown}, and must be a number.`);
  if (expect === 'NOT_LESS_THAN_BEFORE') {
    if (known === null || !isNumber(known)) return found(actual, true, `is ${shown}; there is none to compare with.`);
    const holds = (compare(actual, known) ?? -1) >= 0;
    return found(actual, holds, `is ${shown}, and was ${known} before${holds ? '.' : ': it must not become less.'}`);
  }
  const order = compare(actual, value ?? '');
  const holds = order !== null && (expect === 'AT_LEAST' ? order >= 0 : order <= 0);
  return found(actual, holds, `is ${shown}, and must be ${expect === 'AT_LEAST' ? 'at least' : 'at most'} ${value}.`);
}

const MANY = 'could not be checked: it must give one row with one column.';

/** True where a query was refused or did not fit its expectation: it will never be answered. */
export const isUnanswered = ({ message, name }: InvariantResult) =>
  message.startsWith(`"${name}" could not be checked`);

const textOf = (cell: Cell): string | null => (cell === null ? null : String(cell));

const isNumber = (text: string) => /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text);

/** Less than 0, 0 or more, as numbers; integers of any size exactly. Null where one is no number. */
function compare(one: string, other: string): number | null {
  if (!isNumber(one) || !isNumber(other)) return null;
  const isWhole = (text: string) => /^-?\d+$/.test(text);
  if (!isWhole(one) || !isWhole(other)) return Number(one) - Number(other);
  const [a, b] = [BigInt(one), BigInt(other)];
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The answers that later ones are compared with, by the invariant's name. One whose query was changed has none. */
export function answersOf(results: readonly InvariantResult[], now: readonly Invariant[]): Map<string, string | null> {
  const queries = new Map(now.map(({ name, sql }) => [name, sql]));
  const same = results.filter(({ name, sql }) => queries.get(name) === sql);
  return new Map(same.map(({ name, actual }) => [name, actual]));
}

/** What to say of a state that breaks invariants. */
export const invariantWarnings = (results: readonly InvariantResult[]): string[] =>
  results.filter(({ holds }) => !holds).map(({ message }) => `Invariant ${message}`);

/** What the answer to an invariant's query must be. */
export type Expectation = 'EQUALS' | 'AT_LEAST' | 'AT_MOST' | 'NOT_LESS_THAN_BEFORE' | 'EMPTY';

/** A read-only query of a config's database with the answer that it must have. */
export interface Invariant {
  name: string;
  /** One SELECT. */
  sql: string;
  expect: Expectation;
  /** What the answer is compared with; null for those that are compared with nothing, or with the backup before. */
  value: string | null;
}

/** What an invariant came to in one state of the database. */
export interface InvariantResult extends Invariant {
  /** The answer; null if it was NULL, if there was none, or if it could not be asked. */
  actual: string | null;
  /** The answer in the newest good backup before; null where that is not asked for, or not known. */
  before: string | null;
  holds: boolean;
  /** What was found, in words. */
  message: string;
}

import { randomInt } from 'node:crypto';
import { BLOB, INTEGER, NULL, PageReader, REAL, StoredRecord, TEXT, UnexpectedForm } from './pages.js';

/** One column of an index. */
export interface IndexColumn {
  /** The position of the table's column in its records; -1 for the rowid. */
  column: number;
  descending: boolean;
  collation: 'BINARY' | 'NOCASE' | 'RTRIM';
}

/** An index whose entries are exactly one for each row: no condition, no expression. */
export interface IndexShape {
  root: number;
  /** The key and, last, the rowid. */
  columns: IndexColumn[];
  /** How many columns must differ between two entries unless one of them is NULL; 0 if the index is not unique. */
  unique: number;
}

/** A table with rowids, and its indexes. */
export interface TableShape {
  name: string;
  root: number;
  /** By column: true if a record that ends before it stands for NULL there, not for another default. */
  absentIsNull: boolean[];
  indexes: IndexShape[];
}

/**
 * Compares indexes with their tables in one pass over each, in the order in which the pages lie in the trees. SQLite's own
 * check looks up every row in every index instead, which takes many times longer. Rows and entries are added up to two
 * sums of 32 bits each with seeds of this run, so that only equal sets have equal sums; the order of the entries and their
 * uniqueness are compared as well.
 * @param path a private file that has passed `quick_check`
 * @returns the names of those tables for which this proves nothing: SQLite has to be asked
 */
export function unprovenTables(path: string, tables: readonly TableShape[]): string[] {
  let reader: PageReader;
  try {
    reader = new PageReader(path);
  } catch (error) {
    return tables.map(({ name }) => nameUnless(error, name));
  }
  try {
    return tables.flatMap((table) => {
      try {
        return indexesAgree(reader, table) ? [] : [table.name];
      } catch (error) {
        return [nameUnless(error, table.name)];
      }
    });
  } finally {
    reader.close();
  }
}

/** A form that is not expected is SQLite's to judge. @throws all other errors */
function nameUnless(error: unknown, name: string): string {
  if (error instanceof UnexpectedForm || error instanceof RangeError) return name;
  throw error;
}

function indexesAgree(reader: PageReader, table: TableShape): boolean {
  const expected = table.indexes.map(() => new Sums());
  const seeds = expected.map(({ seeds: own }) => own);
  const last = Math.max(...table.indexes.flatMap(({ columns }) => columns.map(({ column }) => column)));
  const wanted = Array.from({ length: last + 1 }, (_, index) =>
    table.indexes.some(({ columns }) => columns.some(({ column }) => column === index)),
  );
  const row = new StoredRecord(wanted);
  reader.rows(table.root, row, () => {
    for (let column = row.columns; column <= last; column++) {
      if (!wanted[column]) continue;
      if (table.absentIsNull[column] !== true) throw new UnexpectedForm('a default');
      row.kind[column] = NULL;
    }
    for (let index = 0; index < expected.length; index++) {
      const sums = expected[index] as Sums;
      sums.begin();
      for (const { column } of (table.indexes[index] as IndexShape).columns) {
        if (column === -1) sums.integer(row.rowHigh, row.rowLow);
        else sums.value(row, column);
      }
      sums.end();
    }
  });
  return table.indexes.every((index, at) => {
    const found = new Sums(seeds[at]);
    return isInOrder(reader, index, found) && found.equals(expected[at] as Sums);
  });
}

/** Adds up the entries of an index. @returns false if they are not in its order, or not unique */
function isInOrder(reader: PageReader, { root, columns, unique }: IndexShape, sums: Sums): boolean {
  const wanted = columns.map(() => true);
  let before = new StoredRecord(wanted);
  let entry = new StoredRecord(wanted);
  let isFirst = true;
  let right = true;
  const turn = () => {
    [before, entry] = [entry, before];
    return entry;
  };
  reader.entries(root, turn, () => {
    if (entry.columns !== columns.length) throw new UnexpectedForm('a short entry');
    sums.begin();
    for (let column = 0; column < columns.length; column++) sums.value(entry, column);
    sums.end();
    if (!isFirst && right) right = follows(before, entry, columns, unique);
    isFirst = false;
  });
  return right;
}

function follows(before: StoredRecord, entry: StoredRecord, columns: readonly IndexColumn[], unique: number): boolean {
  let hasNull = false;
  for (let at = 0; at < columns.length; at++) {
    const { descending, collation } = columns[at] as IndexColumn;
    const order = compareValues(before, entry, at, collation);
    if (order !== 0) return order < 0 !== descending;
    hasNull ||= entry.kind[at] === NULL;
    if (at + 1 === unique && !hasNull) return false;
  }
  return false;
}

/** Negative, 0 or positive, as SQLite sorts. */
function compareValues(one: StoredRecord, other: StoredRecord, at: number, collation: string): number {
  const kind = one.kind[at] as number;
  const otherKind = other.kind[at] as number;
  const [isNumber, isOther] = [kind === INTEGER || kind === REAL, otherKind === INTEGER || otherKind === REAL];
  if (isNumber && isOther) return compareNumbers(one, other, at);
  if (kind !== otherKind) return kind - otherKind;
  if (kind === NULL) return 0;
  if (kind === BLOB || collation === 'BINARY') return compareBytes(one, other, at);
  const text = (record: StoredRecord) => record.bytes.subarray(record.start[at], record.end[at]).toString('latin1');
  return collation === 'NOCASE'
    ? compareText(lower(text(one)), lower(text(other)))
    : compareText(text(one).replace(/ +$/, ''), text(other).replace(/ +$/, ''));
}

/** NOCASE folds the letters of ASCII and no others. */
const lower = (text: string) => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
const compareText = (one: string, other: string) => (one < other ? -1 : one > other ? 1 : 0);

function compareNumbers(one: StoredRecord, other: StoredRecord, at: number): number {
  if (one.kind[at] === INTEGER && other.kind[at] === INTEGER) {
    const high = (one.high[at] as number) - (other.high[at] as number);
    return high !== 0 ? high : (one.low[at] as number) - (other.low[at] as number);
  }
  return numberAt(one, at) - numberAt(other, at);
}

/** Infinite reals sort at the ends; an integer that a real cannot hold exactly is not compared with one. */
function numberAt(record: StoredRecord, at: number): number {
  if (record.kind[at] === REAL)
    return Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, record.real[at] as number));
  const value = (record.high[at] as number) * 0x1_0000_0000 + (record.low[at] as number);
  if (!Number.isSafeInteger(value)) throw new UnexpectedForm('an integer of 64 bits beside a real');
  return value;
}

function compareBytes(one: StoredRecord, other: StoredRecord, at: number): number {
  const { bytes } = one;
  const { bytes: others } = other;
  const end = one.end[at] as number;
  const otherEnd = other.end[at] as number;
  let index = one.start[at] as number;
  let against = other.start[at] as number;
  for (; index < end && against < otherEnd; index++, against++) {
    const difference = (bytes[index] as number) - (others[against] as number);
    if (difference !== 0) return difference;
  }
  return end - index - (otherEnd - against);
}

const PRIME = 0x01000193;
const OTHER_PRIME = 0x5bd1e995;

/** Two sums over a set of keys that do not depend on its order. */
class Sums {
  private count = 0;
  private first = 0;
  private second = 0;
  private one = 0;
  private other = 0;

  constructor(readonly seeds: readonly [number, number] = [randomInt(2 ** 32), randomInt(2 ** 32)]) {}

  begin(): void {
    this.one = this.seeds[0] | 0;
    this.other = this.seeds[1] | 0;
  }

  value(record: StoredRecord, column: number): void {
    const kind = record.kind[column] as number;
    if (kind === INTEGER) return this.integer(record.high[column] as number, record.low[column] as number);
    this.byte(kind);
    if (kind === TEXT || kind === BLOB) {
      const { bytes } = record;
      const end = record.end[column] as number;
      let { one, other } = this;
      let at = record.start[column] as number;
      for (; at + 3 < end; at += 4) {
        const word =
          (bytes[at] as number) |
          ((bytes[at + 1] as number) << 8) |
          ((bytes[at + 2] as number) << 16) |
          ((bytes[at + 3] as number) << 24);
        one = Math.imul(one ^ mixed(word), PRIME);
        other = Math.imul(other ^ word, OTHER_PRIME) ^ (other >>> 15);
      }
      for (; at < end; at++) {
        const byte = bytes[at] as number;
        one = Math.imul(one ^ byte, PRIME);
        other = Math.imul(other ^ byte, OTHER_PRIME) ^ (other >>> 15);
      }
      this.one = one;
      this.other = other;
      this.word(end - (record.start[column] as number));
    } else if (kind === REAL) {
      REAL_VIEW.setFloat64(0, record.real[column] as number);
      this.word(REAL_VIEW.getInt32(0));
      this.word(REAL_VIEW.getInt32(4));
    }
  }

  integer(high: number, low: number): void {
    this.byte(INTEGER);
    this.word(high);
    this.word(low);
  }

  end(): void {
    this.count += 1;
    this.first = (this.first + mixed(this.one ^ Math.imul(this.other, PRIME))) | 0;
    this.second = (this.second + mixed(this.other)) | 0;
  }

  equals(sums: Sums): boolean {
    return this.count === sums.count && this.first === sums.first && this.second === sums.second;
  }

  private byte(value: number): void {
    this.one = Math.imul(this.one ^ value, PRIME);
    this.other = Math.imul(this.other ^ value, OTHER_PRIME) ^ (this.other >>> 15);
  }

  private word(value: number): void {
    this.one = Math.imul(this.one ^ mixed(value | 0), PRIME);
    this.other = Math.imul(this.other ^ (value | 0), OTHER_PRIME) ^ (this.other >>> 15);
  }
}

const REAL_VIEW = new DataView(new ArrayBuffer(8));

/** The finalizer of MurmurHash3: every bit of the result depends on every bit of the value. */
function mixed(value: number): number {
  let mix = value ^ (value >>> 16);
  mix = Math.imul(mix, 0x85ebca6b);
  mix ^= mix >>> 13;
  mix = Math.imul(mix, 0xc2b2ae35);
  return mix ^ (mix >>> 16);
}

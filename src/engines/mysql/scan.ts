import { createHash } from 'node:crypto';
import { AppError } from '../../errors.js';
import { readIdentifier, STAMP_TABLE } from './names.js';

/** The archive's entry: what `mysqldump` writes. */
export const ENTRY = 'database.sql';

/**
 * What a piece of a dump is for: `table` and `rows` make and fill tables, `object` makes views, triggers and routines, `event`
 * makes an event, `setting` is of the session and belongs to all of them.
 */
export type PieceKind = 'table' | 'rows' | 'object' | 'event' | 'setting';

/** A table in a dump. */
export interface DumpTable {
  name: string;
  /** As many as its INSERT statements hold. */
  rows: number;
  /** A short hash of its definition. */
  schema: string;
  references: string[];
}

/** A statement that is longer is refused, in bytes; statements that insert rows are not held. */
const LONGEST = 64 << 20;
/** Bytes in which the name of a table that rows are inserted into must end. */
const LONGEST_HEAD = 1_024;
/** Characters of a refused statement that are quoted. */
const QUOTED = 60;

/** 1 for each byte that changes nothing, wherever it stands. */
const PLAIN = new Uint8Array(256).fill(1);
for (const sign of '\'"`\\();V') PLAIN[sign.charCodeAt(0)] = 0;

const INSERT = Buffer.from('INSERT INTO `');
/** The table that rows are inserted into, with what must stand behind it. */
const INSERTED = /^`(?:[^`]|``)+`\s+(?:VALUES|\()/;
const [NEWLINE, SEMICOLON, BACKSLASH, OPEN, CLOSE, CAPITAL_V] = [0x0a, 0x3b, 0x5c, 0x28, 0x29, 0x56];
const [SINGLE, DOUBLE, BACKQUOTE] = [0x27, 0x22, 0x60];

/**
 * Reads a dump of mysqldump or mariadb-dump in one pass, in chunks of any size: counts its rows, and refuses statements that
 * those programs never write. Nothing of it is run. The rows of a table are not held in memory.
 */
export class DumpScanner {
  readonly #tables = new Map<string, DumpTable>();
  readonly #emit: (kind: PieceKind, bytes: Buffer) => void;
  /** Not looked at yet. */
  #rest: Buffer = Buffer.alloc(0);
  /** What stands before `#rest` of the statement that is being read. */
  #parts: Buffer[] = [];
  #held = 0;
  #inStatement = false;
  /** The table that rows are being inserted into. */
  #inserting: DumpTable | 'unlisted' | null = null;
  #delimiter: ';' | ';;' = ';';
  #quote = 0;
  #isEscaped = false;
  #depth = 0;
  #groups = 0;
  #isComplete = false;

  /** @param emit called with each piece of the dump but its comments, in order */
  constructor(emit: (kind: PieceKind, bytes: Buffer) => void = () => undefined) {
    this.#emit = emit;
  }

  /** Takes the next bytes. @throws AppError DATABASE_WRONG_KIND */
  push(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#read(false);
  }

  /** Ends the dump. @returns its tables, by name @throws AppError DATABASE_CORRUPT if it does not end as a whole one does */
  end(): DumpTable[] {
    this.#read(true);
    if (this.#inStatement || this.#rest.length > 0 || !this.#isComplete) {
      throw new AppError('DATABASE_CORRUPT', `${ENTRY} does not end as a whole dump does: its end is missing.`, {
        hint: 'Do not rely on this backup.',
      });
    }
    const names = [...this.#tables.keys()].sort();
    return names.map((name) => this.#tables.get(name)).filter((table) => table !== undefined);
  }

  #read(isLast: boolean): void {
    while (this.#rest.length > 0) {
      const before = this.#rest;
      if (!this.#inStatement) this.#between(isLast);
      else if (this.#delimiter === ';;') this.#body();
      else this.#lex();
      if (this.#rest === before) return;
    }
  }

  /** Takes bytes that are no part of a statement, up to the beginning of one. */
  #between(isLast: boolean): void {
    const rest = this.#rest;
    let at = 0;
    while (at < rest.length && isSpace(rest[at])) at++;
    if (at > 0) return void (this.#rest = rest.subarray(at));
    const head = rest.subarray(0, 16).toString('latin1');
    if (head.length < 16 && !isLast && !rest.includes(NEWLINE)) return;
    if (/^(--\s|DELIMITER |\/\*M!999999\\- )/.test(head)) {
      const end = rest.indexOf(NEWLINE);
      if (end === -1 && !isLast) return this.#assertShort(rest.length);
      const line = rest.subarray(0, end === -1 ? rest.length : end + 1);
      this.#rest = rest.subarray(line.length);
      if (head.startsWith('DELIMITER')) this.#setDelimiter(line);
      if (/^-- Dump completed/.test(line.toString('latin1'))) this.#isComplete = true;
      return;
    }
    if (/^\/\*(?!M?!)/.test(head)) throw refused(rest);
    this.#isComplete = false;
    if (this.#delimiter === ';' && head.startsWith('INSERT INTO `')) {
      const start = rest.subarray(INSERT.length - 1, LONGEST_HEAD).toString();
      const isWhole = INSERTED.test(start);
      if (!isWhole && rest.length < LONGEST_HEAD && !isLast) return;
      const name = isWhole ? readIdentifier(start) : null;
      const table = name === STAMP_TABLE ? ('unlisted' as const) : this.#tables.get(name ?? '');
      if (table === undefined) throw refused(rest);
      this.#inserting = table;
    }
    [this.#inStatement, this.#quote, this.#isEscaped, this.#depth, this.#groups] = [true, 0, false, 0, 0];
    // The same bytes, and no longer the same object: the reader goes on.
    this.#rest = rest.subarray(0);
  }

  #setDelimiter(line: Buffer): void {
    const delimiter = line.toString('latin1').slice('DELIMITER '.length).trim();
    if (delimiter !== ';' && delimiter !== ';;') throw refused(line);
    this.#delimiter = delimiter;
    this.#emit('setting', line);
  }

  /** Between other delimiters a statement ends with the line that ends so: its inside is not looked at. */
  #body(): void {
    const rest = this.#rest;
    for (let start = 0, end = rest.indexOf(NEWLINE); end !== -1; start = end + 1, end = rest.indexOf(NEWLINE, start)) {
      const line = rest.subarray(Math.max(start, end - 2), end).toString('latin1');
      if (line === ';;') return this.#finish(end + 1);
    }
    this.#assertShort(this.#held + rest.length);
  }

  /** Reads on to the end of the statement, past quotes, and counts what stands in parentheses behind VALUES. */
  #lex(): void {
    const rest = this.#rest;
    let [quote, isEscaped, depth, groups] = [this.#quote, this.#isEscaped, this.#depth, this.#groups];
    for (let at = 0; at < rest.length; at++) {
      const byte = rest[at] as number;
      if (PLAIN[byte] === 1 && !isEscaped) continue;
      if (isEscaped) isEscaped = false;
      else if (quote !== 0) {
        if (byte === quote) quote = 0;
        else if (byte === BACKSLASH && quote !== BACKQUOTE) isEscaped = true;
      } else if (byte === SINGLE || byte === DOUBLE || byte === BACKQUOTE) quote = byte;
      else if (byte === OPEN) groups += depth++ === 0 ? 1 : 0;
      else if (byte === CLOSE) depth--;
      // Columns may stand in parentheses before it.
      else if (byte === CAPITAL_V && depth === 0) groups = 0;
      else if (byte === SEMICOLON) {
        this.#groups = groups;
        return this.#finish(at + 1);
      }
    }
    [this.#quote, this.#isEscaped, this.#depth, this.#groups] = [quote, isEscaped, depth, groups];
    if (this.#inserting !== null) {
      if (this.#inserting !== 'unlisted') this.#emit('rows', rest);
    } else {
      this.#assertShort(this.#held + rest.length);
      this.#parts.push(rest);
      this.#held += rest.length;
    }
    this.#rest = Buffer.alloc(0);
  }

  /** Ends a statement, of which so many bytes of `#rest` are the last. */
  #finish(length: number): void {
    const last = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    this.#inStatement = false;
    const inserting = this.#inserting;
    this.#inserting = null;
    if (inserting !== null) {
      if (inserting === 'unlisted') return;
      inserting.rows += this.#groups;
      return this.#emit('rows', Buffer.concat([last, Buffer.from('\n')]));
    }
    const bytes = this.#parts.length === 0 ? last : Buffer.concat([...this.#parts, last]);
    [this.#parts, this.#held] = [[], 0];
    this.#take(bytes);
  }

  #take(bytes: Buffer): void {
    const plain = plainText(bytes.toString('latin1'));
    if (/^(;+|)$/.test(plain)) return;
    const kind = kindOf(plain);
    if (kind === null) throw refused(bytes);
    const made = kind === 'table' ? /^CREATE TABLE (.*)/is.exec(plainText(bytes.toString()))?.[1] : undefined;
    const about = /^(?:CREATE|DROP|ALTER) TABLE (?:IF EXISTS )?(.*)/is.exec(plainText(bytes.toString()))?.[1];
    if (about !== undefined && readIdentifier(about) === STAMP_TABLE) return;
    if (made !== undefined) this.#list(readIdentifier(made), bytes);
    const written = kind === 'object' || kind === 'event' ? withoutDatabase(bytes) : bytes;
    this.#emit(kind, this.#delimiter === ';' ? Buffer.concat([written, Buffer.from('\n')]) : written);
  }

  #list(name: string | null, bytes: Buffer): void {
    if (name === null || this.#tables.has(name)) throw refused(bytes);
    this.#tables.set(name, { name, rows: 0, ...definitionOf(bytes.toString().replace(/;\s*$/, '')) });
  }

  #assertShort(length: number): void {
    if (length > LONGEST) throw refused(this.#parts[0] ?? this.#rest);
  }
}

const isSpace = (byte: number | undefined) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** The statement without the marks that make it a comment for other versions and servers. */
const plainText = (text: string) =>
  text
    .replace(/\/\*M?!\d*|\*\//g, ' ')
    .replace(/\s+/g, ' ')
    .trim();

const NAME = '(?:`(?:[^`]|``)+`|[\\w$\\x80-\\xff]+)';
const DEFINER = '(?:OR REPLACE )?(?:DEFINER ?= ?(?:`(?:[^`]|``)*`@`(?:[^`]|``)*`|\\S+) )?';
const SETTING =
  /^SET (?:SESSION )?(@\w+ ?=|NAMES |TIME_ZONE|SQL_MODE|CHARACTER_SET_|COLLATION_CONNECTION|SQL_NOTES|UNIQUE_CHECKS|FOREIGN_KEY_CHECKS|AUTOCOMMIT)/i;

/** The statements that the programs write, each with what it is for. */
const FORMS: [PieceKind, RegExp][] = [
  ['table', /^(?:DROP TABLE IF EXISTS|CREATE TABLE) `(?:[^`]|``)+` ?[^.\s]/i],
  ['table', /^ALTER TABLE `(?:[^`]|``)+` (?:DISABLE|ENABLE) KEYS ?;/i],
  ['table', /^(?:LOCK TABLES `(?:[^`]|``)+` WRITE|UNLOCK TABLES|COMMIT) ?;/i],
  ['table', /^(?:DROP SEQUENCE IF EXISTS|CREATE SEQUENCE|DO SETVAL\() ?`(?:[^`]|``)+` ?[^.\s]/i],
  ['object', /^ALTER DATABASE `(?:[^`]|``)+` CHARACTER SET \w+ COLLATE \w+ ?;/i],
  ['object', new RegExp(`^DROP (?:VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT|PACKAGE(?: BODY)?) IF EXISTS ${NAME} ?;`, 'i')],
  ['object', /^CREATE (?:OR REPLACE )?(?:ALGORITHM ?= ?\w+ )?(?:DEFINER ?= ?.{1,400}? )?(?:SQL SECURITY \w+ )?VIEW /i],
  ['object', new RegExp(`^CREATE ${DEFINER}(?:AGGREGATE )?(?:TRIGGER|PROCEDURE|FUNCTION|PACKAGE(?: BODY)?) `, 'i')],
  ['event', new RegExp(`^CREATE ${DEFINER}EVENT `, 'i')],
];

function kindOf(plain: string): PieceKind | null {
  if (/^SET /i.test(plain)) return SETTING.test(plain) && !/GLOBAL|PERSIST|PASSWORD/i.test(plain) ? 'setting' : null;
  return FORMS.find(([, form]) => form.test(plain))?.[0] ?? null;
}

const TRIGGER_NAME = new RegExp(`(\\bTRIGGER\\s+(?:IF\\s+NOT\\s+EXISTS\\s+)?)${NAME}\\s*\\.\\s*(?=${NAME}\\s)`, 'i');
const TRIGGER_TABLE = new RegExp(
  `((?:BEFORE|AFTER)\\s+(?:INSERT|UPDATE|DELETE)\\s+ON\\s+)${NAME}\\s*\\.\\s*(?=${NAME}\\s)`,
  'i',
);

/** The statement for the database that it is run in: the programs name the one that was dumped in these. */
function withoutDatabase(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  const changed = /^ALTER DATABASE/i.test(text)
    ? text.replace(/^ALTER DATABASE `(?:[^`]|``)+`/i, 'ALTER DATABASE')
    : text.replace(TRIGGER_NAME, '$1').replace(TRIGGER_TABLE, '$1');
  return changed === text ? bytes : Buffer.from(changed, 'latin1');
}

/** What a table's definition says, in a dump as on the server. */
export function definitionOf(create: string): Pick<DumpTable, 'schema' | 'references'> {
  const same = create.replace(/ AUTO_INCREMENT=\d+/, '');
  const references = [...same.matchAll(/ REFERENCES (`(?:[^`]|``)+`)/g)].map(([, name = '']) => readIdentifier(name));
  return {
    schema: createHash('sha256').update(same).digest('hex').slice(0, 16),
    references: [...new Set(references.filter((name) => name !== null))].sort(),
  };
}

function refused(bytes: Buffer): AppError {
  const said = plainText(bytes.subarray(0, 4 * QUOTED).toString()).slice(0, QUOTED);
  return new AppError('DATABASE_WRONG_KIND', `${ENTRY} holds what mysqldump does not write: ${JSON.stringify(said)}.`, {
    hint: 'Make it with `mysqldump` or `mariadb-dump`, of one database without `--databases`.',
  });
}

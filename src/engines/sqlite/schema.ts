import { AppError } from '../../errors.js';
import type { SqliteConnection } from './connection.js';

/** One row of `sqlite_schema`: an object and the statement that made it. */
export interface SchemaItem {
  type: string;
  name: string;
  tbl_name: string;
  /** Null for the indexes that SQLite makes by itself. */
  sql: string | null;
}

/** A word of SQL: a name with its quotes taken away, or a bare keyword, number or sign. */
export interface Token {
  text: string;
  quoted: boolean;
}

const KINDS = ['table', 'index', 'view', 'trigger'];
const QUOTES: Record<string, string> = { "'": "'", '"': '"', '`': '`', '[': ']' };
const WORD = /[\p{L}\p{N}_$\u0080-\uffff]+/uy;
const BLANK = /(?:[ \t\n\f\r]+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?(?:\*\/|$))+/y;

/**
 * Refuses a schema whose texts are not exactly the one definition that their row stands for. SQLite parses only the first
 * statement of each when it opens a file, so a second one lies there unseen until something runs the text.
 * @param what names the database in the error
 * @throws AppError ARCHIVE_HOSTILE naming the object
 */
export async function assertPlainSchema(connection: SqliteConnection, what: string): Promise<void> {
  const problem = await schemaProblem(connection);
  if (problem !== null) throw new AppError('ARCHIVE_HOSTILE', `${what} is not safe to restore: ${problem}`);
}

/** What is wrong with the schema of the connection's database, as a sentence; null if nothing is. */
export async function schemaProblem(connection: SqliteConnection): Promise<string | null> {
  const items = await connection.all<SchemaItem & { kind: string }>(
    'SELECT type, name, tbl_name, CAST(sql AS TEXT) AS sql, typeof(sql) AS kind FROM sqlite_schema',
  );
  for (const item of items) {
    const problem = item.kind === 'blob' ? 'is not text' : definitionProblem(item);
    if (problem !== null) return `the definition of the ${item.type} ${JSON.stringify(item.name)} ${problem}.`;
  }
  return null;
}

/**
 * Why a text must not be run as the definition of its row, as the end of a sentence; null if it is one `CREATE` of this
 * kind, name and table, and nothing else.
 */
export function definitionProblem({ type, name, tbl_name: table, sql }: SchemaItem): string | null {
  if (!KINDS.includes(type)) return 'is of an unknown kind';
  if (sql === null) return type === 'index' ? null : 'is missing';
  if (sql.includes('\0')) return 'holds a NUL character';
  const tokens = tokenize(sql);
  const after = endOfStatement(tokens, type === 'trigger');
  if (tokens.slice(after).some(({ text, quoted }) => quoted || text !== ';')) {
    return 'is followed by another statement';
  }
  const head = headOf(tokens);
  if (head === null || head.type !== type) return `is not a CREATE ${type.toUpperCase()} statement`;
  if (!sameName(tokens[head.name]?.text, name)) return 'is of an object with another name';
  const next = tokens[head.name + 1];
  if (type === 'table' && !head.virtual && !isSign(next, '(')) return 'does not list its columns';
  if ((type === 'index' || type === 'trigger') && !sameName(tableNamed(tokens), table)) return 'is of another table';
  return null;
}

/** SQLite's names are equal whatever the case of their ASCII letters. */
export function sameName(one: string | undefined, other: string): boolean {
  return one !== undefined && folded(one) === folded(other);
}

/** A name as SQLite compares it: only ASCII letters have no case. */
export const folded = (name: string) => name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** The words of a statement, without comments. */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < sql.length;) {
    const blank = matchAt(BLANK, sql, at);
    if (blank !== '') {
      at += blank.length;
      continue;
    }
    const first = sql[at] ?? '';
    const close = QUOTES[first];
    if (close !== undefined) {
      const end = endOfQuote(sql, at, close);
      const inner = sql.slice(at + 1, end - 1);
      tokens.push({ text: close === ']' ? inner : inner.replaceAll(close + close, close), quoted: true });
      at = end;
      continue;
    }
    const text = matchAt(WORD, sql, at) || first;
    tokens.push({ text, quoted: false });
    at += text.length;
  }
  return tokens;
}

function matchAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? '';
}

/** The position behind the closing quote; a doubled one is part of the text, except within brackets. */
function endOfQuote(sql: string, start: number, close: string): number {
  for (let at = start + 1; at < sql.length; at++) {
    if (sql[at] !== close) continue;
    if (close !== ']' && sql[at + 1] === close) at += 1;
    else return at + 1;
  }
  return sql.length;
}

/** How many tokens the first statement has. A trigger's own statements end with `; END`. */
function endOfStatement(tokens: Token[], trigger: boolean): number {
  let body = false;
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at];
    if (trigger && !body && isWord(token, 'BEGIN')) body = true;
    else if (body && isWord(token, 'END') && isSign(tokens[at - 1], ';')) return at + 1;
    else if (!body && isSign(token, ';')) return at;
  }
  return tokens.length;
}

/** What the statement makes, and which token is its name. */
function headOf(tokens: Token[]): { type: string; name: number; virtual: boolean } | null {
  if (!isWord(tokens[0], 'CREATE')) return null;
  const virtual = isWord(tokens[1], 'VIRTUAL');
  const at = virtual || isWord(tokens[1], 'UNIQUE') ? 2 : 1;
  const kind = tokens[at];
  const type = kind?.quoted === false ? kind.text.toLowerCase() : '';
  if (isWord(tokens[1], 'UNIQUE') && type !== 'index') return null;
  if (virtual && type !== 'table') return null;
  return KINDS.includes(type) ? { type, name: at + 1, virtual } : null;
}

/** The name behind the first `ON`, without that of its database. */
function tableNamed(tokens: Token[]): string | undefined {
  const on = tokens.findIndex((token) => isWord(token, 'ON'));
  if (on < 0) return undefined;
  return isSign(tokens[on + 2], '.') ? tokens[on + 3]?.text : tokens[on + 1]?.text;
}

/** True for this keyword. */
export const isWord = (token: Token | undefined, word: string) =>
  token !== undefined && !token.quoted && token.text.toUpperCase() === word;
/** True for this sign. */
export const isSign = (token: Token | undefined, sign: string) =>
  token !== undefined && !token.quoted && token.text === sign;

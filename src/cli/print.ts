import { toAppError, type AppError } from '../errors.js';
import { EXIT_CODES } from '../exit-codes.js';

/** The options that every command takes. */
export interface GlobalOptions {
  json?: boolean;
}

/** What --json prints: made of what JSON can hold, and dates. */
export type Document = Record<string, unknown>;

/** A failure that carries more than its error: the row of the run, for instance. */
export class CommandError extends Error {
  constructor(
    readonly error: AppError,
    /** Further members of the JSON document. */
    readonly details: Document = {},
  ) {
    super(error.message, { cause: error });
  }
}

/**
 * Where a command's words go. Results go to standard output: text, or with --json exactly one document, also for an
 * error. Notes, progress and errors in text go to standard error.
 */
export class Printer {
  constructor(
    readonly json: boolean,
    private readonly out: NodeJS.WriteStream = process.stdout,
    readonly err: NodeJS.WriteStream = process.stderr,
  ) {}

  /** True if a person can be asked. */
  get interactive(): boolean {
    return !this.json && process.stdin.isTTY === true && this.err.isTTY === true;
  }

  /** The command's one result. */
  result(document: Document, text: () => string): void {
    this.out.write(`${this.json ? JSON.stringify(document, null, 2) : text()}\n`);
  }

  /** A line that is no result: left out with --json. */
  note(line: string): void {
    if (!this.json) this.err.write(`${line}\n`);
  }

  error(error: AppError, details: Document = {}): void {
    const { code, message, hint, field } = error;
    if (this.json) {
      const document = { error: { code, message, hint, ...(field === undefined ? {} : { field }) }, ...details };
      this.out.write(`${JSON.stringify(document, null, 2)}\n`);
    } else {
      this.err.write(`Error ${code}: ${plain(message, '\n')}\n${plain(hint, '\n')}\n`);
    }
  }
}

/** A column of a table: its heading, and how a row's cell is written. */
export interface Column<Row> {
  title: string;
  cell(row: Row): string | number | null;
  right?: boolean;
}

/** Rows in aligned columns, two blanks apart; null cells are shown as `-`. */
export function table<Row>(rows: Row[], columns: Column<Row>[]): string {
  const lines = [
    columns.map(({ title }) => title.toUpperCase()),
    ...rows.map((row) => columns.map(({ cell }) => plain(String(cell(row) ?? '-')))),
  ];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => width(line[index] ?? ''))));
  return lines
    .map((line) =>
      line
        .map((text, index) => {
          const gap = ' '.repeat((widths[index] ?? 0) - width(text));
          return columns[index]?.right ? gap + text : text + gap;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Pairs of a name and a value, values aligned; those whose value is null are left out. */
export function fields(pairs: [string, string | number | null][]): string {
  const shown = pairs.filter(([, value]) => value !== null && value !== '');
  const longest = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${`${name}:`.padEnd(longest + 2)}${plain(String(value), '\n')}`).join('\n');
}

/** `2025-07-24 14:30:22 UTC` */
export function moment(at: Date | null | undefined): string | null {
  return at ? `${at.toISOString().slice(0, 19).replace('T', ' ')} UTC` : null;
}

/** Text of others without characters that could steer the terminal. */
function plain(text: string, kept = ''): string {
  return text.replace(/\p{Cc}/gu, (character) => (character === kept ? character : '\u{FFFD}'));
}

const letters = new Intl.Segmenter();
const WIDE = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}]/u;

/** Columns that the text takes on a terminal. */
function width(text: string): number {
  let columns = 0;
  for (const { segment } of letters.segment(text)) columns += WIDE.test(segment) ? 2 : 1;
  return columns;
}

/** Shows why a command failed and sets the process's exit code. */
export function reportFailure(print: Printer, thrown: unknown): void {
  const error = toAppError(thrown instanceof CommandError ? thrown.error : thrown);
  print.error(error, thrown instanceof CommandError ? thrown.details : {});
  process.exitCode = EXIT_CODES[error.code];
}

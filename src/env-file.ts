import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { nearest } from './core/text/near.js';
import { errnoOf } from './errors.js';

/** What a `.env` file says, and what in it says nothing: sentences that name line or variable and never a value. */
export interface EnvFile {
  values: Record<string, string>;
  problems: string[];
  /** Known variables that one of the problems was probably meant for. */
  meant: ReadonlySet<string>;
}

const NOTHING: EnvFile = { values: {}, problems: [], meant: new Set() };
const NAME = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=/;

/**
 * Reads a `.env` file as editors write it: UTF-8 or UTF-16, with or without a byte order mark, any line ends.
 * @param known all variables that are read
 */
export function readEnvFile(path: string, known: string[]): EnvFile {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return NOTHING;
    return {
      ...NOTHING,
      problems: [`${path} cannot be read (${errnoOf(error) ?? String(error)})`],
      meant: new Set(known),
    };
  }
  const text = decoded(bytes);
  if (text === null) {
    const problem = `${path} is neither UTF-8 nor UTF-16: save it as UTF-8`;
    return { ...NOTHING, problems: [problem], meant: new Set(known) };
  }
  return parsed(text.replace(/\r\n?|\u2028|\u2029/g, '\n'), path, known);
}

function decoded(bytes: Buffer): string | null {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return bytes.toString('utf16le', 2);
  if (first === 0xfe && second === 0xff) return bigEndian(bytes.subarray(2));
  // Without a mark: the letters of a setting have a zero byte each.
  if (second === 0 && first !== 0) return bytes.toString('utf16le');
  if (first === 0 && second !== 0) return bigEndian(bytes);
  if (!isUtf8(bytes)) return null;
  return bytes.toString('utf8').replace(/^\ufeff/, '');
}

const bigEndian = (bytes: Buffer) =>
  Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % 2)))
    .swap16()
    .toString('utf16le');

function parsed(text: string, path: string, known: string[]): EnvFile {
  const lines = text.split('\n');
  const problems: string[] = [];
  const meant = new Set<string>();
  const isKnown = new Set(known);
  const near = (name: string) => nearest(name, known, 2)[0];
  for (const { number, line } of statements(lines)) {
    const name = NAME.exec(line)?.[1];
    if (name === undefined) {
      // Node would read on, and take the next line's name for a part of this one.
      lines[number - 1] = '';
      problems.push(`${path}, line ${number} is no setting: write it like NAME=value, or begin it with #`);
      const words = line.match(/\w{3,}/g)?.slice(0, 3) ?? [];
      const like = words.map((word) => (isKnown.has(word) ? word : near(word))).find((found) => found !== undefined);
      if (like !== undefined) meant.add(like);
    } else if (!isKnown.has(name)) {
      const like = near(name);
      if (like === undefined) continue;
      problems.push(`${path}, line ${number}: ${name} is not a variable of db-manager; did you mean ${like}?`);
      meant.add(like);
    }
  }
  return { values: parseEnv(lines.join('\n')) as Record<string, string>, problems, meant };
}

/** The lines that begin a setting, without comments, empty ones and those within a quoted value. */
function* statements(lines: string[]): Generator<{ number: number; line: string }> {
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? '';
    if (/^\s*(?:#|$)/.test(line)) continue;
    yield { number: index + 1, line };
    const value = NAME.test(line) ? line.slice(line.indexOf('=') + 1).trimStart() : '';
    const quote = /^["'`]/.exec(value)?.[0];
    if (quote === undefined || value.indexOf(quote, 1) !== -1) continue;
    // A value of several lines ends with its quote; without one it was a quote and no more.
    const end = lines.findIndex((later, at) => at > index && later.includes(quote));
    if (end !== -1) index = end;
  }
}

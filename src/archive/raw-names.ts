import { createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';

// File names are bytes, which need not be UTF-8. In memory they are strings in which a byte that is not part of valid
// UTF-8 is a lone surrogate, U+DC80 to U+DCFF: the method of Python's PEP 383 ("surrogateescape"). JSON keeps such strings.

const FOREIGN_BYTE = /[\udc80-\udcff]/u;
/** Longest name in an archive, in bytes: with what a restore adds to it while it is laid, every file system takes it. */
const MAX_ESCAPED = 200;
/** How much of a longer name stays readable. */
const KEPT = 150;

/** A file name's bytes as a string. Any bytes are possible, and `rawBytes` gives them back. */
export function rawName(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let name = '';
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at);
    name += length === 0 ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0)) : bytes.toString('utf8', at, at + length);
    at += Math.max(length, 1);
  }
  return name;
}

/** How many bytes the valid UTF-8 character at a place has; 0 if there is none. */
function sequenceLength(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
    if (isUtf8(bytes.subarray(at, at + length))) return length;
  }
  return 0;
}

/** The bytes of a name or path that `rawName` made. */
export function rawBytes(name: string): Buffer {
  if (!FOREIGN_BYTE.test(name)) return Buffer.from(name);
  const pieces = name.split(/([\udc80-\udcff])/u);
  return Buffer.concat(
    pieces.map((piece, index) => (index % 2 === 1 ? Buffer.of(piece.charCodeAt(0) - 0xdc00) : Buffer.from(piece))),
  );
}

/** A path as system calls take it. */
export const systemPath = (path: string): string | Buffer => (FOREIGN_BYTE.test(path) ? rawBytes(path) : path);

/** True for a name that an archive can hold as it is, among neighbours that differ from it. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
export const isPlainName = (name: string) => !/[\u0000-\u001f\u007f\\\udc80-\udcff]/u.test(name);

/**
 * The name under which an archive holds a file whose own name a ZIP cannot hold or would confuse with another.
 * @param all also escapes what is not ASCII: for names that differ in the form of their accents only
 */
export function escapedName(name: string, all: boolean): string {
  const stays = (character: string) =>
    character !== '%' && isPlainName(character) && (!all || Buffer.byteLength(character) === 1);
  const text = [...name].map((character) => (stays(character) ? character : percent(character))).join('');
  if (Buffer.byteLength(text) <= MAX_ESCAPED) return text;
  const digest = createHash('sha256').update(rawBytes(name)).digest('hex').slice(0, 8);
  return `${shortened(text)}%~${digest}`;
}

const percent = (character: string) =>
  [...rawBytes(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');

/** At most `KEPT` bytes of the text, whole characters. */
function shortened(text: string): string {
  let kept = '';
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > KEPT) return kept;
    kept += character;
  }
  return kept;
}

import { AppError } from '../../errors.js';

/** The largest document that a server stores, in bytes: 16 MiB, and what the server's own fields may add. */
export const MAX_DOCUMENT = 16 * 1024 * 1024 + 16 * 1024;
/** The smallest one: its length, and the terminator. */
const MIN_DOCUMENT = 5;
/** How deep documents nest at most; the server allows no more than 200. */
const MAX_DEPTH = 250;

const wrong = (what: string) => new AppError('DATABASE_CORRUPT', `A document is damaged: ${what}.`);

/** What each element's value is: a number of bytes, or how it says its length itself. */
const FIXED: Record<number, number> = {
  0x01: 8, // double
  0x06: 0, // undefined
  0x07: 12, // ObjectId
  0x08: 1, // boolean
  0x09: 8, // date
  0x0a: 0, // null
  0x10: 4, // int32
  0x11: 8, // timestamp
  0x12: 8, // int64
  0x13: 16, // decimal128
  0x7f: 0, // MaxKey
  0xff: 0, // MinKey
};

/**
 * Checks that the bytes are one whole document: every length, every type and every terminator. Nothing is allocated by
 * what they say.
 * @throws AppError DATABASE_CORRUPT
 */
export function assertDocument(bytes: Buffer): void {
  // The ends of the documents that are open, outermost first.
  const ends: number[] = [];
  /** Of a code with scope: where it must end when its scope does. */
  const scopes: (number | null)[] = [];
  let at = 0;
  const need = (count: number) => {
    const end = ends.at(-1) ?? bytes.length;
    if (count < 0 || at + count > end) throw wrong('a value is longer than what holds it');
  };
  const int = () => {
    need(4);
    const value = bytes.readInt32LE(at);
    at += 4;
    return value;
  };
  const cstring = () => {
    const end = bytes.indexOf(0, at);
    if (end === -1 || end >= (ends.at(-1) ?? bytes.length)) throw wrong('a name has no end');
    at = end + 1;
  };
  const string = () => {
    const length = int();
    if (length < 1) throw wrong('a text has an impossible length');
    need(length);
    if (bytes[at + length - 1] !== 0) throw wrong('a text has no end');
    at += length;
  };
  const open = (scopeEnd: number | null = null) => {
    const begin = at;
    const length = int();
    const limit = scopeEnd ?? ends.at(-1) ?? bytes.length;
    if (length < MIN_DOCUMENT || begin + length > limit) throw wrong('it is longer than what holds it');
    if (ends.length >= MAX_DEPTH) throw wrong(`it nests deeper than ${MAX_DEPTH} levels`);
    ends.push(begin + length);
    scopes.push(scopeEnd);
  };
  const value = (type: number | undefined) => {
    const size = FIXED[type ?? 0];
    if (size !== undefined) {
      need(size);
      if (type === 0x08 && (bytes[at] ?? 0) > 1) throw wrong('a truth value is neither true nor false');
      at += size;
    } else if (type === 0x02 || type === 0x0d || type === 0x0e) string();
    else if (type === 0x03 || type === 0x04) open();
    else if (type === 0x05) {
      const length = int();
      need(1);
      at += 1;
      need(length);
      at += length;
    } else if (type === 0x0b) {
      cstring();
      cstring();
    } else if (type === 0x0c) {
      string();
      need(12);
      at += 12;
    } else if (type === 0x0f) {
      const begin = at;
      const length = int();
      if (begin + length > (ends.at(-1) ?? 0)) throw wrong('a code is longer than what holds it');
      string();
      open(begin + length);
    } else throw wrong(`a value has the unknown type ${type ?? 'none'}`);
  };
  open();
  if (ends[0] !== bytes.length) throw wrong('its length is not that of its bytes');
  while (ends.length > 0) {
    const end = ends.at(-1) ?? 0;
    if (at >= end) throw wrong('it has no end');
    const type = bytes[at++];
    if (type !== 0) {
      cstring();
      value(type);
      continue;
    }
    if (at !== end) throw wrong('bytes follow its end');
    ends.pop();
    const scope = scopes.pop() ?? null;
    if (scope !== null && scope !== end) throw wrong('bytes follow a code');
  }
}

/**
 * The documents that stand one behind the other in a stream of bytes. Never holds more than one document and one chunk:
 * of what a document says of its length, nothing is allocated before the bytes are there.
 * @param name of the file, for messages
 * @throws AppError DATABASE_CORRUPT
 */
export async function* documentsIn(chunks: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let have = 0;
  let count = 0;
  const damaged = (what: string) =>
    new AppError('DATABASE_CORRUPT', `${name} is damaged at document ${count + 1}: ${what}.`, {
      hint: 'Do not rely on this backup. Restore another one.',
    });
  for await (const chunk of chunks) {
    parts.push(chunk);
    have += chunk.length;
    for (;;) {
      if (have < 4) break;
      if ((parts[0]?.length ?? 0) < 4) parts = [Buffer.concat(parts)];
      const length = parts[0]?.readInt32LE(0) ?? 0;
      if (length < MIN_DOCUMENT || length > MAX_DOCUMENT) throw damaged(`its length is ${length} bytes`);
      if (have < length) break;
      const all: Buffer = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
      const document = all.subarray(0, length);
      parts = all.length === length ? [] : [all.subarray(length)];
      have -= length;
      try {
        assertDocument(document);
      } catch (error) {
        throw damaged((error as Error).message.replace(/^A document is damaged: |\.$/g, ''));
      }
      count++;
      yield document;
    }
  }
  if (have > 0) throw damaged(`${have} bytes are left of it`);
}

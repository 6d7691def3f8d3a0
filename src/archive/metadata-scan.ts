import { foreign, hostile } from './refuse.js';

/** The lists that may be long: their elements are handed out one by one and never stand in memory together as text. */
export type LongList = 'entries' | 'symlinks' | 'skipped' | 'renamed' | 'tables';

const LONG_LISTS: ReadonlySet<string> = new Set(['entries', 'symlinks', 'skipped', 'renamed', 'tables']);
/** Largest single element of a long list, and largest rest of the document, in bytes. */
const MAX_ELEMENT = 4 * 1024 * 1024;
const MAX_REST = 4 * 1024 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Reads a JSON object piece by piece, as it comes out of an archive: a document of hundreds of megabytes takes no more
 * memory than what is kept of it. Only where its parts begin and end is found here; `JSON.parse` reads each.
 */
export class MetadataScan {
  private readonly rest: Buffer[] = [];
  private restBytes = 0;
  private element: Buffer[] = [];
  private elementBytes = 0;
  private depth = 0;
  private inString = false;
  private escaped = false;
  /** The last string directly in the document, and the key whose value is being read: the string before a colon. */
  private candidate = '';
  private key = '';
  private list: LongList | null = null;
  private readonly seen = new Set<string>();

  /** @param onElement a long list's name and the text of one of its elements */
  constructor(private readonly onElement: (list: LongList, text: string) => void) {}

  /** Takes the next bytes. @throws AppError ARCHIVE_FOREIGN, ARCHIVE_HOSTILE, and what `onElement` throws */
  push(chunk: Buffer): void {
    // Where the part begins that is being kept: the rest of the document or an element; -1 between elements.
    let from = this.list !== null && this.depth === 2 ? -1 : 0;
    for (let at = 0; at < chunk.length; at++) {
      if (this.inString) {
        at = this.skipString(chunk, at);
        continue;
      }
      switch (chunk[at]) {
        case QUOTE:
          if (from < 0) throw notObjects(this.list);
          this.inString = true;
          this.candidate = '';
          break;
        case 0x5b: // [
        case 0x7b: // {
          if (from < 0) {
            if (chunk[at] !== 0x7b) throw notObjects(this.list);
            from = at;
          } else if (this.depth === 1 && chunk[at] === 0x5b && LONG_LISTS.has(this.key)) {
            // The brackets stay in the rest, so that the list is there, empty.
            this.keepRest(chunk.subarray(from, at + 1));
            this.enter(this.key as LongList);
            from = -1;
          }
          this.depth += 1;
          break;
        case 0x5d: // ]
        case 0x7d: // }
          this.depth -= 1;
          if (this.depth < 0) throw notJson();
          if (this.list !== null && this.depth === 2) {
            this.keepElement(chunk.subarray(from, at + 1));
            this.handOut();
            from = -1;
          } else if (this.list !== null && this.depth === 1) {
            this.list = null;
            from = at;
          }
          break;
        case 0x3a: // :
          if (this.depth === 1) this.key = this.candidate;
          break;
        case 0x2c: // ,
        case 0x20:
        case 0x09:
        case 0x0a:
        case 0x0d:
          break;
        default:
          if (from < 0) throw notObjects(this.list);
      }
    }
    if (from < 0) return;
    if (this.list === null) this.keepRest(chunk.subarray(from));
    else this.keepElement(chunk.subarray(from));
  }

  /** The document without the elements of its long lists. @throws AppError ARCHIVE_FOREIGN if it is not whole */
  finish(): string {
    if (this.depth !== 0 || this.inString) throw notJson();
    return decode(this.rest);
  }

  /** @returns the position of the string's last byte in this chunk */
  private skipString(chunk: Buffer, start: number): number {
    for (let at = start; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.escaped) this.escaped = false;
      else if (byte === BACKSLASH) this.escaped = true;
      else if (byte === QUOTE) {
        this.inString = false;
        this.note(chunk, start, at);
        return at;
      }
    }
    this.note(chunk, start, chunk.length);
    return chunk.length;
  }

  private note(chunk: Buffer, start: number, end: number): void {
    if (this.depth === 1 && this.candidate.length < 32) {
      this.candidate += chunk.toString('latin1', start, Math.min(end, start + 32));
    }
  }

  private enter(list: LongList): void {
    if (this.seen.has(list)) throw foreign(`backup_metadata.json has ${list} twice.`);
    this.seen.add(list);
    this.list = list;
  }

  private keepRest(piece: Buffer): void {
    this.restBytes += piece.length;
    if (this.restBytes > MAX_REST) throw hostile('backup_metadata.json says more than such a file can have to say.');
    this.rest.push(Buffer.from(piece));
  }

  private keepElement(piece: Buffer): void {
    this.elementBytes += piece.length;
    if (this.elementBytes > MAX_ELEMENT) throw hostile(`backup_metadata.json: one of its ${this.list} is too long.`);
    this.element.push(Buffer.from(piece));
  }

  private handOut(): void {
    const text = decode(this.element);
    this.element = [];
    this.elementBytes = 0;
    if (this.list !== null) this.onElement(this.list, text);
  }
}

const notJson = () => foreign('backup_metadata.json is not JSON.');

function notObjects(list: LongList | null) {
  return foreign(`backup_metadata.json: ${list} is wrong: it holds something else than objects.`);
}

function decode(pieces: Buffer[]): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces));
  } catch (error) {
    throw foreign('backup_metadata.json is not valid UTF-8.', error);
  }
}

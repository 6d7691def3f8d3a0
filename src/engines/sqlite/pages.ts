import { closeSync, openSync, readSync } from 'node:fs';

/** Thrown where a file does not have the form that the reader expects. Whoever catches it asks SQLite instead. */
export class UnexpectedForm extends Error {}

/** The kinds of a stored value, in the order in which SQLite sorts them. */
export const NULL = 0;
export const INTEGER = 1;
export const REAL = 2;
export const TEXT = 3;
export const BLOB = 4;

const TABLE_INTERIOR = 5;
const TABLE_LEAF = 13;
const INDEX_INTERIOR = 2;
const INDEX_LEAF = 10;
/** Deeper than any tree of SQLite's can be. */
const MAX_DEPTH = 40;
const TWO_32 = 0x1_0000_0000;

/**
 * Reads the trees of a SQLite file page by page, as https://sqlite.org/fileformat2.html describes them. Synchronous: meant
 * for a thread of its own and for small files. Only for a private file that nobody writes and that has passed `quick_check`.
 */
export class PageReader {
  private readonly file: number;
  private readonly pageSize: number;
  /** Bytes of a page that hold content. */
  private readonly usable: number;
  private readonly pages: number;
  /** One page for each level of the tree that is walked. */
  private readonly buffers: Buffer[] = [];
  private readonly overflow: Buffer;
  private read = 0;

  /** @throws UnexpectedForm */
  constructor(path: string) {
    this.file = openSync(path, 'r');
    const header = Buffer.alloc(100);
    readSync(this.file, header, 0, 100, 0);
    const size = header.readUInt16BE(16);
    this.pageSize = size === 1 ? 65_536 : size;
    this.usable = this.pageSize - (header[20] ?? 0);
    this.pages = header.readUInt32BE(28);
    this.overflow = Buffer.allocUnsafe(this.pageSize);
    if (this.pageSize < 512 || this.usable < 480) throw new UnexpectedForm('no page size');
  }

  close(): void {
    closeSync(this.file);
  }

  /** Calls `visit` for each row of a table, in the order of the rowids. The record is valid until the next call. */
  rows(root: number, record: StoredRecord, visit: () => void): void {
    this.read = 0;
    this.walk(root, 0, TABLE_INTERIOR, TABLE_LEAF, (page, cell) => {
      const payload = record.varint(page, cell);
      const at = record.varintAt;
      record.rowid(page, at);
      this.load(record, page, record.varintAt, payload, this.usable - 35);
      visit();
    });
  }

  /** Calls `visit` for each entry of an index, in the order of the tree. The record before stays valid. */
  entries(root: number, record: () => StoredRecord, visit: () => void): void {
    this.read = 0;
    const maxLocal = Math.floor(((this.usable - 12) * 64) / 255) - 23;
    this.walk(root, 0, INDEX_INTERIOR, INDEX_LEAF, (page, cell) => {
      const next = record();
      const payload = next.varint(page, cell);
      this.load(next, page, next.varintAt, payload, maxLocal);
      visit();
    });
  }

  private walk(
    number: number,
    depth: number,
    interior: number,
    leaf: number,
    onCell: (page: Buffer, cell: number) => void,
  ): void {
    const page = this.page(number, depth);
    const header = number === 1 ? 100 : 0;
    const type = page[header];
    const cells = page.readUInt16BE(header + 3);
    if (type === leaf) {
      for (let index = 0; index < cells; index++) onCell(page, this.cell(page, header + 8 + 2 * index));
      return;
    }
    if (type !== interior) throw new UnexpectedForm('another kind of page');
    for (let index = 0; index < cells; index++) {
      const cell = this.cell(page, header + 12 + 2 * index);
      this.walk(page.readUInt32BE(cell), depth + 1, interior, leaf, onCell);
      // The rows of a table lie in its leaves alone.
      if (interior === INDEX_INTERIOR) onCell(page, cell + 4);
    }
    this.walk(page.readUInt32BE(header + 8), depth + 1, interior, leaf, onCell);
  }

  private cell(page: Buffer, pointer: number): number {
    const cell = page.readUInt16BE(pointer);
    if (cell < 8 || cell >= this.usable) throw new UnexpectedForm('a cell outside its page');
    return cell;
  }

  private page(number: number, depth: number): Buffer {
    if (depth > MAX_DEPTH || number < 1 || (this.read += 1) > this.pages) throw new UnexpectedForm('no tree');
    const page = (this.buffers[depth] ??= Buffer.allocUnsafe(this.pageSize));
    this.fill(page, number);
    return page;
  }

  private fill(page: Buffer, number: number): void {
    const bytes = readSync(this.file, page, 0, this.pageSize, (number - 1) * this.pageSize);
    if (bytes !== this.pageSize) throw new UnexpectedForm('a page beyond the end');
  }

  /** Reads a record, with its overflow pages where a column that is wanted lies in them. */
  private load(record: StoredRecord, page: Buffer, at: number, payload: number, maxLocal: number): void {
    if (payload <= maxLocal) {
      if (at + payload > page.length || !record.parse(page, at, at + payload)) throw new UnexpectedForm('a cut record');
      return;
    }
    const minLocal = Math.floor(((this.usable - 12) * 32) / 255) - 23;
    const wanted = minLocal + ((payload - minLocal) % (this.usable - 4));
    const local = wanted <= maxLocal ? wanted : minLocal;
    if (at + local + 4 > page.length) throw new UnexpectedForm('a cut record');
    if (record.parse(page, at, at + local)) return;
    const whole = this.whole(page.subarray(at, at + local), page.readUInt32BE(at + local), payload);
    if (!record.parse(whole, 0, payload)) throw new UnexpectedForm('a cut record');
  }

  private whole(local: Buffer, first: number, payload: number): Buffer {
    if (payload > this.pages * this.pageSize) throw new UnexpectedForm('a record larger than the file');
    const whole = Buffer.allocUnsafe(payload);
    let filled = local.copy(whole);
    for (let number = first; filled < payload; number = this.overflow.readUInt32BE(0)) {
      if (number < 1 || number > this.pages) throw new UnexpectedForm('a broken chain');
      this.fill(this.overflow, number);
      filled += this.overflow.copy(whole, filled, 4, Math.min(this.usable, 4 + payload - filled));
    }
    return whole;
  }
}

/** One record: kinds and places of those columns that are wanted. */
export class StoredRecord {
  bytes: Buffer = Buffer.alloc(0);
  /** Of the varint that was read last: where the byte after it is. */
  varintAt = 0;
  /** The 64 bits of the rowid. */
  rowHigh = 0;
  rowLow = 0;
  /** How many columns the record has, as far as they were looked at. */
  columns = 0;
  readonly kind: Uint8Array;
  readonly start: Int32Array;
  readonly end: Int32Array;
  /** Of an integer: its 64 bits. */
  readonly high: Int32Array;
  readonly low: Uint32Array;
  /** Of a real that is no integer. */
  readonly real: Float64Array;

  /** @param wanted by column, true if its value is needed; columns after the last of them are not looked at */
  constructor(private readonly wanted: readonly boolean[]) {
    const { length } = wanted;
    this.kind = new Uint8Array(length);
    this.start = new Int32Array(length);
    this.end = new Int32Array(length);
    this.high = new Int32Array(length);
    this.low = new Uint32Array(length);
    this.real = new Float64Array(length);
  }

  /** Reads a varint that fits in a number. */
  varint(bytes: Buffer, at: number): number {
    let value = 0;
    for (let index = 0; index < 8; index++) {
      const byte = bytes[at + index] ?? 0;
      value = value * 128 + (byte & 127);
      if (byte < 128) {
        this.varintAt = at + index + 1;
        return value;
      }
    }
    throw new UnexpectedForm('a length of 64 bits');
  }

  /** Reads a varint of 64 bits as the rowid. */
  rowid(bytes: Buffer, at: number): void {
    let high = 0;
    let low = 0;
    for (let index = 0; ; index++) {
      const byte = bytes[at + index] ?? 0;
      const bits = index === 8 ? 8 : 7;
      const value = index === 8 ? byte : byte & 127;
      high = (high << bits) | (low >>> (32 - bits)) | 0;
      low = ((low << bits) | value) >>> 0;
      if (byte >= 128 && index < 8) continue;
      this.varintAt = at + index + 1;
      this.rowHigh = high;
      this.rowLow = low;
      return;
    }
  }

  /** Reads the wanted columns. @returns false if one of them, or the header, reaches beyond `limit` */
  parse(bytes: Buffer, at: number, limit: number): boolean {
    this.bytes = bytes;
    const headerEnd = at + this.varint(bytes, at);
    if (headerEnd > limit) return false;
    let next = this.varintAt;
    let content = headerEnd;
    let column = 0;
    for (; column < this.wanted.length && next < headerEnd; column++) {
      let type = bytes[next] ?? 0;
      if (type < 128) next += 1;
      else {
        type = this.varint(bytes, next);
        next = this.varintAt;
      }
      const length = type < 10 ? (LENGTHS[type] ?? 0) : type < 12 ? -1 : (type - (type & 1 ? 13 : 12)) / 2;
      if (length < 0) throw new UnexpectedForm('a reserved type');
      if (this.wanted[column]) {
        if (content + length > limit) return false;
        this.take(column, type, content, content + length);
      }
      content += length;
    }
    this.columns = column;
    return true;
  }

  private take(column: number, type: number, start: number, end: number): void {
    if (type >= 12) {
      this.kind[column] = type & 1 ? TEXT : BLOB;
      this.start[column] = start;
      this.end[column] = end;
    } else if (type === 0) this.kind[column] = NULL;
    else if (type === 7) this.takeReal(column, this.bytes.readDoubleBE(start));
    else this.takeInteger(column, type, start);
  }

  private takeInteger(column: number, type: number, start: number): void {
    const { bytes, high, low } = this;
    this.kind[column] = INTEGER;
    if (type >= 8) {
      high[column] = 0;
      low[column] = type - 8;
    } else if (type === 6) {
      high[column] = bytes.readInt32BE(start);
      low[column] = bytes.readUInt32BE(start + 4);
    } else if (type === 5) {
      high[column] = bytes.readInt16BE(start);
      low[column] = bytes.readUInt32BE(start + 2);
    } else {
      let value = ((bytes[start] as number) << 24) >> 24;
      for (let at = start + 1; at < start + type; at++) value = (value << 8) | (bytes[at] as number);
      high[column] = value < 0 ? -1 : 0;
      low[column] = value >>> 0;
    }
  }

  /** A real that is an integer is stored as one in tables, and as a real in some indexes. */
  private takeReal(column: number, value: number): void {
    if (Number.isNaN(value)) this.kind[column] = NULL;
    else if (Number.isInteger(value) && Math.abs(value) < TWO_32 * 0x8000_0000) {
      const high = Math.floor(value / TWO_32);
      this.kind[column] = INTEGER;
      this.high[column] = high;
      this.low[column] = value - high * TWO_32;
    } else {
      this.kind[column] = REAL;
      this.real[column] = value;
    }
  }
}

/** Bytes of the serial types 0 to 9. */
const LENGTHS = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0];

import { DEFLATED, STORED, ZSTD } from './format.js';
import { extraFields, zip64Values } from './extra.js';
import { isUtf8 } from 'node:buffer';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AppError } from '../errors.js';
import { MAX_NAME_BYTES, nameProblem, shown } from './names.js';
import { abortReason, corrupt, foreign, hostile } from './refuse.js';
import { RangeReader, type ArchiveSource } from './source.js';

/**
 * One record of the central directory, checked. An archive may have hundreds of thousands: what stands in the directory's
 * own bytes is read from there when it is asked for.
 */
export class DirectoryRecord {
  /** Where the next thing after its data starts, in bytes. */
  end = 0;
  /** Its place in the order in which the entries lie. */
  index = 0;

  /**
   * @param bytes the whole directory; the record's own begin at `at`
   * @param path as it stands in the directory; an archive that was packed again may lay it elsewhere
   * @param size bytes before compression, @param compressedSize after it
   * @param offset where its local header starts
   */
  constructor(
    private readonly bytes: Buffer,
    private readonly at: number,
    public path: string,
    readonly size: number,
    readonly compressedSize: number,
    readonly offset: number,
  ) {}

  get directory(): boolean {
    return this.path.endsWith('/');
  }

  get crc32(): number {
    return this.bytes.readUInt32LE(this.at + 16);
  }

  /** 0 stored, 8 DEFLATE, 93 ZSTD. */
  get method(): number {
    return this.bytes.readUInt16LE(this.at + 10);
  }

  get flags(): number {
    return this.bytes.readUInt16LE(this.at + 8);
  }

  /** MS-DOS time in the low, date in the high 16 bits. */
  get dosTime(): number {
    return this.bytes.readUInt32LE(this.at + 12);
  }

  /** The name in the record's own bytes. */
  get storedName(): string {
    return this.raw.toString('utf8', RECORD_BYTES, RECORD_BYTES + this.raw.readUInt16LE(28));
  }

  /** Unix permission bits; undefined if the archive was not written with any. */
  get mode(): number | undefined {
    const attributes = this.bytes.readUInt16LE(this.at + 40);
    return attributes === 0 ? undefined : attributes & 0o7777;
  }

  /** The type in Unix's mode; 0 if the archive was not written with any. */
  get type(): number {
    return this.bytes.readUInt16LE(this.at + 40) & UNIX_TYPE;
  }

  /** The record's own bytes. */
  get raw(): Buffer {
    return this.bytes.subarray(this.at, this.at + recordLength(this.bytes, this.at));
  }
}

/** Largest central directory that is read into memory, in bytes: more than a million files. */
const MAX_DIRECTORY_BYTES = 256 * 1024 * 1024;
const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const END64_BYTES = 56;
const RECORD_BYTES = 46;
const LOCAL_BYTES = 30;
const KNOWN_FLAGS = 0b1000_0000_1110; // deflate level, data descriptor, UTF-8
const UTF8_FLAG = 0x800;
/** The system in `version made by`: FAT, which is what tools of Windows say. */
const MADE_ON_DOS = 0;
const UNIX_TYPE = 0xf000;

interface Placement {
  count: number;
  start: number;
  bytes: number;
}

/**
 * Reads and checks the central directory, and returns its records in the order in which the entries lie in the file.
 *
 * This is own code and not unzipper's, which allocates by the declared count, keeps a heavy object per record, never
 * ends when the source fails, and checks neither bounds nor names.
 * @throws AppError ARCHIVE_FOREIGN, ARCHIVE_CORRUPT or ARCHIVE_HOSTILE, naming the entry
 */
export async function readDirectory(
  source: ArchiveSource,
  signal: AbortSignal,
  maxEntries = Infinity,
): Promise<DirectoryRecord[]> {
  const place = await findDirectory(source, signal);
  if (place.bytes > MAX_DIRECTORY_BYTES) throw hostile(`The archive's directory has ${place.bytes} bytes: too many.`);
  if (place.count > maxEntries || place.bytes > maxEntries * (RECORD_BYTES + MAX_NAME_BYTES))
    throw tooMany(place.count, maxEntries);
  const bytes = await readRange(source, place.start, place.bytes, signal);
  const records: DirectoryRecord[] = [];
  let at = 0;
  for (let index = 0; index < place.count; index++) {
    records.push(parseRecord(bytes, at));
    at += recordLength(bytes, at);
    await breathe(index, signal);
  }
  if (at !== bytes.length)
    throw corrupt(`The archive's directory has more records than the ${place.count} it declares.`);
  await checkNames(records, signal);
  return placed(records, place.start);
}

/** How many entries are looked at before others get their turn: a few milliseconds' work. */
const BATCH = 2_000;

/** Lets the process answer others now and then while it looks at very many entries. */
export async function breathe(index: number, signal: AbortSignal): Promise<void> {
  if (index % BATCH !== BATCH - 1) return;
  await nextTurn();
  if (signal.aborted) throw abortReason(signal);
}

function tooMany(count: number, max: number): AppError {
  return new AppError(
    'PAYLOAD_TOO_LARGE',
    `The archive declares ${count} entries, more than the ${max} that are taken in.`,
    {
      hint: 'If it is really yours, raise MAX_UPLOAD_ENTRIES and restart.',
    },
  );
}

function recordLength(bytes: Buffer, at: number): number {
  return RECORD_BYTES + bytes.readUInt16LE(at + 28) + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
}

async function readRange(source: ArchiveSource, start: number, bytes: number, signal: AbortSignal): Promise<Buffer> {
  const reader = new RangeReader(source, start, bytes, signal);
  try {
    return await reader.take(bytes);
  } finally {
    reader.close();
  }
}

async function findDirectory(source: ArchiveSource, signal: AbortSignal): Promise<Placement> {
  if (source.size < END_BYTES) throw foreign(`The file is not a ZIP: it has only ${source.size} bytes.`);
  const tailBytes = Math.min(source.size, END_BYTES + 0xffff + LOCATOR_BYTES + END64_BYTES);
  const tail = await readRange(source, source.size - tailBytes, tailBytes, signal);
  const end = await findEnd(source, tail, signal);
  const endOffset = source.size - tailBytes + end;
  const disks = tail.readUInt32LE(end + 4);
  const counts = [tail.readUInt16LE(end + 8), tail.readUInt16LE(end + 10)] as const;
  const declared = { count: counts[1], start: tail.readUInt32LE(end + 16), bytes: tail.readUInt32LE(end + 12) };
  const hasLocator = end >= LOCATOR_BYTES && tail.readUInt32LE(end - LOCATOR_BYTES) === 0x07064b50;
  if ((disks !== 0 && !hasLocator) || counts[0] !== counts[1]) {
    throw foreign('The ZIP is one part of several, or its end record contradicts itself.');
  }
  if (!hasLocator) return bounded(declared, endOffset);
  const locator = tail.subarray(end - LOCATOR_BYTES, end);
  return findDirectory64(source, locator, endOffset - LOCATOR_BYTES, declared, signal);
}

/** The end record must close the file: bytes behind it would be read by one tool and not by another. */
async function findEnd(source: ArchiveSource, tail: Buffer, signal: AbortSignal): Promise<number> {
  const found: number[] = [];
  let seen = false;
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (tail[at] !== 0x50 || tail.readUInt32LE(at) !== 0x06054b50) continue;
    seen = true;
    if (at + END_BYTES + tail.readUInt16LE(at + 20) === tail.length) found.push(at);
  }
  if (found.length > 1)
    throw hostile('The ZIP has two end records, so that different tools would see different files.');
  if (found[0] !== undefined) return found[0];
  if (seen) throw corrupt('The archive does not end where its end record says: bytes are missing or were added.');
  const head = await readRange(source, 0, 4, signal);
  if (head.readUInt32LE(0) === 0x04034b50) throw corrupt('The archive has no end: it is truncated.');
  throw foreign('The file is not a ZIP.');
}

async function findDirectory64(
  source: ArchiveSource,
  locator: Buffer,
  locatorOffset: number,
  declared: Placement,
  signal: AbortSignal,
): Promise<Placement> {
  const at = Number(locator.readBigUInt64LE(8));
  if (locator.readUInt32LE(4) !== 0 || locator.readUInt32LE(16) > 1) throw foreign('The ZIP is one part of several.');
  if (at + END64_BYTES > locatorOffset) throw corrupt("The archive's ZIP64 end record lies outside the file.");
  const record = await readRange(source, at, END64_BYTES, signal);
  if (record.readUInt32LE(0) !== 0x06064b50 || Number(record.readBigUInt64LE(4)) + 12 !== locatorOffset - at) {
    throw corrupt("The archive's ZIP64 end record is damaged.");
  }
  const count = Number(record.readBigUInt64LE(32));
  if (record.readBigUInt64LE(16) !== 0n || Number(record.readBigUInt64LE(24)) !== count) {
    throw foreign('The ZIP is one part of several, or its ZIP64 end record contradicts itself.');
  }
  const real = { count, bytes: Number(record.readBigUInt64LE(40)), start: Number(record.readBigUInt64LE(48)) };
  const agree =
    (declared.count === 0xffff || declared.count === real.count) &&
    (declared.bytes === 0xffffffff || declared.bytes === real.bytes) &&
    (declared.start === 0xffffffff || declared.start === real.start);
  if (!agree) throw hostile("The ZIP's two end records contradict each other.");
  return bounded(real, at);
}

/** The directory must fill the room up to the end record, and its records must fit in. */
function bounded(place: Placement, endOffset: number): Placement {
  if (place.start + place.bytes !== endOffset)
    throw corrupt("The archive's directory does not lie before its end record.");
  if (place.count * RECORD_BYTES > place.bytes) {
    throw corrupt(`The archive declares ${place.count} entries, but its directory is too small for them.`);
  }
  return place;
}

const NO_FIELDS: ReadonlyMap<number, Buffer> = new Map();

function parseRecord(bytes: Buffer, at: number): DirectoryRecord {
  if (at + RECORD_BYTES > bytes.length || bytes.readUInt32LE(at) !== 0x02014b50) {
    throw corrupt("The archive's directory is damaged.");
  }
  const length = recordLength(bytes, at);
  if (at + length > bytes.length) throw corrupt("The archive's directory is damaged.");
  const extraAt = at + RECORD_BYTES + bytes.readUInt16LE(at + 28);
  const extraBytes = bytes.readUInt16LE(at + 30);
  const rawName = bytes.subarray(at + RECORD_BYTES, extraAt);
  const path = decodeName(rawName, {
    utf8: (bytes.readUInt16LE(at + 8) & UTF8_FLAG) !== 0,
    backslashes: bytes[at + 5] === MADE_ON_DOS,
  });
  const fields = extraBytes === 0 ? NO_FIELDS : extraFields(bytes.subarray(extraAt, extraAt + extraBytes), path);
  const otherName = fields.get(0x7075);
  if (otherName !== undefined && !otherName.subarray(5).equals(rawName)) {
    throw hostile(`The entry ${shown(path)} has a second, different name.`);
  }
  const [size, compressedSize, offset] = zip64Values(
    fields.get(1),
    [bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 42)],
    path,
  ) as [number, number, number];
  const record = new DirectoryRecord(bytes, at, path, size, compressedSize, offset);
  checkRecord(record, record.type);
  return record;
}

/** @param says what the record says: UTF-8, and made by a tool that may part folders by backslashes (.NET, PowerShell) */
function decodeName(bytes: Buffer, says: { utf8: boolean; backslashes: boolean }): string {
  const written = bytes.toString('utf8');
  const name = says.backslashes ? written.replaceAll('\\', '/') : written;
  if (!isUtf8(bytes)) {
    if (says.utf8) throw corrupt(`The name of the entry ${shown(name)} is not valid UTF-8.`);
    throw new AppError(
      'ARCHIVE_FOREIGN',
      `The name of the entry ${shown(name)} is not UTF-8: the program that packed this ZIP wrote its names in an old code page.`,
      {
        hint: 'Take the archive as db-manager made it. If there is only the unpacked folder, pack it with UTF-8 names: zip -r (Info-ZIP 3), or 7-Zip with -mcu=on.',
      },
    );
  }
  const problem = nameProblem(name);
  if (problem !== undefined) throw hostile(`The name of the entry ${shown(name)} ${problem}.`);
  return name;
}

const METHODS = new Set([STORED, DEFLATED, ZSTD]);
/** Deflate cannot shrink below 1:1032; a block of ZSTD holds at most 128 KiB and takes at least 4 bytes. */
const MOST_RATIO: Record<number, number> = { [DEFLATED]: 1040, [ZSTD]: 32_800 };

function checkRecord(record: DirectoryRecord, type: number): void {
  const { flags, method, size, compressedSize, directory } = record;
  const entry = `The entry ${shown(record.path)}`;
  if ((flags & 0x2041) !== 0) throw foreign(`${entry} is encrypted by a ZIP password, which this product never does.`);
  if ((flags & ~KNOWN_FLAGS) !== 0) throw corrupt(`${entry} has flags that are not in use.`);
  if (!METHODS.has(method)) throw foreign(`${entry} is compressed by method ${method}; only 0, 8 and 93 are read.`);
  if (record.raw.readUInt16LE(34) !== 0) throw foreign(`${entry} lies in another part of a divided ZIP.`);
  if (type !== 0 && type !== (directory ? 0x4000 : 0x8000)) {
    throw hostile(`${entry} is not a plain file or folder (symbolic link, device, or named as what it is not).`);
  }
  if (directory && (size !== 0 || compressedSize > 2)) throw hostile(`${entry} is a folder, but holds data.`);
  if (method === STORED && size !== compressedSize)
    throw corrupt(`${entry} is stored as it is, but its two sizes differ.`);
  if (size > compressedSize * (MOST_RATIO[method] ?? 1) + 1024) {
    throw hostile(`${entry} declares ${size} bytes out of ${compressedSize}, which is impossible.`);
  }
}

async function checkNames(records: DirectoryRecord[], signal: AbortSignal): Promise<void> {
  const names = new Set<string>();
  let index = 0;
  for (const { path } of records) {
    const name = path.normalize('NFC');
    if (names.has(name)) throw hostile(`The entry ${shown(path)} occurs twice.`);
    names.add(name);
    await breathe((index += 1), signal);
  }
  const checked = new Set<string>();
  for (const name of names) {
    await breathe((index += 1), signal);
    for (let slash = name.lastIndexOf('/', name.length - 2); slash > 0; slash = name.lastIndexOf('/', slash - 1)) {
      const folder = name.slice(0, slash);
      if (checked.has(folder)) break;
      if (names.has(folder)) throw hostile(`The entry ${shown(folder)} is both a file and a folder.`);
      checked.add(folder);
    }
    if (name.endsWith('/') && names.has(name.slice(0, -1))) {
      throw hostile(`The entry ${shown(name)} is both a file and a folder.`);
    }
  }
}

/** Entries must lie one after the other, from the first byte to the directory. */
function placed(records: DirectoryRecord[], directoryStart: number): DirectoryRecord[] {
  const inOrder = records.every((record, index) => index === 0 || record.offset >= (records[index - 1]?.offset ?? 0));
  const sorted = inOrder ? records : [...records].sort((a, b) => a.offset - b.offset);
  sorted.forEach((record, index) => {
    record.index = index;
    record.end = sorted[index + 1]?.offset ?? directoryStart;
    const least = LOCAL_BYTES + record.raw.readUInt16LE(28) + record.compressedSize;
    if (record.offset + least > directoryStart) {
      throw corrupt(`The entry ${shown(record.path)} reaches beyond the part of the file that holds entries.`);
    }
    if (record.offset + least > record.end) {
      throw hostile(`The entry ${shown(record.path)} overlaps ${shown(sorted[index + 1]?.path ?? '')}.`);
    }
  });
  const first = sorted[0]?.offset ?? directoryStart;
  if (first !== 0) throw corrupt(`The archive has ${first} bytes before its first entry.`);
  return sorted;
}

/** A ZIP's own time as a moment, taken as UTC and to two seconds; null if it names no day. */
export function dosTime(packed: number): Date | null {
  const [date, time] = [packed >>> 16, packed & 0xffff];
  const [month, day] = [(date >> 5) & 15, date & 31];
  if (month < 1 || month > 12 || day < 1) return null;
  return new Date(Date.UTC(1980 + (date >> 9), month - 1, day, time >> 11, (time >> 5) & 63, (time & 31) * 2));
}

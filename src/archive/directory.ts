import { extraFields, zip64Values } from './extra.js';
import { nameProblem, shown } from './names.js';
import { corrupt, foreign, hostile } from './refuse.js';
import { RangeReader, type ArchiveSource } from './source.js';

/** One record of the central directory, checked. */
export interface DirectoryRecord {
  path: string;
  directory: boolean;
  /** Bytes before and after compression. */
  size: number;
  compressedSize: number;
  crc32: number;
  /** 0 stored, 8 deflated. */
  method: number;
  flags: number;
  /** MS-DOS time in the low, date in the high 16 bits. */
  dosTime: number;
  /** Unix permission bits; undefined if the archive was not written with any. */
  mode: number | undefined;
  /** Where its local header starts, and where the next thing after its data starts, in bytes. */
  offset: number;
  end: number;
  /** The record's own bytes. */
  raw: Buffer;
}

/** Largest central directory that is read into memory, in bytes: more than a million files. */
const MAX_DIRECTORY_BYTES = 256 * 1024 * 1024;
const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const END64_BYTES = 56;
const RECORD_BYTES = 46;
const LOCAL_BYTES = 30;
const KNOWN_FLAGS = 0b1000_0000_1110; // deflate level, data descriptor, UTF-8
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
export async function readDirectory(source: ArchiveSource, signal: AbortSignal): Promise<DirectoryRecord[]> {
  const place = await findDirectory(source, signal);
  if (place.bytes > MAX_DIRECTORY_BYTES) throw hostile(`The archive's directory has ${place.bytes} bytes: too many.`);
  const bytes = await readRange(source, place.start, place.bytes, signal);
  const records: DirectoryRecord[] = [];
  let at = 0;
  for (let index = 0; index < place.count; index++) {
    const record = parseRecord(bytes, at);
    records.push(record);
    at += record.raw.length;
  }
  if (at !== bytes.length)
    throw corrupt(`The archive's directory has more records than the ${place.count} it declares.`);
  checkNames(records);
  return placed(records, place.start);
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

function parseRecord(bytes: Buffer, at: number): DirectoryRecord {
  if (at + RECORD_BYTES > bytes.length || bytes.readUInt32LE(at) !== 0x02014b50) {
    throw corrupt("The archive's directory is damaged.");
  }
  const nameBytes = bytes.readUInt16LE(at + 28);
  const extraBytes = bytes.readUInt16LE(at + 30);
  const length = RECORD_BYTES + nameBytes + extraBytes + bytes.readUInt16LE(at + 32);
  if (at + length > bytes.length) throw corrupt("The archive's directory is damaged.");
  const raw = bytes.subarray(at, at + length);
  const rawName = raw.subarray(RECORD_BYTES, RECORD_BYTES + nameBytes);
  const path = decodeName(rawName);
  const fields = extraFields(raw.subarray(RECORD_BYTES + nameBytes, RECORD_BYTES + nameBytes + extraBytes), path);
  const otherName = fields.get(0x7075);
  if (otherName !== undefined && !otherName.subarray(5).equals(rawName)) {
    throw hostile(`The entry ${shown(path)} has a second, different name.`);
  }
  const [size, compressedSize, offset] = zip64Values(
    fields.get(1),
    [raw.readUInt32LE(24), raw.readUInt32LE(20), raw.readUInt32LE(42)],
    path,
  ) as [number, number, number];
  const attributes = raw.readUInt32LE(38) >>> 16;
  const record: DirectoryRecord = {
    path,
    directory: path.endsWith('/'),
    size,
    compressedSize,
    crc32: raw.readUInt32LE(16),
    method: raw.readUInt16LE(10),
    flags: raw.readUInt16LE(8),
    dosTime: raw.readUInt32LE(12),
    mode: attributes === 0 ? undefined : attributes & 0o7777,
    offset,
    end: 0,
    raw,
  };
  checkRecord(record, attributes & UNIX_TYPE);
  return record;
}

function decodeName(bytes: Buffer): string {
  const name = bytes.toString('utf8');
  if (!Buffer.from(name).equals(bytes)) throw corrupt(`The name of the entry ${shown(name)} is not valid UTF-8.`);
  const problem = nameProblem(name);
  if (problem !== undefined) throw hostile(`The name of the entry ${shown(name)} ${problem}.`);
  return name;
}

function checkRecord(record: DirectoryRecord, type: number): void {
  const { flags, method, size, compressedSize, directory } = record;
  const entry = `The entry ${shown(record.path)}`;
  if ((flags & 0x2041) !== 0) throw foreign(`${entry} is encrypted by a ZIP password, which this product never does.`);
  if ((flags & ~KNOWN_FLAGS) !== 0) throw corrupt(`${entry} has flags that are not in use.`);
  if (method !== 0 && method !== 8) throw foreign(`${entry} is compressed by method ${method}; only 0 and 8 are read.`);
  if (record.raw.readUInt16LE(34) !== 0) throw foreign(`${entry} lies in another part of a divided ZIP.`);
  if (type !== 0 && type !== (directory ? 0x4000 : 0x8000)) {
    throw hostile(`${entry} is not a plain file or folder (symbolic link, device, or named as what it is not).`);
  }
  if (directory && (size !== 0 || compressedSize > 2)) throw hostile(`${entry} is a folder, but holds data.`);
  if (method === 0 && size !== compressedSize) throw corrupt(`${entry} is stored as it is, but its two sizes differ.`);
  // Deflate cannot shrink below 1:1032.
  if (size > compressedSize * 1040 + 1024) {
    throw hostile(`${entry} declares ${size} bytes out of ${compressedSize}, which is impossible.`);
  }
}

function checkNames(records: DirectoryRecord[]): void {
  const names = new Set<string>();
  for (const { path } of records) {
    const name = path.normalize('NFC');
    if (names.has(name)) throw hostile(`The entry ${shown(path)} occurs twice.`);
    names.add(name);
  }
  const checked = new Set<string>();
  for (const name of names) {
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
  const sorted = [...records].sort((a, b) => a.offset - b.offset);
  sorted.forEach((record, index) => {
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

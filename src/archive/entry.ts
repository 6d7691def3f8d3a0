import { createHash, hash as hashOf } from 'node:crypto';
import { pipeline, Readable } from 'node:stream';
import zlib, { crc32, createInflateRaw, inflateRawSync } from 'node:zlib';
import { AppError, errnoOf } from '../errors.js';
import type { DirectoryRecord } from './directory.js';
import type { BlockThreads } from './block-threads.js';
import { hasZstd, missingZstd, ZSTD_READING } from './block.js';
import { STORED, ZSTD } from './format.js';
import { expandBlocks } from './parallel.js';
import { extraFields, zip64Values } from './extra.js';
import { shown } from './names.js';
import { corrupt, hostile } from './refuse.js';
import type { RangeReader } from './source.js';

const HAS_DESCRIPTOR = 0x0008;

/** Entries of up to this many bytes are read in one piece: a stream for each would cost more than its content. */
const SMALL_BYTES = 128 * 1024;
/** The least that zlib takes as `chunkSize`. */
const MIN_CHUNK = 64;

interface Zstd {
  createZstdDecompress(options: object): ReturnType<typeof createInflateRaw>;
  zstdDecompressSync: InflateWithInfo;
}

/** With `info`, zlib also says how many bytes it took in. */
type InflateWithInfo = (bytes: Uint8Array, options: object) => { buffer: Buffer; engine: { bytesWritten: number } };

const createZstd = () => (zlib as unknown as Zstd).createZstdDecompress(ZSTD_READING);

/** What the archive's own list says of an entry, as far as it does. */
export interface Facts {
  /** Hex. */
  sha256: string | undefined;
  /** Lengths of independent blocks, checked by `areBlocksOf`. */
  blocks: readonly number[] | undefined;
}

/** An entry to read, and with what. */
export interface EntryReading extends Facts {
  threads: BlockThreads;
}

/**
 * The bytes of one entry, checked against the directory while they pass: local header, size, CRC-32, SHA-256 if given,
 * data descriptor. `reader` must stand at the local header and stands at the entry's end afterwards. Bytes
 * used before the end may still turn out to be wrong.
 * @throws AppError ARCHIVE_CORRUPT or ARCHIVE_HOSTILE, naming the entry; the reader's errors
 */
export async function* entryBytes(
  reader: RangeReader,
  record: DirectoryRecord,
  { sha256, blocks, threads }: EntryReading,
): AsyncGenerator<Buffer> {
  const headerBytes = await readLocalHeader(reader, record);
  const hash = sha256 === undefined ? undefined : createHash('sha256');
  let size = 0;
  let crc = 0;
  for await (const chunk of expanded(reader, record, blocks, threads)) {
    size += chunk.length;
    if (size > record.size) throw tooLong(record);
    crc = crc32(chunk, crc);
    hash?.update(chunk);
    yield chunk;
  }
  compareContent(record, { size, crc, sha256: hash?.digest('hex') }, sha256);
  await readDescriptor(reader, record, headerBytes);
}

/** True for an entry that `smallEntry` reads. */
export const isSmall = ({ size, compressedSize, offset, end }: DirectoryRecord): boolean =>
  size <= SMALL_BYTES && compressedSize <= SMALL_BYTES && end - offset <= 2 * SMALL_BYTES;

/**
 * The content of a small entry, checked as by `entryBytes`.
 * @param bytes of the archive from the entry's local header to the next entry
 * @throws AppError as `entryBytes`
 */
export function smallEntry(bytes: Buffer, record: DirectoryRecord, { sha256 }: Facts): Buffer {
  const { data, tail } = parts(bytes, record);
  const content = expandedSmall(data, record);
  const found = sha256 === undefined ? undefined : hashOf('sha256', content, 'hex');
  compareContent(record, { size: content.length, crc: crc32(content), sha256: found }, sha256);
  compareDescriptor(tail, record);
  return content;
}

/** The bytes of a small entry as they lie in the archive, checked as by `storedBytes`. @throws AppError as `storedBytes` */
export function smallStored(bytes: Buffer, record: DirectoryRecord, made: number): Buffer {
  const { data, tail } = parts(bytes, record);
  if (crc32(data) !== made) throw damagedOnItsWay(record);
  compareDescriptor(tail, record);
  return data;
}

/** What lies behind an entry's local header, which is compared with the directory. */
function parts(bytes: Buffer, record: DirectoryRecord): { data: Buffer; tail: Buffer } {
  const headerBytes = lengthOfHeader(bytes, record);
  compareHeader(bytes.subarray(0, headerBytes), record);
  const end = headerBytes + record.compressedSize;
  return { data: bytes.subarray(headerBytes, end), tail: bytes.subarray(end) };
}

/** @throws AppError ARCHIVE_CORRUPT if an entry's content is not what the directory and the metadata say */
function compareContent(
  record: DirectoryRecord,
  found: { size: number; crc: number; sha256: string | undefined },
  sha256: string | undefined,
): void {
  if (found.size > record.size) throw tooLong(record);
  const wrong =
    found.size !== record.size
      ? `has ${found.size} bytes instead of ${record.size}.`
      : found.crc !== record.crc32
        ? 'is damaged: its CRC-32 differs.'
        : found.sha256 !== sha256
          ? 'is damaged: its SHA-256 differs.'
          : undefined;
  if (wrong !== undefined) throw corrupt(`The entry ${shown(record.path)} ${wrong}`);
}

const tooLong = ({ path, size }: DirectoryRecord) =>
  corrupt(`The entry ${shown(path)} holds more than the ${size} bytes that it declares.`);

const damagedOnItsWay = ({ path }: DirectoryRecord) =>
  corrupt(`The entry ${shown(path)} was damaged on its way to the storage.`);

/**
 * The bytes of one entry as they lie in the archive, compared with their CRC-32 from where they were made, between a header
 * and a descriptor that agree with the directory.
 * @throws AppError as `entryBytes`
 */
export async function* storedBytes(reader: RangeReader, record: DirectoryRecord, made: number): AsyncGenerator<Buffer> {
  const headerBytes = await readLocalHeader(reader, record);
  let crc = 0;
  for await (const chunk of reader.pass(record.compressedSize)) {
    crc = crc32(chunk, crc);
    yield chunk;
  }
  if (crc !== made) throw damagedOnItsWay(record);
  await readDescriptor(reader, record, headerBytes);
}

/** Reads the local header and compares it with the directory. @returns its length */
async function readLocalHeader(reader: RangeReader, record: DirectoryRecord): Promise<number> {
  const fixed = await reader.take(FIXED_HEADER);
  const length = lengthOfHeader(fixed, record);
  compareHeader(Buffer.concat([fixed, await reader.take(length - FIXED_HEADER)]), record);
  return length;
}

/** Bytes of a local header without name and extra fields. */
const FIXED_HEADER = 30;

/** The length of a local header, by its first bytes. @throws AppError ARCHIVE_CORRUPT if it is none, or does not fit in */
function lengthOfHeader(header: Buffer, record: DirectoryRecord): number {
  if (header.length < FIXED_HEADER || header.readUInt32LE(0) !== 0x04034b50) {
    throw corrupt(`The entry ${shown(record.path)} has no local header where the directory says.`);
  }
  const length = FIXED_HEADER + header.readUInt16LE(26) + header.readUInt16LE(28);
  if (record.offset + length + record.compressedSize > record.end) {
    throw corrupt(`The entry ${shown(record.path)} does not fit in before the next one.`);
  }
  return length;
}

/** @throws AppError ARCHIVE_HOSTILE for another name than in the directory, ARCHIVE_CORRUPT for other fields */
function compareHeader(header: Buffer, record: DirectoryRecord): void {
  const nameEnd = FIXED_HEADER + header.readUInt16LE(26);
  const name = header.subarray(FIXED_HEADER, nameEnd);
  if (!name.equals(record.raw.subarray(46, 46 + record.raw.readUInt16LE(28)))) {
    throw hostile(
      `The entry ${shown(record.path)} has another name in its local header: ${shown(name.toString('utf8'))}.`,
    );
  }
  checkLocalFields(header, header.subarray(nameEnd), record);
}

function checkLocalFields(fixed: Buffer, extra: Buffer, record: DirectoryRecord): void {
  const fields = extraFields(extra, record.path);
  const otherName = fields.get(0x7075);
  if (otherName !== undefined && otherName.subarray(5).toString('utf8') !== record.storedName) {
    throw hostile(`The entry ${shown(record.path)} has a second, different name.`);
  }
  const described = (record.flags & HAS_DESCRIPTOR) !== 0;
  const [compressedSize, size] = [fixed.readUInt32LE(18), fixed.readUInt32LE(22)];
  // In a local header the ZIP64 field gives the size before compression first.
  const [realSize, realCompressed] =
    described && !fields.has(1)
      ? [size, compressedSize]
      : zip64Values(fields.get(1), [size, compressedSize], record.path);
  const fits = (local: number | undefined, real: number) =>
    local === real || (described && (local === 0 || local === 0xffffffff));
  const agree =
    fixed.readUInt16LE(4) <= 63 &&
    fixed.readUInt16LE(6) === record.flags &&
    fixed.readUInt16LE(8) === record.method &&
    fixed.readUInt32LE(10) === record.dosTime &&
    fits(fixed.readUInt32LE(14), record.crc32) &&
    fits(realCompressed, record.compressedSize) &&
    fits(realSize, record.size);
  if (!agree) throw corrupt(`The entry ${shown(record.path)} has a local header that differs from the directory.`);
}

/** Stored bytes as they are; compressed ones expanded, in blocks on all cores where the metadata lists them. */
async function* expanded(
  reader: RangeReader,
  record: DirectoryRecord,
  blocks: readonly number[] | undefined,
  threads: BlockThreads,
): AsyncGenerator<Buffer> {
  if (record.method === ZSTD && !hasZstd) missingZstd();
  if (record.method === STORED) return yield* reader.pass(record.compressedSize);
  // Some tools write an empty file as deflated, without a byte of deflated data.
  if (record.compressedSize === 0) return;
  try {
    const method = record.method === ZSTD ? 'ZSTD' : 'DEFLATE';
    yield* blocks === undefined ? expandedWhole(reader, record) : expandBlocks(reader, method, blocks, threads);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw corrupt(`The entry ${shown(record.path)} is damaged: it cannot be decompressed.`, error);
  }
}

async function* expandedWhole(reader: RangeReader, record: DirectoryRecord): AsyncGenerator<Buffer> {
  const inflate = record.method === ZSTD ? createZstd() : createInflateRaw();
  const deflated = Readable.from(reader.pass(record.compressedSize), { objectMode: false });
  pipeline(deflated, inflate, () => undefined);
  for await (const chunk of inflate) yield chunk as Buffer;
  if (inflate.bytesWritten !== record.compressedSize) throw endsEarly(record);
}

/** As `expanded`, of an entry whose bytes are all there. */
function expandedSmall(data: Buffer, record: DirectoryRecord): Buffer {
  if (record.method === ZSTD && !hasZstd) missingZstd();
  // Some tools write an empty file as deflated, without a byte of deflated data.
  if (record.method === STORED || data.length === 0) return data;
  try {
    const { buffer, engine } = inflateWhole(data, record);
    if (engine.bytesWritten === data.length) return buffer;
  } catch (error) {
    if (errnoOf(error) === 'ERR_BUFFER_TOO_LARGE') throw tooLong(record);
    throw corrupt(`The entry ${shown(record.path)} is damaged: it cannot be decompressed.`, error);
  }
  throw endsEarly(record);
}

function inflateWhole(data: Buffer, { size, method }: DirectoryRecord): ReturnType<InflateWithInfo> {
  const inflate = method === ZSTD ? (zlib as unknown as Zstd).zstdDecompressSync : inflateRawSync;
  // One byte more than there must be, so that a longer result is seen.
  const bounds = { maxOutputLength: size + 1, chunkSize: Math.max(size + 1, MIN_CHUNK) };
  const options = { ...(method === ZSTD && ZSTD_READING), info: true, ...bounds };
  return (inflate as unknown as InflateWithInfo)(data, options);
}

const endsEarly = ({ path, compressedSize }: DirectoryRecord) =>
  corrupt(`The entry ${shown(path)} ends before the ${compressedSize} bytes that it declares.`);

/** Reads what lies between an entry's data and the next entry: a data descriptor that agrees, or nothing. */
async function readDescriptor(reader: RangeReader, record: DirectoryRecord, headerBytes: number): Promise<void> {
  const left = record.end - record.offset - headerBytes - record.compressedSize;
  if (left > LONGEST_DESCRIPTOR) throw strayBytes(record);
  compareDescriptor(await reader.take(left), record);
}

const LONGEST_DESCRIPTOR = 24;

/** @param tail what lies between the entry's data and the next entry */
function compareDescriptor(tail: Buffer, record: DirectoryRecord): void {
  const described = (record.flags & HAS_DESCRIPTOR) !== 0;
  if (tail.length === 0 && !described) return;
  if (!described || ![12, 16, 20, 24].includes(tail.length)) throw strayBytes(record);
  const signed = tail.length === 16 || tail.length === 24;
  const body = signed ? tail.subarray(4) : tail;
  const long = body.length === 20;
  const compressed = long ? Number(body.readBigUInt64LE(4)) : body.readUInt32LE(4);
  const size = long ? Number(body.readBigUInt64LE(12)) : body.readUInt32LE(8);
  const agree =
    (!signed || tail.readUInt32LE(0) === 0x08074b50) &&
    body.readUInt32LE(0) === record.crc32 &&
    compressed === record.compressedSize &&
    size === record.size;
  if (!agree) throw strayBytes(record);
}

const strayBytes = ({ path }: DirectoryRecord) =>
  corrupt(`The bytes after the entry ${shown(path)} belong to nothing, or its descriptor is damaged.`);

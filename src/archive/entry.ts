import { createHash } from 'node:crypto';
import { pipeline, Readable } from 'node:stream';
import zlib, { crc32, createInflateRaw } from 'node:zlib';
import { AppError } from '../errors.js';
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

interface ZstdStreams {
  createZstdDecompress(options: object): ReturnType<typeof createInflateRaw>;
}

const createZstd = () => (zlib as unknown as ZstdStreams).createZstdDecompress(ZSTD_READING);

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
  const header = await localHeader(reader, record);
  const entry = `The entry ${shown(record.path)}`;
  const hash = sha256 === undefined ? undefined : createHash('sha256');
  let size = 0;
  let crc = 0;
  for await (const chunk of expanded(reader, record, blocks, threads)) {
    size += chunk.length;
    if (size > record.size) throw corrupt(`${entry} holds more than the ${record.size} bytes that it declares.`);
    crc = crc32(chunk, crc);
    hash?.update(chunk);
    yield chunk;
  }
  if (size !== record.size) throw corrupt(`${entry} has ${size} bytes instead of ${record.size}.`);
  if (crc !== record.crc32) throw corrupt(`${entry} is damaged: its CRC-32 differs.`);
  if (hash !== undefined && hash.digest('hex') !== sha256) throw corrupt(`${entry} is damaged: its SHA-256 differs.`);
  await checkDescriptor(reader, record, header.length);
}

/**
 * The bytes of one entry as they lie in the archive, compared with their CRC-32 from where they were made, between a header
 * and a descriptor that agree with the directory.
 * @throws AppError as `entryBytes`
 */
export async function* storedBytes(reader: RangeReader, record: DirectoryRecord, made: number): AsyncGenerator<Buffer> {
  const header = await localHeader(reader, record);
  let crc = 0;
  for await (const chunk of reader.pass(record.compressedSize)) {
    crc = crc32(chunk, crc);
    yield chunk;
  }
  if (crc !== made) throw corrupt(`The entry ${shown(record.path)} was damaged on its way to the storage.`);
  await checkDescriptor(reader, record, header.length);
}

/** Reads the local header and compares it with the directory. */
async function localHeader(reader: RangeReader, record: DirectoryRecord): Promise<Buffer> {
  const entry = `The entry ${shown(record.path)}`;
  const fixed = await reader.take(30);
  if (fixed.readUInt32LE(0) !== 0x04034b50) throw corrupt(`${entry} has no local header where the directory says.`);
  const nameBytes = fixed.readUInt16LE(26);
  const extraBytes = fixed.readUInt16LE(28);
  if (record.offset + 30 + nameBytes + extraBytes + record.compressedSize > record.end) {
    throw corrupt(`${entry} does not fit in before the next one.`);
  }
  const name = await reader.take(nameBytes);
  if (!name.equals(record.raw.subarray(46, 46 + record.raw.readUInt16LE(28)))) {
    throw hostile(`${entry} has another name in its local header: ${shown(name.toString('utf8'))}.`);
  }
  const extra = await reader.take(extraBytes);
  checkLocalFields(fixed, extra, record);
  return Buffer.concat([fixed, name, extra]);
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
  if (inflate.bytesWritten !== record.compressedSize) {
    throw corrupt(`The entry ${shown(record.path)} ends before the ${record.compressedSize} bytes that it declares.`);
  }
}

/** What lies between an entry's data and the next entry: a data descriptor that agrees, or nothing. */
async function checkDescriptor(reader: RangeReader, record: DirectoryRecord, headerBytes: number): Promise<void> {
  const left = record.end - record.offset - headerBytes - record.compressedSize;
  const described = (record.flags & HAS_DESCRIPTOR) !== 0;
  if (left === 0 && !described) return;
  const tail = described && [12, 16, 20, 24].includes(left) ? await reader.take(left) : undefined;
  if (tail !== undefined) {
    const signed = left === 16 || left === 24;
    const body = signed ? tail.subarray(4) : tail;
    const long = body.length === 20;
    const compressed = long ? Number(body.readBigUInt64LE(4)) : body.readUInt32LE(4);
    const size = long ? Number(body.readBigUInt64LE(12)) : body.readUInt32LE(8);
    const agree =
      (!signed || tail.readUInt32LE(0) === 0x08074b50) &&
      body.readUInt32LE(0) === record.crc32 &&
      compressed === record.compressedSize &&
      size === record.size;
    if (agree) return;
  }
  throw corrupt(`The bytes after the entry ${shown(record.path)} belong to nothing, or its descriptor is damaged.`);
}

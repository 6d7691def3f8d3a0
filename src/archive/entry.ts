import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import unzipper from 'unzipper';
import { AppError } from '../errors.js';
import type { DirectoryRecord } from './directory.js';
import { inflateBlocks } from './deflate.js';
import { extraFields, zip64Field, zip64Values } from './extra.js';
import { shown } from './names.js';
import { corrupt, hostile } from './refuse.js';
import type { RangeReader } from './source.js';

const HAS_DESCRIPTOR = 0x0008;

/** What the archive's own list says of an entry, as far as it does. */
export interface Facts {
  /** Hex. */
  sha256: string | undefined;
  /** Lengths of independent blocks, checked by `areBlocksOf`. */
  blocks: readonly number[] | undefined;
}

/**
 * The bytes of one entry, checked against the directory while they pass: local header, size, CRC-32, SHA-256 if given,
 * data descriptor. `reader` must stand at the local header and stands at the entry's end afterwards. Whoever uses the
 * bytes before the end must be ready to throw them away.
 * @throws AppError ARCHIVE_CORRUPT or ARCHIVE_HOSTILE, naming the entry; the reader's errors
 */
export async function* entryBytes(
  reader: RangeReader,
  record: DirectoryRecord,
  { sha256, blocks }: Facts,
): AsyncGenerator<Buffer> {
  const header = await localHeader(reader, record);
  const entry = `The entry ${shown(record.path)}`;
  const hash = sha256 === undefined ? undefined : createHash('sha256');
  let size = 0;
  let crc = 0;
  for await (const chunk of expanded(reader, record, header, blocks)) {
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

/** Reads the local header and compares it with the directory; unzipper would use the one and trust the other. */
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

/**
 * Stored bytes as they are; deflated ones decompressed by unzipper. It sees an archive of this one record, already checked, and exactly the entry's own bytes: so
 * it can neither read too far (it asks for 1000 bytes too many) nor wait for a source that failed.
 */
async function* expanded(
  reader: RangeReader,
  record: DirectoryRecord,
  header: Buffer,
  blocks: readonly number[] | undefined,
): AsyncGenerator<Buffer> {
  if (record.method === 0) return yield* reader.pass(record.compressedSize);
  // unzipper takes a compressed size of 0 for an unknown one and searches for a descriptor.
  if (record.compressedSize === 0) return;
  if (blocks !== undefined) return yield* fromBlocks(reader, record, blocks);
  let taken = 0;
  const stored = async function* (): AsyncGenerator<Buffer> {
    yield header;
    for await (const chunk of reader.pass(record.compressedSize)) {
      taken += chunk.length;
      yield chunk;
    }
  };
  const input = Readable.from(stored(), { objectMode: false });
  const file = await soleFile(record, input);
  const output = file.stream();
  input.on('error', (error) => output.destroy(error));
  output.on('error', () => undefined);
  try {
    for await (const chunk of output) yield chunk as Buffer;
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw corrupt(`The entry ${shown(record.path)} is damaged: it cannot be decompressed.`, error);
  } finally {
    input.destroy();
  }
  if (taken !== record.compressedSize) {
    throw corrupt(`The entry ${shown(record.path)} ends before the ${record.compressedSize} bytes that it declares.`);
  }
}

async function* fromBlocks(
  reader: RangeReader,
  record: DirectoryRecord,
  blocks: readonly number[],
): AsyncGenerator<Buffer> {
  try {
    yield* inflateBlocks(reader, blocks);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw corrupt(`The entry ${shown(record.path)} is damaged: it cannot be decompressed.`, error);
  }
}

/** unzipper's own description of the entry. It asks without a length for the directory, with one for an entry's bytes. */
async function soleFile(record: DirectoryRecord, input: Readable): Promise<unzipper.File> {
  const raw = spelledOut(record);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(raw.length, 12);
  end.writeUInt32LE(end.length, 16);
  const directory = await unzipper.Open.custom({
    size: async () => end.length,
    stream: (offset: number, length?: number) => {
      if (length !== undefined) return input;
      return Readable.from([offset === 0 ? end : raw], { objectMode: false });
    },
  });
  const file = directory.files[0];
  const same =
    file !== undefined &&
    file.path === record.storedName &&
    file.compressedSize === record.compressedSize &&
    file.uncompressedSize === record.size;
  if (!same) throw corrupt(`The entry ${shown(record.path)} is read in two ways.`);
  return file;
}

/** The record's bytes with a ZIP64 field where unzipper needs one: it takes no 0xffffffff literally. */
function spelledOut({ raw, path }: DirectoryRecord): Buffer {
  const at = 46 + raw.readUInt16LE(28);
  const extraBytes = raw.readUInt16LE(30);
  const values = [raw.readUInt32LE(24), raw.readUInt32LE(20), raw.readUInt32LE(42)];
  const present = extraFields(raw.subarray(at, at + extraBytes), path).has(1);
  if (present || !values.includes(0xffffffff)) return raw;
  const field = zip64Field(values);
  const whole = Buffer.concat([raw.subarray(0, at), field, raw.subarray(at)]);
  whole.writeUInt16LE(extraBytes + field.length, 30);
  return whole;
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

import { ZipArchive } from 'archiver';
import { type BlockThreads, compared } from './block-threads.js';
import type { Writable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { type Method, workBlock } from './block.js';
import { DEFLATED, SMALL_BYTES, STORED, ZSTD } from './format.js';
import { METADATA_ENTRY } from './metadata.js';
import { ParallelCompressor } from './parallel.js';
import type { SmallFile } from './small-file.js';

/** The parts of archiver's engine (compress-commons) that compress an entry and write the directory. */
interface Engine {
  _smartStream(entry: Entry, callback: Done): unknown;
  _appendBuffer(entry: Entry, source: Buffer, callback: Done): unknown;
  _writeLocalFileHeader(entry: Entry): void;
  _afterAppend(entry: Entry): void;
  offset: number;
  write(chunk: Buffer | string): boolean;
  end(): unknown;
  _finish(): void;
}

type Done = (error: Error | null, entry: Entry) => void;

interface Entry {
  getName(): string;
  getMethod(): number;
  setMethod(method: number): void;
  setVersionNeededToExtract(version: number): void;
  getGeneralPurposeBit(): { useDataDescriptor(used: boolean): void };
  setCrc(crc: number): void;
  setSize(bytes: number): void;
  setCompressedSize(bytes: number): void;
}

/** The version of ZIP's specification that has ZSTD: APPNOTE.TXT 4.4.3. */
const ZSTD_VERSION = 63;
const BATCH_BYTES = 64 * 1024;

/** How entries are compressed that are not stored. */
export interface Compressing {
  method: Method;
  /** 0 to 9. */
  level: number;
  threads: BlockThreads;
}

/** What compressed an entry. */
export interface Compressed {
  /** CRC-32 of the compressed bytes, taken where they were made. */
  sum: number;
  /** Bytes of each block. */
  lengths: readonly number[];
}

/**
 * A ZIP to append to.
 * @returns `compressed` gives out, once, what compressed the entry that was appended last; undefined if it was stored
 */
export function createZip(compressing: Compressing): {
  zip: ZipArchive;
  compressed(): Compressed | undefined;
  /** Buffers that are files made ready: when such a one is appended, it is written as it is. */
  ready: WeakMap<Buffer, SmallFile>;
  /**
   * Resolves when the ZIP can take more: archiver itself does not wait after an entry that came as a buffer. Never does if
   * the ZIP is broken off before.
   */
  room(): Promise<void>;
} {
  const ready = new WeakMap<Buffer, SmallFile>();
  let last: Compressed | undefined;
  const zip = new ZipArchive({ zlib: { level: Math.max(1, compressing.level) } });
  const engine = (zip as unknown as { _module?: { engine?: Partial<Engine> } })._module?.engine;
  if (isEngine(engine)) {
    joinWrites(engine);
    compressInParallel(engine, compressing, (compressed) => (last = compressed));
    compressSmallAtOnce(engine, compressing, ready, (compressed) => (last = compressed));
  }
  const compressed = () => {
    const taken = last;
    last = undefined;
    return taken;
  };
  const room = async () => {
    const stream = engine as unknown as Writable | undefined;
    if (stream?.writableNeedDrain) await new Promise<void>((resolve) => stream.once('drain', resolve));
  };
  return { zip, compressed, ready, room };
}

function isEngine(engine: Partial<Engine> | undefined): engine is Engine {
  return (
    typeof engine?._finish === 'function' &&
    typeof engine._smartStream === 'function' &&
    typeof engine._appendBuffer === 'function' &&
    typeof engine._writeLocalFileHeader === 'function' &&
    typeof engine._afterAppend === 'function' &&
    typeof engine.write === 'function' &&
    typeof engine.offset === 'number'
  );
}

/** Without the metadata no tool could tell what the archive holds, so it is never compressed by what few tools read. */
const methodOf = (entry: Entry, { method }: Compressing): Method =>
  entry.getName() === METADATA_ENTRY ? 'DEFLATE' : method;

/** Puts our compressor in place of the engine's own, which deflates on one thread. What is stored goes its way. */
function compressInParallel(engine: Engine, compressing: Compressing, done: (compressed: Compressed) => void): void {
  const { level, threads } = compressing;
  const own = engine._smartStream.bind(engine);
  const writeHeader = engine._writeLocalFileHeader.bind(engine);
  engine._writeLocalFileHeader = (entry) => {
    if (entry.getMethod() === DEFLATED && methodOf(entry, compressing) === 'ZSTD') {
      entry.setMethod(ZSTD);
      entry.setVersionNeededToExtract(ZSTD_VERSION);
    }
    writeHeader(entry);
  };
  engine._smartStream = (entry, callback) => {
    if (entry.getMethod() === STORED) return own(entry, callback);
    const compressor = new ParallelCompressor(methodOf(entry, compressing), level, threads);
    done(compressor);
    compressor.once('end', () => {
      entry.setCrc(compressor.digest().readUInt32BE());
      entry.setSize(compressor.size());
      entry.setCompressedSize(compressor.size(true));
      engine._afterAppend(entry);
      callback(null, entry);
    });
    compressor.once('error', (error) => (engine as unknown as NodeJS.EventEmitter).emit('error', error));
    compressor.pipe(engine as unknown as NodeJS.WritableStream, { end: false });
    return compressor;
  };
}

/**
 * Small files need no stream, and what does not become smaller is stored. What `readSmallFile` has made ready is written as
 * it is.
 */
function compressSmallAtOnce(
  engine: Engine,
  compressing: Compressing,
  ready: WeakMap<Buffer, SmallFile>,
  done: (compressed: Compressed) => void,
): void {
  const own = engine._appendBuffer.bind(engine);
  const write = (entry: Entry, source: Buffer, { size, crc, stored }: Pick<SmallFile, 'size' | 'crc' | 'stored'>) => {
    if (stored) entry.setMethod(STORED);
    entry.getGeneralPurposeBit().useDataDescriptor(false);
    entry.setCrc(crc);
    entry.setSize(size);
    entry.setCompressedSize(source.length);
    engine._writeLocalFileHeader(entry);
    engine.write(source);
    engine._afterAppend(entry);
  };
  engine._appendBuffer = (entry, source, callback) => {
    const file = ready.get(source);
    if (file !== undefined) {
      write(entry, source, file);
      return callback(null, entry);
    }
    if (entry.getMethod() === STORED || source.length === 0 || source.length > SMALL_BYTES) {
      return own(entry, source, callback);
    }
    const method = methodOf(entry, compressing);
    const task = { kind: 'compress', method, bytes: source, level: compressing.level, last: true } as const;
    const bytes = compared(workBlock(task));
    const isSmaller = bytes.length < source.length;
    if (isSmaller) done({ sum: crc32(bytes), lengths: [bytes.length] });
    const about = { size: source.length, crc: crc32(source), stored: !isSmaller };
    write(entry, isSmaller ? bytes : source, about);
    callback(null, entry);
  };
}

/**
 * Joins small writes to larger ones. archiver's engine writes each header, and the directory of all entries, in some twenty
 * pieces: each would go through every stream on the way to the disk, and take 3.6 KB of memory until it is there.
 */
function joinWrites(engine: Engine): void {
  const write = engine.write.bind(engine);
  const end = engine.end.bind(engine);
  let batch: Buffer[] = [];
  let bytes = 0;
  const flush = () => {
    if (bytes === 0) return true;
    // The real write counts these bytes once more.
    engine.offset -= bytes;
    const joined = Buffer.concat(batch, bytes);
    batch = [];
    bytes = 0;
    return write(joined);
  };
  engine.write = (chunk) => {
    const piece = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    if (piece.length >= BATCH_BYTES) {
      flush();
      return write(piece);
    }
    batch.push(piece);
    bytes += piece.length;
    engine.offset += piece.length;
    return bytes < BATCH_BYTES || flush();
  };
  engine.end = () => {
    flush();
    return end();
  };
}

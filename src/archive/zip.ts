import { ZipArchive } from 'archiver';
import { type BlockThreads, compared } from './block-threads.js';
import { crc32 } from 'node:zlib';
import { type Method, workBlock } from './block.js';
import { METADATA_ENTRY } from './metadata.js';
import { ParallelCompressor } from './parallel.js';

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

const STORED = 0;
const DEFLATED = 8;
/** ZIP's numbers for ZSTD, and the version of its specification that has it: APPNOTE.TXT 4.4.5 and 4.4.3. */
const ZSTD = 93;
const ZSTD_VERSION = 63;
/** Files up to so many bytes are compressed at once, and their header knows their sizes. */
const SMALL = 128 * 1024;
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
 * A ZIP to append to. archiver's engine writes the directory of all entries at once and in some twenty pieces each, which
 * took 3.6 KB of memory per entry; joined to larger pieces it takes what the directory itself has, about 0.1 KB.
 * @returns `compressed` gives out, once, what compressed the entry that was appended last; undefined if it was stored
 */
export function createZip(compressing: Compressing): { zip: ZipArchive; compressed(): Compressed | undefined } {
  let last: Compressed | undefined;
  const zip = new ZipArchive({ zlib: { level: Math.max(1, compressing.level) } });
  const engine = (zip as unknown as { _module?: { engine?: Partial<Engine> } })._module?.engine;
  if (isEngine(engine)) {
    joinDirectoryWrites(engine);
    compressInParallel(engine, compressing, (compressed) => (last = compressed));
    compressSmallAtOnce(engine, compressing, (compressed) => (last = compressed));
  }
  const compressed = () => {
    const taken = last;
    last = undefined;
    return taken;
  };
  return { zip, compressed };
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

/** Small files need no stream, and what does not become smaller is stored. */
function compressSmallAtOnce(engine: Engine, compressing: Compressing, done: (compressed: Compressed) => void): void {
  const own = engine._appendBuffer.bind(engine);
  engine._appendBuffer = (entry, source, callback) => {
    if (entry.getMethod() === STORED || source.length === 0 || source.length > SMALL) {
      return own(entry, source, callback);
    }
    const method = methodOf(entry, compressing);
    const task = { kind: 'compress', method, bytes: source, level: compressing.level, last: true } as const;
    const bytes = compared(workBlock(task));
    const isSmaller = bytes.length < source.length;
    if (isSmaller) done({ sum: crc32(bytes), lengths: [bytes.length] });
    else entry.setMethod(STORED);
    entry.getGeneralPurposeBit().useDataDescriptor(false);
    entry.setCrc(crc32(source));
    entry.setSize(source.length);
    entry.setCompressedSize(isSmaller ? bytes.length : source.length);
    engine._writeLocalFileHeader(entry);
    engine.write(isSmaller ? bytes : source);
    engine._afterAppend(entry);
    callback(null, entry);
  };
}

function joinDirectoryWrites(engine: Engine): void {
  const finish = engine._finish.bind(engine);
  const write = engine.write.bind(engine);
  const end = engine.end.bind(engine);
  engine._finish = () => {
    let batch: Buffer[] = [];
    let bytes = 0;
    const flush = () => {
      // The real write counts these bytes once more.
      engine.offset -= bytes;
      if (bytes > 0) write(Buffer.concat(batch));
      batch = [];
      bytes = 0;
    };
    engine.write = (chunk) => {
      const piece = Buffer.from(chunk as string);
      batch.push(piece);
      bytes += piece.length;
      engine.offset += piece.length;
      if (bytes >= BATCH_BYTES) flush();
      return true;
    };
    engine.end = () => {
      flush();
      engine.write = write;
      return end();
    };
    finish();
  };
}

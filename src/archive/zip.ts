import { ZipArchive } from 'archiver';
import type { BlockThreads } from './block-threads.js';
import { ParallelDeflate } from './deflate.js';

/** The parts of archiver's engine (compress-commons) that compress an entry and write the directory. */
interface Engine {
  _smartStream(entry: Entry, callback: (error: Error | null, entry: Entry) => void): unknown;
  _afterAppend(entry: Entry): void;
  offset: number;
  write(chunk: Buffer | string): boolean;
  end(): unknown;
  _finish(): void;
}

interface Entry {
  getMethod(): number;
  setCrc(crc: number): void;
  setSize(bytes: number): void;
  setCompressedSize(bytes: number): void;
}

const DEFLATED = 8;
const BATCH_BYTES = 64 * 1024;

/**
 * A ZIP to append to. archiver's engine writes the directory of all entries at once and in some twenty pieces each, which
 * took 3.6 KB of memory per entry; joined to larger pieces it takes what the directory itself has, about 0.1 KB.
 * @param level deflate level, 0 to 9
 * @returns `deflated` gives out, once, what deflated the entry that was appended last; undefined if it was stored
 */
export function createZip(
  level: number,
  threads: BlockThreads,
): { zip: ZipArchive; deflated(): ParallelDeflate | undefined } {
  let last: ParallelDeflate | undefined;
  const zip = new ZipArchive({ zlib: { level } });
  const engine = (zip as unknown as { _module?: { engine?: Partial<Engine> } })._module?.engine;
  if (isEngine(engine)) {
    joinDirectoryWrites(engine);
    deflateInParallel(engine, () => (last = new ParallelDeflate(level, threads)));
  }
  const deflated = () => {
    const taken = last;
    last = undefined;
    return taken;
  };
  return { zip, deflated };
}

function isEngine(engine: Partial<Engine> | undefined): engine is Engine {
  return (
    typeof engine?._finish === 'function' &&
    typeof engine._smartStream === 'function' &&
    typeof engine._afterAppend === 'function' &&
    typeof engine.write === 'function' &&
    typeof engine.offset === 'number'
  );
}

/** Puts our compressor in place of the engine's own, which deflates on one thread. What is stored goes its way. */
function deflateInParallel(engine: Engine, create: () => ParallelDeflate): void {
  const own = engine._smartStream.bind(engine);
  engine._smartStream = (entry, callback) => {
    if (entry.getMethod() !== DEFLATED) return own(entry, callback);
    const deflate = create();
    deflate.once('end', () => {
      entry.setCrc(deflate.digest().readUInt32BE());
      entry.setSize(deflate.size());
      entry.setCompressedSize(deflate.size(true));
      engine._afterAppend(entry);
      callback(null, entry);
    });
    deflate.once('error', (error) => (engine as unknown as NodeJS.EventEmitter).emit('error', error));
    deflate.pipe(engine as unknown as NodeJS.WritableStream, { end: false });
    return deflate;
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

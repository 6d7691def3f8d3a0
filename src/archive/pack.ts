import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { ZipArchive } from 'archiver';
import { BlockThreads } from './block-threads.js';
import { readDirectory } from './directory.js';
import { entryBytes } from './entry.js';
import { corrupt } from './refuse.js';
import { type ArchiveSource, RangeReader } from './source.js';

/** A small ZIP of what is in memory. @param files contents by path @param at the time that its entries have */
export async function packed(files: Record<string, string | Buffer>, at: Date): Promise<Buffer> {
  return buffer(packing(files, at));
}

/** A ZIP that is made while it is read; an error of a file's own stream is an error of it. */
export function packing(files: Record<string, string | Buffer | Readable>, at: Date): Readable {
  const zip = new ZipArchive({ zlib: { level: 9 } });
  const out = new PassThrough();
  zip.on('error', (error: Error) => out.destroy(error));
  zip.pipe(out);
  for (const [name, content] of Object.entries(files)) {
    if (content instanceof Readable) content.on('error', (error) => out.destroy(error));
    zip.append(content, { name, date: at });
  }
  zip.finalize().catch((error: Error) => out.destroy(error));
  return out;
}

/** The content of one entry of such a ZIP, checked by size and CRC-32. @throws AppError ARCHIVE_… */
export async function* unpacking(source: ArchiveSource, path: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const record = (await readDirectory(source, signal, MAX_ENTRIES)).find((entry) => entry.path === path);
  if (record === undefined) throw corrupt(`It has no entry ${path}.`);
  const reader = new RangeReader(source, record.offset, record.end - record.offset, signal);
  const threads = new BlockThreads(1);
  try {
    yield* entryBytes(reader, record, { sha256: undefined, blocks: undefined, threads });
  } finally {
    reader.close();
    await threads.close();
  }
}

/** More than `packing` is ever asked for. */
const MAX_ENTRIES = 100;

import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { ZipArchive } from 'archiver';

/** A small ZIP of what is in memory. @param files contents by path @param at the time that its entries have */
export async function packed(files: Record<string, string | Buffer>, at: Date): Promise<Buffer> {
  const zip = new ZipArchive({ zlib: { level: 9 } });
  const bytes = buffer(zip.pipe(new PassThrough()));
  for (const [name, content] of Object.entries(files)) zip.append(content, { name, date: at });
  await zip.finalize();
  return bytes;
}

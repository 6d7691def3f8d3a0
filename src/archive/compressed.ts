import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';

/** Extensions of formats that are compressed already: storing them as they are saves time and loses nothing. */
const COMPRESSED = new Set(
  (
    'jpg jpeg jfif png gif webp avif heic heif jxl mp4 m4v mov mkv webm avi wmv flv mpg mpeg mp3 m4a aac ogg oga ogv ' +
    'opus flac wma zip gz tgz bz2 tbz xz txz zst lz4 lzma br 7z rar cab jar apk ipa whl pdf woff woff2 docx xlsx pptx ' +
    'odt ods odp epub age gpg'
  ).split(' '),
);

/** True if the name says that deflating the file's bytes would gain nothing. */
export function isCompressed(path: string): boolean {
  const dot = path.lastIndexOf('.');
  return dot > path.lastIndexOf('/') && COMPRESSED.has(path.slice(dot + 1).toLowerCase());
}

const deflate = promisify(deflateRaw);
/** Bytes of each sample, and where in a file they are taken. A smaller file is not worth the look. */
const SAMPLE_BYTES = 32 * 1024;
const SAMPLED_AT = [0, 0.5, 1];
const WORTH_SAMPLING = 4 * 1024;
/** What compressing must leave at most. */
export const WORTH_COMPRESSING = 0.95;

/**
 * True if samples of the file's bytes do not become smaller by deflating, as with formats that are compressed or encrypted,
 * whatever they are called. An unreadable file counts as any other here.
 */
export async function isIncompressible(handle: FileHandle, size: number): Promise<boolean> {
  if (size < WORTH_SAMPLING) return false;
  const samples: Buffer[] = [];
  for (const share of size > SAMPLED_AT.length * SAMPLE_BYTES ? SAMPLED_AT : [0]) {
    const length = Math.min(SAMPLE_BYTES, size);
    const at = Math.floor((size - length) * share);
    const read = await handle.read(Buffer.allocUnsafe(length), 0, length, at).catch(() => null);
    if (read === null) return false;
    samples.push(read.buffer.subarray(0, read.bytesRead));
  }
  const before = samples.reduce((sum, { length }) => sum + length, 0);
  const after = await deflate(Buffer.concat(samples), { level: 1 });
  return after.length > before * WORTH_COMPRESSING;
}

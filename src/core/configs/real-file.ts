import { readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

/** Where a file or folder lies, or would lie when it is made through links that lead nowhere yet. @param file absolute */
export async function realFile(file: string, links = 0): Promise<string> {
  const real = await realpath(file).catch(() => null);
  if (real !== null || dirname(file) === file) return real ?? file;
  const folder = await realFile(dirname(file), links);
  const target = links < MAX_LINKS ? await readlink(join(folder, basename(file))).catch(() => null) : null;
  return target === null ? join(folder, basename(file)) : realFile(resolve(folder, target), links + 1);
}

/** As many as Linux follows. */
const MAX_LINKS = 40;

import { ARCHIVE_SUFFIX, isSealedName } from '../archive/format.js';
import { AppError } from '../errors.js';

/** The name, if it leads nowhere else wherever it is appended. @throws AppError PATH_NOT_ALLOWED */
export function plainName(name: string): string {
  if (name !== '' && !name.startsWith('.') && !/[/\\\0]/.test(name)) return name;
  throw new AppError('PATH_NOT_ALLOWED', `"${name}" is not a plain file name.`);
}

/** True for an object that `Storage.list` gives out: one whose name could be an archive's and begins with `prefix`. */
export const isListed = (name: string, prefix: string): boolean =>
  name.startsWith(prefix) &&
  !name.startsWith('.') &&
  !/[/\\]/.test(name) &&
  (name.endsWith(ARCHIVE_SUFFIX) || isSealedName(name));

import { writeFile } from 'node:fs/promises';
import { badInput, errnoOf, fromErrno } from '../errors.js';

/**
 * Writes a file that only its owner can read, and never over another one.
 * @param option that names the file
 * @throws AppError BAD_USER_INPUT
 */
export async function writeNewFile(
  file: string,
  content: string | Buffer | AsyncIterable<string>,
  option: string,
): Promise<void> {
  try {
    await writeFile(file, content, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw badInput(option, `${file} is already there.`, 'Name a new file.');
    throw fromErrno(error, `write ${file}`, 'BAD_USER_INPUT', 'BAD_USER_INPUT') ?? error;
  }
}

import { open, rm, writeFile } from 'node:fs/promises';
import { badInput, errnoOf, fromErrno } from '../errors.js';

/**
 * Writes a file that only its owner can read, whole or not at all, and never over another one.
 * @param option that names the file
 * @throws AppError BAD_USER_INPUT
 */
export async function writeNewFile(
  file: string,
  content: string | Buffer | AsyncIterable<string>,
  option: string,
): Promise<void> {
  const failed = (error: unknown) => fromErrno(error, `write ${file}`, 'BAD_USER_INPUT', 'BAD_USER_INPUT') ?? error;
  const handle = await open(file, 'wx', 0o600).catch((error: unknown) => {
    if (errnoOf(error) === 'EEXIST') throw badInput(option, `${file} is already there.`, 'Name a new file.');
    throw failed(error);
  });
  try {
    await writeFile(handle, content);
    await handle.close();
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(file, { force: true });
    throw failed(error);
  }
}

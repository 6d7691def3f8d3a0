import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { flush } from '../disk.js';
import { AppError, errnoOf, fromErrno } from '../errors.js';
import { shown } from './names.js';
import { hostile } from './refuse.js';

/** Writes the entries of an archive below a folder, one after the other. Nothing outside it, nothing over anything. */
export class FolderWriter {
  private readonly folder: string;
  private readonly made = new Set<string>();
  private open: { path: string; handle: FileHandle } | undefined;

  constructor(folder: string) {
    this.folder = resolve(folder);
  }

  /**
   * Appends to the entry's file, or makes the entry's folder.
   * @param last true when the entry is complete and checked: its file is synced to disk and closed
   * @throws AppError ARCHIVE_HOSTILE, STORAGE_FULL, STORAGE_NOT_WRITABLE
   */
  async write(entry: { path: string; directory: boolean }, chunk: Buffer, last: boolean): Promise<void> {
    try {
      if (entry.directory) {
        if (last) await this.makeFolder(this.target(entry.path));
        return;
      }
      const handle = this.open?.path === entry.path ? this.open.handle : await this.create(entry.path);
      for (let at = 0; at < chunk.length;) {
        at += (await handle.write(chunk, at, chunk.length - at)).bytesWritten;
      }
      if (!last) return;
      await flush(handle);
      await this.close();
    } catch (error) {
      throw notWritten(error, entry.path);
    }
  }

  /** Closes what is open. Called again it does nothing. */
  async close(): Promise<void> {
    const handle = this.open?.handle;
    this.open = undefined;
    await handle?.close();
  }

  private async create(path: string): Promise<FileHandle> {
    await this.close();
    const target = this.target(path);
    await this.makeFolder(dirname(target));
    const handle = await open(target, 'wx', 0o600);
    this.open = { path, handle };
    return handle;
  }

  private async makeFolder(path: string): Promise<void> {
    if (this.made.has(path)) return;
    await mkdir(path, { recursive: true, mode: 0o700 });
    this.made.add(path);
  }

  /** Names were checked when the archive was opened; this holds even if that were wrong. */
  private target(path: string): string {
    const target = resolve(this.folder, path);
    const inside = relative(this.folder, target);
    if (inside === '' || inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) {
      throw hostile(`The entry ${shown(path)} would be written outside the folder.`);
    }
    return target;
  }
}

function notWritten(error: unknown, path: string): AppError {
  const doing = `write ${shown(path)}`;
  if (errnoOf(error) === 'EEXIST') {
    return new AppError('STORAGE_NOT_WRITABLE', `Cannot ${doing}: the name is taken.`, {
      hint: 'Extract into an empty folder, on a case-sensitive disk.',
      cause: error,
    });
  }
  const known = fromErrno(error, doing, 'STORAGE_NOT_WRITABLE', 'STORAGE_NOT_WRITABLE');
  return known ?? new AppError('STORAGE_NOT_WRITABLE', `Cannot ${doing} (${errnoOf(error)}).`, { cause: error });
}

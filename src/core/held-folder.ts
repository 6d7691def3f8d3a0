import { constants, existsSync } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, realpath, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, errnoOf } from '../errors.js';
import { lstatOf } from './move-file.js';

/** Where Linux shows the opened files of this process: a path through it begins at the opened folder itself. */
const OPENED = '/proc/self/fd';
const CAN_HOLD = process.platform === 'linux' && existsSync(OPENED);
const FOLDER = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0);
const NO_LINK = FOLDER | (constants.O_NOFOLLOW ?? 0);
/** How many folders below are kept open, so that their many files are reached in one step. */
const KEPT_OPEN = 32;

/**
 * A folder that was opened once, and all that lies below it. Nothing below is reached through a link, whatever another
 * program puts in the way meanwhile: each folder on the way is opened from the one above it, as openat(2) does. Where the
 * system has no such paths (all but Linux), each is compared with its real path before it is used.
 */
export class HeldFolder {
  private readonly open = new Map<string, FileHandle>();

  private constructor(
    private readonly handle: FileHandle | null,
    /** The folder's path, without links. */
    readonly real: string,
  ) {}

  /**
   * @param path may itself lead through links
   * @throws the error of the system call
   */
  static async at(path: string): Promise<HeldFolder> {
    if (!CAN_HOLD) return new HeldFolder(null, await realpath(path));
    const handle = await open(path, FOLDER);
    try {
      return new HeldFolder(handle, await readlink(join(OPENED, String(handle.fd))));
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** A folder directly below, held by itself. @throws the error of the system call: ENOTDIR or ELOOP for a link */
  async hold(name: string): Promise<HeldFolder> {
    const path = await this.path(name);
    if (!CAN_HOLD) return new HeldFolder(null, path);
    return new HeldFolder(await open(path, NO_LINK), join(this.real, name));
  }

  /**
   * A path for a system call on what lies at `inside`, good until some dozens of other folders were asked for.
   * @param inside relative, with `/`; '' for the folder itself
   * @throws the error of the system call: ENOENT, ENOTDIR or ELOOP if a folder on the way is missing or is none
   */
  async path(inside: string): Promise<string> {
    if (inside === '') return this.own;
    const folder = dirname(inside);
    return join(await this.folder(folder === '.' ? '' : folder), inside.slice(folder === '.' ? 0 : folder.length + 1));
  }

  /** A path for a system call on the folder `inside` itself; the same folder, even if another takes its place. */
  async folder(inside: string): Promise<string> {
    if (inside === '') return this.own;
    if (!CAN_HOLD) return this.compared(inside);
    const known = this.open.get(inside);
    if (known !== undefined) {
      this.open.delete(inside);
      this.open.set(inside, known);
      return join(OPENED, String(known.fd));
    }
    const handle = await this.openBelow(inside);
    this.open.set(inside, handle);
    for (const [oldest] of this.open) {
      if (this.open.size <= KEPT_OPEN) break;
      await this.forget(oldest);
    }
    return join(OPENED, String(handle.fd));
  }

  /** To be called when a folder below was moved: another may take its place. */
  async forget(inside: string): Promise<void> {
    for (const [path, handle] of this.open) {
      if (path !== inside && !path.startsWith(`${inside}/`)) continue;
      this.open.delete(path);
      await handle.close();
    }
  }

  /** Removes all that lies in the folder. Enters no link. */
  async clear(inside = ''): Promise<void> {
    for (const name of await readdir(await this.folder(inside))) {
      const below = inside === '' ? name : `${inside}/${name}`;
      const found = await lstatOf(await this.path(below));
      if (found?.isDirectory()) {
        await this.clear(below);
        await this.forget(below);
        await rmdir(await this.path(below));
      } else if (found !== null) await unlink(await this.path(below));
    }
  }

  /** Makes the folders of a path, as far as they are missing. */
  async makeFolders(inside: string, mode = 0o700): Promise<void> {
    if (inside === '' || inside === '.') return;
    if ((await this.lstat(inside))?.isDirectory()) return;
    await this.makeFolders(dirname(inside), mode);
    await mkdir(await this.path(inside), { mode });
  }

  /** What lies there, itself; null if nothing does, or if a folder on the way is none. */
  async lstat(inside: string) {
    try {
      return await lstat(await this.path(inside));
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return null;
      throw error;
    }
  }

  /** Closes what is open. Call it last. */
  async close(): Promise<void> {
    for (const handle of this.open.values()) await handle.close();
    this.open.clear();
    await this.handle?.close();
  }

  private get own(): string {
    return this.handle === null ? this.real : join(OPENED, String(this.handle.fd));
  }

  /** Opens a folder from the nearest one above it that is open. */
  private async openBelow(inside: string): Promise<FileHandle> {
    const names = inside.split('/');
    let from = names.length - 1;
    while (from > 0 && !this.open.has(names.slice(0, from).join('/'))) from -= 1;
    let at = from === 0 ? this.own : join(OPENED, String(this.open.get(names.slice(0, from).join('/'))?.fd));
    let handle: FileHandle | undefined;
    for (const name of names.slice(from)) {
      const above = handle;
      handle = await open(join(at, name), NO_LINK).finally(() => above?.close());
      at = join(OPENED, String(handle.fd));
    }
    if (handle === undefined) throw new AppError('INTERNAL_ERROR', 'A folder without a name was asked for.');
    return handle;
  }

  private async compared(inside: string): Promise<string> {
    const path = join(this.real, inside);
    if ((await realpath(path)) === path) return path;
    throw Object.assign(new Error(`${path} leads through a link`), { code: 'ELOOP' });
  }
}

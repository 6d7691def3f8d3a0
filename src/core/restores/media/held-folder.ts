import { constants, existsSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  rmdir,
  unlink,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { rawName, systemPath } from '../../../archive/raw-names.js';
import { errnoOf } from '../../../errors.js';
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
    return new HeldFolder(await open(systemPath(path), NO_LINK), join(this.real, name));
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
    return this.descend(inside, (path) => open(systemPath(path), NO_LINK));
  }

  /** To be called when a folder below was moved: another may take its place. */
  async forget(inside: string): Promise<void> {
    for (const [path, handle] of this.open) {
      if (path !== inside && !path.startsWith(`${inside}/`)) continue;
      this.open.delete(path);
      await handle.close();
    }
  }

  /**
   * Removes all that lies in the folder. Enters no link. Folders that hold something come up here first, so that it takes no
   * longer for those that lie deep.
   */
  async clear(): Promise<void> {
    const folders = await this.clearFolder('');
    for (let name = folders.pop(); name !== undefined; name = folders.pop()) {
      for (const below of await this.clearFolder(name)) {
        const up = randomUUID();
        await rename(systemPath(await this.path(`${name}/${below}`)), await this.path(up));
        folders.push(up);
      }
      await this.forget(name);
      await rmdir(systemPath(await this.path(name)));
    }
  }

  /** Removes files and empty folders. @returns the names of the folders that are left */
  private async clearFolder(inside: string): Promise<string[]> {
    const left: string[] = [];
    const folder = await this.folder(inside);
    for (const name of (await readdir(systemPath(folder), 'buffer')).map(rawName)) {
      const path = join(folder, name);
      const found = await lstatOf(path);
      if (found?.isDirectory()) {
        const isGone = await rmdir(systemPath(path)).then(
          () => true,
          () => false,
        );
        if (!isGone) left.push(name);
      } else if (found !== null) await unlink(systemPath(path));
    }
    return left;
  }

  /** Makes the folders of a path, as far as they are missing. */
  async makeFolders(inside: string, mode = 0o700): Promise<void> {
    if (inside === '' || inside === '.') return;
    if (!CAN_HOLD) return this.makeCompared(inside, mode);
    await this.descend(inside, async (path) => {
      await mkdir(systemPath(path), { mode }).catch((error: unknown) => {
        if (errnoOf(error) !== 'EEXIST') throw error;
      });
      return open(systemPath(path), NO_LINK);
    });
  }

  /** What lies there, itself; null if nothing does, or if a folder on the way is none. */
  async lstat(inside: string) {
    try {
      return await lstat(systemPath(await this.path(inside)));
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

  /**
   * Opens the folders of a path, each from the one above it, beginning at the nearest that is open. The last of them stay open.
   * @param enter opens the folder at a path
   * @returns a path for the folder itself
   */
  private async descend(inside: string, enter: (path: string) => Promise<FileHandle>): Promise<string> {
    let nearest = '';
    for (const path of this.open.keys()) {
      if (path.length > nearest.length && (path === inside || inside.startsWith(`${path}/`))) nearest = path;
    }
    let at = nearest === '' ? this.own : join(OPENED, String(this.open.get(nearest)?.fd));
    for (let end = nearest.length; end < inside.length;) {
      const from = end === 0 ? 0 : end + 1;
      const slash = inside.indexOf('/', from);
      end = slash === -1 ? inside.length : slash;
      const handle = await enter(join(at, inside.slice(from, end)));
      this.open.set(inside.slice(0, end), handle);
      at = join(OPENED, String(handle.fd));
      const [oldest] = this.open;
      if (oldest !== undefined && this.open.size > KEPT_OPEN) {
        this.open.delete(oldest[0]);
        await oldest[1].close();
      }
    }
    return at;
  }

  private async makeCompared(inside: string, mode: number): Promise<void> {
    if ((await this.lstat(inside))?.isDirectory()) return;
    await this.makeCompared(dirname(inside) === '.' ? '' : dirname(inside), mode);
    await mkdir(systemPath(await this.path(inside)), { mode });
  }

  private async compared(inside: string): Promise<string> {
    const path = join(this.real, inside);
    if (rawName(await realpath(systemPath(path), 'buffer')) === path) return path;
    throw Object.assign(new Error(`${path} leads through a link`), { code: 'ELOOP' });
  }
}

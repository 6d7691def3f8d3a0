import { randomUUID } from 'node:crypto';
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { access, link, lstat, open, opendir, realpath, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { makeFolder, unmakeFolders } from '../archive/make-folder.js';
import { contained } from '../archive/names.js';
import { flushed, flushFolder } from '../disk.js';
import type { Preparation, PutOptions, Storage, StoredObject } from '../core/ports.js';
import { AppError, errnoOf, fromErrno } from '../errors.js';
import { isListed, plainName } from './names.js';

const PARTIAL = '.partial';
const PROBE = '.probe-';

/** LOCAL and SYSTEM: archives as files in one folder, private to the user that runs db-manager. */
export class DirectoryStorage implements Storage {
  /** @param root the folder that `path` must stay in, also through symbolic links; null for none */
  constructor(
    readonly type: 'LOCAL' | 'SYSTEM',
    private readonly path: string,
    private readonly root: string | null,
  ) {}

  get place(): string {
    return this.path;
  }

  folder(): string {
    return this.path;
  }

  locate(name: string): string {
    return join(this.path, plainName(name));
  }

  async prepare(): Promise<Preparation> {
    let made: string[] = [];
    try {
      made = await makeFolder(this.path, 0o700);
      if (this.root !== null) {
        const [root, folder] = await Promise.all([realpath(this.root), realpath(this.path)]);
        if (!contained(root, folder)) {
          throw new AppError('PATH_NOT_ALLOWED', `${this.path} leads to ${folder}, outside ${this.root}.`);
        }
      }
      await access(this.path, constants.W_OK | constants.X_OK);
      const probe = join(this.path, `${PROBE}${randomUUID()}${PARTIAL}`);
      await (await open(probe, 'wx', 0o600)).close();
      await rm(probe, { force: true });
      return { made, undo: () => unmakeFolders(made) };
    } catch (error) {
      await unmakeFolders(made);
      throw this.translate(error, 'write');
    }
  }

  async put(name: string, body: Readable, options: PutOptions): Promise<StoredObject> {
    const target = this.locate(name);
    const partial = this.partialOf(name, options.owner);
    let published = false;
    const file = createWriteStream(partial, { flags: 'wx', mode: 0o600, highWaterMark: 1 << 20, ...flushed });
    try {
      await pipeline(body, file, { signal: options.signal });
      await publish(partial, target);
      published = true;
      await flushFolder(this.path);
      const stored = await this.stat(name);
      if (stored === null) throw new AppError('STORAGE_UNAVAILABLE', `${target} vanished right after it was written.`);
      return stored;
    } catch (error) {
      body.destroy();
      // A file that is only about to be opened would appear after it was removed.
      if (!file.closed) await new Promise<void>((resolve) => file.once('close', () => resolve()).destroy());
      const left = published ? await this.leftOver(target) : '';
      await rm(partial, { force: true }).catch(() => undefined);
      if (options.signal.aborted && options.signal.reason instanceof AppError) throw options.signal.reason;
      if (errnoOf(error) === 'EEXIST') {
        throw new AppError('NAME_TAKEN', `${target} is already there.`, { cause: error });
      }
      const failed = this.translate(error, 'write');
      throw left === ''
        ? failed
        : new AppError(failed.code, failed.message + left, { hint: failed.hint, cause: error });
    }
  }

  /** Takes a file away whose `put` failed. @returns what to add to the error if that fails too */
  private async leftOver(target: string): Promise<string> {
    return rm(target, { force: true }).then(
      () => '',
      () => ` Its file ${target} could not be removed.`,
    );
  }

  async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    const path = this.locate(name);
    try {
      const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      return createReadStream(path, { fd: handle, highWaterMark: 1 << 18, ...range });
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') {
        await this.assertFolder();
        throw new AppError('ARCHIVE_MISSING', `${path} is not there.`, { cause: error });
      }
      throw this.translate(error, 'read');
    }
  }

  async stat(name: string): Promise<StoredObject | null> {
    const path = this.locate(name);
    try {
      const found = await lstat(path);
      if (!found.isFile()) throw new AppError('STORAGE_UNAVAILABLE', `${path} is not a regular file.`);
      return { name, location: path, size: found.size, modifiedAt: found.mtime };
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw this.translate(error, 'read');
      await this.assertFolder();
      return null;
    }
  }

  async remove(name: string): Promise<void> {
    const path = this.locate(name);
    try {
      await rm(path, { force: true });
      await flushFolder(this.path);
    } catch (error) {
      throw this.translate(error, 'delete from');
    }
    if ((await this.stat(name)) !== null) {
      throw new AppError('STORAGE_UNAVAILABLE', `${path} is still there after it was deleted.`);
    }
  }

  async discard(owner: string): Promise<void> {
    for await (const name of this.names()) {
      const left = name.startsWith('.') && name.endsWith(`.${owner}${PARTIAL}`);
      const probe = name.startsWith(PROBE) && name.endsWith(PARTIAL);
      if (left) await this.discardReservation(name.slice(1, -`.${owner}${PARTIAL}`.length));
      if (left || probe) await rm(join(this.path, name), { force: true });
    }
  }

  /** A crash between reserving a name and the rename leaves the partial file and an empty one of the final name. */
  private async discardReservation(name: string): Promise<void> {
    const reserved = await lstat(this.locate(name)).catch(() => null);
    if (reserved?.isFile() && reserved.size === 0) await rm(this.locate(name), { force: true });
  }

  async *list(prefix = ''): AsyncIterable<StoredObject> {
    await this.assertFolder();
    for await (const name of this.names()) {
      if (!isListed(name, prefix)) continue;
      const found = await lstat(join(this.path, name)).catch(() => null);
      if (found?.isFile()) yield { name, location: join(this.path, name), size: found.size, modifiedAt: found.mtime };
    }
  }

  async space(): Promise<{ free: number; total: number }> {
    try {
      const { bavail, blocks, bsize } = await statfs(this.path);
      return { free: bavail * bsize, total: blocks * bsize };
    } catch (error) {
      throw this.translate(error, 'read');
    }
  }

  private async *names(): AsyncIterable<string> {
    try {
      for await (const entry of await opendir(this.path)) yield entry.name;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw this.translate(error, 'read');
    }
  }

  /** Tells "the file is not there" from "the disk is not mounted". */
  private async assertFolder(): Promise<void> {
    await lstat(this.path).catch((error: unknown) => {
      throw new AppError('STORAGE_UNAVAILABLE', `The storage folder ${this.path} is not there.`, { cause: error });
    });
  }

  private partialOf(name: string, owner: string): string {
    return join(this.path, `.${name}.${owner}${PARTIAL}`);
  }

  private translate(error: unknown, verb: string): AppError {
    return (
      fromErrno(error, `${verb} ${this.path}`, 'STORAGE_NOT_WRITABLE', 'STORAGE_UNAVAILABLE') ??
      new AppError('STORAGE_UNAVAILABLE', `Cannot ${verb} ${this.path}: ${(error as Error).message}`, {
        cause: error,
      })
    );
  }
}

/**
 * Gives the finished file its name, never over an existing one: a hard link fails where the name is taken. Where the file
 * system has no hard links (FAT, some network disks) the name is reserved, then the file renamed over the reservation.
 * @throws the error of the system call: EEXIST if the name is taken
 */
async function publish(partial: string, target: string): Promise<void> {
  try {
    await link(partial, target);
  } catch (error) {
    // A share may do what was asked, lose the answer and refuse the second attempt.
    if (errnoOf(error) === 'EEXIST' && !(await isSameFile(partial, target))) throw error;
    if (errnoOf(error) !== 'EEXIST') return publishByRename(partial, target);
  }
  await rm(partial);
}

async function publishByRename(partial: string, target: string): Promise<void> {
  await (await open(target, 'wx', 0o600)).close();
  try {
    await rename(partial, target);
  } catch (error) {
    await rm(target, { force: true }).catch(() => undefined);
    throw error;
  }
}

async function isSameFile(one: string, other: string): Promise<boolean> {
  const [first, second] = await Promise.all([lstat(one, { bigint: true }), lstat(other, { bigint: true })]);
  return first.ino === second.ino && first.dev === second.dev && first.nlink > 1n;
}

import { randomUUID } from 'node:crypto';
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import type { SFTPWrapper, Stats } from 'ssh2';
import type { Preparation, PutOptions, Storage, StoredObject } from '../core/ports.js';
import { AppError } from '../errors.js';
import { isListed, plainName } from './names.js';
import { blocksOf, sendAll } from './parts.js';
import { isMissing, isUnsupported, sftpError } from './sftp-errors.js';
import { SftpConnection } from './sftp-connection.js';
import { sftpPlace, type SftpSettings } from './sftp-settings.js';
import { pulled, STALLED_AFTER } from './stream.js';

const PARTIAL = '.partial';
const PROBE = '.probe-';
/** Bytes of one request, which every server takes, and how many are under way at once. */
const BLOCK = 32 * 1024;
const IN_FLIGHT = 32;

/** A folder of an SSH server. */
export class SftpStorage implements Storage {
  readonly type = 'SFTP';
  readonly place: string;
  private readonly connection: SftpConnection;

  /** @param stalledAfter how long the server may take for one answer, in milliseconds */
  constructor(
    private readonly settings: SftpSettings,
    stalledAfter = STALLED_AFTER,
  ) {
    this.place = sftpPlace(settings);
    this.connection = new SftpConnection(settings, stalledAfter);
  }

  folder(): null {
    return null;
  }

  locate(name: string): string {
    return `${this.place}/${plainName(name)}`;
  }

  async prepare(): Promise<Preparation> {
    const made: string[] = [];
    const undo = async () => {
      for (const folder of made.reverse()) await this.ask('delete from', 'rmdir', folder).catch(() => undefined);
    };
    try {
      await this.makeFolders(made);
      const probe = this.pathOf(`${PROBE}${randomUUID()}${PARTIAL}`);
      const handle = await this.ask<Buffer>('write to', 'open', probe, 'wx', { mode: 0o600 });
      await this.ask('write to', 'close', handle);
      await this.unlink(probe);
      const { hostKey } = this.connection;
      return {
        made: made.map((folder) => `${this.place} (${folder})`),
        undo,
        ...(hostKey && { learned: { hostKey } }),
      };
    } catch (error) {
      await undo();
      throw error;
    }
  }

  async put(name: string, body: Readable, { owner, signal }: PutOptions): Promise<StoredObject> {
    const partial = this.pathOf(`.${name}.${owner}${PARTIAL}`);
    try {
      const location = this.locate(name);
      if ((await this.stat(name)) !== null) throw new AppError('NAME_TAKEN', `${location} is already there.`);
      const size = await this.write(partial, body, signal);
      signal.throwIfAborted();
      await this.publish(partial, name, size);
      const stored = await this.stat(name);
      if (stored?.size === size) return stored;
      throw new AppError('STORAGE_UNAVAILABLE', `${location} is not as it was written.`);
    } catch (error) {
      body.destroy();
      await this.ask('delete from', 'unlink', partial).catch(() => undefined);
      if (signal.aborted && signal.reason instanceof AppError) throw signal.reason;
      throw error;
    }
  }

  async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    const path = this.pathOf(plainName(name));
    const release = this.connection.hold();
    try {
      const found = await this.stat(name);
      if (found === null) throw new AppError('ARCHIVE_MISSING', `${this.locate(name)} is not there.`);
      const handle = await this.ask<Buffer>('read', 'open', path, 'r', {});
      const end = Math.min(range?.end ?? Infinity, found.size - 1);
      return pulled(this.blocks(handle, range?.start ?? 0, end), () => {
        void this.ask('read', 'close', handle)
          .catch(() => undefined)
          .finally(release);
      });
    } catch (error) {
      release();
      throw error;
    }
  }

  async stat(name: string): Promise<StoredObject | null> {
    const location = this.locate(name);
    try {
      return this.object(name, await this.ask<Stats>('read', 'lstat', this.pathOf(name)));
    } catch (error) {
      if (!isMissing(error)) throw error;
      await this.assertFolder(location);
      return null;
    }
  }

  async remove(name: string): Promise<void> {
    const location = this.locate(name);
    await this.unlink(this.pathOf(name));
    if ((await this.stat(name)) === null) return;
    throw new AppError('STORAGE_UNAVAILABLE', `${location} is still there after it was deleted.`);
  }

  async discard(owner: string, name: string): Promise<void> {
    await this.unlink(this.pathOf(`.${plainName(name)}.${owner}${PARTIAL}`));
    try {
      for await (const { filename } of this.files()) {
        if (filename.startsWith(PROBE) && filename.endsWith(PARTIAL)) await this.unlink(this.pathOf(filename));
      }
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  async *list(prefix = ''): AsyncIterable<StoredObject> {
    for await (const { filename, attrs } of this.files()) {
      if (isListed(filename, prefix)) yield this.object(filename, attrs);
    }
  }

  async space(): Promise<{ free: number; total: number } | null> {
    try {
      const { f_bavail, f_blocks, f_frsize } = await this.ask<Record<'f_bavail' | 'f_blocks' | 'f_frsize', number>>(
        'read',
        'ext_openssh_statvfs',
        this.settings.path,
      );
      return { free: Number(f_bavail) * Number(f_frsize), total: Number(f_blocks) * Number(f_frsize) };
    } catch (error) {
      if (isUnsupported(error)) return null;
      throw error;
    }
  }

  /** All files of the folder. */
  private async *files(): AsyncGenerator<{ filename: string; attrs: Stats }> {
    const release = this.connection.hold();
    try {
      const handle = await this.ask<Buffer>('list', 'opendir', this.settings.path);
      try {
        for (;;) {
          const page = await this.ask<{ filename: string; attrs: Stats }[] | null>('list', 'readdir', handle);
          if (page === null) return;
          yield* page.filter(({ attrs }) => attrs.isFile());
        }
      } finally {
        await this.ask('list', 'close', handle).catch(() => undefined);
      }
    } finally {
      release();
    }
  }

  /** Removes a file, if it is there. */
  private async unlink(path: string): Promise<void> {
    await this.ask('delete from', 'unlink', path).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
  }

  private pathOf(name: string): string {
    return posix.join(this.settings.path, name);
  }

  private object(name: string, { size, mtime }: Stats): StoredObject {
    return { name, location: this.locate(name), size, modifiedAt: new Date(mtime * 1_000) };
  }

  /** Tells "the file is not there" from "the disk is not mounted". */
  private async assertFolder(location: string): Promise<void> {
    await this.ask('read', 'stat', this.settings.path).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
      throw new AppError('STORAGE_UNAVAILABLE', `The folder of ${location} is not there.`, { cause: error });
    });
  }

  private async makeFolders(made: string[]): Promise<void> {
    const parts = this.settings.path.split('/');
    for (let count = 1; count <= parts.length; count++) {
      const folder = parts.slice(0, count).join('/');
      if (folder === '') continue;
      const found = await this.ask<Stats>('use', 'stat', folder).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
        return null;
      });
      if (found !== null) continue;
      await this.ask('use', 'mkdir', folder, { mode: 0o700 });
      made.push(folder);
    }
  }

  /** @returns how many bytes were written and are on the server's disk */
  private async write(path: string, body: Readable, signal: AbortSignal): Promise<number> {
    const release = this.connection.hold();
    try {
      const handle = await this.ask<Buffer>('write to', 'open', path, 'wx', { mode: 0o600 });
      let size = 0;
      const send = (block: Buffer, index: number) =>
        this.ask<void>('write to', 'write', handle, block, 0, block.length, index * BLOCK);
      const counted = async function* () {
        for await (const block of blocksOf(body, BLOCK)) {
          size += block.length;
          yield block;
        }
      };
      await sendAll(counted(), IN_FLIGHT, send, signal);
      // Not every server can: then the close must do.
      await this.ask('write to', 'ext_openssh_fsync', handle).catch((error: unknown) => {
        if (!isUnsupported(error)) throw error;
      });
      await this.ask('write to', 'close', handle);
      return size;
    } finally {
      release();
    }
  }

  /** Gives the finished file its name. A server may do it and lose the answer: then the file is there and the other gone. */
  private async publish(partial: string, name: string, size: number): Promise<void> {
    try {
      await this.ask('write to', 'rename', partial, this.pathOf(name));
    } catch (error) {
      const found = await this.stat(name);
      const isDone = found?.size === size && (await this.isGone(partial));
      if (isDone) return;
      throw found === null ? error : new AppError('NAME_TAKEN', `${this.locate(name)} is already there.`);
    }
  }

  private async isGone(path: string): Promise<boolean> {
    try {
      await this.ask('read', 'lstat', path);
      return false;
    } catch (error) {
      if (isMissing(error)) return true;
      throw error;
    }
  }

  /** The bytes from `start` to `end` (inclusive), with several requests under way. */
  private async *blocks(handle: Buffer, start: number, end: number): AsyncGenerator<Buffer> {
    const waiting: Promise<Buffer>[] = [];
    let next = start;
    const begin = () => {
      const [from, length] = [next, Math.min(BLOCK, end + 1 - next)];
      next += length;
      const read = this.whole(handle, from, length);
      read.catch(() => undefined);
      waiting.push(read);
    };
    while (next <= end || waiting.length > 0) {
      while (next <= end && waiting.length < IN_FLIGHT) begin();
      const block = await waiting.shift();
      if (block !== undefined) yield block;
    }
  }

  private async whole(handle: Buffer, from: number, length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length);
    const work = (sftp: SFTPWrapper) =>
      new Promise<number>((resolve, reject) => {
        sftp.read(handle, buffer, 0, length, from, (error, bytes) => (error ? reject(error) : resolve(bytes)));
      });
    const bytes = await this.doing('read', () => this.connection.use(work));
    if (bytes === length) return buffer;
    throw new AppError('STORAGE_UNAVAILABLE', `${this.place}: a file ended before its size.`);
  }

  /** Calls a method of the protocol's client that answers by callback. */
  private ask<T = void>(verb: string, method: keyof SFTPWrapper, ...args: unknown[]): Promise<T> {
    return this.doing(verb, () =>
      this.connection.use(
        (sftp) =>
          new Promise<T>((resolve, reject) => {
            const call = sftp[method] as (...args: unknown[]) => unknown;
            call.call(sftp, ...args, (error: (Error & { code?: number }) | undefined, value: T) => {
              if (method === 'readdir' && error?.code === END_OF_FILE) resolve(null as T);
              else if (error) reject(error);
              else resolve(value);
            });
          }),
      ),
    );
  }

  private async doing<T>(verb: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw sftpError(error, `${verb} ${this.place}`);
    }
  }
}

const END_OF_FILE = 1;

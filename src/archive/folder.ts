import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { flush, flushBelow } from '../disk.js';
import { AppError, errnoOf, fromErrno } from '../errors.js';
import { FileThread } from './file-thread.js';
import { type FileAttributes, type FilesLaid, giveAttributes, layFiles, type Missed } from './lay-files.js';
import { shown } from './names.js';
import { abortReason, hostile } from './refuse.js';

/** A batch of small files is full with so many files or bytes. */
const BATCH_FILES = 256;
const BATCH_BYTES = 1024 * 1024;
/** So many batches are under way at most. */
const AHEAD = 3;
/** From so many files on, the disk is flushed once instead of each file. */
const MANY = 500;

/** An entry to write, and what its file is to have besides its content. */
export interface EntryToWrite {
  path: string;
  directory: boolean;
  attributes?: FileAttributes | undefined;
}

/** How a folder is written. */
export interface FolderOptions {
  /** How many files will be written. */
  files: number;
  /** False for what is of no use after a crash: it is not flushed to the disk. Default: true. */
  flush?: boolean | undefined;
  /** Permissions of folders. */
  folderMode?: number | undefined;
  /** Called for what the disk or the user cannot give to a file. */
  onMissed?: ((missed: Missed) => void) | undefined;
}

interface Batch {
  paths: string[];
  files: { path: string; size: number; attributes: FileAttributes | null }[];
  pieces: Buffer[];
  size: number;
}

/**
 * Writes the entries of an archive below a folder, one after the other. Nothing outside it, nothing over anything. Small
 * files are laid in batches, by a thread of their own where there are many.
 */
export class FolderWriter {
  private readonly folder: string;
  /** What every path within the folder begins with. */
  private readonly inside: string;
  private readonly made = new Set<string>();
  private readonly flushes: 'each' | 'all' | 'none';
  private open: { path: string; handle: FileHandle } | undefined;
  private batch: Batch = emptyBatch();
  private thread: FileThread | undefined;
  private readonly underWay: Promise<void>[] = [];

  constructor(
    folder: string,
    private readonly options: FolderOptions,
  ) {
    this.folder = resolve(folder);
    this.inside = this.folder.endsWith(sep) ? this.folder : this.folder + sep;
    this.flushes = options.flush === false ? 'none' : options.files > MANY ? 'all' : 'each';
  }

  /**
   * Appends to the entry's file, or makes the entry's folder.
   * @param last true when the entry is complete and checked
   * @throws AppError ARCHIVE_HOSTILE, STORAGE_FULL, STORAGE_NOT_WRITABLE
   */
  async write(entry: EntryToWrite, chunk: Buffer, last: boolean): Promise<void> {
    if (!entry.directory && last && this.open?.path !== entry.path) return this.add(entry, chunk);
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
      if (entry.attributes !== undefined) this.note(giveAttributes(handle.fd, entry.attributes));
      if (this.flushes !== 'none') await flush(handle);
      await this.closeFile();
    } catch (error) {
      throw notWritten(error, entry.path);
    }
  }

  /**
   * To be called when all was written: from then on it is on the disk, if it is to be flushed.
   * @throws AppError as `write`
   */
  async finish(signal: AbortSignal): Promise<void> {
    await this.send();
    await Promise.all(this.underWay);
    if (this.flushes !== 'all') return;
    await flushBelow(this.folder, signal).catch((error: unknown) => {
      throw signal.aborted ? abortReason(signal) : notWritten(error, this.folder);
    });
  }

  /** Closes what is open, and breaks off what is under way. Called again it does nothing. */
  async close(): Promise<void> {
    await this.closeFile();
    await this.thread?.close();
    await Promise.allSettled(this.underWay);
  }

  private async closeFile(): Promise<void> {
    const handle = this.open?.handle;
    this.open = undefined;
    await handle?.close();
  }

  /** A file of one piece. */
  private async add({ path, attributes }: EntryToWrite, content: Buffer): Promise<void> {
    const target = this.target(path);
    const folder = dirname(target);
    if (!this.made.has(folder)) {
      await this.makeFolder(folder).catch((error: unknown) => {
        throw notWritten(error, path);
      });
    }
    const { batch } = this;
    batch.paths.push(path);
    batch.files.push({ path: target, size: content.length, attributes: attributes ?? null });
    batch.pieces.push(content);
    batch.size += content.length;
    if (batch.files.length < BATCH_FILES && batch.size < BATCH_BYTES) return;
    this.thread ??= new FileThread();
    await this.send();
  }

  private async send(): Promise<void> {
    const { paths, files, pieces, size } = this.batch;
    if (files.length === 0) return;
    this.batch = emptyBatch();
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    const task = { files, bytes, flush: this.flushes === 'each' };
    const work = (this.thread?.lay(task) ?? Promise.resolve(layFiles(task))).then((laid) => this.judge(paths, laid));
    // Whoever waits for it hears of it.
    work.catch(() => undefined);
    this.underWay.push(work);
    if (this.underWay.length >= AHEAD) await this.underWay.shift();
  }

  private judge(paths: string[], { missed, failed }: FilesLaid): void {
    this.note(missed);
    if (failed === null) return;
    const error = Object.assign(new Error(failed.message), { code: failed.code });
    throw notWritten(error, paths[failed.index] ?? '');
  }

  private note(missed: Missed[]): void {
    for (const one of missed) this.options.onMissed?.(one);
  }

  private async create(path: string): Promise<FileHandle> {
    await this.closeFile();
    const target = this.target(path);
    await this.makeFolder(dirname(target));
    const handle = await open(target, 'wx', 0o600);
    this.open = { path, handle };
    return handle;
  }

  private async makeFolder(path: string): Promise<void> {
    if (this.made.has(path)) return;
    await mkdir(path, { recursive: true, mode: this.options.folderMode ?? 0o700 });
    this.made.add(path);
  }

  /** Names were checked when the archive was opened; this holds even if that were wrong. */
  private target(path: string): string {
    const target = resolve(this.folder, path);
    if (!target.startsWith(this.inside) || target === this.inside) {
      throw hostile(`The entry ${shown(path)} would be written outside the folder.`);
    }
    return target;
  }
}

const emptyBatch = (): Batch => ({ paths: [], files: [], pieces: [], size: 0 });

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

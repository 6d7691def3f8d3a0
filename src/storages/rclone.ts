import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { Preparation, PutOptions, Storage, StoredObject } from '../core/ports.js';
import { AppError, errnoOf } from '../errors.js';
import { isListed, plainName } from './names.js';
import { rclonePlace, type RcloneSettings } from './rclone-settings.js';
import { guarded, STALLED_AFTER } from './stream.js';

const PARTIAL = '.partial';
/** Exit codes for a folder and a file that are not there. */
const MISSING = new Set([3, 4]);
/** Characters of rclone's messages that are kept. */
const TAIL = 2_000;

interface Listed {
  Name: string;
  Size: number;
  ModTime: string;
  IsDir: boolean;
}

/** A folder of any remote of an installed rclone. Every call is a process of its own. */
export class RcloneStorage implements Storage {
  readonly type = 'RCLONE';
  readonly place: string;

  /** @param program rclone itself, found on the PATH */
  constructor(
    private readonly settings: RcloneSettings,
    private readonly program = 'rclone',
  ) {
    this.place = rclonePlace(settings);
  }

  folder(): null {
    return null;
  }

  locate(name: string): string {
    return `${this.place}/${plainName(name)}`;
  }

  async prepare(): Promise<Preparation> {
    await this.run('use', ['mkdir', this.target()]);
    const probe = this.target(`.probe-${randomUUID()}${PARTIAL}`);
    await this.run('write to', ['rcat', probe], Readable.from(['probe']));
    await this.run('delete from', ['deletefile', probe]);
    return { made: [], undo: async () => undefined };
  }

  async put(name: string, body: Readable, { owner, signal }: PutOptions): Promise<StoredObject> {
    const partial = this.target(partialName(plainNameOf(name, body), owner));
    let size = 0;
    const counted = async function* (source: AsyncIterable<Buffer | string>) {
      for await (const chunk of source) {
        size += Buffer.byteLength(chunk);
        yield chunk;
      }
    };
    try {
      if ((await this.stat(name)) !== null) throw this.taken(name);
      await this.run('write to', ['rcat', partial], Readable.from(counted(body), { objectMode: false }), signal);
      signal.throwIfAborted();
      // It moves nothing where the name is there: then the partial one stays.
      await this.run('write to', ['moveto', '--ignore-existing', partial, this.target(name)]);
      const stored = await this.stat(name);
      if (stored?.size === size && (await this.isGone(partial))) return stored;
      throw this.taken(name);
    } catch (error) {
      body.destroy();
      await this.delete(partial).catch(() => undefined);
      if (signal.aborted && signal.reason instanceof AppError) throw signal.reason;
      throw error;
    }
  }

  async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    const location = this.locate(name);
    if ((await this.stat(name)) === null) throw new AppError('ARCHIVE_MISSING', `${location} is not there.`);
    const { start = 0, end } = range ?? {};
    const count = end === undefined ? [] : ['--count', String(end - start + 1)];
    const child = this.start(['cat', '--offset', String(start), ...count, this.target(name)]);
    child.stdin?.destroy();
    const ended = this.ending(child, `read ${location}`);
    ended.catch(() => undefined);
    const bytes = async function* () {
      yield* child.stdout as AsyncIterable<Buffer>;
      await ended;
    };
    const stream = guarded(Readable.from(bytes(), { objectMode: false }), location, (error) => error as AppError);
    return stream.once('close', () => child.kill('SIGKILL'));
  }

  async stat(name: string): Promise<StoredObject | null> {
    const location = this.locate(name);
    // Of the folder and not of the file: only so is a folder that is away told from a file that is not there.
    const args = ['lsjson', '--no-mimetype', '--files-only', '--include', `/${escaped(name)}`, this.target()];
    const [found] = JSON.parse(await this.run('read', args)) as Listed[];
    return found === undefined ? null : { ...object(found), location };
  }

  async remove(name: string): Promise<void> {
    const location = this.locate(name);
    await this.delete(this.target(name));
    if ((await this.stat(name)) === null) return;
    throw new AppError('STORAGE_UNAVAILABLE', `${location} is still there after it was deleted.`);
  }

  async discard(owner: string, name: string): Promise<void> {
    await this.delete(this.target(partialName(plainName(name), owner)));
  }

  async *list(prefix = ''): AsyncIterable<StoredObject> {
    const child = this.start(['lsjson', '--no-mimetype', '--files-only', this.target()]);
    child.stdin?.destroy();
    const ended = this.ending(child, `list ${this.place}`);
    ended.catch(() => undefined);
    try {
      // One object a line, between brackets.
      for await (const line of createInterface({ input: child.stdout as Readable })) {
        const text = line.replace(/,$/, '');
        if (!text.startsWith('{')) continue;
        const found = JSON.parse(text) as Listed;
        if (isListed(found.Name, prefix)) yield { ...object(found), location: this.locate(found.Name) };
      }
      await ended;
    } finally {
      child.kill('SIGKILL');
    }
  }

  async space(): Promise<{ free: number; total: number } | null> {
    try {
      const found = JSON.parse(await this.run('read', ['about', '--json', this.target()])) as Record<string, number>;
      const { free, total } = found;
      return free === undefined || total === undefined ? null : { free, total };
    } catch (error) {
      if (error instanceof AppError && error.code === 'STORAGE_UNAVAILABLE' && !isUnsupported(error)) throw error;
      return null;
    }
  }

  private target(name = ''): string {
    const { remote, path } = this.settings;
    return `${remote}:${[path, name].filter((part) => part !== '').join('/')}`;
  }

  private taken(name: string): AppError {
    return new AppError('NAME_TAKEN', `${this.locate(name)} is already there.`);
  }

  private async isGone(target: string): Promise<boolean> {
    const name = target.slice(target.lastIndexOf('/') + 1).replace(/^.*:/, '');
    const args = ['lsjson', '--no-mimetype', '--files-only', '--include', `/${escaped(name)}`, this.target()];
    return (JSON.parse(await this.run('read', args)) as Listed[]).length === 0;
  }

  /** rclone has no code of its own for what was not there. */
  private async delete(target: string): Promise<void> {
    await this.run('delete from', ['deletefile', target]).catch(async (error: unknown) => {
      if (!(await this.isGone(target))) throw error;
    });
  }

  /** Runs rclone to its end. @returns what it wrote @throws AppError; ARCHIVE_MISSING for what is not there */
  private async run(verb: string, args: string[], input?: Readable, signal?: AbortSignal): Promise<string> {
    const child = this.start(args);
    const stop = () => child.kill('SIGKILL');
    signal?.addEventListener('abort', stop, { once: true });
    const ended = this.ending(child, `${verb} ${this.place}`);
    ended.catch(() => undefined);
    try {
      const fed = input === undefined ? child.stdin?.destroy() : this.feed(child, input);
      const [written] = await Promise.all([text(child.stdout as Readable), fed, ended]);
      return written;
    } catch (error) {
      // What is fed must not end as if it were whole.
      stop();
      throw error instanceof AppError ? error : await ended.then(() => error as Error);
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** An error of the source ends rclone before its input ends. */
  private async feed(child: ChildProcess, input: Readable): Promise<void> {
    let broken: unknown;
    input.once('error', (error) => {
      broken = error;
      child.kill('SIGKILL');
    });
    await pipeline(input, child.stdin as NodeJS.WritableStream).catch((error: unknown) => {
      // A pipe that rclone closed: its own words say why.
      if (broken !== undefined || errnoOf(error) !== 'EPIPE') throw broken ?? error;
    });
  }

  private start(args: string[]): ChildProcess {
    const { configFile } = this.settings;
    const common = ['--retries', '1', '--low-level-retries', '5', '--contimeout', '15s'];
    const patience = ['--timeout', `${STALLED_AFTER / 1_000}s`];
    const config = configFile === undefined ? [] : ['--config', configFile];
    return spawn(this.program, [...args, ...common, ...patience, ...config], { stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Waits for the end of a process. @throws AppError unless it is success */
  private async ending(child: ChildProcess, doing: string): Promise<void> {
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-TAIL)));
    child.stdin?.on('error', () => undefined);
    try {
      const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
      if (code !== 0) throw rcloneError(doing, code, said || `it was ended by ${signal ?? 'nobody'}`);
    } catch (error) {
      if (error instanceof AppError) throw error;
      throw new AppError('STORAGE_REFUSED', `Cannot ${doing}: rclone cannot be run (${errnoOf(error) ?? 'unknown'}).`, {
        hint: 'Install rclone, so that the user that runs db-manager has it on its PATH.',
        cause: error,
      });
    }
  }
}

const partialName = (name: string, owner: string) => `.${name}.${owner}${PARTIAL}`;

/** The name, if it is plain; otherwise the body has no use any more. */
function plainNameOf(name: string, body: Readable): string {
  try {
    return plainName(name);
  } catch (error) {
    body.destroy();
    throw error;
  }
}

const object = ({ Name: name, Size: size, ModTime }: Listed) => ({ name, size, modifiedAt: new Date(ModTime) });

/** A name in a pattern of rclone. */
const escaped = (name: string) => name.replace(/[*?[\]{}\\]/g, '\\$&');

const isUnsupported = ({ message }: AppError) => /doesn't support about|not supported/i.test(message);

/** What rclone's end means for the user. @param said its messages, the last of which says why */
function rcloneError(doing: string, code: number | null, said: string): AppError {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const last = (lines.at(-1) ?? '').replace(/^\S+ \S+ (?:ERROR|NOTICE|CRITICAL|Failed)[^:]*: ?/, '').trim();
  const message = `Cannot ${doing}: ${last.replace(/\.$/, '')}.`;
  if (code === 4) return new AppError('ARCHIVE_MISSING', message);
  if (/no space left|quota ?exceeded|insufficient ?storage/i.test(said)) return new AppError('STORAGE_FULL', message);
  const refused =
    /didn't find section|config file|access ?denied|unauthori[sz]ed|forbidden|permission denied|InvalidAccessKey|SignatureDoesNot|NoSuchBucket|invalid_grant/i;
  if (refused.test(said)) {
    const hint = 'Check the remote with `rclone lsf`, as the user that runs db-manager.';
    return new AppError('STORAGE_REFUSED', message, { hint });
  }
  return new AppError('STORAGE_UNAVAILABLE', message, { ...(MISSING.has(code ?? 0) && { hint: FOLDER_HINT }) });
}

const FOLDER_HINT = 'The folder is not there: test the destination, which makes it.';

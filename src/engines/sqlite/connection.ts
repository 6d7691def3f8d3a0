import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import sqlite3 from 'sqlite3';
import { AppError } from '../../errors.js';
import { keepLocks } from '../../file-locks.js';

/** The part of sqlite3's online backup that its type definitions leave out. */
interface OnlineBackup {
  readonly completed: boolean;
  readonly failed: boolean;
  step(pages: number, callback: (error: Error | null) => void): void;
  finish(callback?: (error: Error | null) => void): void;
}
type BackupDatabase = sqlite3.Database & {
  backup(
    file: string,
    destName: string,
    sourceName: string,
    fileIsDest: boolean,
    callback: (error: Error | null) => void,
  ): OnlineBackup;
};

/** Bounds of the largest value that is read from a private copy, in bytes: SQLite's own is the upper one. */
const MIN_VALUE_LIMIT = 1024 * 1024;
const MAX_VALUE_LIMIT = 1_000_000_000;

/** How a file is opened. `immutable`: no other process has it open; no lock is taken and nothing is written beside it. */
export type OpenMode = 'readonly' | 'readwrite' | 'create' | 'immutable';

/** How long to wait for locks that other programs hold, in milliseconds, and what ends the wait early. */
export interface Patience {
  lockTimeoutMs: number;
  signal: AbortSignal;
}

/** SQLite's own wait cannot be interrupted, so a wait with a signal is made of short ones, in milliseconds. */
const SHORT_WAIT = 200;
const PAUSE = 50;

const immutableUrl = (path: string) => `${pathToFileURL(path).href}?immutable=1`;

/** One connection to a SQLite file, with promises and with the product's errors. */
export class SqliteConnection {
  private constructor(
    private readonly db: sqlite3.Database,
    readonly path: string,
    private readonly patience: Patience | null,
    private readonly shown: string,
    private readonly release: () => void,
  ) {}

  /**
   * @param wait how long a statement waits for a lock that another program holds: milliseconds, or a wait with a signal
   * @param shown the path that errors name, where the file is a private copy
   */
  static open(
    path: string,
    mode: OpenMode,
    wait: number | Patience = 0,
    shown: string = path,
  ): Promise<SqliteConnection> {
    const flags = {
      readonly: sqlite3.OPEN_READONLY,
      readwrite: sqlite3.OPEN_READWRITE,
      create: sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE,
      immutable: sqlite3.OPEN_READONLY | sqlite3.OPEN_URI,
    }[mode];
    const name = mode === 'immutable' ? immutableUrl(path) : path;
    // A file that is read as immutable is not locked.
    const release = mode === 'immutable' ? () => undefined : keepLocks(path);
    return new Promise((resolve, reject) => {
      const db = new sqlite3.Database(name, flags | sqlite3.OPEN_FULLMUTEX, (error) => {
        if (error) {
          release();
          return reject(translate(error, shown));
        }
        const patience = typeof wait === 'number' ? null : wait;
        db.configure('busyTimeout', typeof wait === 'number' ? wait : Math.min(wait.lockTimeoutMs, SHORT_WAIT));
        const connection = new SqliteConnection(db, path, patience, shown, release);
        connection.distrust(mode).then(
          () => resolve(connection),
          (failure: Error) =>
            db.close(() => {
              release();
              reject(failure);
            }),
        );
      });
    });
  }

  /**
   * What SQLite's documentation asks for before a file of unknown origin is read: nothing in its schema may call a function
   * that has effects, every page is checked when it is read, and no value may be larger than the file that is its source.
   */
  private async distrust(mode: OpenMode): Promise<void> {
    await this.run('PRAGMA trusted_schema = OFF');
    if (mode !== 'immutable') return;
    await this.run('PRAGMA cell_size_check = ON');
    await this.limitValues([this.path]);
  }

  private async limitValues(paths: string[]): Promise<void> {
    const sizes = await Promise.all(paths.map(async (path) => (await stat(path)).size));
    const bytes = Math.min(Math.max(...sizes, MIN_VALUE_LIMIT), MAX_VALUE_LIMIT);
    this.db.configure('limit', sqlite3.LIMIT_LENGTH, bytes);
  }

  /** Attaches another private copy to one that was opened as immutable. */
  async attachImmutable(path: string, name: string): Promise<void> {
    await this.limitValues([this.path, path]);
    await this.run(`ATTACH ? AS ${name}`, immutableUrl(path));
  }

  /** Allows no further ATTACH on this connection, whatever a statement tries. */
  forbidAttach(attached: number): void {
    this.db.configure('limit', sqlite3.LIMIT_ATTACHED, attached);
  }

  all<Row>(sql: string, ...params: unknown[]): Promise<Row[]> {
    const once = () =>
      new Promise<Row[]>((resolve, reject) => {
        this.db.all<Row>(sql, params, (error, rows) => (error ? reject(translate(error, this.shown)) : resolve(rows)));
      });
    return this.patience === null ? once() : patiently(this.patience, once);
  }

  /** Reads row by row: those before an error are not lost. */
  async *each<Row>(sql: string): AsyncGenerator<Row> {
    const statement = await new Promise<sqlite3.Statement>((resolve, reject) => {
      const prepared = this.db.prepare(sql, (error: Error | null) =>
        error ? reject(translate(error, this.shown)) : resolve(prepared),
      );
    });
    try {
      for (;;) {
        const row = await new Promise<Row | undefined>((resolve, reject) => {
          statement.get<Row>((error: Error | null, found?: Row) =>
            error ? reject(translate(error, this.shown)) : resolve(found),
          );
        });
        if (row === undefined) return;
        yield row;
      }
    } finally {
      await new Promise<void>((resolve) => statement.finalize(() => resolve()));
    }
  }

  /** The first column of the first row. */
  async value<T extends string | number>(sql: string): Promise<T> {
    const [row] = await this.all<Record<string, T>>(sql);
    return Object.values(row ?? {})[0] as T;
  }

  /** Runs the first statement of the text and nothing else: there is no way here to run a script. */
  run(sql: string, ...params: unknown[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.db.run(sql, params, (error: Error | null) => (error ? reject(translate(error, this.shown)) : resolve()));
    });
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.db.close((error) => {
        if (error) return reject(translate(error, this.shown));
        this.release();
        resolve();
      });
    });
  }

  /** Stops the statement that runs now; it fails with an error. */
  interrupt(): void {
    this.db.interrupt();
  }

  /**
   * Copies between this database and a file by SQLite's online backup, all pages in one step: one committed state, and
   * one transaction at the destination. In many steps it would start again at each write of another connection.
   * @param lockTimeoutMs how long to wait for a lock before DATABASE_IN_USE
   */
  async copy(
    file: string,
    direction: 'to-file' | 'from-file',
    options: { lockTimeoutMs: number; signal: AbortSignal },
  ): Promise<void> {
    const backup = await new Promise<OnlineBackup>((resolve, reject) => {
      const started: OnlineBackup = (this.db as BackupDatabase).backup(
        file,
        'main',
        'main',
        direction === 'to-file',
        (error) => (error ? reject(translate(error, this.shown)) : resolve(started)),
      );
    });
    const deadline = Date.now() + options.lockTimeoutMs;
    try {
      for (;;) {
        options.signal.throwIfAborted();
        await new Promise<void>((resolve, reject) => {
          backup.step(-1, (error) => (error ? reject(translate(error, this.shown)) : resolve()));
        });
        if (backup.completed) return;
        if (backup.failed) throw new AppError('DATABASE_FAILED', `Copying ${this.shown} failed.`);
        if (Date.now() >= deadline) {
          throw new AppError(
            'DATABASE_IN_USE',
            `${this.shown} was locked by another program for ${options.lockTimeoutMs} ms.`,
          );
        }
        await sleep(50);
      }
    } finally {
      await new Promise<void>((resolve) => backup.finish(() => resolve()));
    }
  }
}

/** Opens, works, closes; a signal stops the statement that runs. */
export async function withConnection<T>(
  path: string,
  mode: 'readonly' | 'readwrite' | 'immutable',
  signal: AbortSignal | undefined,
  work: (connection: SqliteConnection) => Promise<T>,
  wait: number | Patience = 5_000,
  shown: string = path,
): Promise<T> {
  const connection = await SqliteConnection.open(path, mode, wait, shown);
  const stop = () => connection.interrupt();
  signal?.addEventListener('abort', stop);
  try {
    return await work(connection);
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener('abort', stop);
    await connection.close();
  }
}

/** Repeats work that fails for a lock, until the time is over or the signal ends the wait. */
async function patiently<T>({ lockTimeoutMs, signal }: Patience, work: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + lockTimeoutMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const locked = error instanceof AppError && error.code === 'DATABASE_IN_USE';
      if (!locked || Date.now() >= deadline) throw error;
    }
    await sleep(PAUSE, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** SQLite's name of the reason, such as SQLITE_BUSY; empty where it is not SQLite's error. */
export const sqliteCode = (error: unknown): string =>
  error instanceof AppError ? ((error.cause as { code?: string } | undefined)?.code ?? '') : '';

/** SQLite's own words for the reason, such as `no such table: t`; empty where it is not SQLite's error. */
export const sqliteWords = (error: unknown): string =>
  sqliteCode(error) === '' ? '' : words((error as AppError).cause as Error);

/** True if a statement cannot be run as it is: the disk, the locks and the pages are not the reason. */
export const isSqlError = (error: unknown): boolean => sqliteCode(error) === 'SQLITE_ERROR';

/** SQLite's words in the product's: `path` is named, the cause is kept for the log. */
export function translate(error: Error, path: string): AppError {
  const code = (error as { code?: string }).code ?? '';
  const fail = (to: ConstructorParameters<typeof AppError>[0], text: string, hint?: string) =>
    new AppError(to, text, { cause: error, ...(hint ? { hint } : {}) });
  switch (code) {
    case 'SQLITE_NOTADB':
      return fail('DATABASE_WRONG_KIND', `${path} is not a SQLite database (or it is encrypted).`);
    case 'SQLITE_CORRUPT':
      return fail('DATABASE_CORRUPT', `${path} is damaged: ${words(error)}.`);
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return fail('DATABASE_IN_USE', `${path} is locked by another program.`);
    case 'SQLITE_CANTOPEN':
      return fail(
        'DATABASE_UNREADABLE',
        `${path} cannot be opened.`,
        'Check the rights on the file and its folder; a database in WAL mode also needs its -shm file readable, or the folder writable.',
      );
    case 'SQLITE_READONLY':
    case 'SQLITE_PERM':
      return fail('DATABASE_UNREADABLE', `${path} cannot be written: ${words(error)}.`);
    case 'SQLITE_FULL':
      return fail('STORAGE_FULL', `No space left while working on ${path}.`);
    case 'SQLITE_INTERRUPT':
      return fail('CANCELLED', `Work on ${path} was stopped.`);
    case 'SQLITE_IOERR':
      return fail('DATABASE_FAILED', `The disk failed while working on ${path}: ${words(error)}.`);
    default:
      return fail('DATABASE_FAILED', `SQLite failed on ${path}: ${words(error)}.`);
  }
}

const words = (error: Error) => error.message.replace(/^SQLITE_\w+: /, '').replace(/\.$/, '');

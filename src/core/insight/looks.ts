import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../errors.js';
import type { BackupRow } from '../../models/index.js';
import type { StoredArchive } from '../archives/stored-archive.js';
import { extractDatabase } from '../archives/verify.js';
import { loadScratch, type ScratchEnvironment, scratchServer } from '../drills/scratch.js';
import type { CoreEnvironment } from '../environment.js';
import { checkedDump } from '../restores/steps.js';
import { Hold, type HoldEnvironment, runLease } from '../runs/hold.js';
import { newId } from '../text/ids.js';

/** What laying private copies needs. */
export type LooksEnvironment = HoldEnvironment &
  ScratchEnvironment &
  Pick<CoreEnvironment, 'log' | 'models' | 'now' | 'workFolder'>;

/** A backup whose database is laid; it is open, so that `StoredArchive.archive` can be called. */
export interface Looked {
  row: BackupRow;
  stored: StoredArchive;
}

/** How many databases stay at most, and for how long after their last use, in milliseconds. */
const MOST = 2;
const KEPT = 120_000;

/** A folder of its own below the work folder, and the lease that keeps the sweep off it. */
interface Scratch {
  id: string;
  folder: string;
  hold: Hold;
  /** Drops the database that was made for it on a server. */
  drop(): Promise<void>;
}

/** A database that can be read. */
interface Laid extends Scratch {
  /** As `RowReader` takes it. */
  place: string;
}

/** A database that the next one who asks is given, too. */
interface Kept {
  opened: Promise<Laid>;
  /** Whether it is laid. Until then, `unwanted` ends that once nobody waits for it. */
  isLaid: boolean;
  unwanted: AbortController;
  users: number;
  /** Removes it. Null while it is used. */
  timer: NodeJS.Timeout | null;
}

/** How long `close` waits for those who still read, in milliseconds. */
const CLOSE_WITHIN = 5_000;

/**
 * Private copies of the databases in backups: extracted, or loaded into a scratch database on a server. Who asks again
 * within two minutes is given the one before: a person who looks into a backup does so more than once.
 */
export class Looks {
  /** By the id of the backup, the one that was used last at the end. */
  private readonly kept = new Map<string, Kept>();
  private readonly running = new Set<Promise<unknown>>();
  private closed = false;

  constructor(private readonly env: LooksEnvironment) {}

  /**
   * Gives the place of a backup's database, as `RowReader` takes it. It stays as it is until `work` has ended.
   * @param keep false for an archive that was opened with a key of this caller: nobody else is given the copy
   * @param signal ends the waiting, and the laying where nobody else waits for it
   * @throws AppError ARCHIVE_…, STORAGE_FULL; as `scratchServer` and `Engine.load` for one of a server; what `work` throws
   */
  during<T>(backup: Looked, keep: boolean, signal: AbortSignal, work: (place: string) => Promise<T>): Promise<T> {
    const kept = keep ? this.take(backup) : null;
    const run = kept === null ? this.once(backup, signal, work) : this.shared(kept, backup, signal, work);
    this.running.add(run);
    const ended = () => void this.running.delete(run);
    run.then(ended, ended);
    return run;
  }

  private async once<T>(backup: Looked, signal: AbortSignal, work: (place: string) => Promise<T>): Promise<T> {
    const laid = await this.lay(backup, signal);
    try {
      return await work(laid.place);
    } finally {
      await remove(laid);
    }
  }

  private async shared<T>(
    kept: Kept,
    { row }: Looked,
    signal: AbortSignal,
    work: (place: string) => Promise<T>,
  ): Promise<T> {
    try {
      return await work((await unless(signal, kept.opened)).place);
    } finally {
      kept.users -= 1;
      if (kept.users === 0) await this.leave(row.id, kept);
    }
  }

  private async leave(id: string, kept: Kept): Promise<void> {
    const stays = kept.isLaid && !this.closed && this.kept.get(id) === kept;
    if (stays) {
      kept.timer = setTimeout(() => void this.drop(id, kept), KEPT).unref();
      return;
    }
    kept.unwanted.abort(new AppError('CANCELLED', 'Nobody waits for the database any more.'));
    await this.drop(id, kept);
  }

  /** Gives an empty folder, and a signal that aborts if it must be given up. It is removed afterwards. */
  async fresh<T>(work: (folder: string, lost: AbortSignal) => Promise<T>): Promise<T> {
    const scratch = await this.make();
    try {
      return await work(scratch.folder, scratch.hold.lost);
    } finally {
      await remove(scratch);
    }
  }

  /** Removes all: what is still read, once that has ended. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.kept].map(([id, kept]) => (kept.users === 0 ? this.drop(id, kept) : undefined)));
    const late = new Promise((resolve) => setTimeout(resolve, CLOSE_WITHIN).unref());
    await Promise.race([Promise.allSettled(this.running), late]);
  }

  /** @returns null if as many as may be are in use */
  private take(backup: Looked): Kept | null {
    const { id } = backup.row;
    let kept = this.kept.get(id);
    if (kept === undefined) {
      const isFull = this.kept.size >= MOST;
      const idle = isFull ? [...this.kept].find(([, { users }]) => users === 0) : undefined;
      if (isFull && idle === undefined) return null;
      // Nothing is waited for before its place is taken: others ask meanwhile.
      kept = this.keep(backup, idle === undefined ? Promise.resolve() : this.drop(...idle));
    }
    if (kept.timer !== null) clearTimeout(kept.timer);
    kept.timer = null;
    kept.users += 1;
    this.kept.delete(id);
    this.kept.set(id, kept);
    return kept;
  }

  /** @param room settled once the disk has the room of the copy that makes way */
  private keep(backup: Looked, room: Promise<void>): Kept {
    const unwanted = new AbortController();
    const opened = room.then(() => this.lay(backup, unwanted.signal));
    const kept: Kept = { opened, isLaid: false, unwanted, users: 0, timer: null };
    const { id } = backup.row;
    const forget = () => {
      if (this.kept.get(id) === kept) this.kept.delete(id);
    };
    // A copy whose lease is lost may be removed by anyone.
    const lose = () => (kept.users === 0 ? void this.drop(id, kept) : forget());
    const laid = ({ hold }: Laid) => {
      kept.isLaid = true;
      hold.lost.addEventListener('abort', lose);
    };
    opened.then(laid, forget);
    return kept;
  }

  private async lay(backup: Looked, signal: AbortSignal): Promise<Laid> {
    const scratch = await this.make();
    try {
      return Object.assign(scratch, { place: await this.fill(backup, scratch, signal) });
    } catch (error) {
      await remove(scratch);
      throw error;
    }
  }

  private async make(): Promise<Scratch> {
    const id = newId('look', this.env.now());
    const hold = await Hold.take(this.env, [runLease(id)]);
    if (!(hold instanceof Hold)) throw new Error(`The lease of the new id ${id} is held.`);
    const folder = join(this.env.workFolder, id);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return { id, folder, hold, drop: async () => undefined };
  }

  /** @returns the place of the database */
  private async fill({ row, stored }: Looked, scratch: Scratch, signal: AbortSignal): Promise<string> {
    const { id, folder, hold } = scratch;
    const step = { signal: AbortSignal.any([hold.lost, signal]), onProgress: () => undefined };
    const engine = this.env.engines.of(row.engine);
    const config = row.configId === null ? null : await this.env.models.BackupConfig.findByPk(row.configId);
    const server = scratchServer(this.env, row, config);
    const archive = await stored.archive(step.signal);
    await extractDatabase(archive, engine, folder, step);
    if (server === null) return folder;
    const dump = { backup: row, archive, folder };
    await checkedDump(engine, dump, step);
    const url = await engine.scratch.urlFor(id, folder, server);
    scratch.drop = () =>
      engine.scratch.drop(url, id).catch((error: unknown) => {
        this.env.log.warn({ err: error, look: id }, 'the scratch database of a look could not be removed');
      });
    await loadScratch(engine, dump, { url, id }, step);
    return url;
  }

  private async drop(id: string, kept: Kept): Promise<void> {
    if (this.kept.get(id) === kept) this.kept.delete(id);
    if (kept.timer !== null) clearTimeout(kept.timer);
    const laid = await kept.opened.catch(() => null);
    if (laid) await remove(laid);
  }
}

async function remove({ folder, hold, drop }: Scratch): Promise<void> {
  try {
    await drop();
    await rm(folder, { recursive: true, force: true });
  } finally {
    await hold.release();
  }
}

/** Waits no longer than the signal allows. @throws the signal's reason */
async function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  signal.throwIfAborted();
  let end: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    end = () => reject(signal.reason as Error);
    signal.addEventListener('abort', end, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}

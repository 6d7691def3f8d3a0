import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
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
  users: number;
  /** Removes it. Null while it is used. */
  timer: NodeJS.Timeout | null;
}

/**
 * Private copies of the databases in backups: extracted, or loaded into a scratch database on a server. Who asks again within two minutes is given the one before: a person who looks
 * into a backup does so more than once.
 */
export class Looks {
  /** By the id of the backup, the one that was used last at the end. */
  private readonly kept = new Map<string, Kept>();

  constructor(private readonly env: LooksEnvironment) {}

  /**
   * Gives the place of a backup's database, as `RowReader` takes it. It stays as it is until `work` has ended.
   * @param keep false for an archive that was opened with a key of this caller: nobody else is given the copy
   * @throws AppError ARCHIVE_…, STORAGE_FULL; as `scratchServer` and `Engine.load` for one of a server; what `work` throws
   */
  async during<T>(backup: Looked, keep: boolean, work: (place: string) => Promise<T>): Promise<T> {
    const kept = keep ? this.take(backup) : null;
    if (kept === null) {
      const laid = await this.lay(backup);
      try {
        return await work(laid.place);
      } finally {
        await remove(laid);
      }
    }
    try {
      return await work((await kept.opened).place);
    } finally {
      kept.users -= 1;
      if (kept.users === 0) kept.timer = setTimeout(() => void this.drop(backup.row.id), KEPT).unref();
    }
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

  /** Removes all that nobody uses. */
  async close(): Promise<void> {
    await Promise.all([...this.kept].map(([id, { users }]) => (users === 0 ? this.drop(id) : undefined)));
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
      kept = this.keep(backup, idle === undefined ? Promise.resolve() : this.drop(idle[0]));
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
    const kept: Kept = { opened: room.then(() => this.lay(backup)), users: 0, timer: null };
    const forget = () => this.kept.delete(backup.row.id);
    // A copy whose lease is lost may be removed by anyone.
    kept.opened.then(({ hold }) => hold.lost.addEventListener('abort', forget), forget);
    return kept;
  }

  private async lay(backup: Looked): Promise<Laid> {
    const scratch = await this.make();
    try {
      return Object.assign(scratch, { place: await this.fill(backup, scratch) });
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
  private async fill({ row, stored }: Looked, scratch: Scratch): Promise<string> {
    const { id, folder, hold } = scratch;
    const step = { signal: hold.lost, onProgress: () => undefined };
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

  private async drop(id: string): Promise<void> {
    const kept = this.kept.get(id);
    this.kept.delete(id);
    const scratch = await kept?.opened.catch(() => null);
    if (scratch) await remove(scratch);
  }
}

async function remove({ folder, hold, drop }: Scratch): Promise<void> {
  await drop();
  await rm(folder, { recursive: true, force: true });
  await hold.release();
}

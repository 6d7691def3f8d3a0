import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BackupRow } from '../../models/index.js';
import type { StoredArchive } from '../archives/stored-archive.js';
import { extractDatabase } from '../archives/verify.js';
import type { CoreEnvironment } from '../environment.js';
import { Hold, type HoldEnvironment, runLease } from '../runs/hold.js';
import { newId } from '../text/ids.js';

/** What laying private copies needs. */
export type LooksEnvironment = HoldEnvironment & Pick<CoreEnvironment, 'engines' | 'now' | 'workFolder'>;

/** How many databases stay extracted at most, and for how long after their last use, in milliseconds. */
const MOST = 2;
const KEPT = 120_000;

/** A folder of its own below the work folder, and the lease that keeps the sweep off it. */
interface Scratch {
  folder: string;
  hold: Hold;
}

/** An extracted database that the next one who asks is given, too. */
interface Kept {
  opened: Promise<Scratch>;
  users: number;
  /** Removes it. Null while it is used. */
  timer: NodeJS.Timeout | null;
}

/**
 * Private copies of the databases in backups. Who asks again within two minutes is given the one before: a person who looks
 * into a backup does so more than once.
 */
export class Looks {
  /** By the id of the backup, the one that was used last at the end. */
  private readonly kept = new Map<string, Kept>();

  constructor(private readonly env: LooksEnvironment) {}

  /**
   * Gives the folder with the extracted database of a backup, which stays as it is until `work` has ended.
   * @param backup opened, as `StoredArchive.archive` could be called
   * @param keep false for an archive that was opened with a key of this caller: nobody else is given the copy
   * @throws AppError ARCHIVE_…, STORAGE_FULL; what `work` throws
   */
  async during<T>(
    backup: { row: BackupRow; stored: StoredArchive },
    keep: boolean,
    work: (folder: string) => Promise<T>,
  ): Promise<T> {
    const kept = keep ? this.take(backup) : null;
    if (kept === null) {
      return this.fresh(async (folder, lost) => {
        await this.extract(backup, folder, lost);
        return work(folder);
      });
    }
    try {
      return await work((await kept.opened).folder);
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
  private take(backup: { row: BackupRow; stored: StoredArchive }): Kept | null {
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
  private keep(backup: { row: BackupRow; stored: StoredArchive }, room: Promise<void>): Kept {
    const kept: Kept = { opened: room.then(() => this.open(backup)), users: 0, timer: null };
    const forget = () => this.kept.delete(backup.row.id);
    // A copy whose lease is lost may be removed by anyone.
    kept.opened.then(({ hold }) => hold.lost.addEventListener('abort', forget), forget);
    return kept;
  }

  private async open(backup: { row: BackupRow; stored: StoredArchive }): Promise<Scratch> {
    const scratch = await this.make();
    try {
      await this.extract(backup, scratch.folder, scratch.hold.lost);
      return scratch;
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
    return { folder, hold };
  }

  private async extract(
    { row, stored }: { row: BackupRow; stored: StoredArchive },
    folder: string,
    signal: AbortSignal,
  ): Promise<void> {
    const step = { signal, onProgress: () => undefined };
    await extractDatabase(await stored.archive(signal), this.env.engines.of(row.engine), folder, step);
  }

  private async drop(id: string): Promise<void> {
    const kept = this.kept.get(id);
    this.kept.delete(id);
    const scratch = await kept?.opened.catch(() => null);
    if (scratch) await remove(scratch);
  }
}

async function remove({ folder, hold }: Scratch): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await hold.release();
}

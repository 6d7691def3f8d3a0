import { QueryTypes } from 'sequelize';
import { AppError } from '../../errors.js';
import type { CoreEnvironment } from '../environment.js';
import { type LostArchives, NEWEST_VERIFIED } from './config-states.js';
import type { ConfigHealth } from './health.js';
import type { Storage, StorageAddress } from '../ports.js';

/** How many archives one look is for: an installation with fewer configs is looked at as a whole each time. */
const ARCHIVES = 200;
/** How many archives one step of the first look is for. */
const ALL_ARCHIVES = 1_000;
/** How many archives are looked for at the same time. */
const AT_ONCE = 32;

/** How long the answer of a distant storage holds, in milliseconds: a look at a folder costs nothing. */
const DISTANT_LIFE = 600_000;

/** A config and one copy of its newest verified backup, if it has one. */
interface Newest extends StorageAddress {
  configId: number;
  backupId: string | null;
  /** Null if it has no copy that was stored. */
  copyId: number | null;
  fileName: string;
  /** Text, as PostgreSQL gives large numbers. */
  fileSize: number | string | null;
  filePath: string;
}

/**
 * Finds the newest verified archives of which no copy is there as it was stored. The first look is at all of them; later
 * ones go on through the configs piece by piece, and look at those again that were lost.
 */
export class ArchiveWatch {
  private readonly lost = new Map<number, NonNullable<ConfigHealth['lost']>>();
  /** What was found of copies in distant storages, by copy. */
  private readonly distant = new Map<number, { at: number; error: AppError | null }>();
  private after = 0;
  private first: Promise<void> | null = null;

  constructor(private readonly env: Pick<CoreEnvironment, 'models' | 'storages' | 'now'>) {}

  /** What is lost as far as it is known after this look. An unreachable storage has a reason of its own. */
  async look(): Promise<LostArchives> {
    if (this.first === null) {
      this.first = this.lookAtAll().catch((error: unknown) => {
        this.first = null;
        throw error;
      });
      await this.first;
      return this.lost;
    }
    await this.first;
    const known = [...this.lost.keys()].slice(0, ARCHIVES);
    await this.lookAtNext(ARCHIVES);
    if (known.length > 0) await this.lookAt(await this.newest('c.id IN (:known)', { known, limit: ARCHIVES }));
    return this.lost;
  }

  private async lookAtAll(): Promise<void> {
    do await this.lookAtNext(ALL_ARCHIVES);
    while (this.after > 0);
  }

  private async lookAtNext(count: number): Promise<void> {
    const configs = await this.newest('c.id > :after', { after: this.after, limit: count + 1 });
    const piece = configs.slice(0, count);
    this.after = configs.length > count ? (piece.at(-1)?.[0]?.configId ?? 0) : 0;
    await this.lookAt(piece);
  }

  /** The copies that each config which meets the condition has of its newest verified backup. */
  private async newest(condition: string, replacements: Record<string, unknown>): Promise<Newest[][]> {
    const rows = await this.env.models.sequelize.query<Newest>(
      `SELECT n."configId", b.id AS "backupId", o.id AS "copyId", o.name AS "fileName", b."fileSize",
         o.location AS "filePath", d."storageType", d."storagePath"
       FROM (SELECT c.id AS "configId", ${NEWEST_VERIFIED} AS "backupId" FROM backup_configs c
             WHERE ${condition} ORDER BY c.id LIMIT :limit) n
       LEFT JOIN backups b ON b.id = n."backupId"
       LEFT JOIN stored_objects o ON o."backupId" = n."backupId" AND o.status = 'COMPLETED'
       LEFT JOIN destinations d ON d.id = o."destinationId"
       ORDER BY n."configId", o.id`,
      { type: QueryTypes.SELECT, replacements },
    );
    const configs = new Map<number, Newest[]>();
    for (const row of rows) configs.set(row.configId, [...(configs.get(row.configId) ?? []), row]);
    return [...configs.values()];
  }

  private async lookAt(configs: Newest[][]): Promise<void> {
    const next = configs.values();
    const look = async () => {
      for (const copies of next) {
        const [{ configId, backupId } = { configId: 0, backupId: null }] = copies;
        const error = backupId === null ? null : await this.lossOf(copies);
        if (backupId === null || error === null) this.lost.delete(configId);
        else this.lost.set(configId, { backupId, error });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, look));
  }

  /** Null if one copy is there, or cannot be asked for; otherwise what became of the first. */
  private async lossOf(copies: Newest[]): Promise<AppError | null> {
    let first: AppError | null = null;
    for (const copy of copies) {
      const error = await this.errorOf(copy);
      if (error === null) return null;
      first ??= error;
    }
    return first;
  }

  private async errorOf(copy: Newest): Promise<AppError | null> {
    if (copy.copyId === null) return new AppError('ARCHIVE_MISSING', `No copy of ${copy.backupId} is there.`);
    const storage = this.env.storages.open(copy);
    if (storage.folder() !== null) return this.archiveError(storage, copy);
    const now = this.env.now().getTime();
    const known = this.distant.get(copy.copyId);
    if (known !== undefined && now - known.at < DISTANT_LIFE) return known.error;
    const error = await this.archiveError(storage, copy);
    this.distant.set(copy.copyId, { at: now, error });
    return error;
  }

  private async archiveError(storage: Storage, { fileName, filePath, fileSize }: Newest): Promise<AppError | null> {
    try {
      const stored = await storage.stat(fileName);
      if (stored === null) return new AppError('ARCHIVE_MISSING', `${filePath} is not there.`);
      if (fileSize === null || stored.size === Number(fileSize)) return null;
      return new AppError('ARCHIVE_CORRUPT', `${filePath} has ${stored.size} bytes instead of ${fileSize}.`);
    } catch (error) {
      if (error instanceof AppError) return null;
      throw error;
    }
  }
}

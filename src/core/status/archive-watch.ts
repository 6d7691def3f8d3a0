import { QueryTypes } from 'sequelize';
import { AppError } from '../../errors.js';
import type { CoreEnvironment } from '../environment.js';
import { type LostArchives, NEWEST_VERIFIED } from './config-states.js';
import type { ConfigHealth } from './health.js';
import type { StorageAddress } from '../ports.js';

/** How many archives one look is for: an installation with fewer configs is looked at as a whole each time. */
const ARCHIVES = 200;
/** How many archives one step of the first look is for. */
const ALL_ARCHIVES = 1_000;
/** How many archives are looked for at the same time. */
const AT_ONCE = 32;

/** A config and the first copy of its newest verified backup, if it has one. */
interface Newest extends StorageAddress {
  configId: number;
  backupId: string | null;
  fileName: string;
  /** Text, as PostgreSQL gives large numbers. */
  fileSize: number | string | null;
  filePath: string;
}

/**
 * Finds the newest verified archives that are not there as they were stored. The first look is at all of them; later ones
 * go on through the configs piece by piece, and look at those again that were lost.
 */
export class ArchiveWatch {
  private readonly lost = new Map<number, NonNullable<ConfigHealth['lost']>>();
  private after = 0;
  private first: Promise<void> | null = null;

  constructor(private readonly env: Pick<CoreEnvironment, 'models' | 'storages'>) {}

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
    const rows = await this.newest('c.id > :after', { after: this.after, limit: count + 1 });
    const piece = rows.slice(0, count);
    this.after = rows.length > count ? (piece.at(-1)?.configId ?? 0) : 0;
    await this.lookAt(piece);
  }

  /** The configs that meet the condition, by id. */
  private newest(condition: string, replacements: Record<string, unknown>): Promise<Newest[]> {
    return this.env.models.sequelize.query<Newest>(
      `SELECT n."configId", b.id AS "backupId", b."fileName", b."fileSize", o.location AS "filePath",
         d."storageType", d."storagePath"
       FROM (SELECT c.id AS "configId", ${NEWEST_VERIFIED} AS "backupId" FROM backup_configs c
             WHERE ${condition} ORDER BY c.id LIMIT :limit) n
       LEFT JOIN backups b ON b.id = n."backupId"
       LEFT JOIN stored_objects o ON o.id = (SELECT min(s.id) FROM stored_objects s WHERE s."backupId" = n."backupId")
       LEFT JOIN destinations d ON d.id = o."destinationId"
       ORDER BY n."configId"`,
      { type: QueryTypes.SELECT, replacements },
    );
  }

  private async lookAt(newest: Newest[]): Promise<void> {
    const next = newest.values();
    const look = async () => {
      for (const one of next) {
        const { configId, backupId } = one;
        const error = backupId === null ? null : await this.archiveError(one);
        if (backupId === null || error === null) this.lost.delete(configId);
        else this.lost.set(configId, { backupId, error });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, look));
  }

  private async archiveError({ fileName, filePath, fileSize, ...address }: Newest): Promise<AppError | null> {
    try {
      const stored = await this.env.storages.open(address).stat(fileName);
      if (stored === null) return new AppError('ARCHIVE_MISSING', `${filePath} is not there.`);
      if (fileSize === null || stored.size === Number(fileSize)) return null;
      return new AppError('ARCHIVE_CORRUPT', `${filePath} has ${stored.size} bytes instead of ${fileSize}.`);
    } catch (error) {
      if (error instanceof AppError) return null;
      throw error;
    }
  }
}

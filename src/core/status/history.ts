import { REGULAR_TYPES, type Models } from '../../models/index.js';
import { QueryTypes } from 'sequelize';
import { badInput } from '../../errors.js';
import { assertZone, momentOf, wallAt } from '../schedules/zones.js';

const DAY = 86_400_000;
/** Every zone's clock is ahead of UTC by a multiple of this, in milliseconds: no day begins inside such a piece of time. */
const PIECE = 900_000;
/** The longest history: three years. */
const MAX_DAYS = 1_096;

/** Which history is wanted. */
export interface HistoryRequest {
  /** Of this config; of all if left out. */
  configId?: number | undefined;
  /** How many days up to today. */
  days: number;
  timezone: string;
}

/** The backups that were asked for by a person or the schedule on one day. */
export interface BackupDay {
  /** yyyy-mm-dd in the zone. */
  date: string;
  /** Those that completed, whether their archive is still there or not. */
  completed: number;
  failed: number;
  /** Bytes of the archive of the day's newest completed backup; null if there was none. */
  size: number | null;
  /** That backup. */
  newestId: string | null;
  /** Bytes of the archive of the day's newest full backup; null if there was none. */
  fullSize: number | null;
}

interface Piece {
  piece: number;
  completed: number;
  failed: number;
  newestId: string | null;
  fullId: string | null;
}

/** A day before the sizes of its archives are known. */
type FoundDay = Omit<BackupDay, 'size' | 'fullSize'> & Pick<Piece, 'fullId'>;

/**
 * The days that have backups, oldest first. The database groups the rows by quarters of an hour, so that neither the
 * number of backups nor the zone matters to the memory that this needs.
 * @throws AppError BAD_USER_INPUT naming `days` or `timezone`
 */
export async function backupHistory(
  models: Models,
  { configId, days, timezone }: HistoryRequest,
  now: Date,
): Promise<BackupDay[]> {
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS) {
    throw badInput('days', `${days} is not a whole number from 1 to ${MAX_DAYS}.`);
  }
  assertZone(timezone);
  const today = Math.floor(wallAt(timezone, now.getTime()) / DAY);
  const walls = Array.from({ length: days + 1 }, (_, index) => (today - days + 1 + index) * DAY);
  const starts = walls.map((wall) => momentOf(timezone, wall));
  const found: FoundDay[] = [];
  let day = 0;
  for (const { piece, completed, failed, newestId, fullId } of await readPieces(models, configId, starts)) {
    while ((starts[day + 1] ?? Infinity) <= Number(piece) * PIECE) day += 1;
    const date = new Date(walls[day] ?? 0).toISOString().slice(0, 10);
    const last = found.at(-1);
    const into = last?.date === date ? last : { date, completed: 0, failed: 0, newestId: null, fullId: null };
    if (into !== last) found.push(into);
    into.completed += Number(completed);
    into.failed += Number(failed);
    into.newestId = newestId ?? into.newestId;
    into.fullId = fullId ?? into.fullId;
  }
  const sizes = await sizesOf(models, found);
  const sizeOf = (id: string | null) => sizes.get(id ?? '') ?? null;
  return found.map(({ fullId, ...one }) => ({ ...one, size: sizeOf(one.newestId), fullSize: sizeOf(fullId) }));
}

/** Ids sort by time: the greatest is the newest. */
function readPieces({ sequelize }: Models, configId: number | undefined, starts: number[]): Promise<Piece[]> {
  const seconds =
    sequelize.getDialect() === 'postgres'
      ? `CAST(floor(extract(epoch FROM "createdAt")) AS BIGINT)`
      : `CAST(strftime('%s', "createdAt") AS INTEGER)`;
  // A failed run may be deleted too: it never had an archive.
  const done = `(status = 'COMPLETED' OR (status = 'DELETED' AND "fileSize" IS NOT NULL))`;
  const failed = `(status = 'FAILED' OR (status = 'DELETED' AND "fileSize" IS NULL))`;
  return sequelize.query<Piece>(
    `SELECT ${seconds} / ${PIECE / 1_000} AS piece,
       sum(CASE WHEN ${done} THEN 1 ELSE 0 END) AS completed,
       sum(CASE WHEN ${failed} THEN 1 ELSE 0 END) AS failed,
       max(CASE WHEN ${done} AND "fileSize" IS NOT NULL THEN id END) AS "newestId",
       max(CASE WHEN ${done} AND "fileSize" IS NOT NULL AND mode = 'FULL' THEN id END) AS "fullId"
     FROM backups
     WHERE "createdAt" >= :from AND "createdAt" < :to AND "backupType" IN (:types)
       AND consolidates IS NULL AND status IN ('COMPLETED', 'DELETED', 'FAILED') ${configId === undefined ? '' : 'AND "configId" = :configId'}
     GROUP BY 1 ORDER BY 1`,
    {
      replacements: {
        from: new Date(starts[0] ?? 0),
        to: new Date(starts.at(-1) ?? 0),
        configId,
        types: REGULAR_TYPES,
      },
      type: QueryTypes.SELECT,
    },
  );
}

async function sizesOf(models: Models, days: FoundDay[]): Promise<Map<string, number | null>> {
  const id = [...new Set(days.flatMap(({ newestId, fullId }) => [newestId ?? [], fullId ?? []].flat()))];
  const rows = await models.Backup.findAll({ attributes: ['id', 'fileSize'], where: { id } });
  return new Map(rows.map((row) => [row.id, row.fileSize]));
}

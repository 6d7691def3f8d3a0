import { QueryTypes } from 'sequelize';
import type { Models } from '../../models/index.js';
import type { HealthReason } from './health.js';

const DAY = 86_400_000;
/** How old the last verification of a copy may be, in days: the schedule verifies it again a week before. */
const STALE_AFTER = 35;
/** How many such copies are counted. */
const COUNTED = 1_000;

/**
 * Good copies that no one has looked at for too long: what is damaged or not verified has a reason of its own, and a disk
 * that is away most of the time cannot be looked at.
 */
export async function proofReasons({ sequelize }: Models, now: Date): Promise<HealthReason[]> {
  const stale = await sequelize.query<{ location: string; verifiedAt: string | Date }>(
    `SELECT o.location, o."verifiedAt"
     FROM stored_objects o JOIN backups b ON b.id = o."backupId" JOIN destinations d ON d.id = o."destinationId"
     WHERE o."verifiedAt" < :before AND o.status = 'COMPLETED' AND o."errorCode" IS NULL AND NOT d.offline
       AND b.status = 'COMPLETED' AND NOT b.damaged AND b."verifiedAt" IS NOT NULL
     ORDER BY o."verifiedAt" LIMIT ${COUNTED}`,
    { type: QueryTypes.SELECT, replacements: { before: new Date(now.getTime() - STALE_AFTER * DAY) } },
  );
  const [oldest] = stale;
  if (oldest === undefined) return [];
  const count = stale.length < COUNTED ? String(stale.length) : `${COUNTED} or more`;
  const copies = stale.length === 1 ? '1 stored copy was' : `${count} stored copies were`;
  const since = new Date(oldest.verifiedAt).toISOString().slice(0, 10);
  const message = `${copies} not verified for ${STALE_AFTER} days, ${oldest.location} since ${since}.`;
  const hint = 'Let a server or worker run, raise REVERIFY_MB_PER_DAY, or verify them now: `db-manager verify --due`.';
  return [{ level: 'WARNING', code: 'PROOF_STALE', message, hint, configId: null }];
}

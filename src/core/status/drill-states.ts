import { QueryTypes } from 'sequelize';
import { type Models, readPlain } from '../../models/index.js';
import type { DrillState, HealthReason } from './health.js';

/** How late a drill may begin before it counts as overdue, in milliseconds. */
const GRACE = 2 * 3_600_000;
/** How many ids a statement names at most. */
const AT_ONCE = 1_000;

/** The newest drill of the config `c` that meets a condition: a look into an index. */
const newestDrill = (condition: string) =>
  `(SELECT v.id FROM verifications v WHERE v.level = 'DRILL' AND v."configId" = c.id AND ${condition}
     ORDER BY v."createdAt" DESC, v.id DESC LIMIT 1)`;

const PASSED = newestDrill(`v.status = 'COMPLETED'`);
/** One that was cancelled or interrupted, or did not get its turn, says nothing about restores. */
const SAYS_NOTHING = `('CANCELLED', 'INTERRUPTED', 'BUSY')`;
const ENDED = newestDrill(
  `(v.status = 'COMPLETED' OR v.status = 'FAILED' AND coalesce(v."errorCode", '') NOT IN ${SAYS_NOTHING})`,
);
/** The newest of the schedule that was interrupted or did not get its turn, if nothing came after it. */
const BROKEN_OFF = newestDrill(
  `v."createdBy" = 'system' AND v.status = 'FAILED' AND v."errorCode" IN ('INTERRUPTED', 'BUSY') AND NOT EXISTS (
     SELECT 1 FROM verifications later WHERE later.level = 'DRILL' AND later."configId" = c.id
       AND later."createdAt" > v."createdAt"
       AND NOT (later.status = 'FAILED' AND later."errorCode" IN ${SAYS_NOTHING}))`,
);

/** The newest good backup of the config `c`. */
const NEWEST_GOOD = `(SELECT b.id FROM backups b WHERE b."configId" = c.id AND b."backupType" IN ('MANUAL', 'AUTO')
  AND b.status = 'COMPLETED' AND b."verifiedAt" IS NOT NULL AND NOT b.suspicious
  ORDER BY b."createdAt" DESC, b.id DESC LIMIT 1)`;

/** Configs whose newest drill failed, or whose drill is due and has not begun, or was broken off. */
export async function drillReasons({ sequelize }: Models, now: Date): Promise<HealthReason[]> {
  const rows = await sequelize.query<{
    id: number;
    name: string;
    due: string | Date | null;
    drillId: string | null;
    status: string | null;
    errorCode: string | null;
    errorMessage: string | null;
    brokenOff: string | null;
  }>(
    `SELECT c.id, c.name, c."nextDrillAt" AS due, d.id AS "drillId", d.status, d."errorCode", d."errorMessage",
       b.id AS "brokenOff"
     FROM backup_configs c LEFT JOIN verifications d ON d.id = ${ENDED}
     LEFT JOIN verifications b ON c."nextDrillAt" IS NOT NULL AND b."createdAt" < :late AND b.id = ${BROKEN_OFF}
     WHERE d.status = 'FAILED' OR c."nextDrillAt" < :late OR b.id IS NOT NULL ORDER BY c.id`,
    { type: QueryTypes.SELECT, replacements: { late: new Date(now.getTime() - GRACE) } },
  );
  return rows.flatMap(({ id, name, due, drillId, status, errorCode, errorMessage, brokenOff }): HealthReason[] => {
    const isLate = due !== null && new Date(due).getTime() < now.getTime() - GRACE;
    const at = due === null ? '' : new Date(due).toISOString();
    return [
      ...(status === 'FAILED'
        ? [
            {
              level: 'CRITICAL' as const,
              code: 'DRILL_FAILED' as const,
              message: `"${name}": the newest drill, ${drillId}, failed (${errorCode}): ${errorMessage ?? ''}`,
              hint: 'A real restore may fail too: remove the cause, then drill again: `db-manager verify latest --level drill`.',
              configId: id,
            },
          ]
        : []),
      ...(isLate || brokenOff !== null
        ? [
            {
              level: 'WARNING' as const,
              code: 'DRILL_OVERDUE' as const,
              message: isLate
                ? `"${name}": the drill scheduled for ${at} has not started.`
                : `"${name}": the drill ${brokenOff} was broken off, and none has ended since.`,
              hint: isLate
                ? 'Let a server or worker run, or make it now: `db-manager verify --due`. It needs a good backup, and no drill under way.'
                : 'Make one now: `db-manager verify latest --level drill`.',
              configId: id,
            },
          ]
        : []),
    ];
  });
}

/** What drills have shown of these configs, by id; those that never passed one are left out. */
export async function drillStates(models: Models, ids: readonly number[]): Promise<Map<number, DrillState>> {
  const states = new Map<number, DrillState>();
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    for (const [id, state] of await readStates(models, ids.slice(from, from + AT_ONCE))) states.set(id, state);
  }
  return states;
}

async function readStates(models: Models, some: readonly number[]): Promise<[number, DrillState][]> {
  const rows = await models.sequelize.query<{
    configId: number;
    completedAt: string | Date;
    restoreSeconds: number;
    backupId: string;
    newestId: string | null;
  }>(
    `SELECT c.id AS "configId", d."completedAt", d."restoreSeconds", d."backupId", ${NEWEST_GOOD} AS "newestId"
     FROM backup_configs c JOIN verifications d ON d.id = ${PASSED} WHERE c.id IN (:some)`,
    { type: QueryTypes.SELECT, replacements: { some } },
  );
  const wanted = [
    ...new Set(rows.flatMap(({ backupId, newestId }) => [backupId, ...(newestId === null ? [] : [newestId])])),
  ];
  const backups = new Map(
    (await readPlain(models.Backup, ['id', 'createdAt', 'facts'], { where: { id: wanted } })).map((row) => [
      row.id,
      row,
    ]),
  );
  return rows.flatMap(({ configId, completedAt, restoreSeconds, backupId, newestId }): [number, DrillState][] => {
    const drilled = backups.get(backupId);
    if (drilled === undefined) return [];
    const bytes = bytesOf(drilled.facts);
    const now = bytesOf(backups.get(newestId ?? '')?.facts ?? null) ?? bytes;
    const forecastSeconds =
      bytes === null || now === null || bytes === 0 ? restoreSeconds : (restoreSeconds / bytes) * now;
    const state = { passedAt: new Date(completedAt), stateAt: drilled.createdAt, restoreSeconds, forecastSeconds };
    return [[configId, state]];
  });
}

/** Bytes that a restore of the backup brings back; null where they were not measured. */
const bytesOf = (facts: { databaseBytes: number; freeBytes: number; mediaBytes: number } | null): number | null =>
  facts === null ? null : facts.databaseBytes + facts.freeBytes + facts.mediaBytes;

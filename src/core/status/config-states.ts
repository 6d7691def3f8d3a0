import { QueryTypes } from 'sequelize';
import { type Models, readPlain } from '../../models/index.js';
import { type ConfigHealth, timeOf, type UnverifiedBackup } from './health.js';

/** How late an automatic backup may be before it counts as overdue, in milliseconds. */
const GRACE = 2 * 3_600_000;

/** The newest verified backup of a config, if its archive is not there as it was stored. */
export type LostArchives = ReadonlyMap<number, NonNullable<ConfigHealth['lost']>>;

/** The newest backup of the config `c` that meets a condition: one look into an index, as its WHERE says. */
const newestOf = (expression: string, condition: string) =>
  `(SELECT ${expression} FROM backups b WHERE b."configId" = c.id AND b."backupType" IN ('MANUAL', 'AUTO')
     AND ${condition} ORDER BY b."createdAt" DESC, b.id DESC LIMIT 1)`;
const newest = (column: string, condition: string) => newestOf(`b."${column}"`, condition);

const COMPLETED = `b.status = 'COMPLETED'`;
const FAILED = `b.status = 'FAILED'`;
const VERIFIED = `${COMPLETED} AND b."verifiedAt" IS NOT NULL`;

/** The id of the newest verified backup of the config `c`. */
export const NEWEST_VERIFIED = newest('id', VERIFIED);

/** The id of the newest completed backup of the config `c`. */
export const NEWEST_COMPLETED = newest('id', COMPLETED);

/** A backup with anomalies that no one has acknowledged: found by an index of these alone. */
const SUSPICIOUS = `b.suspicious AND ${COMPLETED}`;
const SUSPICIOUS_OF = `SELECT b.id FROM backups b WHERE b."configId" = c.id AND ${SUSPICIOUS}`;

const STATES = `
  SELECT c.id, c.name, c."autoBackupEnabled", c."nextRunAt",
    ${newest('createdAt', COMPLETED)} AS "completedAt", ${newest('id', COMPLETED)} AS "completedId",
    ${newest('createdAt', `${COMPLETED} AND NOT b.damaged`)} AS "goodAt",
    ${newest('createdAt', VERIFIED)} AS "verifiedAt", ${NEWEST_VERIFIED} AS "verifiedId",
    ${newest('createdAt', FAILED)} AS "failedAt", ${newest('id', FAILED)} AS "failedId",
    CASE WHEN CAST(c."mediaPaths" AS text) <> '[]' AND ${newest('mediaFileCount', VERIFIED)} = 0
      THEN EXISTS (SELECT 1 FROM backups b WHERE b."configId" = c.id AND b."backupType" IN ('MANUAL', 'AUTO')
        AND ${COMPLETED} AND b."mediaFileCount" > 0)
      ELSE false END AS "mediaGone"
  FROM backup_configs c`;

/** How many media files the newest backup has; -1 if it failed or is not a good one. */
const NEWEST_GOOD_MEDIA = newestOf(
  `CASE WHEN b.status = 'COMPLETED' AND NOT b.damaged AND b."verifiedAt" IS NOT NULL THEN b."mediaFileCount" ELSE -1 END`,
  `b.status IN ('COMPLETED', 'FAILED')`,
);

/** No config that this leaves out has a reason; one look into an index says so of a config that is well. */
const SUSPECTS = `SELECT c.id FROM backup_configs c
  WHERE NOT c."autoBackupEnabled" OR c."nextRunAt" < :late OR c.id IN (:lost)
    OR EXISTS (${SUSPICIOUS_OF})
    OR coalesce(${NEWEST_GOOD_MEDIA}, -1) <= (CASE WHEN CAST(c."mediaPaths" AS text) = '[]' THEN -1 ELSE 0 END)
  ORDER BY c.id`;

/** As the control database answers: SQLite has no type for dates and truth. */
interface StateRow {
  id: number;
  name: string;
  autoBackupEnabled: boolean | 0 | 1;
  nextRunAt: string | Date | null;
  completedAt: string | Date | null;
  completedId: string | null;
  goodAt: string | Date | null;
  verifiedAt: string | Date | null;
  verifiedId: string | null;
  failedAt: string | Date | null;
  failedId: string | null;
  mediaGone: boolean | 0 | 1;
}

/** The configs that there may be a reason about, by id: a state says whether there is. */
export async function suspectConfigs({ sequelize }: Models, lost: LostArchives, now: Date): Promise<number[]> {
  const known = lost.size === 0 ? [-1] : [...lost.keys()];
  const rows = await sequelize.query<{ id: number }>(SUSPECTS, {
    type: QueryTypes.SELECT,
    replacements: { late: lateAt(now), lost: known },
  });
  return rows.map(({ id }) => id);
}

/**
 * The states of these configs, by id. Costs a few looks into indexes for each, however many backups there are.
 * @param lost the archives that are known to be lost
 */
export async function configStates(
  models: Models,
  ids: readonly number[],
  lost: LostArchives,
  now: Date,
): Promise<ConfigHealth[]> {
  const states: State[] = [];
  const suspicious = new Map<number, Suspicion>();
  for (const some of inPieces([...ids].sort((a, b) => a - b))) {
    const rows = await models.sequelize.query<StateRow>(`${STATES} WHERE c.id IN (:some) ORDER BY c.id`, {
      type: QueryTypes.SELECT,
      replacements: { some },
    });
    states.push(...rows.map(readRow));
    for (const [id, one] of await readSuspicious(models, some)) suspicious.set(id, one);
  }
  const details = await readDetails(
    models,
    states.flatMap((state) => [
      ...(isFailing(state) ? [state.failedId as string] : []),
      ...(isUnverified(state) ? [state.completedId as string] : []),
    ]),
  );
  return states.map((state) => healthOf(state, { details, lost, suspicious, late: lateAt(now) }));
}

/** What a config's suspicious backups come to. */
interface Suspicion {
  id: string;
  count: number;
  message: string;
  /** When the newest verified backup was made that is not suspicious. */
  provenAt: Date | null;
}

/** By config; those without any are left out, which are nearly all. */
async function readSuspicious({ sequelize, Backup }: Models, ids: number[]): Promise<Map<number, Suspicion>> {
  const rows = await sequelize.query<{
    configId: number;
    id: string;
    count: number | string;
    provenAt: string | Date | null;
  }>(
    `SELECT c.id AS "configId", (SELECT count(*) FROM (${SUSPICIOUS_OF}) AS every) AS count,
       (${SUSPICIOUS_OF} ORDER BY b."createdAt" DESC, b.id DESC LIMIT 1) AS id,
       ${newest('createdAt', `${VERIFIED} AND NOT b.suspicious`)} AS "provenAt"
     FROM backup_configs c WHERE c.id IN (:ids) AND EXISTS (${SUSPICIOUS_OF})`,
    { type: QueryTypes.SELECT, replacements: { ids } },
  );
  const backups = await readPlain(Backup, ['id', 'anomalies'], { where: { id: rows.map(({ id }) => id) } });
  const messages = new Map(backups.map(({ id, anomalies }) => [id, anomalies[0]?.message ?? '']));
  return new Map(
    rows.map(({ configId, id, count, provenAt }): [number, Suspicion] => {
      const at = provenAt === null ? null : new Date(provenAt);
      return [configId, { id, count: Number(count), message: messages.get(id) ?? '', provenAt: at }];
    }),
  );
}

/** An automatic backup that was due before is overdue. */
const lateAt = (now: Date) => new Date(now.getTime() - GRACE);

/** How many ids a statement names at most. */
const AT_ONCE = 1_000;

function* inPieces<Id>(ids: Id[]): Generator<Id[]> {
  for (let from = 0; from < ids.length; from += AT_ONCE) yield ids.slice(from, from + AT_ONCE);
}

function readRow({ autoBackupEnabled, mediaGone, ...row }: StateRow) {
  const date = (value: string | Date | null) => (value === null ? null : new Date(value));
  return {
    ...row,
    autoBackupEnabled: Boolean(autoBackupEnabled),
    mediaGone: Boolean(mediaGone),
    nextRunAt: date(row.nextRunAt),
    completedAt: date(row.completedAt),
    goodAt: date(row.goodAt),
    verifiedAt: date(row.verifiedAt),
    failedAt: date(row.failedAt),
  };
}

type State = ReturnType<typeof readRow>;

const isFailing = ({ failedAt, goodAt }: State) => timeOf(failedAt) > timeOf(goodAt);
const isUnverified = ({ completedAt, verifiedAt }: State) => timeOf(completedAt) > timeOf(verifiedAt);

async function readDetails(models: Models, ids: string[]): Promise<Map<string, UnverifiedBackup>> {
  const details = new Map<string, UnverifiedBackup>();
  for (const some of inPieces(ids)) {
    const rows = await readPlain(models.Backup, ['id', 'damaged', 'errorCode', 'errorMessage'], {
      where: { id: some },
    });
    for (const row of rows) details.set(row.id, row);
  }
  return details;
}

/** What is known beside the states themselves. */
interface Beside {
  details: Map<string, UnverifiedBackup>;
  lost: LostArchives;
  suspicious: Map<number, Suspicion>;
  late: Date;
}

function healthOf(state: State, { details, lost, suspicious, late }: Beside): ConfigHealth {
  const { id, name, autoBackupEnabled, nextRunAt, verifiedId, mediaGone } = state;
  const { provenAt = state.verifiedAt, ...doubt } = suspicious.get(id) ?? { id: null };
  const loss = lost.get(id);
  return {
    config: { id, name, autoBackupEnabled, nextRunAt },
    lastSuccessAt: state.goodAt,
    lastBackupId: state.completedId,
    lastProvenAt: provenAt,
    unverified: (isUnverified(state) && details.get(state.completedId ?? '')) || null,
    // What was seen of an older archive says nothing about a newer one.
    lost: loss !== undefined && loss.backupId === verifiedId ? loss : null,
    suspicious: 'message' in doubt ? { id: doubt.id, count: doubt.count, message: doubt.message } : null,
    mediaGone,
    lastFailureAt: state.failedAt,
    lastErrorCode: isFailing(state) ? (details.get(state.failedId ?? '')?.errorCode ?? 'INTERNAL_ERROR') : null,
    overdue: nextRunAt !== null && nextRunAt < late,
    drill: null,
  };
}

/** Whether some config has a schedule that nothing keeps: where no worker runs, a timer leaves backups made by commands. */
export async function hasUnkeptSchedule({ sequelize }: Models): Promise<boolean> {
  const rows = await sequelize.query(
    `SELECT c.id FROM backup_configs c WHERE c."autoBackupEnabled" AND coalesce((
       SELECT b."createdBy" FROM backups b WHERE b."configId" = c.id AND b."backupType" = 'AUTO'
       ORDER BY b."createdAt" DESC, b.id DESC LIMIT 1), '') NOT LIKE 'cli:%' LIMIT 1`,
    { type: QueryTypes.SELECT },
  );
  return rows.length > 0;
}

import { QueryTypes } from 'sequelize';
import type { BackupConfigRow, BackupRow, DestinationRow, Models, StoredObjectRow } from '../../models/index.js';
import { firstOf } from '../text/format.js';
import { NEWEST_COMPLETED } from './config-states.js';
import type { HealthReason } from './health.js';

/** How long a copy may take before it counts as missing, in milliseconds. */
const GRACE = 2 * 3_600_000;

type NamedConfig = Pick<BackupConfigRow, 'id' | 'name'>;

/** Why the copies of backups are no cause to be calm: those that are missing, and those that were given up. */
export async function copyReasons(models: Models, now: Date): Promise<HealthReason[]> {
  return [...(await missingCopies(models, now)), ...(await givenUp(models))];
}

/** What to know of copies although nothing failed: configs whose backups lie on this machine alone. */
export async function copyNotices(models: Models): Promise<HealthReason[]> {
  const { BackupConfig, Destination } = models;
  const configs = await BackupConfig.findAll({
    attributes: ['name', 'storageType', 'copyTo', 'origin'],
    order: [['id', 'ASC']],
  });
  const distant = new Set<number>();
  for (const { id, storageType } of await Destination.findAll()) if (!isFolder(storageType)) distant.add(id);
  const names = configs
    .filter(({ storageType, copyTo, origin }) => {
      const isNear = isFolder(storageType) && !copyTo.some((id) => distant.has(id));
      return isNear && origin !== 'SAMPLE';
    })
    .map(({ name }) => `"${name}"`);
  if (names.length === 0) return [];
  const message = `Backups lie in folders of this machine only: ${firstOf(names)}.`;
  const hint = 'Add a destination away from it, such as a bucket: docs/destinations.md.';
  return [{ level: 'OK', code: 'NO_COPY_AWAY', message, hint, configId: null }];
}

const isFolder = (type: string) => type === 'LOCAL' || type === 'SYSTEM';

/** Configs whose newest backup has fewer copies than the config has destinations. */
async function missingCopies(models: Models, now: Date): Promise<HealthReason[]> {
  const configs = await models.sequelize.query<NamedConfig & { backupId: string | null }>(
    `SELECT c.id, c.name, ${NEWEST_COMPLETED} AS "backupId" FROM backup_configs c
     WHERE CAST(c."copyTo" AS text) <> '[]' ORDER BY c.id`,
    { type: QueryTypes.SELECT },
  );
  if (configs.length === 0) return [];
  const rows = await models.BackupConfig.findAll({
    attributes: ['id', 'copyTo'],
    where: { id: configs.map(({ id }) => id) },
  });
  const copyTo = new Map(rows.map((row) => [row.id, row.copyTo]));
  const newest = configs.flatMap(({ backupId }) => backupId ?? []);
  const backups = new Map((await models.Backup.findAll({ where: { id: newest } })).map((row) => [row.id, row]));
  const destinations = new Map((await models.Destination.findAll()).map((row) => [row.id, row]));
  return configs.flatMap((config) => {
    const backup = backups.get(config.backupId ?? '');
    if (backup === undefined) return [];
    const wanted = [...new Set([backup.copy.destinationId, ...(copyTo.get(config.id) ?? [])])];
    const missing = wanted.filter((id) => isMissing(backup, destinations.get(id), now));
    return missing.length === 0
      ? []
      : [
          missingReason(
            config,
            backup,
            missing.flatMap((id) => destinations.get(id) ?? []),
          ),
        ];
  });
}

/** One that was given up has a reason of its own. One in an offline destination may wait. */
function isMissing(backup: BackupRow, destination: DestinationRow | undefined, now: Date): boolean {
  if (destination === undefined || (destination.deletedAt ?? null) !== null) return false;
  const living = ({ destinationId, status }: StoredObjectRow) =>
    destinationId === destination.id && status !== 'DELETED';
  const copy = backup.copies.find(living);
  if (copy === undefined || copy.status === 'FAILED') return (copy?.gaveUpAt ?? null) === null;
  if (copy.status === 'COMPLETED' || destination.offline) return false;
  return now.getTime() - (backup.completedAt?.getTime() ?? 0) > GRACE;
}

function missingReason(
  { id: configId, name }: NamedConfig,
  { id, copies }: BackupRow,
  missing: DestinationRow[],
): HealthReason {
  const places = firstOf(missing.map((one) => one.name ?? one.storagePath));
  const failed = copies.find(({ status, errorMessage }) => status === 'FAILED' && (errorMessage ?? null) !== null);
  const why = failed === undefined ? '' : ` ${failed.errorMessage}`;
  const message = `"${name}": the newest backup, ${id}, has no copy in ${places}.${why}`;
  const hint = `Look at the destination; copy it now: copyBackup, or \`db-manager copy ${id} --to DESTINATION\`.`;
  return { level: 'WARNING', code: 'COPIES_MISSING', message, hint, configId };
}

/** Copies that were given up, for each config. */
async function givenUp({ sequelize }: Models): Promise<HealthReason[]> {
  const rows = await sequelize.query<{
    configId: number | null;
    name: string | null;
    count: number | string;
    location: string;
  }>(
    `SELECT b."configId", max(c.name) AS name, count(*) AS count, max(o.location) AS location
     FROM stored_objects o JOIN backups b ON b.id = o."backupId" LEFT JOIN backup_configs c ON c.id = b."configId"
     WHERE o."gaveUpAt" > :ever GROUP BY b."configId" ORDER BY b."configId"`,
    { type: QueryTypes.SELECT, replacements: { ever: new Date(0) } },
  );
  return rows.map(({ configId, name, count, location }) => {
    const whose = name === null ? '' : `"${name}": `;
    const message = `${whose}${count} copies could not be stored or deleted for a week, such as ${location}.`;
    const hint = 'Open the backup to see the reason, then try again: copyBackup, or `db-manager copy`.';
    return { level: 'WARNING' as const, code: 'COPY_FAILED' as const, message, hint, configId };
  });
}

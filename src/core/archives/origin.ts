import { hostname } from 'node:os';
import { basename } from 'node:path';
import type { ArchiveMetadata } from '../../archive/metadata.js';
import { shown } from '../../archive/names.js';
import { AppError } from '../../errors.js';
import type { BackupConfigRow, BackupRow, Models, Origin } from '../../models/index.js';
import { firstOf } from '../text/format.js';
import type { Engine, Engines } from '../ports.js';

/** Whose data a backup of this config will hold, as it is written into its archive. */
export function originOf(engines: Engines, config: BackupConfigRow): Origin {
  return {
    config: config.name,
    host: hostname(),
    database: engines.of(config.engine).resolve(config.databaseUrl).display,
    mediaPaths: config.mediaPaths,
  };
}

/** Whose data an archive says that it holds; what an older format does not say is null. */
export function statedOrigin(metadata: ArchiveMetadata): Origin & { applicationId: string | null } {
  const { origin, media } = metadata;
  return {
    applicationId: origin?.application_id ?? null,
    config: origin?.config ?? null,
    host: origin?.host ?? null,
    database: origin?.database ?? (metadata.database_name || null),
    mediaPaths: media.slice(0, 100).map(({ path }) => path.slice(0, 4096)),
  };
}

/**
 * The config that an archive belongs to: the one of the same application. An archive of format 1.0 names no application;
 * it belongs to the only config that protects the database at the very path it names.
 */
export async function ownerOf(
  { models, engines }: { models: Models; engines: Engines },
  metadata: ArchiveMetadata,
): Promise<BackupConfigRow | null> {
  const { applicationId, database } = statedOrigin(metadata);
  if (applicationId !== null) {
    const known = onlyOne(await models.BackupConfig.findAll({ where: { applicationId }, limit: 2 }));
    return known ?? lost({ models, engines }, database);
  }
  if (!metadata.backup_version.startsWith('1.') || database === null) return null;
  const configs = await models.BackupConfig.findAll({ where: { engine: metadata.database_engine } });
  const same: BackupConfigRow[] = [];
  for (const config of configs) {
    const [file] = await engines.of(config.engine).files(config.databaseUrl);
    if (file === database) same.push(config);
  }
  return onlyOne(same);
}

/**
 * After the machine was lost: the config of the very database that the archive names, which is not there and was never
 * backed up. Once the archive is stored, it continues the archive's application.
 */
async function lost(
  { models, engines }: { models: Models; engines: Engines },
  database: string | null,
): Promise<BackupConfigRow | null> {
  const configs = await models.BackupConfig.findAll();
  const same = onlyOne(
    configs.filter(({ engine, databaseUrl }) => engines.of(engine).resolve(databaseUrl).display === database),
  );
  if (same === null) return null;
  const backedUp = await models.Backup.count({ where: { configId: same.id, status: 'COMPLETED' } });
  if (backedUp > 0 || (await engines.of(same.engine).describe(same.databaseUrl)) !== null) return null;
  return same;
}

const onlyOne = <Row>(rows: Row[]) => (rows.length === 1 ? (rows[0] ?? null) : null);

/** True if a backup's data is not known to be of its config's application: then it counts and replaces only on request. */
export function isForeign(
  backup: Pick<BackupRow, 'applicationId'>,
  config: Pick<BackupConfigRow, 'applicationId'> | null,
): boolean {
  return config !== null && backup.applicationId !== config.applicationId;
}

const OVERRIDE =
  'If that is what you want, repeat it with allowForeign: true (command line: --allow-foreign). If not, restore into another place with targetDatabaseUrl.';

/** The refusal of a restore that would replace one application's data by another's, or by data of unknown origin. */
export function foreignRefusal(backup: BackupRow, config: BackupConfigRow, target: string): AppError {
  const victim = `the data of "${config.name}" (${target})`;
  const text =
    backup.applicationId === null
      ? `${backup.id} does not say which application it was made of${placeOf(backup)}. It would replace ${victim}.`
      : `${backup.id} was made of another application, "${backup.origin?.config ?? 'unnamed'}"${placeOf(backup)}. It would replace ${victim}.`;
  return new AppError('BACKUP_FOREIGN', text, { field: 'allowForeign', hint: OVERRIDE });
}

function placeOf({ origin }: BackupRow): string {
  if (origin === null || origin.database === null) return '';
  const host = origin.host === null ? '' : ` on ${shown(origin.host)}`;
  return ` (its database: ${shown(origin.database)}${host})`;
}

/** Tables that frameworks make in every application: they say nothing about which one it is. */
const COMMON =
  /^(django_|auth_|account_|socialaccount_|authtoken_|spatial_|alembic_version$|schema_migrations$|ar_internal_metadata$|active_storage_|_prisma_migrations$|knex_|sequelizemeta$|flyway_|migrations$|jobs$|failed_jobs$|sessions?$|users?$)/i;

/** With fewer tables than this, sharing none says nothing. */
const MIN_COMPARED = 3;

/**
 * The refusal of a restore whose tables share so little with those of the target that they are hardly of one application:
 * fewer than half of the smaller side. Null if they fit, or if one side has too few to compare.
 */
export function tablesRefusal(inBackup: string[], inTarget: string[], target: string): AppError | null {
  const special = (names: string[]) => names.filter((name) => !COMMON.test(name));
  const both = special(inBackup).length > 0 && special(inTarget).length > 0;
  const compared = (names: string[]) => new Set((both ? special(names) : names).map((name) => name.toLowerCase()));
  const [from, to] = [compared(inBackup), compared(inTarget)];
  const smaller = Math.min(from.size, to.size);
  const shared = [...from].filter((name) => to.has(name)).length;
  if (smaller < MIN_COMPARED || shared * 2 >= smaller) return null;
  const named = (names: Set<string>) => [...names].slice(0, 3).join(', ');
  return new AppError(
    'TABLES_DIFFER',
    `The backup and ${target} have ${shared} of ${smaller} tables in common, so they are hardly of one application (backup: ${named(from)}; target: ${named(to)}).`,
    { field: 'allowForeign', hint: OVERRIDE },
  );
}

/** A day before which no backup was made: an older date is a broken clock. */
const EPOCH = Date.UTC(1990, 0, 1);

/** When the data of an archive was current, as it says itself, but never later than `now` nor absurdly early. */
export function backupDate(metadata: ArchiveMetadata, now: Date): { at: Date; warning: string | null } {
  const stated = new Date(metadata.backup_date);
  if (stated.getTime() >= EPOCH && stated <= now) return { at: stated, warning: null };
  return {
    at: now,
    warning: `The archive says that it was made ${metadata.backup_date}, which cannot be: it is listed under the time of its upload.`,
  };
}

/** The name of the archive's database, for lists. */
export function databaseName(metadata: ArchiveMetadata): string {
  return basename(metadata.database_name.replaceAll('\\', '/')).slice(0, 200) || 'database';
}

/**
 * Names what in an archive is neither the database, nor media, nor the metadata. What the engine would
 * replay over the database if it lay beside it is refused; the rest is only named, and never restored.
 * @returns warnings
 * @throws AppError ARCHIVE_HOSTILE
 */
export function strangeEntries(entries: readonly { path: string }[], engine: Engine): string[] {
  const strange = entries.filter(
    ({ path }) => !engine.ownsEntry(path) && !path.startsWith('media/') && path !== 'backup_metadata.json',
  );
  const companion = strange.find(({ path }) => engine.isCompanion(path));
  if (companion !== undefined) {
    throw new AppError(
      'ARCHIVE_HOSTILE',
      `The entry ${shown(companion.path)} does not belong into an archive: unpacked beside the database it would change it.`,
    );
  }
  if (strange.length === 0) return [];
  const named = strange.slice(0, 3).map(({ path }) => shown(path));
  return [
    `${strange.length} entries of the archive are neither database nor media and are never restored: ${named.join(', ')}${strange.length > 3 ? ', …' : ''}.`,
  ];
}

/** The warning about what another tool added when it packed the archive again; none if it added nothing. */
export function ignoredEntries(names: readonly string[]): string[] {
  if (names.length === 0) return [];
  return [
    `The archive was packed again by another tool, which added ${names.length} entries; they are ignored: ${firstOf(names.map(shown))}.`,
  ];
}

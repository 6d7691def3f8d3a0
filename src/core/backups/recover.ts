import type { CoreEnvironment } from '../environment.js';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, isAbsolute, resolve } from 'node:path';
import { AppError, badInput, fromErrno } from '../../errors.js';
import type { BackupConfigRow, BackupRow, Models } from '../../models/index.js';
import type { Backups } from './backups.js';
import type { ConfigInput, Configs } from '../configs/configs.js';
import { isForeign } from '../archives/origin.js';
import { realFile } from '../../disk.js';
import type { Keys } from '../keys/keys.js';
import type { Places } from '../configs/places.js';

/** What recovering from an archive needs of the product. */
export type RecoverEnvironment = Pick<CoreEnvironment, 'models' | 'engines' | 'audit'> & {
  backups: Backups;
  configs: Configs;
  places: Places;
  keys: Keys;
};

/**
 * Takes in an archive that lies on this machine, as an upload.
 * @param path absolute
 * @param identity as for `Backups.upload`
 * @throws AppError as `Backups.upload`; BAD_USER_INPUT, PATH_NOT_ALLOWED naming `path`
 */
export async function importArchive(
  { backups, places }: RecoverEnvironment,
  path: string,
  configId: number | undefined,
  actor: string,
  stop: AbortSignal,
  identity?: string,
): Promise<BackupRow> {
  const file = await realFile(await places.judge('path', path, 'source'));
  try {
    // A pipe or a device would never end.
    if (!(await stat(file)).isFile()) throw badInput('path', `${path} is not a file.`, 'Name the ZIP itself.');
  } catch (error) {
    const known = fromErrno(error, `read ${path}`, 'PATH_NOT_ALLOWED', 'NOT_FOUND');
    throw known === undefined ? error : new AppError(known.code, known.message, { field: 'path', cause: error });
  }
  return backups.upload(createReadStream(file), basename(path), configId, actor, stop, identity);
}

/**
 * Makes a config for the application that a backup was made of, where there is none: name, database and media folders are
 * those that the archive names, and it is encrypted for the same keys, unless others are given. All backups of this application that belong to no config come
 * under it. Its database need not be there: it is what a restore will bring.
 * @throws AppError NOT_FOUND, BACKUP_DELETED, BACKUP_NOT_COMPLETED, BAD_USER_INPUT naming the field
 */
export async function configFromBackup(
  env: RecoverEnvironment,
  id: string,
  input: ConfigInput,
  actor: string,
): Promise<BackupConfigRow> {
  const { models, configs, audit } = env;
  const { row } = await env.backups.open(id);
  await assertWithoutConfig(env, row);
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined && value !== null));
  const encryptionKeyIds = (await env.keys.ofBackup(id)).map((key) => key.id);
  const settings: ConfigInput = { ...(await statedSettings(env, row)), encryptionKeyIds, ...given };
  if (settings.databaseUrl === undefined) {
    const why = 'is missing: the archive names no absolute path, or an address whose password it does not hold.';
    throw badInput('databaseUrl', why, 'Say where it shall go.');
  }
  const { kind } = env.engines.forUrl(settings.databaseUrl);
  if (kind !== row.engine) {
    throw badInput('databaseUrl', `is a ${kind} database, but the backup is of ${row.engine}.`);
  }
  const name = settings.name ?? (await freeName(models, row.origin?.config ?? row.databaseName.replace(/\.\w+$/, '')));
  const { applicationId } = row;
  const mark = { ...(applicationId !== null && { applicationId }), mediaMoved: movedMedia(row, settings.mediaPaths) };
  const config = await configs.create({ ...settings, name }, actor, mark);
  const which = applicationId === null ? { id } : { applicationId, configId: null };
  await models.Backup.update({ configId: config.id, applicationId: config.applicationId }, { where: which });
  await models.Backup.update({ configId: config.id }, { where: { id } });
  await audit.record(actor, 'backup.assign', id, { config: config.name });
  return config;
}

async function assertWithoutConfig({ models }: RecoverEnvironment, row: BackupRow): Promise<void> {
  const own = row.configId === null ? null : await models.BackupConfig.findByPk(row.configId);
  const { applicationId } = row;
  const config =
    own !== null && !isForeign(row, own)
      ? own
      : applicationId === null
        ? null
        : await models.BackupConfig.findOne({ where: { applicationId } });
  if (config === null) return;
  throw badInput(
    'backupId',
    `${row.id} is of the application that config ${config.id} "${config.name}" protects.`,
    'Restore it there; change the paths of the config first if they are others now.',
  );
}

/** The settings that the archive's own words give. */
async function statedSettings({ engines }: RecoverEnvironment, row: BackupRow): Promise<ConfigInput> {
  const { origin } = row;
  const engine = engines.of(row.engine);
  const stated = origin?.database ?? '';
  // Format 1.0 names a path, later ones an address.
  const written = isAbsolute(stated) ? engine.urlOfFile(stated) : stated;
  const [file] = written === null || written === '' ? [] : await engine.files(written);
  const databaseUrl = written !== null && file !== undefined && isAbsolute(file) ? written : undefined;
  return { databaseUrl, mediaPaths: (origin?.mediaPaths ?? []).filter((path) => isAbsolute(path)) };
}

/** Where each media folder of the archive is now: given in the same order, as many as it has. */
function movedMedia({ origin }: BackupRow, now: string[] = []): Record<string, string> | null {
  const before = origin?.mediaPaths ?? [];
  if (before.length !== now.length) return null;
  return Object.fromEntries(before.map((path, index) => [path, resolve(now[index] ?? '')]));
}

async function freeName({ BackupConfig }: Models, wanted: string): Promise<string> {
  const base = wanted.trim().slice(0, 190) || 'Recovered';
  const taken = new Set((await BackupConfig.findAll({ attributes: ['name'] })).map(({ name }) => name));
  for (let number = 1; ; number++) {
    const name = number === 1 ? base : `${base} ${number}`;
    if (!taken.has(name)) return name;
  }
}

import type { CoreEnvironment } from '../environment.js';
import { isOrIsBelow } from './media/part.js';
import { contentOf } from '../archives/contents.js';
import { basename, isAbsolute, join, resolve } from 'node:path';
import type { Archive } from '../../archive/read.js';
import { AppError, badInput } from '../../errors.js';
import type { BackupConfigRow, BackupRow, RestoreRow } from '../../models/index.js';
import { nearest } from '../text/near.js';
import { realFile } from '../../disk.js';
import { repairOf, type RowsRequest } from './repair.js';
import { chosenTables } from './tables.js';
import { assertNotControl, assertNotControlServer } from '../configs/settings.js';
import type { MediaMode, MediaTarget } from './media/survey.js';
import type { Places } from '../configs/places.js';
import type { Engine, RowRepair } from '../ports.js';

/** A request for a restore, as the API and the command line take it. */
export interface RestoreRequest extends RowsRequest {
  backupId: string;
  confirm: boolean;
  restoreDatabase?: boolean | undefined;
  restoreMedia?: boolean | undefined;
  /** Only these tables. */
  tables?: string[] | undefined;
  /** Only these media files or folders, as paths in the archive. */
  media?: string[] | undefined;
  mediaMode?: MediaMode | undefined;
  /** Another place than the config's own database. */
  targetDatabaseUrl?: string | undefined;
  /** The folder for the media when the target is another place. */
  targetMediaPath?: string | undefined;
  /** Allows another place that already holds something. */
  overwrite?: boolean | undefined;
  /** Allows data of another application, or of an unknown one, in place of the config's own. */
  allowForeign?: boolean | undefined;
  /** Allows a backup that was made without tables or rows that the target has. */
  allowExcluded?: boolean | undefined;
  /** Allows a backup of a damaged database: its files are put in place as they are. */
  allowDamaged?: boolean | undefined;
  /** Rebuilds indexes that are out of step with their tables in the backup, before anything is changed. */
  rebuildIndexes?: boolean | undefined;
  /** Opens an encrypted backup for this run only: an age identity, or a passphrase. Never kept, logged or repeated. */
  identity?: string | undefined;
}

/** What a restore would read and where it would write. */
export interface Scope {
  backup: BackupRow;
  config: BackupConfigRow | null;
  engine: Engine;
  targetUrl: string;
  targetKey: string;
  /** True if the target is the config's own database. */
  own: boolean;
  restoreDatabase: boolean;
  restoreMedia: boolean;
  tables: string[] | null;
  /** Null where whole tables are restored, or the whole database. */
  repair: RowRepair | null;
  media: string[] | null;
  mediaMode: MediaMode;
  mediaTargets: MediaTarget[];
  /** Seconds. */
  lockTimeout: number;
  rebuildIndexes: boolean;
  /** What this restore leaves out without being asked to, in words. */
  leaves: string[];
  /** Why the named places cannot be written to: then nothing further is looked at. */
  refused: AppError | null;
}

/** What resolving a scope needs. */
export type ScopeEnvironment = Pick<CoreEnvironment, 'models' | 'engines' | 'controlFile' | 'controlKey'> & {
  places: Places;
};

/**
 * Works out where a restore reads and writes, and judges what was named. Looks at no database.
 * Choosing tables but no media, or media but no tables, leaves the other alone.
 * @throws AppError naming the field
 */
export async function resolveScope(
  env: ScopeEnvironment,
  backup: BackupRow,
  archive: Archive,
  request: RestoreRequest,
): Promise<Scope> {
  const config = await configOf(env, backup);
  const target = await resolveTarget(env, backup, config, request.targetDatabaseUrl);
  const holds = contentOf(archive, target.engine);
  const wantsDatabase =
    (request.restoreDatabase ?? true) && (request.media === undefined || request.tables !== undefined);
  const wantsMedia = (request.restoreMedia ?? true) && (request.tables === undefined || request.media !== undefined);
  const placed = target.own || request.targetMediaPath !== undefined;
  if (request.media !== undefined && !placed) throw badInput('media', 'needs targetMediaPath with another target.');
  const restoreDatabase = wantsDatabase && holds.database;
  const place = await judgedMediaPath(env, request, config);
  const tables =
    request.tables === undefined
      ? null
      : chosenTables(archive, target.engine, request.tables, request.includeRelated ?? false);
  const repair = repairOf(request, tables, restoreDatabase);
  const restoreMedia = wantsMedia && holds.media && placed;
  if (!restoreDatabase && !restoreMedia) {
    throw badInput(
      'backupId',
      `nothing is left to restore: the backup holds ${holds.database ? 'a' : 'no'} database and ${holds.media ? '' : 'no '}media.`,
      'Set restoreDatabase or restoreMedia to true, for what the backup holds.',
    );
  }
  return {
    backup,
    config,
    ...target,
    refused: target.refused ?? place?.refused ?? null,
    restoreDatabase,
    restoreMedia,
    tables,
    repair,
    media: request.media === undefined ? null : chosenMedia(archive, request.media),
    mediaMode: request.mediaMode ?? 'MERGE',
    mediaTargets: restoreMedia ? await located(mediaTargets(archive, target.own ? config : null, place?.path)) : [],
    lockTimeout: config?.restoreLockTimeout ?? 30,
    rebuildIndexes: request.rebuildIndexes ?? false,
    leaves: holds.media && !restoreMedia && request.restoreMedia !== false ? [withoutMedia(target, request)] : [],
  };
}

/** Notes where the folders are now, so that the run finds out if another program has put others in their place. */
const located = (targets: MediaTarget[]): Promise<MediaTarget[]> =>
  Promise.all(targets.map(async (target) => ({ ...target, real: await realFile(target.root) })));

/** The folder that the media go to where one was named. The config's own folders are judged with the config. */
async function judgedMediaPath(
  { places }: ScopeEnvironment,
  { targetMediaPath, overwrite }: RestoreRequest,
  config: BackupConfigRow | null,
): Promise<{ path: string; refused: AppError | null } | undefined> {
  if (targetMediaPath === undefined) return undefined;
  if (config !== null && isAbsolute(targetMediaPath) && (await isOwnMedia(config, targetMediaPath))) {
    return { path: resolve(targetMediaPath), refused: null };
  }
  const judged = await refusedOnly(places.judge('targetMediaPath', targetMediaPath, 'target media', config?.id));
  if (overwrite === true || judged.refused !== null) return { path: targetMediaPath, refused: judged.refused };
  return { path: targetMediaPath, refused: await places.emptinessProblem('targetMediaPath', targetMediaPath) };
}

/** True if the folder is one of the config's media folders, however it is written. */
export async function isOwnMedia({ mediaPaths }: BackupConfigRow, folder: string): Promise<boolean> {
  const real = await realFile(resolve(folder));
  for (const path of mediaPaths) if ((await realFile(path)) === real) return true;
  return false;
}

/** What stands in the way is part of a plan; what makes no sense is thrown. */
async function refusedOnly(judging: Promise<unknown>): Promise<{ refused: AppError | null }> {
  try {
    await judging;
    return { refused: null };
  } catch (error) {
    if (error instanceof AppError && error.code !== 'BAD_USER_INPUT') return { refused: error };
    throw error;
  }
}

function withoutMedia({ engine, targetUrl }: Pick<Scope, 'engine' | 'targetUrl'>, { tables }: RestoreRequest): string {
  if (tables !== undefined) return 'The media are not restored, because only tables were chosen.';
  return `The media are not restored: give targetMediaPath for ${engine.resolve(targetUrl).name}, or choose the config's own database.`;
}

/**
 * The scope that undoes a restore: the same tables and files, from its safety backup, in the places where it put them.
 * What the restore added and the safety backup does not have goes again.
 */
export async function undoScope(
  env: ScopeEnvironment,
  safety: BackupRow,
  archive: Archive,
  undone: RestoreRow,
): Promise<Scope> {
  const config = await configOf(env, safety);
  const engine = env.engines.of(undone.engine);
  const holds = contentOf(archive, engine);
  const prefixOf = (root: string) => archive.metadata.media.find((media) => media.path === root)?.prefix;
  // A root that was not there before has no part in the safety backup: all that is in it now came after.
  const targets = undone.mediaTargets.map(({ root }, index) => ({
    prefix: prefixOf(root) ?? `absent/${index}/`,
    root,
  }));
  // A chosen folder may lie in one root, be one, or hold several.
  const moved = (path: string) =>
    undone.mediaTargets.flatMap(({ prefix: from }, index) => {
      const to = targets[index]?.prefix ?? '';
      if (isOrIsBelow(from, path)) return [to];
      return path.startsWith(from) ? [to + path.slice(from.length)] : [];
    });
  return {
    backup: safety,
    config,
    refused: null,
    engine,
    targetUrl: undone.targetUrl,
    targetKey: undone.targetKey,
    own: config !== null && undone.targetKey === (await keyOf(env, config)),
    restoreDatabase: undone.restoreDatabase && holds.database,
    restoreMedia: undone.restoreMedia,
    // The raw files of a damaged database are put back as a whole.
    tables: safety.damaged ? null : undone.tables,
    repair: null,
    media: undone.media === null ? null : undone.media.flatMap(moved),
    mediaMode: 'MIRROR',
    mediaTargets: undone.restoreMedia ? await located(targets) : [],
    lockTimeout: undone.lockTimeout,
    rebuildIndexes: false,
    leaves:
      undone.restoreDatabase && !holds.database
        ? [`Before ${undone.id} there was no database: the one that it made stays. Remove it to go back to nothing.`]
        : [],
  };
}

async function configOf(env: ScopeEnvironment, backup: BackupRow): Promise<BackupConfigRow | null> {
  return backup.configId === null ? null : env.models.BackupConfig.findByPk(backup.configId);
}

async function resolveTarget(
  env: ScopeEnvironment,
  backup: BackupRow,
  config: BackupConfigRow | null,
  wanted: string | undefined,
): Promise<Pick<Scope, 'engine' | 'targetUrl' | 'targetKey' | 'own' | 'refused'>> {
  if (wanted === undefined && config === null) {
    throw badInput('targetDatabaseUrl', 'is needed: the config of this backup was deleted.');
  }
  const engine = env.engines.forUrl(wanted ?? config?.databaseUrl ?? '');
  if (engine.kind !== backup.engine) {
    throw badInput('targetDatabaseUrl', `is a ${engine.kind} database, but the backup is of ${backup.engine}.`);
  }
  const { url } = engine.resolve(wanted ?? config?.databaseUrl ?? '');
  await assertNotControlServer(engine, url, env.controlKey);
  const [file] = await engine.files(url);
  if (file !== undefined) await assertNotControl(file, env.controlFile);
  const targetKey = await engine.keyOf(url);
  const own = config !== null && (wanted === undefined || targetKey === (await keyOf(env, config)));
  // As it was written: a relative path would lead from wherever the server happens to run.
  const [written = file] = wanted === undefined ? [] : await engine.files(wanted);
  const { refused } =
    own || written === undefined
      ? { refused: own ? null : await othersDatabase(env, targetKey) }
      : await refusedOnly(env.places.judge('targetDatabaseUrl', written, 'target database'));
  return { engine, targetUrl: await engine.seal(url, config?.databaseUrl), targetKey, own, refused };
}

/** Of files the places judge this. The database of another config has a restore of its own, with its checks. */
async function othersDatabase({ models }: ScopeEnvironment, databaseKey: string): Promise<AppError | null> {
  const config = await models.BackupConfig.findOne({ where: { databaseKey } });
  if (config === null) return null;
  const text = `targetDatabaseUrl: that is the database of "${config.name}".`;
  const hint = `Choose another name. To restore into "${config.name}", file the backup under it (assignBackup) and restore in place.`;
  return new AppError('PATH_NOT_ALLOWED', text, { field: 'targetDatabaseUrl', hint });
}

const keyOf = ({ engines }: ScopeEnvironment, { engine, databaseUrl }: BackupConfigRow) =>
  engines.of(engine).keyOf(databaseUrl);

function chosenMedia(archive: Archive, wanted: string[]): string[] {
  if (wanted.length === 0)
    throw badInput('media', 'is empty.', 'Name files or folders, or leave the field out for all.');
  const known = archive.entries.map((entry) => entry.path).filter((path) => path.startsWith('media/'));
  for (const path of wanted) {
    if (known.some((entry) => isOrIsBelow(entry, path))) continue;
    const near = nearest(path, known);
    throw badInput('media', `the archive has no "${path}".${near.length > 0 ? ` Near: ${near.join(', ')}.` : ''}`);
  }
  return wanted;
}

/**
 * Where each media folder of the archive goes.
 * @param config its folders @param elsewhere another folder for all of them
 * @throws AppError BAD_USER_INPUT if the config has no folder for one
 */
export function mediaTargets(
  archive: Archive,
  config: BackupConfigRow | null,
  elsewhere: string | undefined,
): MediaTarget[] {
  const roots = archive.metadata.media.length > 0 ? archive.metadata.media : [{ path: '', prefix: 'media/' }];
  if (elsewhere !== undefined) {
    return roots.map(({ prefix }) => ({
      prefix,
      root: roots.length === 1 ? elsewhere : join(elsewhere, basename(prefix)),
    }));
  }
  const left = new Set(config?.mediaPaths ?? []);
  const found = new Map<string, string>();
  const match = (fits: (path: string, candidate: string) => boolean) => {
    const pairs = roots
      .filter(({ prefix }) => !found.has(prefix))
      .flatMap(({ path, prefix }) =>
        [...left].flatMap((root) => (fits(path || prefix, root) ? [{ prefix, root }] : [])),
      );
    for (const { prefix, root } of pairs) {
      // One that could be another just as well is not guessed: its files would land in the wrong folder.
      if (pairs.filter((other) => other.prefix === prefix || other.root === root).length > 1) continue;
      found.set(prefix, root);
      left.delete(root);
    }
  };
  match((path, candidate) => path === candidate);
  match((path, candidate) => config?.mediaMoved?.[path] === candidate);
  // The more of the path is the same, counted from its end, the surer it is the same folder.
  for (let names = 8; names > 0; names--) match((path, candidate) => endOf(path, names) === endOf(candidate, names));
  // A folder that was moved and renamed: only where no other one could be meant.
  if (roots.length - found.size === 1 && left.size === 1) match(() => true);
  return roots.map(({ path, prefix }) => {
    const root = found.get(prefix);
    if (root !== undefined) return { prefix, root };
    throw new AppError('BAD_USER_INPUT', `restoreMedia: the config has no media path for "${path || prefix}".`, {
      field: 'restoreMedia',
      hint: 'Add the folder to the config, or set restoreMedia: false.',
    });
  });
}

/** The last names of a path, which may be of another machine. */
const endOf = (path: string, names: number) => path.split(/[\\/]/).filter(Boolean).slice(-names).join('/');

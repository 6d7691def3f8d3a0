import type { CoreEnvironment } from '../environment.js';
import { basename, dirname } from 'node:path';
import { contained } from '../../archive/names.js';
import { mediaRoots, realPaths } from '../../archive/media.js';
import { AppError } from '../../errors.js';
import { isArchiveName } from '../archives/names.js';
import type { Engine } from '../ports.js';

/** What protecting needs. */
export type ProtectEnvironment = Pick<CoreEnvironment, 'models' | 'engines' | 'storages' | 'exclude'>;

/**
 * What is never media, wherever it lies: db-manager's own folders and files, the database and those of all configs with
 * their companions, and the archives in every folder that archives lie in. Whatever else lies in such a folder is media
 * like any other.
 * @param database what is backed up or restored to, which may be none of a config's
 */
export async function protectedPaths(
  { models, engines, storages, exclude }: ProtectEnvironment,
  database: { engine: Engine; url: string } | null,
): Promise<Protection> {
  const [destinations, configs] = await Promise.all([
    models.Destination.findAll(),
    models.BackupConfig.findAll({ attributes: ['storageType', 'storagePath', 'engine', 'databaseUrl'] }),
  ]);
  const databases = [
    ...(database === null ? [] : [database]),
    ...configs.map(({ engine, databaseUrl: url }) => ({ engine: engines.of(engine), url })),
  ];
  const files = await Promise.all(databases.map(({ engine, url }) => engine.files(url)));
  const folders = [...destinations, ...configs].flatMap((address) => storages.open(address).folder() ?? []);
  return new Protection(new Set([...(await realPaths(exclude)), ...files.flat()]), await realPaths(folders));
}

/** Tells what is never media. All paths are absolute and without symbolic links. */
export class Protection {
  /**
   * @param paths files, and folders with all that lies below
   * @param storages folders in which only the archives are protected
   */
  constructor(
    private readonly paths: ReadonlySet<string>,
    private readonly storages: ReadonlySet<string>,
  ) {}

  /** True for what a walk through media passes over, with all that lies below. */
  readonly covers = (path: string): boolean =>
    this.paths.has(path) || (this.storages.has(dirname(path)) && isArchiveName(basename(path)));

  /**
   * Tells which files a restore into the media folder `root` must not write: those that are protected, lie in a protected
   * folder, or would take the place of a folder that holds something protected. A folder that was named as media is media,
   * also where it lies in one of db-manager's own, as the sample's does.
   */
  forbidden(root: string): (path: string) => boolean {
    const near = [...this.paths].filter((one) => one !== root && contained(root, one));
    const storages = [...this.storages].filter((one) => contained(root, one));
    return (path) =>
      this.covers(path) ||
      near.some((one) => contained(one, path) || contained(path, one)) ||
      storages.some((one) => contained(path, one));
  }

  /** @throws AppError PATH_NOT_ALLOWED for a media folder that is wholly db-manager's own; as `mediaRoots` */
  async assertMedia(paths: string[]): Promise<void> {
    const own = (await mediaRoots(paths)).find(({ real }) => this.covers(real));
    if (own === undefined) return;
    throw new AppError('PATH_NOT_ALLOWED', `The media path ${own.path} is db-manager's own folder.`, {
      hint: "Name the folder that holds the application's media.",
    });
  }
}

import type { CoreEnvironment } from '../environment.js';
import { readdir } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import { contained } from '../../archive/names.js';
import { AppError, badInput, errnoOf, fromErrno } from '../../errors.js';
import { realFile } from '../../disk.js';
import type { Commands } from '../commands/commands.js';

/** What judging paths needs of the process around it. All paths are absolute. */
export type PlacesEnvironment = Pick<
  CoreEnvironment,
  'models' | 'engines' | 'allowedPaths' | 'productFolder' | 'dataDir' | 'localRoot'
> & {
  /** What operators lay down to be run. */
  commands: readonly Commands[];
};

/** What a path is for. A source is only read; a storage and a target are written to. */
export type PlaceUse = 'source' | 'storage' | 'target database' | 'target media';

/** What belongs to the product inside its own folder; whatever else lies there is the user's. */
const PRODUCT = ['src', 'dist', 'schema', 'test', 'docs', 'node_modules', '.git', '.ci', '.github', '.env'];
/** Where the system shows itself as files: nothing is restored there. A storage there fails its own trial. */
const SYSTEM = ['/proc', '/sys', '/dev'];

/**
 * Judges every path that a request can name: for a source, a storage or the target of a restore. It may lead through links;
 * what counts is where it ends.
 */
export class Places {
  constructor(private readonly env: PlacesEnvironment) {}

  /**
   * @param field of the input, for the error
   * @param exceptConfig the config whose own media folders the path may be or lie in
   * @returns the path, normalised
   * @throws AppError BAD_USER_INPUT for an empty or relative path; PATH_NOT_ALLOWED
   */
  async judge(field: string, path: string, use: PlaceUse, exceptConfig?: number): Promise<string> {
    if (path.trim() === '') throw badInput(field, 'is empty.', 'Write an absolute path, such as /srv/restored.');
    if (path.includes('\0')) throw badInput(field, 'holds a NUL character.');
    if (!isAbsolute(path)) {
      throw badInput(field, `"${path}" is not an absolute path.`, 'Write an absolute path, such as /srv/restored.');
    }
    const place = resolve(path);
    const real = await realFile(place);
    await this.assertAllowed(field, place, real);
    await this.assertNoCommands(field, place, real);
    if (use === 'source') return place;
    await this.assertNotOurs(field, place, real, use);
    await this.assertNotProtected(field, place, real, use, exceptConfig);
    return place;
  }

  /**
   * Why a folder cannot be filled without overwriting: it holds something, or is none. Null if it is empty or not there.
   * @throws AppError MEDIA_UNREADABLE if it cannot be looked into
   */
  async emptinessProblem(field: string, folder: string): Promise<AppError | null> {
    try {
      const names = await readdir(folder);
      if (names.length === 0) return null;
      const hint = 'Choose an empty folder, or set overwrite: true.';
      return badInput(field, `${folder} already holds ${names.length} files or folders.`, hint);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null;
      if (errnoOf(error) === 'ENOTDIR') return badInput(field, `${folder} is a file, not a folder.`);
      throw fromErrno(error, `read ${folder}`, 'MEDIA_UNREADABLE', 'MEDIA_NOT_FOUND') ?? error;
    }
  }

  private async assertAllowed(field: string, place: string, real: string): Promise<void> {
    const { allowedPaths } = this.env;
    if (allowedPaths.length === 0) return;
    for (const allowed of allowedPaths) if (contained(await realFile(allowed), real)) return;
    throw notAllowed(field, place, `is not inside the allowed folders (${allowedPaths.join(', ')})`, {
      hint: 'Choose a path inside them, or let the owner of the machine add its folder to ALLOWED_PATHS.',
    });
  }

  /** A file that a request lays there would run as db-manager, also one of a source, into which its backups come back. */
  private async assertNoCommands(field: string, place: string, real: string): Promise<void> {
    for (const { folder, kind } of this.env.commands) {
      if (folder === null) continue;
      const own = await realFile(folder);
      if (!contained(own, real) && !contained(real, own)) continue;
      const which = `${kind.noun}s (${kind.folderVariable}, ${own})`;
      throw notAllowed(field, place, `is, holds or lies in the folder of ${which}`);
    }
  }

  private async assertNotOurs(field: string, place: string, real: string, use: PlaceUse): Promise<void> {
    const { dataDir, localRoot, productFolder } = this.env;
    const isFolder = use !== 'target database';
    const inArchives = contained(await realFile(localRoot), real);
    if (inArchives && use === 'storage') return;
    if (inArchives) throw notAllowed(field, place, 'is where archives lie');
    const data = await realFile(dataDir);
    if (contained(data, real)) throw notAllowed(field, place, "is db-manager's own data (DATA_DIR)");
    const product = await realFile(productFolder);
    const own = [...PRODUCT.map((name) => resolve(product, name)), ...(use === 'storage' ? [] : SYSTEM)];
    const inside = own.find((one) => contained(one, real)) ?? (isFolder && real === product ? product : undefined);
    if (inside !== undefined) throw notAllowed(field, place, `belongs to db-manager or the system (${inside})`);
    const around = use === 'target media' ? [product, data].find((one) => contained(real, one)) : undefined;
    if (around !== undefined) throw notAllowed(field, place, `holds db-manager itself (${around})`);
  }

  /** Neither the database nor the media of a config: they have a restore of their own, with its checks. */
  private async assertNotProtected(
    field: string,
    place: string,
    real: string,
    use: PlaceUse,
    exceptConfig: number | undefined,
  ): Promise<void> {
    const configs = await this.env.models.BackupConfig.findAll({
      attributes: ['id', 'name', 'engine', 'databaseUrl', 'mediaPaths'],
    });
    for (const { id, name, engine, databaseUrl, mediaPaths } of configs) {
      const files = await this.env.engines.of(engine).files(databaseUrl);
      const isDatabase = files.includes(real) || (use === 'target media' && files.some((one) => contained(real, one)));
      if (isDatabase) throw notAllowed(field, place, `is or holds the database of "${name}"`, elsewhere(name));
      if (id === exceptConfig) continue;
      for (const media of mediaPaths) {
        const root = await realFile(media);
        const meets = contained(root, real) || (use === 'target media' && contained(real, root));
        // An archive beside the media of its config is passed over by its backups.
        if (meets) throw notAllowed(field, place, `is or holds media of "${name}"`, elsewhere(name));
      }
    }
  }
}

const elsewhere = (name: string) => ({
  hint: `Choose another place. To restore into "${name}", file the backup under it (assignBackup) and restore in place.`,
});

function notAllowed(field: string, place: string, why: string, more: { hint?: string } = {}): AppError {
  const hint = more.hint ?? `Choose another folder than ${dirname(place)}, outside db-manager's own.`;
  return new AppError('PATH_NOT_ALLOWED', `${field}: ${place} ${why}.`, { field, hint });
}

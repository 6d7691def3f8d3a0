import { chmod, chown, lstat, mkdir, readFile, rename, rm, rmdir, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeFolder } from '../archive/make-folder.js';
import { type Excluded, mediaRoots, RESERVED_PREFIX, walkMedia } from '../archive/media.js';
import type { Archive } from '../archive/read.js';
import { AppError, errnoOf, fromErrno } from '../errors.js';
import { mountRefused, surveyMedia } from './media-survey.js';
import { keepFile, lstatOf, moveFile, releaseFile, syncFolder } from './move-file.js';
import { firstOf } from './names.js';
import type { StepContext } from './ports.js';

/** What happens to media files (of the chosen ones) that the backup does not have: kept, or moved away. */
export type MediaMode = 'MERGE' | 'MIRROR';

/** A part of the archive's media and the folder that it goes to. */
export interface MediaTarget {
  /** Archive prefix, ending in '/'. */
  prefix: string;
  /** Absolute folder. */
  root: string;
}

/** What a swap will do, written down before anything is touched, so that it can be undone after a crash. */
interface SwapPlan {
  /** Files of the archive, relative to the root. */
  files: string[];
  /** Those of them that were there before, whatever they held: an undo never removes them. */
  present: string[];
  /** Relative paths that are in the way (a file where a folder must be, a folder or link where a file must be). */
  obstacles: string[];
  /** Files that the backup does not have and that MIRROR moves away. */
  extras: string[];
  /** Folders that are not there yet, outermost first. */
  newFolders: string[];
  /** True if the root itself was made. */
  rootIsNew: boolean;
}

const stagingOf = (root: string, runId: string) => join(root, `${RESERVED_PREFIX}${runId}`);

/**
 * Brings the media of one root to the archive's state so that it can be put back until it is settled: the new files are
 * laid beside, in a folder of their own, checked and flushed; then each takes its place by a rename, and what it replaces
 * is kept by a hard link; where another disk is mounted within the root, by copies that end in a rename. `undo` works
 * after any crash, from what lies on the disk alone.
 */
export class MediaSwap {
  private constructor(
    private readonly root: string,
    private readonly staging: string,
  ) {}

  /** The swap of a run that may have died, to undo or settle it. */
  static of(root: string, runId: string): MediaSwap {
    return new MediaSwap(root, stagingOf(root, runId));
  }

  /**
   * Lays the new files beside the present ones. Changes nothing else.
   * @param wanted chooses entries by their archive path
   * @param excluded what is never touched, such as the database itself
   */
  static async prepare(
    archive: Archive,
    target: MediaTarget,
    options: { runId: string; mode: MediaMode; wanted: (path: string) => boolean; excluded: Excluded },
    step: StepContext,
  ): Promise<MediaSwap> {
    const swap = MediaSwap.of(target.root, options.runId);
    const rootIsNew = (await makeFolder(target.root)).includes(target.root);
    await mkdir(swap.staging, { mode: 0o700 });
    const chosen = archive.entries.filter(
      (entry) => entry.path.startsWith(target.prefix) && options.wanted(entry.path),
    );
    const paths = new Set(chosen.map((entry) => entry.path));
    const bytes = chosen.reduce((sum, entry) => sum + entry.size, 0);
    await archive.extract(join(swap.staging, 'in'), {
      signal: step.signal,
      filter: (path) => paths.has(path),
      onProgress: (done) => step.onProgress(done, bytes),
    });
    await mkdir(join(swap.staging, 'in', target.prefix), { recursive: true });
    await rename(join(swap.staging, 'in', target.prefix), join(swap.staging, 'new'));
    const { files, obstacles, newFolders } = await surveyMedia(target, chosen);
    for (const { path, directory, mode, mtime } of chosen) {
      if (!directory) await swap.dress(path.slice(target.prefix.length), mode, mtime);
    }
    const extras = options.mode === 'MIRROR' ? await swap.extras(new Set(files), target.prefix, options) : [];
    const plan: SwapPlan = {
      files,
      present: await swap.present(files),
      obstacles,
      newFolders,
      // What lies in a folder that is in the way goes and comes with it.
      extras: extras.filter((path) => !obstacles.some((obstacle) => path.startsWith(`${obstacle}/`))),
      rootIsNew,
    };
    await swap.writePlan(plan);
    return swap;
  }

  /** Gives every new file its place. On an error call `undo`. */
  async apply(step: StepContext): Promise<void> {
    const plan = await this.plan();
    if (plan === null) throw new AppError('INTERNAL_ERROR', 'The plan of the media is missing.');
    for (const path of [...plan.obstacles, ...plan.extras]) {
      step.signal.throwIfAborted();
      await this.moveAside(path);
    }
    for (const folder of plan.newFolders) await this.makeFolder(folder);
    let done = 0;
    for (const file of plan.files) {
      step.signal.throwIfAborted();
      await this.replace(file);
      step.onProgress((done += 1), plan.files.length);
    }
    const folders = new Set([...plan.files, ...plan.extras].map((file) => dirname(join(this.root, file))));
    for (const folder of folders) await syncFolder(folder);
  }

  /**
   * Puts the old files back, as far as they were touched. May be called again after a crash in the middle. What fails does
   * not keep the rest from being put back.
   * @throws AppError RESTORE_ROLLBACK_FAILED naming what failed; the old files that are not back then lie where it says
   */
  async undo(): Promise<void> {
    const plan = await this.plan();
    if (plan !== null) await this.putAllBack(plan);
    await this.settle();
    if (plan?.rootIsNew) await rmdir(this.root).catch(() => undefined);
  }

  private async putAllBack(plan: SwapPlan): Promise<void> {
    const failed: string[] = [];
    const attempt = async (path: string, step: Promise<void>): Promise<void> => {
      await step.catch((error: unknown) =>
        failed.push(`${join(this.root, path)} (${errnoOf(error) ?? String(error)})`),
      );
    };
    const kept = new Set([...plan.present, ...plan.obstacles]);
    const files = await this.ownFiles(plan);
    const places = [...files, ...plan.obstacles, ...plan.extras].map((path) => this.partialOf(path));
    for (const partial of new Set(places)) await attempt(partial, removeFile(join(this.root, partial)));
    for (const file of files) await attempt(file, this.putBack(file, kept));
    for (const folder of plan.newFolders.toReversed()) await rmdir(join(this.root, folder)).catch(() => undefined);
    const replaced = new Set(plan.files);
    for (const path of [...plan.obstacles, ...plan.extras]) await attempt(path, this.moveBack(path, replaced));
    if (failed.length === 0) return;
    throw new AppError(
      'RESTORE_ROLLBACK_FAILED',
      `${failed.length} could not be put back: ${firstOf(failed)}. What was there lies in ${join(this.staging, 'old')}.`,
    );
  }

  /** The files whose places are this swap's: what lies below an obstacle that is back, or was never moved, is not. */
  private async ownFiles({ files, obstacles }: SwapPlan): Promise<string[]> {
    const standing: string[] = [];
    for (const path of obstacles) {
      const found = await lstatOf(join(this.root, path));
      if (found !== null && !found.isDirectory()) standing.push(`${path}/`);
    }
    return files.filter((file) => !standing.some((folder) => file.startsWith(folder)));
  }

  /** Removes what `undo` would need: the new state stays. */
  async settle(): Promise<void> {
    await rm(this.staging, { recursive: true, force: true });
  }

  private async plan(): Promise<SwapPlan | null> {
    try {
      return JSON.parse(await readFile(join(this.staging, 'plan.json'), 'utf8')) as SwapPlan;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null;
      throw error;
    }
  }

  private async writePlan(plan: SwapPlan): Promise<void> {
    const partial = join(this.staging, 'plan.partial');
    await writeFile(partial, JSON.stringify(plan), { mode: 0o600, flush: true });
    await rename(partial, join(this.staging, 'plan.json'));
    await syncFolder(this.staging);
  }

  /** Rights and time of the file when it was backed up; the owner of the folder it goes to, where that can be given. */
  private async dress(file: string, mode: number | null | undefined, mtime: Date | null | undefined): Promise<void> {
    const path = join(this.staging, 'new', file);
    if (process.getuid?.() === 0) {
      const owner = await lstat(join(this.root, file)).catch(() => lstat(this.root));
      await chown(path, owner.uid, owner.gid);
    }
    await chmod(path, (mode ?? 0o644) & 0o777);
    if (mtime) await utimes(path, mtime, mtime);
  }

  private async present(files: string[]): Promise<string[]> {
    const found: string[] = [];
    for (const file of files) {
      if ((await lstat(join(this.root, file)).catch(() => null))?.isFile()) found.push(file);
    }
    return found;
  }

  /** A folder belongs to whoever the folder above it belongs to, so that the application can write there. */
  private async makeFolder(folder: string): Promise<void> {
    const path = join(this.root, folder);
    if ((await mkdir(path, { recursive: true })) === undefined || process.getuid?.() !== 0) return;
    const { uid, gid } = await lstat(dirname(path));
    await chown(path, uid, gid);
  }

  private async extras(
    kept: Set<string>,
    prefix: string,
    { excluded, wanted }: { excluded: Excluded; wanted: (path: string) => boolean },
  ): Promise<string[]> {
    const extras: string[] = [];
    for (const found of await mediaRoots([this.root])) {
      for await (const item of walkMedia({ ...found, prefix: '' }, excluded)) {
        // Links are noted in archives, not stored: moving one away could not be undone.
        if (item.kind !== 'file') continue;
        if (!kept.has(item.path) && wanted(prefix + item.path)) extras.push(item.path);
      }
    }
    return extras;
  }

  /** The old file is kept by a second name, so that the place is never empty. */
  private async replace(file: string): Promise<void> {
    const target = join(this.root, file);
    const old = join(this.staging, 'old', file);
    try {
      if ((await lstat(target).catch(() => null))?.isFile()) {
        await mkdir(dirname(old), { recursive: true });
        await keepFile(target, old, this.partialOf(old));
      }
      await releaseFile(join(this.staging, 'new', file), target, this.partialOf(target));
    } catch (error) {
      throw notWritten(error, target);
    }
  }

  /** Decided by what lies on the disk alone, so that it may be done any number of times. */
  private async putBack(file: string, kept: Set<string>): Promise<void> {
    const target = join(this.root, file);
    const old = join(this.staging, 'old', file);
    if (kept.has(file)) {
      if ((await lstatOf(old))?.isFile()) await moveFile(old, target, this.partialOf(target));
    } else if ((await lstatOf(join(this.staging, 'new', file))) === null) {
      await rm(target, { force: true });
    }
  }

  private async moveAside(path: string): Promise<void> {
    const [target, old] = [join(this.root, path), join(this.staging, 'old', path)];
    await mkdir(dirname(old), { recursive: true });
    await moveFile(target, old, this.partialOf(old)).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw notWritten(error, target);
    });
  }

  private async moveBack(path: string, replaced: Set<string>): Promise<void> {
    const [target, old] = [join(this.root, path), join(this.staging, 'old', path)];
    const kept = await lstatOf(old);
    if (kept === null) return;
    // A folder cannot take a file's place by a rename: the new file, if it has got there, goes first.
    const took = replaced.has(path) && (await lstatOf(join(this.staging, 'new', path))) === null;
    if (kept.isDirectory() && took && (await lstatOf(target))?.isFile()) await rm(target);
    await moveFile(old, target, this.partialOf(target));
  }

  /** Where a file is laid that comes from another disk, beside its place: no walk through media sees it. */
  private partialOf(path: string): string {
    return join(dirname(path), `${basename(this.staging)}.partial`);
  }
}

async function removeFile(path: string): Promise<void> {
  if ((await lstatOf(path)) !== null) await rm(path);
}

function notWritten(error: unknown, path: string): unknown {
  const known = fromErrno(error, `write ${path}`, 'MEDIA_UNREADABLE', 'MEDIA_NOT_FOUND');
  if (known !== undefined) return known;
  return errnoOf(error) === 'EXDEV' || errnoOf(error) === 'EBUSY' ? mountRefused(path, error) : error;
}

import { createHash, randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { chmod, lstat, mkdir, open, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FileAttributes, Owner } from '../../../archive/lay-files.js';
import { makeFolder } from '../../../archive/make-folder.js';
import { type Excluded, mediaRoots, walkMedia } from '../../../archive/media.js';
import { RESERVED_PREFIX } from '../../../archive/metadata.js';
import { belowAny } from '../../../archive/names.js';
import { giveOriginalNames } from '../../../archive/original-names.js';
import { systemPath } from '../../../archive/raw-names.js';
import type { Archive, ArchiveEntry } from '../../../archive/read.js';
import { flush, giveOwner } from '../../../disk.js';
import { AppError, errnoOf, fromErrno } from '../../../errors.js';
import { Finishing } from './finishing.js';
import { HeldFolder } from './held-folder.js';
import { hasRightsOf, type MediaMode, type MediaTarget, mountRefused, surveyMedia } from './survey.js';
import { keepFile, moveFile, releaseFile } from './move-file.js';
import { folderOf, Owners } from './owners.js';
import { firstOf } from '../../text/format.js';
import type { StepContext } from '../../ports.js';

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
  /** Permissions that new folders get in the end, as far as the archive has them, outermost first; '' is the root. */
  folderModes: [folder: string, mode: number][];
  /** True if the root itself was made. */
  rootIsNew: boolean;
}

/** Permissions of folders that an archive may ask for: also the bits that hand a folder's group on and guard its files. */
const FOLDER_MODE = 0o3777;

const stagingOf = (runId: string) => `${RESERVED_PREFIX}${runId}`;

/**
 * Brings the media of one root to the archive's state so that it can be put back until it is settled: the new files are
 * laid beside, in a folder of their own, checked and flushed; then each takes its place by a rename, and what it replaces
 * is kept by a hard link; where another disk is mounted within the root, by copies that end in a rename. `undo` works
 * after any crash, from what lies on the disk alone. Root and staging are opened once and all is reached from them, so that
 * no link that another program puts in the way leads a write elsewhere.
 */
export class MediaSwap {
  /** What the disk cannot have of the new files. */
  private readonly finishing = new Finishing();

  private constructor(
    private readonly root: HeldFolder,
    private readonly staging: HeldFolder,
    private readonly stagingName: string,
    /** The media folder as it was named. */
    private readonly target: string,
  ) {}

  /**
   * Undoes or settles the swap of a run that may have died. Nothing is done where it had not begun.
   * @param root the media folder
   * @throws AppError RESTORE_ROLLBACK_FAILED, PATH_NOT_ALLOWED
   */
  static async finish(root: string, runId: string, how: 'undo' | 'settle'): Promise<void> {
    const folder = await HeldFolder.at(root).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
      throw error;
    });
    if (folder === null) return;
    try {
      const name = stagingOf(runId);
      const found = await folder.lstat(name);
      if (found === null) return;
      const swap = new MediaSwap(folder, await ownFolder(folder, name), name, root);
      try {
        await swap[how]();
      } finally {
        await swap.staging.close();
      }
    } finally {
      await folder.close();
    }
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
    const rootIsNew = (await makeFolder(target.root)).includes(target.root);
    const root = await HeldFolder.at(target.root);
    const name = stagingOf(options.runId);
    let swap: MediaSwap | null = null;
    try {
      assertSamePlace(target, root.real);
      await mkdir(await root.path(name), { mode: 0o700 });
      swap = new MediaSwap(root, await ownFolder(root, name), name, target.root);
      await swap.lay(archive, target, { ...options, rootIsNew }, step);
      return swap;
    } catch (error) {
      await (swap ?? root).close();
      throw error;
    }
  }

  /** True if this is the swap of the media folder. */
  isOf(root: string): boolean {
    return this.target === root;
  }

  /** What an admin should know of the new files; empty if nothing. */
  get warnings(): string[] {
    return this.finishing.warnings(this.target);
  }

  /** Closes what is open. What was done stays as it is. */
  async close(): Promise<void> {
    await this.staging.close();
    await this.root.close();
  }

  private async lay(
    archive: Archive,
    target: MediaTarget,
    options: { mode: MediaMode; wanted: (path: string) => boolean; excluded: Excluded; rootIsNew: boolean },
    step: StepContext,
  ): Promise<void> {
    const staging = await this.staging.path('');
    const chosen = archive.entries.filter(
      (entry) => entry.path.startsWith(target.prefix) && options.wanted(entry.path),
    );
    const paths = new Set(chosen.map((entry) => entry.path));
    const bytes = chosen.reduce((sum, entry) => sum + entry.size, 0);
    const owners = new Owners(this.root);
    let same = 0;
    for (const entry of chosen) {
      if (entry.directory) continue;
      const inside = insideOf(entry, target);
      if (!(await this.isSame(entry, inside, await owners.look(inside), step.signal))) continue;
      paths.delete(entry.path);
      step.onProgress((same += entry.size), bytes);
    }
    await archive.extract(join(staging, 'in'), {
      signal: step.signal,
      filter: (path) => paths.has(path),
      onProgress: (done) => step.onProgress(same + done, bytes),
      // As `mkdir` makes them: within the staging folder nobody else reaches them.
      folderMode: 0o777,
      attributesOf: (entry) => attributesOf(entry, owners.of(insideOf(entry, target))),
      onMissed: ({ kind, code }) => this.finishing.miss(kind, code),
    });
    await mkdir(join(staging, 'in', target.prefix), { recursive: true });
    await rename(join(staging, 'in', target.prefix), join(staging, 'new'));
    await giveOriginalNames(join(staging, 'new'), target.prefix, archive.metadata.renamed);
    const { files: all, obstacles, newFolders } = await surveyMedia(target, chosen);
    const extras = options.mode === 'MIRROR' ? await this.extras(new Set(all), target.prefix, options) : [];
    const going = chosen.filter(({ directory, path }) => !directory && paths.has(path));
    const files = going.map((entry) => insideOf(entry, target));
    const isInTheWay = belowAny(obstacles);
    const plan: SwapPlan = {
      files,
      present: await this.present(files, new Set(newFolders)),
      obstacles,
      newFolders,
      folderModes: folderModes(archive, target, options.rootIsNew ? ['', ...newFolders] : newFolders),
      // What lies in a folder that is in the way goes and comes with it.
      extras: extras.filter((path) => !isInTheWay(path)),
      rootIsNew: options.rootIsNew,
    };
    await this.writePlan(plan);
  }

  /** Gives every new file its place. On an error call `undo`. */
  async apply(step: StepContext): Promise<void> {
    const plan = await this.plan();
    if (plan === null) throw new AppError('INTERNAL_ERROR', 'The plan of the media is missing.');
    for (const path of [...plan.obstacles, ...plan.extras]) {
      step.signal.throwIfAborted();
      await this.moveAside(path);
    }
    const whole = new Set<string>();
    for (const folder of plan.newFolders) await this.makeFolder(folder, whole);
    let done = 0;
    for (const file of plan.files) {
      step.signal.throwIfAborted();
      if (!whole.has(folderOf(file))) await this.replace(file);
      step.onProgress((done += 1), plan.files.length);
    }
    const folders = new Set([...plan.files, ...plan.extras, ...plan.newFolders].map((path) => folderOf(path)));
    for (const folder of folders) {
      // Opened anew: what was written must lie where it belongs, not in a folder that was moved away meanwhile.
      await this.root.forget(folder);
      await this.finishing.flushFolder(await this.folderInPlace(folder));
    }
    // Last, because they may forbid what was done so far; folders within others first.
    for (const [folder, mode] of plan.folderModes.toReversed()) {
      const path = systemPath(await this.folderInPlace(folder));
      await this.finishing.give('permissions', () => chmod(path, mode));
    }
  }

  /**
   * Puts the old files back, as far as they were touched. May be called again after a crash in the middle. What fails does
   * not keep the rest from being put back.
   * @throws AppError RESTORE_ROLLBACK_FAILED naming what failed; the old files that are not back then lie where it says
   */
  async undo(): Promise<void> {
    const plan = await this.plan();
    if (plan !== null) {
      await this.openFolders(plan);
      await this.putAllBack(plan);
    }
    await this.settle();
    if (plan?.rootIsNew) await rmdir(this.root.real).catch(() => undefined);
  }

  /** New folders that got their permissions may not let their files go. */
  private async openFolders({ folderModes: modes }: SwapPlan): Promise<void> {
    for (const [folder] of modes) {
      const path = await this.root.folder(folder).catch(() => null);
      if (path !== null) await chmod(systemPath(path), 0o700).catch(() => undefined);
    }
  }

  private async putAllBack(plan: SwapPlan): Promise<void> {
    const failed: string[] = [];
    const attempt = async (path: string, step: Promise<void>): Promise<void> => {
      await step.catch((error: unknown) =>
        failed.push(`${join(this.root.real, path)} (${errnoOf(error) ?? String(error)})`),
      );
    };
    const kept = new Set([...plan.present, ...plan.obstacles]);
    const files = await this.ownFiles(plan);
    const places = [...files, ...plan.obstacles, ...plan.extras].map((path) => this.partialOf(path));
    for (const partial of new Set(places)) await attempt(partial, this.removeFile(partial));
    for (const file of files) await attempt(file, this.putBack(file, kept));
    for (const folder of plan.newFolders.toReversed()) await this.removeFolder(folder).catch(() => undefined);
    const replaced = new Set(plan.files);
    for (const path of [...plan.obstacles, ...plan.extras]) await attempt(path, this.moveBack(path, replaced));
    if (failed.length === 0) return;
    throw new AppError(
      'RESTORE_ROLLBACK_FAILED',
      `${failed.length} could not be put back: ${firstOf(failed)}. What was there lies in ${join(this.staging.real, 'old')}.`,
    );
  }

  /** The files whose places are this swap's: what lies below an obstacle that is back, or was never moved, is not. */
  private async ownFiles({ files, obstacles }: SwapPlan): Promise<string[]> {
    const standing: string[] = [];
    for (const path of obstacles) {
      const found = await this.root.lstat(path);
      if (found !== null && !found.isDirectory()) standing.push(path);
    }
    const isStanding = belowAny(standing);
    return files.filter((file) => !isStanding(folderOf(file)));
  }

  /** Removes what `undo` would need: the new state stays. */
  async settle(): Promise<void> {
    await this.staging.clear();
    await rmdir(await this.root.path(this.stagingName));
  }

  private async plan(): Promise<SwapPlan | null> {
    try {
      return JSON.parse(await readFile(await this.staging.path('plan.json'), 'utf8')) as SwapPlan;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null;
      throw error;
    }
  }

  private async writePlan(plan: SwapPlan): Promise<void> {
    const partial = await this.staging.path('plan.partial');
    const file = await open(partial, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(plan));
      await flush(file);
    } finally {
      await file.close();
    }
    await rename(partial, await this.staging.path('plan.json'));
    await this.finishing.flushFolder(await this.staging.path(''));
  }

  /**
   * True for a file whose content and rights are the archive's already: it is left alone. One that cannot be read is not.
   * What is found of it here is the last that is looked at: a program that writes to it from now on has the last word.
   */
  private async isSame(
    entry: ArchiveEntry,
    inside: string,
    found: Stats | null,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { sha256, size } = entry;
    if (sha256 === undefined) return false;
    if (!found?.isFile() || found.size !== size || !hasRightsOf(entry, found)) return false;
    return (await contentHash(await this.root.path(inside), size, signal)) === sha256;
  }

  private async present(files: string[], newFolders: ReadonlySet<string>): Promise<string[]> {
    const found: string[] = [];
    for (const file of files) {
      if (!newFolders.has(folderOf(file)) && (await this.root.lstat(file))?.isFile()) found.push(file);
    }
    return found;
  }

  /**
   * A new folder gets the owner of the folder above it, so that the application can write there.
   * @param whole the new folders that came with all their files; this one is added if it does
   */
  private async makeFolder(folder: string, whole: Set<string>): Promise<void> {
    try {
      const comesAlong = whole.has(folderOf(folder)) && (await this.root.lstat(folder))?.isDirectory() === true;
      if (comesAlong || (await this.bringWhole(folder))) whole.add(folder);
      else if ((await this.root.lstat(folder))?.isDirectory()) return;
      else await mkdir(systemPath(await this.root.path(folder)));
      const above = await stat(systemPath(await this.root.folder(folderOf(folder))));
      // By the opened folder: another one may lie at its path by now.
      const path = systemPath(await this.root.folder(folder));
      await this.finishing.give('owner', () => giveOwner(path, above));
    } catch (error) {
      throw notWritten(error, join(this.root.real, folder));
    }
  }

  /**
   * Gives a new folder its place with all that was laid in it, by one rename. Only directly in the media folder: there the
   * laid one has inherited what a folder made there inherits (group, access lists), because the staging folder lies there too.
   * @returns false if it has to be made and filled
   */
  private async bringWhole(folder: string): Promise<boolean> {
    if (folderOf(folder) !== '' || (await this.root.lstat(folder)) !== null) return false;
    const laid = `new/${folder}`;
    if (!(await this.staging.lstat(laid))?.isDirectory()) return false;
    await rename(systemPath(await this.staging.path(laid)), systemPath(await this.root.path(folder)));
    await this.staging.forget(laid);
    return true;
  }

  private async extras(
    kept: Set<string>,
    prefix: string,
    { excluded, wanted }: { excluded: Excluded; wanted: (path: string) => boolean },
  ): Promise<string[]> {
    const extras: string[] = [];
    for (const found of await mediaRoots([this.root.real])) {
      for await (const item of walkMedia({ ...found, prefix: '' }, excluded)) {
        // Links are noted in archives, not stored: moving one away could not be undone.
        if (item.kind !== 'file') continue;
        if (!kept.has(item.inside) && wanted(prefix + item.path)) extras.push(item.inside);
      }
    }
    return extras;
  }

  private async folderInPlace(folder: string): Promise<string> {
    return this.root.folder(folder).catch((error: unknown) => {
      throw ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')
        ? changedMeanwhile(join(this.root.real, folder))
        : error;
    });
  }

  /** The old file is kept by a second name, so that the place is never empty. */
  private async replace(file: string): Promise<void> {
    try {
      const found = await this.root.lstat(file);
      if (found?.isFile()) {
        const old = await this.keptPath(file);
        await keepFile(await this.root.path(file), old, this.partialOf(old), this.finishing);
      } else if (found !== null) throw changedMeanwhile(join(this.root.real, file));
      const target = await this.root.path(file);
      await releaseFile(await this.staging.path(`new/${file}`), target, this.partialOf(target), this.finishing);
    } catch (error) {
      throw notWritten(error, join(this.root.real, file));
    }
  }

  /** A path for what is kept of `inside`, in folders of the staging that are made for it. */
  private async keptPath(inside: string): Promise<string> {
    await this.staging.makeFolders(folderOf(`old/${inside}`));
    return this.staging.path(`old/${inside}`);
  }

  /** Decided by what lies on the disk alone, so that it may be done any number of times. */
  private async putBack(file: string, kept: Set<string>): Promise<void> {
    if (kept.has(file)) {
      if (!(await this.staging.lstat(`old/${file}`))?.isFile()) return;
      const target = await this.root.path(file);
      await moveFile(await this.staging.path(`old/${file}`), target, this.partialOf(target));
    } else if ((await this.staging.lstat(`new/${file}`)) === null) await this.removeFile(file);
  }

  private async moveAside(path: string): Promise<void> {
    try {
      if ((await this.root.lstat(path)) === null) return;
      const old = await this.keptPath(path);
      await moveFile(await this.root.path(path), old, this.partialOf(old), this.finishing);
      await this.root.forget(path);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw notWritten(error, join(this.root.real, path));
    }
  }

  private async moveBack(path: string, replaced: Set<string>): Promise<void> {
    const kept = await this.staging.lstat(`old/${path}`);
    if (kept === null) return;
    // A folder cannot take a file's place by a rename: the new file, if it has got there, goes first.
    const took = replaced.has(path) && (await this.staging.lstat(`new/${path}`)) === null;
    if (kept.isDirectory() && took && (await this.root.lstat(path))?.isFile()) await this.removeFile(path);
    const target = await this.root.path(path);
    await moveFile(await this.staging.path(`old/${path}`), target, this.partialOf(target));
    await this.staging.forget(`old/${path}`);
  }

  private async removeFile(inside: string): Promise<void> {
    if ((await this.root.lstat(inside)) !== null) await rm(systemPath(await this.root.path(inside)));
  }

  private async removeFolder(inside: string): Promise<void> {
    await this.root.forget(inside);
    await rmdir(systemPath(await this.root.path(inside)));
  }

  /** Where a file is laid that comes from another disk, beside its place: no walk through media sees it. */
  private partialOf(path: string): string {
    return join(dirname(path), `${this.stagingName}.partial`);
  }
}

const insideOf = ({ original }: ArchiveEntry, { prefix }: MediaTarget) => original.slice(prefix.length);

/** Permissions and time of the file when it was backed up. */
const attributesOf = ({ mode = 0o644, mtime }: ArchiveEntry, owner: Owner): FileAttributes => ({
  owner,
  mode: mode & 0o777,
  mtime: mtime?.getTime() ?? null,
});

/** What the archive says of these folders' permissions. */
function folderModes({ entries }: Archive, { prefix }: MediaTarget, folders: string[]): SwapPlan['folderModes'] {
  const wanted = new Set(folders);
  const modes: [string, number][] = [];
  for (const { directory, original, mode } of entries) {
    if (!directory || !original.startsWith(prefix) || mode === undefined) continue;
    const folder = original.slice(prefix.length).replace(/\/$/, '');
    if (wanted.has(folder)) modes.push([folder, mode & FOLDER_MODE]);
  }
  const depth = ([folder]: [string, number]) => (folder === '' ? 0 : folder.split('/').length);
  return modes.sort((one, other) => depth(one) - depth(other));
}

/** SHA-256 of a file's first bytes, of as many as it is said to have and one more; null if it cannot be read. */
async function contentHash(path: string, size: number, signal: AbortSignal): Promise<string | null> {
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const handle = await open(systemPath(path), flags).catch(() => null);
  if (handle === null) return null;
  try {
    if (!(await handle.stat()).isFile()) return null;
    const hash = createHash('sha256');
    const bytes = handle.createReadStream({ autoClose: false, end: size, highWaterMark: 1 << 18, signal });
    for await (const chunk of bytes) hash.update(chunk as Buffer);
    return hash.digest('hex');
  } catch {
    signal.throwIfAborted();
    return null;
  } finally {
    await handle.close();
  }
}

/**
 * Opens the staging folder and makes sure that this user made it: one that another program has put there would show an undo
 * what to write where.
 * @throws AppError PATH_NOT_ALLOWED
 */
async function ownFolder(root: HeldFolder, name: string): Promise<HeldFolder> {
  const folder = await root.hold(name).catch((error: unknown) => {
    throw errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'ELOOP' ? changedMeanwhile(join(root.real, name)) : error;
  });
  const { uid } = await stat(await folder.path(''));
  // Some disks (FAT, shares) give all files to one owner.
  if (uid === process.geteuid?.() || uid === (await ownerOfNew(root))) return folder;
  await folder.close();
  throw changedMeanwhile(join(root.real, name));
}

async function ownerOfNew(root: HeldFolder): Promise<number> {
  const name = `${RESERVED_PREFIX}${randomBytes(8).toString('hex')}`;
  await mkdir(await root.path(name), { mode: 0o700 });
  const { uid } = await lstat(await root.path(name));
  await rmdir(await root.path(name));
  return uid;
}

/** @throws AppError PATH_NOT_ALLOWED if the folder is another one than when the restore was requested */
function assertSamePlace({ root, real }: MediaTarget, now: string): void {
  if (real !== undefined && real !== now) throw changedMeanwhile(root);
}

function changedMeanwhile(path: string): AppError {
  return new AppError('PATH_NOT_ALLOWED', `${path} was replaced by another program while the restore was under way.`, {
    hint: 'Find out which program writes there, stop it, and restore again.',
  });
}

function notWritten(error: unknown, path: string): unknown {
  if (['ELOOP', 'EEXIST', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return changedMeanwhile(path);
  const known = fromErrno(error, `write ${path}`, 'MEDIA_UNREADABLE', 'MEDIA_NOT_FOUND');
  if (known !== undefined) return known;
  return errnoOf(error) === 'EXDEV' || errnoOf(error) === 'EBUSY' ? mountRefused(path, error) : error;
}

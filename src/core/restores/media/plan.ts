import type { Stats } from 'node:fs';
import { lstat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Excluded, mediaRoots, walkMedia } from '../../../archive/media.js';
import { belowAny } from '../../../archive/names.js';
import { systemPath } from '../../../archive/raw-names.js';
import type { ArchiveEntry } from '../../../archive/read.js';
import { errnoOf } from '../../../errors.js';
import { hasRightsOf, look, type MediaMode } from './survey.js';
import { isFolder } from './move-file.js';
import type { MediaPart } from './part.js';

/** Bytes that a folder has to take. */
export interface Need {
  path: string;
  bytes: number;
}

/** How many media files would be new, replaced, left because they are the same, kept and moved away, and the bytes to write. */
export interface MediaPlan {
  add: number;
  replace: number;
  unchanged: number;
  keep: number;
  remove: number;
  bytes: number;
}

/** What the media of a restore come to. */
export interface MediaWork {
  media: MediaPlan;
  /** What is laid and kept beside the media until the restore is settled. */
  staged: Need[];
  /** What an archive of the present media takes at most. */
  archived: number;
}

/** Where an archive's file has its name: before its bytes, in the directory and, deflated, in the metadata. */
const ENTRY_BYTES = 256;
/** File systems that know no second name for a file: FAT and exFAT. */
const WITHOUT_LINKS = new Set([0x4d44, 0x2011bab0]);

/** Compares the archive's media with what is there. Goes by size and time: the run compares content. */
export async function planMedia(
  { mediaMode }: { mediaMode: MediaMode },
  parts: MediaPart[],
  excluded: Excluded,
): Promise<MediaWork> {
  const media = { add: 0, replace: 0, unchanged: 0, keep: 0, remove: 0, bytes: 0 };
  const staged: Need[] = [];
  let archived = 0;
  for (const part of parts) {
    const { target, wanted, files, survey } = part;
    const { prefix, root } = target;
    const staging = await Staging.of(part);
    const newFolders = new Set(survey.newFolders);
    for (const entry of files) {
      const inside = entry.original.slice(prefix.length);
      const found = newFolders.has(dirname(inside)) ? null : await look(join(root, inside));
      if (found !== null && looksSame(entry, found)) {
        media.unchanged += 1;
        continue;
      }
      if (found === null) media.add += 1;
      else media.replace += 1;
      media.bytes += entry.size;
      staging.add(inside, entry.size, found);
    }
    const written = new Set(survey.files);
    const isInTheWay = belowAny(survey.obstacles);
    for await (const { path, inside, size } of presentFiles(root, excluded)) {
      archived += archivedBytes(prefix + path, size);
      if (written.has(inside)) continue;
      const moved = isInTheWay(inside) || (mediaMode === 'MIRROR' && wanted(prefix + path));
      if (!moved) media.keep += 1;
      else {
        media.remove += 1;
        staging.moveAside(inside, size);
      }
    }
    staged.push(...staging.needs);
  }
  return { media, staged, archived };
}

/** At most what a file takes in an archive. */
export const archivedBytes = (path: string, size: number) => ENTRY_BYTES + 3 * Buffer.byteLength(path) + size;

/** True for a file that has the size, the time and the rights of the archive's. */
function looksSame(entry: ArchiveEntry, found: Stats): boolean {
  const { sha256, mtime, size } = entry;
  if (sha256 === undefined || !found.isFile() || found.size !== size) return false;
  return found.mtime.getTime() === mtime?.getTime() && hasRightsOf(entry, found);
}

/** Sums up what `MediaSwap` lays beside the media of one root and, where no second name can be had, copies there. */
class Staging {
  readonly needs: Need[] = [];
  private readonly folders = new Set<string>();

  private constructor(
    private readonly root: string,
    private readonly mounts: ReadonlySet<string>,
    private readonly block: number,
    private readonly links: boolean,
  ) {}

  static async of({ target: { root }, survey: { mounts } }: MediaPart): Promise<Staging> {
    for (let folder = root; ; folder = dirname(folder)) {
      try {
        const { bsize, type } = await statfs(folder);
        return new Staging(root, mounts, bsize, !WITHOUT_LINKS.has(type));
      } catch (error) {
        if (!['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '') || folder === dirname(folder)) throw error;
      }
    }
  }

  add(inside: string, size: number, found: Stats | null): void {
    this.enter(dirname(inside));
    // The list of what is done has the path twice.
    this.need(this.root, this.rounded(size) + 2 * Buffer.byteLength(inside));
    const mount = this.mountOf(inside);
    if (mount !== null) this.need(join(this.root, mount), this.rounded(size));
    if (found?.isFile() && (mount !== null || !this.canLink(found))) this.need(this.root, this.rounded(found.size));
  }

  /** By a rename, which takes nothing, or to another disk. */
  moveAside(inside: string, size: number): void {
    this.enter(dirname(inside));
    if (this.mountOf(inside) !== null) this.need(this.root, this.rounded(size));
  }

  /** Each folder is made among the new files and among the old ones. */
  private enter(folder: string): void {
    for (let at = folder; !this.folders.has(at); at = dirname(at)) {
      this.folders.add(at);
      this.need(this.root, 2 * this.block);
    }
  }

  private need(path: string, bytes: number): void {
    const known = this.needs.find((need) => need.path === path);
    if (known === undefined) this.needs.push({ path, bytes });
    else known.bytes += bytes;
  }

  private mountOf(inside: string): string | null {
    let found: string | null = null;
    for (const mount of this.mounts) {
      if (inside.startsWith(`${mount}/`) && mount.length > (found?.length ?? 0)) found = mount;
    }
    return found;
  }

  /** Linux lets only the owner give a file a second name. */
  private canLink({ uid }: Stats): boolean {
    const user = process.geteuid?.();
    return this.links && (user === undefined || user === 0 || user === uid);
  }

  private rounded(size: number): number {
    return Math.ceil(size / this.block) * this.block;
  }
}

/** The files below a media folder, also one that is a link, relative to it; none if it is not there. */
async function* presentFiles(
  root: string,
  excluded: Excluded,
): AsyncGenerator<{ path: string; inside: string; size: number }> {
  for (const found of (await isFolder(root)) ? await mediaRoots([root]) : []) {
    for await (const item of walkMedia({ ...found, prefix: '' }, excluded)) {
      if (item.kind !== 'file') continue;
      const size = await lstat(systemPath(item.file)).then(
        (stats) => stats.size,
        () => 0,
      );
      yield { path: item.path, inside: item.inside, size };
    }
  }
}

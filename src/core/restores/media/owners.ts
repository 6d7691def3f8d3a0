import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Owner } from '../../../archive/lay-files.js';
import type { HeldFolder } from './held-folder.js';

/**
 * Who new files belong to: the owner of the file that each replaces, else of the nearest folder above it that is there. Each
 * folder is looked at once.
 */
export class Owners {
  /** One object for each owner, because there can be very many files. */
  private readonly known = new Map<string, Owner>();
  private readonly folders = new Map<string, { owner: Owner; isThere: boolean }>();
  private readonly replaced = new Map<string, Owner>();

  constructor(private readonly root: HeldFolder) {}

  /** What lies there, itself; null if nothing does. To be called for each file before `of`. */
  async look(file: string): Promise<Stats | null> {
    if (!(await this.folder(folderOf(file))).isThere) return null;
    const found = await this.root.lstat(file);
    if (found?.isFile()) this.replaced.set(file, this.only(found));
    return found;
  }

  /** The owner for a file that was looked for. */
  of(file: string): Owner {
    const owner = this.replaced.get(file) ?? this.folders.get(folderOf(file))?.owner;
    if (owner === undefined) throw new Error(`${file} was not looked for`);
    return owner;
  }

  private async folder(inside: string): Promise<{ owner: Owner; isThere: boolean }> {
    const known = this.folders.get(inside);
    if (known !== undefined) return known;
    const found = inside === '' ? await stat(await this.root.path('')) : await this.lookFor(inside);
    const folder = found?.isDirectory()
      ? { owner: this.only(found), isThere: true }
      : { owner: (await this.folder(folderOf(inside))).owner, isThere: false };
    this.folders.set(inside, folder);
    return folder;
  }

  private async lookFor(inside: string): Promise<Stats | null> {
    return (await this.folder(folderOf(inside))).isThere ? this.root.lstat(inside) : null;
  }

  private only({ uid, gid }: Stats): Owner {
    const key = `${uid}:${gid}`;
    const owner = this.known.get(key) ?? { uid, gid };
    this.known.set(key, owner);
    return owner;
  }
}

/** The folder that a path lies in; '' for the root. */
export const folderOf = (inside: string): string => (dirname(inside) === '.' ? '' : dirname(inside));

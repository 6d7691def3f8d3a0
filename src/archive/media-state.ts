import { lstat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import type { MediaItem } from './media.js';
import type { EntryMetadata, MediaMetadata } from './metadata.js';

/**
 * What a media file or folder looked like when it was stored: bytes, times of change of its content and of its inode in
 * milliseconds, and the inode. Null where it changed too late to be told from a later change.
 */
export type Fingerprint = [size: number, mtimeMs: number, ctimeMs: number, inode: number];

/** The files and folders of a state (folders end in '/'), by their path in the archive. */
export type MediaState = Map<string, { size: number; print: Fingerprint | null }>;

/** What an archive holds itself. */
interface Stored {
  entries: readonly EntryMetadata[];
}

/** A change within so many milliseconds of another may leave the same time. */
const COARSE = 2_000;

/** Watches a walk over the media: finds what is as the parent has it, and notes the state for the next backup. */
export class MediaWatch {
  private readonly found: MediaState = new Map();
  private readonly unchanged = new Set<string>();
  private readonly startedAt: number;

  /**
   * @param before the state of the parent; null for a full backup, in which nothing counts as unchanged
   * @param now milliseconds since 1970
   */
  constructor(
    private readonly before: MediaState | null,
    now: number,
  ) {
    this.startedAt = now;
  }

  /** Forgets what an earlier walk has found. */
  begin(): void {
    this.found.clear();
    this.unchanged.clear();
  }

  /** True if the file or folder need not be stored again. */
  async isUnchanged(item: MediaItem): Promise<boolean> {
    if (item.kind !== 'file' && item.kind !== 'folder') return false;
    const stats = item.kind === 'folder' ? item.stats : await lstat(item.file).catch(() => null);
    if (stats === null) return false;
    const print = printOf(stats);
    const size = item.kind === 'folder' ? 0 : stats.size;
    const isSettled = Math.max(stats.mtimeMs, stats.ctimeMs) < this.startedAt - COARSE;
    this.found.set(item.path, { size, print: isSettled ? print : null });
    const old = this.before?.get(item.path)?.print ?? null;
    if (old === null || !old.every((value, index) => value === print[index])) return false;
    this.unchanged.add(item.path);
    return true;
  }

  /** True if nothing was stored and nothing has gone. */
  isSame({ entries }: Stored): boolean {
    return !entries.some(({ path }) => path.startsWith('media/')) && this.removed(this.state({ entries })).length === 0;
  }

  /** The state that the archive makes together with its parents. @param collected what it holds itself */
  state({ entries }: Stored): MediaState {
    const stored = new Map(entries.map(({ path, size }) => [path, size]));
    const state: MediaState = new Map();
    for (const [path, { size, print }] of this.found) {
      const bytes = stored.get(path);
      const isStored = path.endsWith('/') || bytes !== undefined;
      // What vanished before it was read is not part of the state; what changed meanwhile is stored again the next time.
      if (this.unchanged.has(path)) state.set(path, { size, print });
      else if (isStored) state.set(path, { size: bytes ?? size, print: (bytes ?? size) === size ? print : null });
    }
    return state;
  }

  /** What the parent has and the state has not. */
  removed(state: MediaState): string[] {
    return [...(this.before?.keys() ?? [])].filter((path) => !state.has(path));
  }

  /** The media roots with all their files. @param roots as the archive itself has them */
  roots(state: MediaState, roots: readonly MediaMetadata[]): MediaMetadata[] {
    const sums = roots.map(({ path, prefix }) => ({ path, prefix, files: 0, bytes: 0 }));
    for (const [path, { size }] of state) {
      const sum = path.endsWith('/') ? undefined : sums.find(({ prefix }) => path.startsWith(prefix));
      if (sum === undefined) continue;
      sum.files += 1;
      sum.bytes += size;
    }
    return sums;
  }
}

const printOf = ({ size, mtimeMs, ctimeMs, ino }: Stats): Fingerprint => [size, mtimeMs, ctimeMs, ino];

import { type FileHandle } from 'node:fs/promises';
import { flush, flushFolder, isLacking } from '../../../disk.js';
import { errnoOf } from '../../../errors.js';

const KINDS = {
  owner: 'owner',
  permissions: 'permissions',
  times: 'times',
  flush: 'flushing to the disk',
} as const;

/**
 * The finishing touches of files that a restore lays: owner, permissions, times, flushing. A disk that cannot have one, such
 * as a share or FAT, or a user who may not give files away, does not fail the restore; it is noted, each kind once.
 */
export class Finishing {
  private readonly missed = new Map<keyof typeof KINDS, string>();

  /** Does the work. What the disk cannot have is noted. @throws the error of the system call if it has another reason */
  async give(kind: keyof typeof KINDS, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isLacking(error)) throw error;
      this.miss(kind, errnoOf(error));
    }
  }

  async flush(handle: FileHandle): Promise<void> {
    if (!(await flush(handle))) this.miss('flush');
  }

  /** Brings the names in a folder to the disk. */
  async flushFolder(folder: string): Promise<void> {
    if (!(await flushFolder(folder))) this.miss('flush');
  }

  /** One sentence about all that was missed in a folder; none if nothing was. */
  warnings(folder: string): string[] {
    if (this.missed.size === 0) return [];
    const kinds = [...this.missed].map(([kind, code]) => KINDS[kind] + (code === '' ? '' : ` (${code})`));
    return [
      `Not possible for the restored files in ${folder}: ${kinds.join(', ')}. They have what the disk gives them.`,
    ];
  }

  /** Notes what the disk cannot have. */
  miss(kind: keyof typeof KINDS, code = ''): void {
    if (!this.missed.has(kind)) this.missed.set(kind, code);
  }
}

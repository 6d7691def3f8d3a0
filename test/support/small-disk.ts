import { execFileSync } from 'node:child_process';
import { mkdtempSync, realpathSync } from 'node:fs';
import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system of its own that can be filled. */
export interface SmallDisk {
  folder: string;
  /** Takes all space that is left. */
  fill(): Promise<void>;
  /** Takes all inodes that are left. */
  fillInodes(): Promise<void>;
  /** Gives both back. */
  free(): Promise<void>;
  remove(): Promise<void>;
}

/** Why this machine cannot have one: for the title of what is skipped. Null if it can. */
export const noSmallDisk: string | null = (() => {
  try {
    const folder = mkdtempSync(join(tmpdir(), 'db-manager-mount-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder], { stdio: 'ignore' });
    return null;
  } catch {
    return 'a small disk cannot be mounted: it needs Linux and root';
  }
})();

/** A tmpfs: of some MiB and with few inodes, where nothing else is asked for. */
export function mountSmallDisk(size = '4m', inodes = 200): SmallDisk {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'db-manager-disk-')));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},nr_inodes=${inodes}`, 'tmpfs', folder]);
  const ballast = join(folder, 'ballast');
  const untilFull = async (write: (index: number) => Promise<unknown>) => {
    await mkdir(ballast, { recursive: true });
    for (let index = 0; ; index++) {
      const error = await write(index).then(
        () => null,
        (thrown: NodeJS.ErrnoException) => thrown,
      );
      if (error?.code === 'ENOSPC') return;
      if (error !== null) throw error;
    }
  };
  return {
    folder,
    async fill() {
      await mkdir(ballast, { recursive: true });
      const file = await open(join(ballast, 'bytes'), 'w');
      await untilFull(() => file.write(Buffer.alloc(4_096)));
      await file.close();
    },
    fillInodes: () => untilFull((index) => writeFile(join(ballast, String(index)), '')),
    free: () => rm(ballast, { recursive: true, force: true }),
    async remove() {
      execFileSync('umount', ['-l', folder]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

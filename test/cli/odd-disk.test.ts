import { execFileSync } from 'node:child_process';
import { constants } from 'node:os';
import { chown, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createWorld, readTree, type World } from '../support/world.js';
import { type Ended, start, translate } from './command.js';

const SOURCE = fileURLToPath(new URL('../support/odd-disk.c', import.meta.url));
const canPreload = process.platform === 'linux' && compiles();
const itHere = canPreload ? it : it.skip;

function compiles(): boolean {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

let program: World;
let cli: string;
let library: string;
let world: World;
beforeAll(async () => {
  program = await createWorld();
  cli = join(await translate(join(program.folder, 'program')), 'src/cli.js');
  library = join(program.folder, 'odd-disk.so');
  if (canPreload) execFileSync('cc', ['-shared', '-fPIC', '-o', library, SOURCE, '-ldl']);
});
afterAll(() => program?.close());
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

/** Runs a command whose calls on files below a folder fail as told. */
function run(disk: string, calls: Record<string, keyof typeof constants.errno>, ...args: string[]): Promise<Ended> {
  const list = Object.entries(calls).map(([call, code]) => `${call}=${constants.errno[code]}`);
  const env = {
    DATA_DIR: join(world.folder, 'data'),
    DB_BACKUP_PATH: world.backups,
    LEASE_SECONDS: '5',
    LD_PRELOAD: library,
    ODD_DISK: disk,
    ODD_CALLS: list.join(','),
  };
  return start([cli, ...args, '--json'], { cwd: world.folder, env }).ended;
}

const archives = async () => (await readdir(world.backups)).sort();

describe(`On a disk that lacks something${canPreload ? '' : ' (skipped: no C compiler here)'}`, () => {
  const CODES = ['EINVAL', 'ENOTSUP', 'ENOSYS', 'EPERM', 'EACCES'] as const;

  itHere.each(CODES)('an archive is stored where neither files nor folders can be flushed (%s)', async (code) => {
    const { code: exit, stdout } = await run(world.backups, { sync: code, syncfolder: code }, 'backup');
    expect(JSON.parse(stdout)).toMatchObject({ backup: { status: 'COMPLETED' } });
    expect(exit).toBe(0);
    expect(await archives()).toHaveLength(1);
  });

  itHere.each(['EXDEV', 'EACCES', 'EINVAL', 'EPERM', 'ENOSYS', 'EMLINK'] as const)(
    'an archive gets its name without a hard link, and nothing is overwritten (%s)',
    async (code) => {
      const { code: exit } = await run(world.backups, { link: code }, 'backup');
      expect(exit).toBe(0);
      const [name = ''] = await archives();
      expect(await archives()).toEqual([name]);
      await writeFile(join(world.backups, 'foreign.zip'), 'foreign');
      expect((await run(world.backups, { link: code }, 'backup')).code).toBe(0);
      expect(await archives()).toHaveLength(3);
    },
  );

  itHere('a run whose folder cannot be flushed because the disk fails leaves no archive', async () => {
    const { code, stdout } = await run(world.backups, { syncfolder: 'EIO' }, 'backup');
    expect(code).not.toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'STORAGE_UNAVAILABLE' } });
    expect(await archives()).toEqual([]);
  });

  itHere.each(CODES)(
    'media are restored where a disk takes no owner, permissions, times or flush (%s)',
    async (code) => {
      const row = await world.backup();
      const before = await readTree(world.media);
      await rm(join(world.media, 'uploads'), { recursive: true });
      if (process.getuid?.() === 0) await chown(world.media, 12345, 12345);
      const lacks = { chmod: code, chown: code, utime: code, syncfolder: code, sync: code };
      const ended = await run(world.media, lacks, 'restore', row.id, '--confirm');
      const { restore } = JSON.parse(ended.stdout) as { restore: { status: string; warnings: string[] } };
      expect(restore.status).toBe('COMPLETED');
      expect(await readTree(world.media)).toEqual(before);
      const [warning, ...others] = restore.warnings.filter((text) => text.startsWith('Not possible for the restored'));
      expect(others).toEqual([]);
      expect(warning).toMatch(new RegExp(`permissions \\(${code}\\)`));
      expect(warning).toMatch(/flushing to the disk/);
    },
  );

  itHere('media are put back where the disk fails, and the error says so', async () => {
    const row = await world.backup();
    await rm(join(world.media, 'uploads'), { recursive: true });
    const before = await readTree(world.media);
    const ended = await run(world.media, { chmod: 'EIO' }, 'restore', row.id, '--confirm');
    expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'STORAGE_UNAVAILABLE' } });
    expect(await readTree(world.media)).toEqual(before);
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Commands } from '../../../src/core/commands/commands.js';
import { DRILL_COMMANDS } from '../../../src/core/drills/drill.js';
import { AppError } from '../../../src/errors.js';
import { NEVER } from '../../support/world.js';

let folder: string;
let cwd: string;
beforeEach(async () => {
  const root = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-commands-')));
  folder = join(root, 'commands');
  cwd = join(root, 'work');
  await mkdir(folder, { mode: 0o755 });
  await mkdir(cwd);
});
afterEach(() => rm(join(folder, '..'), { recursive: true }));

const lay = async (name: string, script: string, mode = 0o755) => {
  await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, name), mode);
};
const commands = (seconds = 10) => new Commands({ folder, seconds }, DRILL_COMMANDS);
const run = (name: string, { signal = NEVER, seconds = 10, env = {} } = {}) =>
  commands(seconds).run(name, { cwd, env, signal });
const isGone = async (pid: number) => {
  for (let tries = 0; tries < 50; tries++) {
    try {
      process.kill(pid, 0);
    } catch {
      return true;
    }
    await sleep(100);
  }
  return false;
};

describe('A command', () => {
  it('is found by its file name', async () => {
    await lay('check-orders.sh', 'true');
    expect(await commands().find('check-orders.sh')).toBe(join(folder, 'check-orders.sh'));
  });

  it.each(['../work/x', '/bin/true', 'a/b', '..', '.hidden', '', 'a\0b', 'a b', `${'x'.repeat(101)}`])(
    'named %j is refused, because it is no bare file name',
    async (name) => {
      await expect(commands().find(name)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'drillCommand' });
    },
  );

  it('is refused where no folder of commands is set', async () => {
    const none = new Commands({ folder: null, seconds: 1 }, DRILL_COMMANDS);
    await expect(none.find('check')).rejects.toThrow(
      'drillCommand: cannot be used, because DRILL_COMMANDS_DIR is not set.',
    );
  });

  it('that others may write, or whose folder others may write, is refused', async () => {
    await lay('check', 'true', 0o775);
    await expect(commands().find('check')).rejects.toThrow(`${join(folder, 'check')} can be written by its group`);
    await chmod(join(folder, 'check'), 0o755);
    await chmod(folder, 0o757);
    await expect(commands().find('check')).rejects.toThrow(`${folder} can be written by its group or others.`);
  });

  it('is refused if others may write a folder above, unless only owners may rename in it', async () => {
    await lay('check', 'true');
    const above = join(folder, '..');
    await chmod(above, 0o777);
    await expect(commands().find('check')).rejects.toThrow(
      `${above}, above it, can be written by its group or others.`,
    );
    await chmod(above, 0o1777);
    expect(await commands().find('check')).toBe(join(folder, 'check'));
  });

  it('that is a link, a folder, missing or not executable is refused', async () => {
    await symlink('/bin/true', join(folder, 'link'));
    await mkdir(join(folder, 'folder'));
    await lay('plain', 'true', 0o644);
    await expect(commands().find('link')).rejects.toThrow('is not a file itself');
    await expect(commands().find('folder')).rejects.toThrow('is not a file itself');
    await expect(commands().find('missing')).rejects.toThrow('there is no');
    if (process.geteuid?.() !== 0) await expect(commands().find('plain')).rejects.toThrow('cannot be executed');
  });

  it('gets what it is given and nothing else of the environment', async () => {
    process.env.SECRET_OF_OURS = 'secret';
    try {
      await lay('show', 'env');
      const { output, exitCode } = await run('show', { env: { DATABASE_URL: 'sqlite:/x' } });
      expect(exitCode).toBe(0);
      const names = output.split('\n').flatMap((line) => /^(\w+)=/.exec(line)?.[1] ?? []);
      expect(names.filter((name) => !['_', 'PWD', 'SHLVL', 'OLDPWD'].includes(name)).sort()).toEqual([
        'DATABASE_URL',
        'HOME',
        'LANG',
        'PATH',
        'TMPDIR',
      ]);
    } finally {
      delete process.env.SECRET_OF_OURS;
    }
  });

  it('shows its exit code and the last 16 KiB of both outputs, without passwords of URLs', async () => {
    await lay('fail', 'yes | head -c 50000; echo "at postgres://me:hush@db/x" >&2; exit 7');
    const { exitCode, output, late } = await run('fail');
    expect({ exitCode, late }).toEqual({ exitCode: 7, late: false });
    expect(output).toMatch(/at postgres:\/\/me:\*\*\*@db\/x\n$/);
    expect(Buffer.byteLength(output)).toBeLessThanOrEqual(16 * 1024);
  });

  it('shows no part of a password that lies across the beginning of what is shown', async () => {
    await lay('cut', 'printf "x://me:SECRET-SECRET@db "; head -c 16370 /dev/zero | tr "\\0" "."');
    const { output } = await run('cut');
    expect(output).not.toContain('SECRET');
    expect(Buffer.byteLength(output)).toBeLessThanOrEqual(16 * 1024);
  });

  it('shows the password of its own database in no form, however it is written', async () => {
    await lay('trace', 'echo "$DATABASE_URL"; echo "plain p@s s\'w, password=p%40s%20s\'w"; set -x; : "$PLAIN"');
    const { output } = await run('trace', { env: { DATABASE_URL: "mysql://me:p%40s%20s'w@db/x", PLAIN: "p@s s'w" } });
    expect(output).toContain('mysql://me:***@db/x\nplain ***, password=***\n');
    expect(output).not.toMatch(/p@s|p%40s/);
  });

  it('that takes too long is killed with all that it has started', async () => {
    await lay('hang', 'trap "" TERM; sleep 60 & echo $!; wait; sleep 60');
    const { late, exitCode, output, seconds } = await run('hang', { seconds: 1 });
    expect({ late, exitCode }).toEqual({ late: true, exitCode: null });
    expect(seconds).toBeLessThan(20);
    expect(await isGone(Number(output.trim()))).toBe(true);
  });

  it('leaves nothing running when it ends', async () => {
    await lay('leave', 'sleep 60 & echo $!');
    const { output, exitCode, seconds } = await run('leave');
    expect(exitCode).toBe(0);
    expect(seconds).toBeLessThan(10);
    expect(await isGone(Number(output.trim()))).toBe(true);
  });

  it('is ended when the signal aborts, with its reason', async () => {
    await lay('wait', 'echo $$ > pid; exec sleep 60');
    const controller = new AbortController();
    const running = run('wait', { signal: controller.signal });
    await sleep(300);
    controller.abort(new AppError('CANCELLED', 'The run was cancelled.'));
    await expect(running).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('whose interpreter is missing fails with a hint', async () => {
    await writeFile(join(folder, 'odd'), '#!/no/such/program\n', { mode: 0o755 });
    await expect(run('odd')).rejects.toMatchObject({ code: 'DRILL_COMMAND_FAILED' });
  });
});

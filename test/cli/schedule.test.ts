import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { changedCrontab, crontabBlock } from '../../src/cli/crontab-text.js';
import { outermost, serviceUnit } from '../../src/cli/service-unit.js';
import { onCalendar, systemdUnits } from '../../src/cli/systemd-units.js';
import { taskXml } from '../../src/cli/task-xml.js';
import { type Ended, start, translate } from './command.js';

const target = { name: 'db-manager-auto-backup-1', node: '/opt/node', cli: '/srv/a b/cli.js', folder: "/srv/it's 5%" };

const hasAnalyze = (() => {
  try {
    execFileSync('systemd-analyze', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();
const withAnalyze = hasAnalyze ? it : it.skip;
const why = hasAnalyze ? '' : ' (skipped: there is no systemd-analyze)';

describe('A schedule in the words of other timers', () => {
  it.each([
    ['*/15 * * * *', '*-*-* *:00/15:00 UTC'],
    ['* * * * *', '*-*-* *:*:00 UTC'],
    ['hourly', '*-*-* *:00:00 UTC'],
    ['daily', '*-*-* 02:00:00 UTC'],
    ['30 */6 * * *', '*-*-* 00,06,12,18:30:00 UTC'],
    ['5 9-11 * * MON-FRI', 'Mon,Tue,Wed,Thu,Fri *-*-* 09,10,11:05:00 UTC'],
    ['weekly', 'Sun *-*-* 02:00:00 UTC'],
    ['0 4 * * 6,7', 'Sun,Sat *-*-* 04:00:00 UTC'],
    ['monthly', '*-*-01 02:00:00 UTC'],
    ['0 2 1,15 * *', '*-*-01,15 02:00:00 UTC'],
  ])('%s is %s for systemd', (cron, calendar) => {
    expect(onCalendar(cron, 'UTC')).toBe(calendar);
    if (hasAnalyze) execFileSync('systemd-analyze', ['calendar', calendar], { stdio: 'ignore' });
  });

  it.each(['0 2 L * *', '0 2 1 * 1', '0 2 1 6 *', '*/7 * * * *', '0,30 * * * *', '0 2 * * MON#1'])(
    '%s is refused, with a hint to --cron',
    (cron) => {
      for (const say of [() => onCalendar(cron, 'UTC'), () => taskXml(target, cron, 'me')]) {
        expect(say).toThrow(
          expect.objectContaining({ code: 'BAD_USER_INPUT', hint: expect.stringContaining('--cron') }),
        );
      }
    },
  );

  it('has one trigger for each hour in the task of Windows, and text that XML can hold', () => {
    const xml = taskXml({ ...target, folder: 'C:\\a & b' }, '30 2,14 * * 1,5', 'me');
    expect(xml.match(/<StartBoundary>.*?</g)).toEqual(
      ['02', '14'].map((hour) => `<StartBoundary>2025-01-01T${hour}:30:00<`),
    );
    expect(xml).toContain('<DaysOfWeek><Monday /><Friday /></DaysOfWeek>');
    expect(xml).toContain('<WorkingDirectory>C:\\a &amp; b</WorkingDirectory>');
    expect(taskXml(target, '*/10 * * * *', 'me')).toContain('<Interval>PT10M</Interval>');
    expect(taskXml(target, '0 2 1 * *', 'me')).toContain('<DaysOfMonth><Day>1</Day></DaysOfMonth>');
  });

  it('keeps odd paths whole in a crontab', () => {
    const line = crontabBlock(target, '0 2 * * mon').split('\n')[1];
    expect(line).toBe(`0 2 * * 1 cd '/srv/it'\\''s 5\\%' && '/opt/node' '/srv/a b/cli.js' auto-backup >/dev/null`);
  });

  it('touches nothing of a crontab but its own lines, and refuses to guess where those end', () => {
    const block = crontabBlock(target, 'daily');
    for (const others of ['', '# mine\n0 1 * * * other', '0 1 * * * other\n\n']) {
      const installed = changedCrontab(others, target.name, block);
      expect(installed.startsWith(others)).toBe(true);
      expect(changedCrontab(installed, target.name, block)).toBe(installed);
      const changed = changedCrontab(`${installed}5 5 * * * later\n`, target.name, crontabBlock(target, 'hourly'));
      expect(changed).toContain('\n0 * * * * cd ');
      const kept = others === '' || others.endsWith('\n') ? others : `${others}\n`;
      expect(changedCrontab(changed, target.name, '')).toBe(`${kept}5 5 * * * later\n`);
    }
    const torn = block.split('\n').slice(0, 2).join('\n');
    expect(() => changedCrontab(torn, target.name, block)).toThrow(/no longer a pair/);
  });

  withAnalyze(`is accepted by systemd itself, with odd paths, as is the service${why}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'db-manager-units-'));
    try {
      const odd = { ...target, node: process.execPath, cli: '/srv/a "b" $c %d/cli.js' };
      const own = { account: 'daemon', shutdownMs: 25_000, writes: ['/srv/a b', '/srv/"c" 5%'] };
      const files = {
        ...systemdUnits(odd, '0 2 * * 1-5', 'Asia/Kolkata', true).files,
        ...serviceUnit({ ...odd, ...own, name: 'db-manager', kind: 'server', confined: true }).files,
        ...serviceUnit({ ...odd, ...own, name: 'db-manager-worker', kind: 'worker', confined: false }).files,
      };
      for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
      const paths = Object.keys(files).map((name) => join(folder, name));
      expect(
        execFileSync('systemd-analyze', ['verify', '--user', ...paths], {
          encoding: 'utf8',
          stdio: 'pipe',
          env: { ...process.env, XDG_RUNTIME_DIR: folder },
        }),
      ).toBe('');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('The unit of the service', () => {
  const service = { ...target, name: 'db-manager', kind: 'server', account: 'daemon', shutdownMs: 25_000 } as const;
  const textOf = (more: { writes: string[]; confined: boolean }) =>
    serviceUnit({ ...service, ...more }).files['db-manager.service'] ?? '';

  it('lets the service write only to the folders that it needs, where these are known', () => {
    const text = textOf({ writes: ['/srv/app', '/mnt/b'], confined: true });
    expect(text).toContain('User=daemon\n');
    expect(text).toContain('TimeoutStopSec=35\n');
    expect(text).toMatch(/ProtectSystem=strict\nProtectHome=read-only\nPrivateTmp=yes\n/);
    expect(text.match(/^ReadWritePaths=.*$/gm)).toEqual(['ReadWritePaths="-/srv/app"', 'ReadWritePaths="-/mnt/b"']);
  });

  it('leaves home folders and /tmp open where it writes there', () => {
    const text = textOf({ writes: ['/home/me/app', '/tmp/x'], confined: true });
    expect(text).toContain('ProtectHome=no\n');
    expect(text).not.toContain('PrivateTmp');
  });

  it('protects only the folders of the system where any path may be named', () => {
    const text = textOf({ writes: ['/srv/app'], confined: false });
    expect(text).toContain('ProtectSystem=full\n');
    expect(text).not.toMatch(/ReadWritePaths|ProtectHome|PrivateTmp/);
  });

  it('names no folder that lies in another one', () => {
    expect(outermost(['/srv/a/b', '/srv/a', '/srv/ab', '/srv/a'])).toEqual(['/srv/a', '/srv/ab']);
    expect(outermost(['/srv', '/'])).toEqual(['/']);
  });
});

/** In place of the system's own tools: they keep what they are given in a file, and note how they are called. */
const TOOLS = {
  crontab: `case "$1" in
  -l) if [ -f "$STATE/crontab" ]; then cat "$STATE/crontab"; else echo "no crontab for me" >&2; exit 1; fi;;
  -) cat > "$STATE/crontab.new" && mv "$STATE/crontab.new" "$STATE/crontab";;
  *) exit 2;;
esac`,
  systemctl: `if [ -f "$STATE/fails" ] && [ "$2" = "$(cat "$STATE/fails")" ]; then echo "boom" >&2; exit 1; fi`,
  schtasks: `case "$1" in
  /Create) cp "$5" "$STATE/task.xml";;
  /Query) [ -f "$STATE/task.xml" ];;
  /Delete) rm "$STATE/task.xml";;
esac`,
};

describe('`setup-schedule` and `install-service`', () => {
  let folder: string;
  let program: string;
  let state: string;
  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-schedule-')));
    program = join(await translate(join(folder, 'program')), 'src/cli.js');
    state = join(folder, 'state');
    await mkdir(join(folder, 'bin'));
    for (const [name, script] of Object.entries(TOOLS)) {
      const file = join(folder, 'bin', name);
      await writeFile(file, `#!/bin/sh\necho "${name} $*" >> "$STATE/calls"\n${script}\n`);
      await chmod(file, 0o755);
    }
  });
  beforeEach(async () => {
    await rm(state, { recursive: true, force: true });
    await mkdir(state);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Runs the program below another one, such as `unshare`. */
  const under = (words: string[], args: string[]) =>
    spawnSync(words[0] ?? '', [...words.slice(1), process.execPath, program, ...args], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: [join(folder, 'bin'), '/usr/bin', '/bin'].join(delimiter), STATE: state, ADMIN_EMAIL: 'a@b.c' },
    });

  const launch = (args: string[], path = [join(folder, 'bin'), '/usr/bin', '/bin'].join(delimiter)): Promise<Ended> =>
    start([program, 'setup-schedule', ...args], {
      cwd: folder,
      env: {
        DATA_DIR: 'data',
        HOME: join(folder, 'home'),
        PATH: path,
        STATE: state,
        ADMIN_PASSWORD: 'a secret one indeed',
        ADMIN_EMAIL: 'a@example.org',
      },
    }).ended;
  const run = (...args: string[]) => launch(args);
  const calls = async () => (await readFile(join(state, 'calls'), 'utf8').catch(() => '')).split('\n').filter(Boolean);

  it('prints a timer with absolute paths, the schedule and no secret, and changes nothing', async () => {
    const kinds = ['--systemd', '--cron', '--windows'];
    for (const { code, stdout, stderr } of await Promise.all(kinds.map((kind) => run(kind)))) {
      expect(code).toBe(0);
      for (const part of [process.execPath, program, folder, 'auto-backup']) expect(stdout).toContain(part);
      expect(stdout + stderr).not.toContain('secret');
      expect(stderr).toContain('There is no .env in');
    }
    expect((await run('--systemd', '--time', '04:05')).stdout).toContain('OnCalendar=*-*-* 04:05:00 UTC');
    expect(await calls()).toEqual([]);
  });

  it('puts lines into the crontab once, replaces them, and takes exactly them away', async () => {
    const others = '# of others\n0 1 * * * other\n';
    await writeFile(join(state, 'crontab'), others);
    const crontab = () => readFile(join(state, 'crontab'), 'utf8');
    expect((await run('--cron', '--install')).stdout).toContain('is installed: every day at 02:00');
    const first = await crontab();
    expect(first).toContain(others);
    expect((await run('--cron', '--install')).stdout).toContain('was already installed');
    expect(await crontab()).toBe(first);
    expect(await run('--cron', '--install', '--schedule', 'hourly')).toMatchObject({ code: 0 });
    expect((await crontab()).match(/auto-backup >/g)).toHaveLength(1);
    const removed = await run('--cron', '--remove', '--json');
    expect(JSON.parse(removed.stdout)).toMatchObject({ kind: 'cron', action: 'remove', changed: true });
    expect(await crontab()).toBe(others);
    expect((await run('--cron', '--remove')).stdout).toContain('nothing to remove');
  });

  it('begins a crontab where there is none', async () => {
    expect(await run('--cron', '--install')).toMatchObject({ code: 0 });
    expect((await readFile(join(state, 'crontab'), 'utf8')).split('\n')).toHaveLength(4);
  });

  it('writes the units of the user, starts their timer, and takes exactly them away', async () => {
    const units = join(folder, 'home', '.config', 'systemd', 'user');
    await mkdir(units, { recursive: true });
    await writeFile(join(units, 'other.timer'), 'of others');
    expect(await run('--systemd', '--user', '--install')).toMatchObject({ code: 0 });
    const [service, timer] = (await readdir(units)).filter((name) => name.startsWith('db-manager-'));
    expect(await calls()).toEqual([
      'systemctl --user --version',
      'systemctl --user daemon-reload',
      `systemctl --user enable --now ${timer}`,
    ]);
    expect(service).toMatch(/^db-manager-auto-backup-[0-9a-f]{8}\.service$/);
    expect((await run('--systemd', '--user', '--install')).stdout).toContain('was already installed');
    expect(await run('--systemd', '--user', '--install', '--schedule', 'weekly')).toMatchObject({ code: 0 });
    expect((await calls()).at(-1)).toBe(`systemctl --user restart ${timer}`);
    expect(await run('--systemd', '--user', '--remove')).toMatchObject({ code: 0 });
    expect((await calls()).slice(-2)).toEqual([
      `systemctl --user disable --now ${timer}`,
      'systemctl --user daemon-reload',
    ]);
    expect(await readdir(units)).toEqual(['other.timer']);
    expect((await run('--systemd', '--user', '--remove')).stdout).toContain('nothing to remove');
    await writeFile(join(units, timer ?? ''), '[Timer]');
    expect(await run('--systemd', '--user', '--install')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('was not made by db-manager'),
    });
    await rm(join(units, timer ?? ''));
  });

  it.each(['daemon-reload', 'enable', 'restart'])('that fails at %s leaves all as it was', async (command) => {
    const units = join(folder, 'home', '.config', 'systemd', 'user');
    await rm(units, { recursive: true, force: true });
    if (command === 'restart') await run('--systemd', '--user', '--install');
    const read = async () => {
      const names = await readdir(units).catch(() => []);
      return Promise.all(names.map(async (name) => [name, await readFile(join(units, name), 'utf8')]));
    };
    const before = await read();
    await writeFile(join(state, 'fails'), command);
    const failed = await run('--systemd', '--user', '--install', '--schedule', 'hourly');
    expect(failed).toMatchObject({ code: 2, stderr: expect.stringContaining('boom') });
    expect(await read()).toEqual(before);
    await rm(join(state, 'fails'));
    expect(await run('--systemd', '--user', '--remove')).toMatchObject({ code: 0 });
  });

  it('removes what parts there are, also where systemd refuses to stop the timer', async () => {
    const units = join(folder, 'home', '.config', 'systemd', 'user');
    await run('--systemd', '--user', '--install');
    const parts = (await readdir(units)).filter((name) => name.startsWith('db-manager-'));
    await mkdir(join(units, 'timers.target.wants'));
    for (const part of parts) {
      await run('--systemd', '--user', '--install');
      const timer = parts.find((name) => name.endsWith('.timer')) ?? '';
      await symlink(join(units, timer), join(units, 'timers.target.wants', timer));
      await rm(join(units, part));
      await writeFile(join(state, 'fails'), 'disable');
      const removed = await run('--systemd', '--user', '--remove');
      await rm(join(state, 'fails'));
      expect(removed).toMatchObject({ code: 0, stderr: expect.stringContaining('boom') });
      expect(await readdir(units)).toEqual(['timers.target.wants']);
      expect(await readdir(join(units, 'timers.target.wants'))).toEqual([]);
      expect((await run('--systemd', '--user', '--remove')).stdout).toContain('nothing to remove');
    }
  });

  it('registers a task from a UTF-16 file of which nothing stays, and deletes it', async () => {
    expect(await run('--windows', '--install')).toMatchObject({ code: 0 });
    const xml = await readFile(join(state, 'task.xml'), 'utf16le');
    expect(xml.startsWith('\uFEFF<?xml version="1.0" encoding="UTF-16"?>\r\n<Task ')).toBe(true);
    expect(await readdir(join(folder, 'data', 'tmp'))).toEqual([]);
    expect(await run('--windows', '--remove')).toMatchObject({ code: 0 });
    expect((await run('--windows', '--remove')).stdout).toContain('nothing to remove');
  });

  it('prints the unit of the service, and makes nothing that the service could not read', async () => {
    await rm(join(folder, 'data'), { recursive: true, force: true });
    const { stdout, stderr, status } = under(['env'], ['install-service', '--account', 'daemon', '--worker']);
    expect(status).toBe(0);
    for (const part of [program, folder, 'User=daemon', '/db-manager-worker.service']) expect(stdout).toContain(part);
    expect(stderr).toContain('There is no .env in');
    expect(await readdir(folder)).not.toContain('data');
    expect(await calls()).toEqual([]);
  });

  it('refuses a service of root, an odd name, and an install without consent or rights', () => {
    const refused = (...args: string[]) => {
      const { status, stdout } = under(['env'], ['install-service', '--json', ...args]);
      return [status, (JSON.parse(stdout) as { error: { code: string } }).error.code];
    };
    expect(refused('--account', 'root')).toEqual([2, 'BAD_USER_INPUT']);
    expect(refused('--account', 'no-such-account')).toEqual([2, 'BAD_USER_INPUT']);
    expect(refused('--account', 'daemon', '--name', '../x')).toEqual([2, 'BAD_USER_INPUT']);
    expect(refused('--account', 'daemon', '--install')).toEqual(
      process.getuid?.() === 0 ? [3, 'CONFIRMATION_REQUIRED'] : [9, 'FORBIDDEN'],
    );
  });

  const own = 'mkdir -p /etc/systemd/system && mount -t tmpfs none /etc/systemd/system';
  const mayMount = spawnSync('unshare', ['--mount', 'sh', '-c', own]).status === 0;
  const withMounts = mayMount ? it : it.skip;
  const whyNot = mayMount ? '' : ' (skipped: this user may not mount)';

  withMounts(`installs the service once, keeps units of others, and takes exactly it away${whyNot}`, async () => {
    const service = (...args: string[]) => `"$0" "$1" install-service --account daemon --yes ${args.join(' ')}`;
    const unit = '/etc/systemd/system/db-manager.service';
    const script = [
      own,
      service('--install'),
      `stat -c '%U %a' "$PWD/data"`,
      service('--install'),
      `cat ${unit}`,
      service('--remove'),
      service('--remove'),
      `echo of others > ${unit}; ! ${service('--install')}; cat ${unit}`,
    ].join(' && ');
    await rm(join(folder, 'data'), { recursive: true, force: true });
    const { status, stdout, stderr } = under(['unshare', '--mount', 'sh', '-c', script], []);
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining('was not made by db-manager') });
    expect(stdout).toMatch(/is installed and runs[^]*daemon 700[^]*was already installed, and runs[^]*\[Service\]/);
    expect(stdout).toMatch(/is stopped and removed[^]*was not installed[^]*of others\n$/);
    expect((await calls()).filter((call) => /enable|disable/.test(call))).toEqual([
      'systemctl enable --now db-manager.service',
      'systemctl enable --now db-manager.service',
      'systemctl disable --now db-manager.service',
    ]);
  });

  it('says what to do where the tool is missing or refuses, and when the request is unclear', async () => {
    await mkdir(join(folder, 'empty'), { recursive: true });
    const none = join(folder, 'empty');
    const [systemd, cron, windows, unusual, unclear, both, wrong] = await Promise.all([
      launch(['--systemd', '--user', '--install'], none),
      launch(['--cron', '--install'], none),
      launch(['--windows', '--install'], none),
      run('--systemd', '--schedule', '0 2 L * *'),
      run(),
      run('--cron', '--install', '--remove'),
      run('--cron', '--schedule', 'sometimes'),
    ]);
    expect(systemd.stderr).toMatch(/systemctl is not on this machine.*\n.*--cron/);
    expect(cron.stderr).toMatch(/crontab is not on this machine.*\n.*--systemd/);
    expect(windows.stderr).toMatch(/schtasks is not on this machine.*\n.*--cron/);
    expect(unusual.stderr).toContain('Use --cron');
    expect(unclear.stderr).toContain('--systemd, --cron and --windows');
    for (const { code } of [systemd, cron, windows, unusual, unclear, both, wrong]) expect(code).toBe(2);
  });
});

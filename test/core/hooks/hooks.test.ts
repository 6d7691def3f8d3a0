import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../../src/errors.js';
import { all, exec } from '../../support/sqlite.js';
import { createWorld, filesIn, NEVER, type World } from '../../support/world.js';

let root: string;
let folder: string;
let world: World;
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-hooks-')));
  folder = join(root, 'hooks');
  world = await createWorld({ env: { HOOKS_DIR: folder, HOOK_SECONDS: '2' } });
});
afterAll(async () => {
  await world.close();
  await rm(root, { recursive: true });
});
beforeEach(async () => {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o755 });
  await rm(join(root, 'told'), { force: true });
});

const lay = (name: string, script: string) => writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
/** A hook that notes its own part of the environment. */
const tell = (name: string, then = '') =>
  lay(name, `env | grep -v ^_= | sort | tr '\\n' ' ' >> ${root}/told; echo >> ${root}/told; ${then}`);
const told = async () => {
  const text = await readFile(join(root, 'told'), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
};
const until = async (isSo: () => Promise<boolean>) => {
  while (!(await isSo())) await sleep(20);
};
const balance = async () => (await all<{ k: number }>(world.database, 'SELECT k FROM head'))[0]?.k;

describe('The hooks of a backup', () => {
  it('run before and after it, and get its facts and nothing else of the environment', async () => {
    await tell('before-backup');
    await tell('after-backup');
    const { id, status, warnings, phases } = await world.backup();
    expect({ status, warnings }).toEqual({ status: 'COMPLETED', warnings: [] });
    expect(phases.map(({ phase }) => phase)).toEqual([
      ...['before-hook', 'check', 'snapshot', 'archive', 'verify', 'done'],
    ]);
    const [before = '', after = '', ...more] = await told();
    expect(more).toEqual([]);
    const facts = [`BACKUP_ID=${id}`, 'BACKUP_TYPE=MANUAL', 'CONFIG_ID=1', 'CONFIG_NAME=App'];
    const place = `DATABASE=sqlite:${world.database}`;
    expect(before.split(' ')).toEqual(expect.arrayContaining([...facts, place, 'HOOK=before-backup']));
    expect(after.split(' ')).toEqual(
      expect.arrayContaining([...facts, place, 'HOOK=after-backup', 'STATUS=COMPLETED']),
    );
    expect(before).not.toMatch(/STATUS|HOOKS_DIR|DATA_DIR|SECRET|JWT|NODE_OPTIONS/);
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });

  it('refuse it with what they have written, and the hook after it is told so', async () => {
    await lay('before-backup', 'echo "no way: postgres://me:hush@db/x"; echo "shop is open" >&2; exit 3');
    await tell('after-backup');
    const stored = await readdir(world.backups).catch(() => []);
    const { status, errorCode, errorMessage, phases } = await world.backup();
    expect({ status, errorCode }).toEqual({ status: 'FAILED', errorCode: 'HOOK_FAILED' });
    expect(errorMessage).toBe(
      'The hook before-backup ended with 3. It said last: no way: postgres://me:***@db/x | shop is open',
    );
    expect(phases.map(({ phase }) => phase)).toEqual(['before-hook', 'after-hook']);
    expect(await readdir(world.backups).catch(() => [])).toEqual(stored);
    expect(await told()).toEqual([expect.stringMatching(/ERROR_CODE=HOOK_FAILED .*STATUS=FAILED/)]);
  });

  it('refuse it when they take too long, and when others may write them', async () => {
    await lay('before-backup', 'sleep 60');
    expect(await world.backup()).toMatchObject({
      errorCode: 'HOOK_FAILED',
      errorMessage: expect.stringMatching(/^The hook before-backup was ended after 2\.\d seconds, its limit\.$/),
      errorHint: expect.stringContaining('HOOK_SECONDS'),
    });
    await lay('before-backup', 'true');
    await chmod(join(folder, 'before-backup'), 0o777);
    expect(await world.backup()).toMatchObject({
      errorCode: 'HOOK_FAILED',
      errorMessage: `HOOKS_DIR: ${join(folder, 'before-backup')} can be written by its group or others.`,
    });
  });

  it('refuse it when their folder is gone, since no one knows then which hooks there are', async () => {
    await rm(folder, { recursive: true });
    const { errorCode, errorMessage } = await world.backup();
    expect({ errorCode, errorMessage }).toEqual({
      errorCode: 'HOOK_FAILED',
      errorMessage: `HOOKS_DIR: the folder ${folder} cannot be read (ENOENT).`,
    });
  });

  it('become a warning when the one after it fails', async () => {
    await lay('after-backup', 'echo "the mirror is full"; exit 1');
    const { status, warnings, fileSize } = await world.backup();
    expect(status).toBe('COMPLETED');
    expect(fileSize).toBeGreaterThan(0);
    expect(warnings).toEqual(['The hook after-backup ended with 1. It said last: the mirror is full']);
  });

  it('are ended when it is cancelled, with what they have started, and the one after it runs', async () => {
    await lay('before-backup', `sleep 60 & echo $! > ${root}/pid; wait`);
    await tell('after-backup');
    const { id } = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const running = world.app.backups.run(id, NEVER);
    await until(async () => (await readFile(join(root, 'pid'), 'utf8').catch(() => '')) !== '');
    await world.app.backups.cancel(id, 'test');
    await running;
    expect(await world.app.backups.get(id)).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED', warnings: [] });
    expect(await told()).toEqual([expect.stringMatching(/ERROR_CODE=CANCELLED .*STATUS=FAILED/)]);
    const pid = Number(await readFile(join(root, 'pid'), 'utf8'));
    await until(async () => !(await readdir('/proc')).includes(String(pid)));
  });

  it('that runs after it has little time left when the process must stop', async () => {
    await lay('before-backup', `touch ${root}/stopping; sleep 60`);
    await lay('after-backup', 'sleep 60');
    const stop = new AbortController();
    const { id } = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const running = world.app.backups.run(id, stop.signal);
    await until(async () => (await readdir(root)).includes('stopping'));
    stop.abort(new AppError('INTERRUPTED', 'The process was stopped.'));
    await running;
    const warnings = ['The hook after-backup did not run to its end: The process had to stop.'];
    expect(await world.app.backups.get(id)).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED', warnings });
  });

  it('do not lose it when the process stops or dies during the one after it', async () => {
    await lay('after-backup', `touch ${root}/began; sleep 60`);
    const stop = new AbortController();
    const { id } = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const running = world.app.backups.run(id, stop.signal);
    await until(async () => (await readdir(root)).includes('began'));
    // What dies now leaves this row, and its archive.
    expect(await world.app.backups.get(id)).toMatchObject({ status: 'COMPLETED', verificationLevel: 'ARCHIVE' });
    stop.abort(new AppError('INTERRUPTED', 'The process was stopped.'));
    await running;
    const warnings = ['The hook after-backup did not run to its end: The process was stopped.'];
    expect(await world.app.backups.get(id)).toMatchObject({ status: 'COMPLETED', errorCode: null, warnings });
  });
});

describe('The hooks of a restore', () => {
  it('run before its safety backup and after it, with its target, and not for the safety backup', async () => {
    const { id: backupId } = await world.backup();
    for (const name of ['before-restore', 'after-restore', 'before-backup', 'after-backup']) await tell(name);
    const { id, status, phases } = await world.restore({ backupId });
    expect(status).toBe('COMPLETED');
    const names = phases.map(({ phase }) => phase);
    expect(names.indexOf('before-hook')).toBe(names.indexOf('safety') - 1);
    expect(names.slice(-2)).toEqual(['after-hook', 'done']);
    const facts = `BACKUP_ID=${backupId} CONFIG_ID=1 CONFIG_NAME=App DATABASE=sqlite:${world.database} HOME=\\S+`;
    const own = `LANG=C.UTF-8 PATH=\\S+ PWD=\\S+ RESTORE_ID=${id}`;
    expect(await told()).toEqual([
      expect.stringMatching(new RegExp(`^${facts} HOOK=before-restore ${own} .*TARGET=config`)),
      expect.stringMatching(new RegExp(`^${facts} HOOK=after-restore ${own} .*STATUS=COMPLETED TARGET=config`)),
    ]);
  });

  it('refuse it before anything has changed and before a safety backup is made', async () => {
    const { id: backupId } = await world.backup();
    await exec(world.database, 'UPDATE head SET k = 77');
    await lay('before-restore', 'echo "ask Ada first"; exit 1');
    await tell('after-restore');
    const targetDatabaseUrl = `sqlite:${join(root, 'elsewhere.sqlite3')}`;
    const { status, errorCode, errorMessage, safetyBackupId } = await world.restore({ backupId });
    expect({ status, errorCode, safetyBackupId }).toEqual({
      status: 'FAILED',
      errorCode: 'HOOK_FAILED',
      safetyBackupId: null,
    });
    expect(errorMessage).toBe('The hook before-restore ended with 1. It said last: ask Ada first');
    expect(await balance()).toBe(77);
    await rm(join(folder, 'before-restore'));
    expect(await world.restore({ backupId, targetDatabaseUrl })).toMatchObject({ status: 'COMPLETED' });
    expect(await told()).toEqual([
      expect.stringMatching(/ERROR_CODE=HOOK_FAILED .*STATUS=FAILED TARGET=config/),
      expect.stringMatching(/STATUS=COMPLETED TARGET=other/),
    ]);
  });
});

describe('What is wrong with the hooks', () => {
  it('names each that would be refused and each file that is no hook, and those that run', async () => {
    await lay('before-backup', 'true');
    await lay('before_restore', 'true');
    await lay('after-backup', 'true');
    await chmod(join(folder, 'after-backup'), 0o666);
    const { refused, unknown, hooks } = await world.app.hooks.problems();
    expect(refused.map(({ message }) => message)).toEqual([
      `HOOKS_DIR: ${join(folder, 'after-backup')} can be written by its group or others.`,
    ]);
    expect({ unknown, hooks }).toEqual({ unknown: ['before_restore'], hooks: ['before-backup'] });
    await chmod(folder, 0o777);
    const all = await world.app.hooks.problems();
    expect(all.refused.map(({ message }) => message)).toEqual([
      `HOOKS_DIR: ${folder} can be written by its group or others.`,
    ]);
  });
});

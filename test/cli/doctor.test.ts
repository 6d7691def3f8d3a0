import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createWorld, type World } from '../support/world.js';
import { start, translate } from './command.js';

describe('The doctor', () => {
  let world: World;
  let program: string;
  beforeAll(async () => {
    world = await createWorld();
    program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
    await world.backup();
    await chmod(join(world.folder, 'data'), 0o700);
  });
  afterAll(() => world.close());

  const examine = async (more: Record<string, string> = {}) => {
    const env = { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', ...more };
    const { code, stdout } = await start([program, 'doctor', '--json'], { cwd: world.folder, env }).ended;
    const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: Record<string, string | null>[] };
    return {
      code,
      ok,
      found: checks.filter(({ level }) => level !== 'OK'),
      subjects: checks.map((check) => check.subject),
    };
  };

  it('finds no problem in an installation that works, and names what it has looked at', async () => {
    const { code, ok, found, subjects } = await examine();
    expect({ code, ok }).toEqual({ code: 0, ok: true });
    // A command runs no worker, and all lies on one machine.
    const isStatus = expect.objectContaining({ subject: 'Status', level: 'WARNING', hint: expect.any(String) });
    expect(found).toEqual([isStatus, isStatus]);
    const own = ['Program', 'DATA_DIR', 'Clock', 'Time zones', 'Control database', 'Config "App"'];
    expect(subjects).toEqual([...own, expect.stringMatching(/^Destination "/), 'Status', 'Status']);
  });

  it('says what is wrong with the database, the rights and the clock, and what to do', async () => {
    const { BackupConfig, Backup } = world.app.models;
    await rename(world.database, `${world.database}-away`);
    await rm(world.backups, { recursive: true });
    await writeFile(world.backups, 'in the way');
    await chmod(join(world.folder, 'data'), 0o755);
    await Backup.update({ createdAt: new Date(Date.now() + 3_600_000) }, { where: {} });
    await BackupConfig.update({ timezone: 'Mars/Olympus' }, { where: {} });
    const hooks = join(world.folder, 'hooks');
    await mkdir(hooks);
    await writeFile(join(hooks, 'before-backup'), '#!/bin/sh\n');
    await chmod(join(hooks, 'before-backup'), 0o777);
    await writeFile(join(hooks, 'pre-restore'), '#!/bin/sh\n');
    const broken = await examine({ HOOKS_DIR: hooks });
    expect(broken).toMatchObject({ code: 1, ok: false });
    const told = (subject: string, level: string, message: RegExp) =>
      expect.objectContaining({ subject, level, message: expect.stringMatching(message), hint: expect.any(String) });
    expect(broken.found).toEqual(
      expect.arrayContaining([
        told('DATA_DIR', 'WARNING', /Other accounts of this machine may look into/),
        told('Clock', 'WARNING', /still to come/),
        told('Hooks', 'PROBLEM', /before-backup can be written by its group or others/),
        told('Hooks', 'WARNING', /never run: pre-restore/),
        told('Config "App"', 'PROBLEM', /Mars\/Olympus/),
        told(`Destination "${world.backups}"`, 'PROBLEM', /./),
      ]),
    );
    await BackupConfig.update({ timezone: 'UTC' }, { where: {} });
    expect((await examine()).found).toContainEqual(told('Config "App"', 'PROBLEM', /db\.sqlite3/));
  });
});

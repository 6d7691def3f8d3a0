import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Invariant, VerificationRow } from '../../../src/models/index.js';
import { exec } from '../../support/sqlite.js';
import { createWorld, filesIn, NEVER, type World } from '../../support/world.js';

let commands: string;
let world: World;
beforeEach(async () => {
  commands = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-commands-')));
  world = await createWorld({ env: { DRILL_COMMANDS_DIR: commands, DRILL_COMMAND_SECONDS: '3' } });
});
afterEach(async () => {
  await world.close();
  await rm(commands, { recursive: true });
});

const ACCOUNTS: Invariant = { name: 'Accounts', sql: 'SELECT count(*) FROM account', expect: 'AT_LEAST', value: '50' };

/** Gives the config a command. */
async function withCommand(script: string): Promise<void> {
  await writeFile(join(commands, 'check.sh'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  await world.app.configs.update(1, { drillCommand: 'check.sh' }, 'test');
}

async function drill(backupId: string, during: (id: string) => Promise<unknown> = async () => null) {
  const { verifications } = world.app;
  const { id } = await verifications.create({ backupId, level: 'DRILL' }, 'test');
  const running = verifications.run(id, NEVER);
  await during(id);
  expect(await running).toBe('done');
  return verifications.get(id);
}

const left = () => filesIn(join(world.folder, 'data', 'tmp'));
const phasesOf = ({ phases }: VerificationRow) => phases.map(({ phase }) => phase);

describe('A drill', () => {
  it('restores database and media into a scratch place, counts them, and leaves nothing', async () => {
    const { id: backupId } = await world.backup();
    const before = await filesIn(join(world.folder, 'app'));
    const row = await drill(backupId);
    expect(row).toMatchObject({ status: 'COMPLETED', errorCode: null, warnings: [], level: 'DRILL' });
    expect(phasesOf(row)).toEqual(['verify', 'check', 'media', 'switch', 'load', 'check', 'done']);
    expect(row.restoreSeconds).toBeGreaterThan(0);
    const backup = await world.app.backups.get(backupId);
    expect(row.drill).toMatchObject({
      target: expect.stringMatching(/^sqlite:.*verify_.*database\.sqlite3$/),
      location: backup.filePath,
      checksum: backup.checksum,
      mediaFiles: 3,
      command: null,
      tables: expect.arrayContaining([
        { name: 'account', rows: 50 },
        { name: 'entry', rows: 0 },
      ]),
    });
    expect(row.drill?.tables).toHaveLength(3);
    expect(backup.verificationLevel).toBe('DRILL');
    expect(await left()).toEqual([]);
    expect(await filesIn(join(world.folder, 'app'))).toEqual(before);
  });

  it('drills an incremental backup as the whole state that it stands for', async () => {
    await world.app.configs.update(1, { incremental: true }, 'test');
    await world.backup();
    await exec(world.database, 'UPDATE account SET balance = 7 WHERE id = 1');
    const { id, parentArchiveId } = await world.backup();
    expect(parentArchiveId).not.toBeNull();
    expect(await drill(id)).toMatchObject({ status: 'COMPLETED', drill: { mediaFiles: 3 } });
  });

  it('asks the present invariants, and fails without harm to the backup if one breaks', async () => {
    const { id } = await world.backup();
    await world.app.configs.update(1, { invariants: [ACCOUNTS] }, 'test');
    const good = await drill(id);
    expect(good).toMatchObject({ status: 'COMPLETED', invariants: [{ name: 'Accounts', actual: '50', holds: true }] });
    const { models } = world.app;
    await models.BackupConfig.update({ invariants: [{ ...ACCOUNTS, value: '51' }] }, { where: { id: 1 } });
    const bad = await drill(id);
    expect(bad).toMatchObject({ status: 'FAILED', errorCode: 'INVARIANT_BROKEN', invariants: [{ holds: false }] });
    expect(bad.errorMessage).toContain('"Accounts" is 50, and must be at least 51.');
    expect(bad.restoreSeconds).toBeGreaterThan(0);
    const { verificationLevel, errorCode } = await world.app.backups.get(id);
    expect({ verificationLevel, errorCode }).toEqual({ verificationLevel: 'DRILL', errorCode: null });
    expect(await left()).toEqual([]);
  });

  it('runs the command on what was restored, and keeps what it said', async () => {
    const script = 'head -c 15 "${DATABASE_URL#sqlite:}"; echo; cat "$MEDIA_PATH/uploads/a photo.txt"; echo; env';
    await withCommand(script);
    const { id } = await world.backup();
    const row = await drill(id);
    expect(row).toMatchObject({ status: 'COMPLETED', drill: { command: { name: 'check.sh', exitCode: 0 } } });
    const output = row.drill?.command?.output ?? '';
    expect(output).toContain('SQLite format 3\nfirst\n');
    expect(output).toContain(`BACKUP_ID=${id}\n`);
    expect(output).not.toMatch(/DATA_DIR|SECRET|JWT|TOKEN/);
  });

  it('fails if the command ends with another code than 0, and says what it said last', async () => {
    await withCommand('echo "order 17 has no customer"; exit 3');
    const { id } = await world.backup();
    const row = await drill(id);
    expect(row).toMatchObject({ status: 'FAILED', errorCode: 'DRILL_COMMAND_FAILED' });
    expect(row.errorMessage).toBe('The drill command "check.sh" ended with 3. It said last: order 17 has no customer');
    expect(row.drill?.command).toMatchObject({ exitCode: 3, output: 'order 17 has no customer\n' });
    expect((await world.app.backups.get(id)).errorCode).toBeNull();
  });

  it('fails if the command takes longer than it may', async () => {
    await withCommand('sleep 60');
    const { id } = await world.backup();
    const row = await drill(id);
    expect(row).toMatchObject({ status: 'FAILED', errorCode: 'DRILL_COMMAND_FAILED' });
    expect(row.errorMessage).toMatch(/^The drill command "check\.sh" was ended after 3\.\d seconds, its limit\.$/);
    expect(await left()).toEqual([]);
  });

  it('that is cancelled while its command runs ends at once and leaves nothing', async () => {
    await withCommand('sleep 60');
    const { id: backupId } = await world.backup();
    const row = await drill(backupId, async (id) => {
      while ((await world.app.verifications.get(id)).phase !== 'command') await new Promise((go) => setTimeout(go, 50));
      await world.app.verifications.cancel(id, 'boss');
    });
    expect(row).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    expect(await left()).toEqual([]);
  });

  it('of a damaged archive fails, and the backup loses its mark', async () => {
    const backup = await world.backup();
    const bytes = await readFile(backup.filePath);
    bytes.fill(0x55, bytes.length >> 1, (bytes.length >> 1) + 64);
    await writeFile(backup.filePath, bytes);
    expect(await drill(backup.id)).toMatchObject({ status: 'FAILED', errorCode: 'ARCHIVE_CORRUPT' });
    expect(await backup.reload()).toMatchObject({ verifiedAt: null, errorCode: 'ARCHIVE_CORRUPT' });
    expect(await left()).toEqual([]);
  });

  it('whose command was taken away fails when it is requested', async () => {
    await withCommand('true');
    const { id: backupId } = await world.backup();
    await rm(join(commands, 'check.sh'));
    const request = world.app.verifications.create({ backupId, level: 'DRILL' }, 'test');
    await expect(request).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'drillCommand' });
  });

  it('of a process that died is ended, and what it had restored is removed', async () => {
    const { id: backupId } = await world.backup();
    const { verifications, backups } = world.app;
    const { id } = await verifications.create({ backupId, level: 'DRILL' }, 'test');
    await verifications.find(id).then((row) => row?.update({ status: 'RUNNING', phase: 'load' }));
    const scratch = join(world.folder, 'data', 'tmp', id, 'database');
    await mkdir(scratch, { recursive: true });
    await writeFile(join(scratch, 'database.sqlite3'), 'half of it');
    await verifications.recover();
    await backups.recover();
    expect(await verifications.get(id)).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await left()).toEqual([]);
  });

  it('that waited for days names its scratch database by its start, so no run takes it for left', async () => {
    const { id: backupId } = await world.backup();
    const { verifications, engines, models } = world.app;
    const made = await verifications.create({ backupId, level: 'DRILL' }, 'test');
    const id = 'verify_20200101_000000_a1b2c3d4';
    await models.Verification.update({ id }, { where: { id: made.id } });
    const engine = engines.of('SQLITE');
    const [urlFor, load] = [engine.scratch?.urlFor, engine.load];
    const given: unknown[] = [];
    Object.assign(engine.scratch as object, {
      urlFor: (...args: Parameters<NonNullable<typeof urlFor>>) => (given.push(args[0]), urlFor?.(...args)),
    });
    engine.load = (...args) => (given.push(args[2].stamp), load(...args));
    await verifications.run(id, NEVER);
    const { status, startedAt } = await verifications.get(id);
    expect(status).toBe('COMPLETED');
    const today = (startedAt ?? new Date(0)).toISOString().slice(0, 10).replaceAll('-', '');
    const named = expect.stringMatching(new RegExp(`^verify_${today}_\\d{6}_a1b2c3d4$`));
    expect(given).toEqual([named, named]);
  });

  it('of a database that differs from what was counted fails as such', async () => {
    const backup = await world.backup();
    const { app } = world;
    const engine = app.engines.of('SQLITE');
    const { scratch } = engine;
    const readAll = scratch?.readAll.bind(scratch);
    Object.assign(scratch as object, {
      readAll: async (...args: Parameters<NonNullable<typeof readAll>>) => {
        const info = await readAll?.(...args);
        return { ...info, tables: info?.tables.map((table) => ({ ...table, rows: (table.rows ?? 0) + 1 })) };
      },
    });
    const row = await drill(backup.id);
    expect(row).toMatchObject({ status: 'FAILED', errorCode: 'DRILL_FAILED' });
    expect(row.errorMessage).toMatch(/^The restored database is not what was backed up: /);
    expect(await backup.reload()).toMatchObject({ errorCode: null, verificationLevel: 'ARCHIVE' });
  });
});

describe('The command of a config', () => {
  it('is saved only if it is there and no one else could have written it', async () => {
    const save = (drillCommand: string | null) => world.app.configs.update(1, { drillCommand }, 'test');
    await expect(save('../check.sh')).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'drillCommand' });
    await expect(save('none.sh')).rejects.toThrow('there is no');
    await withCommand('true');
    expect((await world.app.configs.get(1)).drillCommand).toBe('check.sh');
    expect((await save(null)).drillCommand).toBeNull();
  });
});

import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { databaseLease, Hold, runLease, waitLease } from '../../src/core/runs/hold.js';
import { EXIT_CODES } from '../../src/exit-codes.js';
import { ERRORS } from '../../src/errors.js';
import {
  assertOneCommittedState,
  createWorld,
  NEVER,
  readTree,
  startWriter,
  type World,
  type Writer,
} from '../support/world.js';
import { type Ended, start, translate } from './command.js';

interface Document {
  error?: { code: string; message: string; hint: string; field?: string };
  backup?: BackupDocument;
  backups?: BackupDocument[];
  [key: string]: unknown;
}

interface BackupDocument {
  id: string;
  status: string;
  fileName: string;
  filePath: string;
  errorCode: string | null;
  [key: string]: unknown;
}

let world: World;
let writer: Writer;
let program: string;

const launch = (args: string[], input?: string) =>
  start([program, ...args], {
    cwd: world.folder,
    env: { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', LEASE_SECONDS: '5', ADMIN_EMAIL: 'admin@example.org' },
    ...(input === undefined ? {} : { input }),
  });
const run = (...args: string[]): Promise<Ended> => launch(args).ended;
const json = async (...args: string[]): Promise<{ code: number | null; document: Document }> => {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect(stderr).toBe('');
  return { code, document: JSON.parse(stdout) as Document };
};
const backUp = async (): Promise<BackupDocument> => (await world.backup()).get({ plain: true }) as never;

beforeAll(async () => {
  world = await createWorld();
  program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
  writer = await startWriter(world.database, 5);
});

afterAll(async () => {
  await writer?.stop();
  await world?.close();
});

describe('While the application keeps writing', () => {
  let id: string;

  it('`backup` makes a verified backup and prints one JSON document', async () => {
    const { code, document } = await json('backup', '--note', 'before the migration', '--config', '1');
    expect({ code, keys: Object.keys(document) }).toEqual({ code: 0, keys: ['backup'] });
    id = document.backup?.id ?? '';
    expect(document.backup).toMatchObject({
      backupType: 'MANUAL',
      status: 'COMPLETED',
      note: 'before the migration',
      verificationLevel: 'ARCHIVE',
      mediaFileCount: 3,
      createdBy: expect.stringMatching(/^cli:./),
      fileSize: (await stat(document.backup?.filePath ?? '')).size,
    });
  });

  it('`list` shows it in a table and as JSON, filtered', async () => {
    const [text, found, none] = await Promise.all([
      run('list'),
      json('list', '--search', 'MIGRATION', '--status', 'completed', '--after', '2025-01-01', '--limit', '1'),
      json('list', '--type', 'SAFETY'),
    ]);
    expect(text.stdout.split('\n')[0]).toMatch(
      /^ID +CREATED +CONFIG +TYPE +STATUS +SIZE +VERIFIED +PINNED +DATABASE +ERROR +NOTE$/,
    );
    expect(text.stdout).toMatch(
      new RegExp(`^${id} .* App +MANUAL +COMPLETED .* KiB +ARCHIVE +- +db.sqlite3 +- +before the migration$`, 'm'),
    );
    expect(found.document).toEqual({ backups: [expect.objectContaining({ id, configName: 'App' })], more: false });
    expect(none.document).toEqual({ backups: [], more: false });
  });

  it('`verify` verifies it again, down to the database', async () => {
    const { code, document } = await json('verify', id, '--level', 'content');
    expect({ code, level: document.backup?.verificationLevel }).toEqual({ code: 0, level: 'CONTENT' });
    const { document: listed } = await json('verifications', '--backup', id);
    expect(listed.verifications).toMatchObject([{ backupId: id, level: 'CONTENT', status: 'COMPLETED' }]);
    expect((await run('show', 'verify_latest')).stdout).toMatch(/^Level: +CONTENT$/m);
    expect(await json('verify', '--due')).toMatchObject({ code: 0, document: { verifications: [] } });
    expect(await run('verify')).toMatchObject({ code: 2 });
  });

  it('`verify --due` ends a drill whose process died, and makes the one that is due', async () => {
    const { verifications, configs, models } = world.app;
    const drillsDue = { drillSchedule: 'daily', nextDrillAt: new Date(Date.now() - 3_600_000) };
    const dead = await verifications.create({ backupId: id, level: 'DRILL' }, 'test');
    await dead.update({ status: 'RUNNING', phase: 'load' });
    await models.BackupConfig.update(drillsDue, { where: { id: 1 } });
    const { code, document } = await json('verify', '--due');
    expect({ code, document }).toMatchObject({ code: 0, document: { verifications: [{ level: 'DRILL' }] } });
    expect(await dead.reload()).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    await configs.update(1, { drillSchedule: null }, 'test');
  });

  it('`restore --dry-run` prints the plan as tables and changes nothing', async () => {
    const { code, stdout } = await run('restore', id, '--dry-run');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^TABLE +IN BACKUP +IN TARGET +CHANGE +SCHEMA$/m);
    expect(stdout).toMatch(/^account +50 +50 +REPLACE +same$/m);
    expect(stdout).toContain('Media:     0 to add, 0 to replace, 3 unchanged');
    expect(stdout).toContain('Nothing stands in the way of this restore.');
    expect(await world.app.models.Restore.count()).toBe(0);
  });

  it('`restore --rows` plans row by row, and takes no other word', async () => {
    const only = ['restore', id, '--dry-run', '--table', 'account', '--rows'];
    const [planned, wrong] = await Promise.all([run(...only, 'missing'), run(...only, 'some')]);
    expect(planned.stdout).toMatch(/^ROWS OF +COME BACK +OVERWRITTEN +STAY$/m);
    expect(planned.stdout).toMatch(/^account +0 +0 +50$/m);
    expect(planned.stdout).toMatch(/^account +50 +50 +REPAIR +same$/m);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('REPLACE, MISSING, CHANGED') });
  });

  it('`restore` without --confirm is refused without a terminal', async () => {
    const { code, document } = await json('restore', id);
    expect(code).toBe(3);
    expect(Object.keys(document.error ?? {})).toEqual(['code', 'message', 'hint']);
    expect(document.error?.code).toBe('CONFIRMATION_REQUIRED');
  });

  it('`restore --confirm` restores, and `undo` takes it back', async () => {
    const restored = await run('restore', id, '--confirm');
    expect(restored).toMatchObject({ code: 0 });
    expect(restored.stdout).toMatch(/^Status: +COMPLETED$/m);
    for (const phase of ['verify', 'safety', 'switch', 'done'])
      expect(restored.stderr).toMatch(new RegExp(` ${phase}$`, 'm'));
    const restoreId = /^Restore: +(\S+)$/m.exec(restored.stdout)?.[1] ?? '';
    expect(await run('undo', restoreId)).toMatchObject({ code: 3 });
    const undone = await json('undo', restoreId, '--confirm');
    expect(undone.document.restore).toMatchObject({ status: 'COMPLETED', undoOf: restoreId });
    const { document } = await json('restores');
    expect(document.restores).toHaveLength(2);
  });

  it('`extract` lays one committed state into an empty folder only', async () => {
    const { code, document } = await json('extract', id, '--to', 'out');
    expect({ code, document }).toMatchObject({ code: 0, document: { backupId: id, files: 5 } });
    const folder = join(world.folder, 'out');
    expect(await assertOneCommittedState(join(folder, 'database.sqlite3'))).toBeGreaterThanOrEqual(0);
    expect(await readTree(join(folder, 'media'))).toEqual(await readTree(world.media));
    const again = await json('extract', id, '--to', 'out');
    expect(again).toMatchObject({ code: 2, document: { error: { code: 'BAD_USER_INPUT', field: 'to' } } });
  });

  it('`extract` of a damaged archive leaves nothing', async () => {
    const row = await world.backup();
    const { open } = await import('node:fs/promises');
    const file = await open(row.filePath, 'r+');
    await file.write(Buffer.from('!'), 0, 1, 200);
    await file.close();
    await mkdir(join(world.folder, 'empty'));
    expect(await run('extract', row.id, '--to', 'empty')).toMatchObject({ code: 61 });
    expect(await readdir(join(world.folder, 'empty'))).toEqual([]);
    const verified = await json('verify', row.id);
    expect(verified).toMatchObject({
      code: 61,
      document: { error: { code: 'ARCHIVE_CORRUPT' }, backup: { id: row.id } },
    });
  });

  it('`auto-backup` does nothing while a fresh backup is there, unless forced', async () => {
    const idle = await json('auto-backup');
    expect(idle).toMatchObject({
      code: 0,
      document: {
        results: [{ configId: 1, done: false, reason: expect.stringContaining('since the last scheduled time') }],
      },
    });
    const forced = await run('auto-backup', '--force');
    expect(forced).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Status: +COMPLETED, verified/m) });
    await world.app.configs.update(1, { autoBackupEnabled: false }, 'test');
    expect((await run('auto-backup')).stdout).toContain('automatic backup is off');
    await world.app.configs.update(1, { autoBackupEnabled: true }, 'test');
  });

  it('`auto-backup` runs a backup that a dead process left pending, not one that is running', async () => {
    const { backups, configs, models, log } = world.app;
    const config = await configs.create({ name: 'Late', databaseUrl: `sqlite:${world.database}` }, 'test');
    const { id } = await backups.create({ backupType: 'AUTO', configId: config.id }, 'cli:gone');
    const autoBackup = () => json('auto-backup', '--config', String(config.id));
    await models.Backup.update({ status: 'RUNNING' }, { where: { id } });
    await Hold.during(
      { models, log, leaseMs: 60_000 },
      [runLease(id)],
      async () => {
        expect(await autoBackup()).toMatchObject({
          code: 0,
          document: { results: [{ done: false, reason: `${id} is under way`, backup: null }] },
        });
      },
      () => undefined,
    );
    await models.Backup.update({ status: 'PENDING' }, { where: { id } });
    expect(await autoBackup()).toMatchObject({
      code: 0,
      document: { results: [{ configId: config.id, done: true, backup: { id, status: 'COMPLETED' } }] },
    });
    expect(await models.Backup.count({ where: { configId: config.id } })).toBe(1);
    await configs.remove(config.id, 'test');
  });

  it('`auto-backup` meets the due time: no later catch-up run, and not overdue in `status`', async () => {
    const { configs, models } = world.app;
    const { id } = await configs.create({ name: 'By timer', databaseUrl: `sqlite:${world.database}` }, 'test');
    const past = new Date(Date.now() - 5 * 3_600_000);
    for (const done of [true, false]) {
      await models.BackupConfig.update({ nextRunAt: past }, { where: { id } });
      expect((await world.app.overview.configs()).find(({ config }) => config.id === id)?.overdue).toBe(true);
      const { document } = await json('auto-backup', '--config', String(id));
      expect(document).toMatchObject({ results: [{ configId: id, done }] });
      expect((await configs.get(id)).nextRunAt?.getTime()).toBeGreaterThan(Date.now());
      await world.app.scheduler.tick();
      expect(await models.Backup.count({ where: { configId: id } })).toBe(1);
    }
    await configs.remove(id, 'test');
  });

  it('`acknowledge` ends what `show`, `list` and `cleanup-backups` say of a suspicious backup', async () => {
    const message = 'Table "guest" is empty: it had 30 rows before.';
    const anomalies = [{ code: 'TABLE_EMPTIED' as const, message, table: 'guest', before: 30, after: 0 }];
    await world.app.models.Backup.update({ suspicious: true, anomalies }, { where: { id } });
    expect((await run('show', id)).stdout).toContain(message);
    expect((await run('list')).stdout).toMatch(new RegExp(`^${id}.* SUSPICIOUS `, 'm'));
    expect((await run('cleanup-backups', '--dry-run')).stdout).toContain(`Nothing is deleted: ${id} is suspicious`);
    expect(await json('acknowledge', id)).toMatchObject({
      code: 0,
      document: { backup: { id, anomalies, anomaliesAcknowledgedAt: expect.any(String) } },
    });
    expect((await run('show', id)).stdout).toMatch(/^Acknowledged: /m);
    expect((await run('list')).stdout).not.toContain('SUSPICIOUS');
  });

  it('a pinned backup is not deleted, and none without --yes', async () => {
    expect(await run('pin', id)).toMatchObject({ code: 0 });
    expect(await json('delete', id, '--yes')).toMatchObject({
      code: 67,
      document: { error: { code: 'BACKUP_PINNED' } },
    });
    expect(await run('unpin', id)).toMatchObject({ code: 0 });
    expect(await run('delete', id)).toMatchObject({ code: 3 });
    expect(await json('delete', id, '--yes')).toMatchObject({
      code: 0,
      document: { backups: [{ id, status: 'DELETED' }] },
    });
    expect((await run('show', id)).stdout).toMatch(/^Deleted: .* by cli:.*: deleted by hand$/m);
  });

  it('`cleanup-backups` shows its plan with reasons, and then does it', async () => {
    const row = await world.backup();
    await row.update({ createdAt: new Date(Date.now() - 400 * 86_400_000) });
    const shown = await run('cleanup-backups', '--dry-run');
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringMatching(/^To delete: +1 of \d+ /m) });
    expect(shown.stdout).toMatch(new RegExp(`^${row.id} .* DELETE +It is older than 30 days\\.$`, 'm'));
    expect(shown.stdout).toMatch(/ keep +It is the newest verified backup\.$/m);
    const { document } = await json('cleanup-backups');
    expect(document.plans).toEqual([
      expect.objectContaining({
        configId: 1,
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
        items: expect.arrayContaining([expect.objectContaining({ id: row.id, keep: false, error: null })]),
      }),
    ]);
    expect(await row.reload()).toMatchObject({ status: 'DELETED', deletedBy: expect.stringMatching(/^cli:/) });
  });

  it('`cleanup-backups` tries all configs, then names those that failed and those that did not', async () => {
    const { configs } = world.app;
    const [old, other] = [await world.backup(), await world.backup()];
    await old.update({ createdAt: new Date(Date.now() - 400 * 86_400_000) });
    const shop = await configs.create({ name: 'Shop', databaseUrl: `sqlite:${world.database}` }, 'test');
    await other.update({ configId: shop.id });
    await shop.update({ maxBackupFiles: 0 });
    const { code, document } = await json('cleanup-backups');
    expect({ code, error: document.error }).toMatchObject({
      code: 2,
      error: {
        code: 'BAD_USER_INPUT',
        message: expect.stringMatching(/"Shop" failed.* It was done for config 1 "App"/),
      },
    });
    expect(document.plans).toEqual([expect.objectContaining({ configId: 1 })]);
    expect(await old.reload()).toMatchObject({ status: 'DELETED' });
    await configs.remove(shop.id, 'test');
  });

  it('`cleanup-backups` refuses a hash without its config, and deletes nothing', async () => {
    const row = await world.backup();
    await row.update({ createdAt: new Date(Date.now() - 400 * 86_400_000) });
    expect(await json('cleanup-backups', '--hash', 'x')).toMatchObject({
      code: 2,
      document: { error: { code: 'BAD_USER_INPUT', field: 'hash', message: expect.stringContaining('--config') } },
    });
    expect(await json('cleanup-backups', '--hash', 'x', '--config', '1')).toMatchObject({ code: 15 });
    expect(await row.reload()).toMatchObject({ status: 'COMPLETED' });
  });

  it('`configs` shows what is protected', async () => {
    const { document } = await json('configs');
    expect(document.configs).toEqual([
      expect.objectContaining({
        id: 1,
        databaseUrl: `sqlite:${world.database}`,
        nextRunAt: expect.stringMatching(/Z$/),
      }),
    ]);
  });
});

describe('Ids', () => {
  it('are taken as unique beginnings and as `latest`, wherever one is taken', async () => {
    const [older, newest] = [await backUp(), await backUp()];
    await world.app.models.Backup.update({ createdAt: new Date(Date.now() + 1_000) }, { where: { id: newest.id } });
    const short = newest.id.replace('backup_', '');
    const calls = [
      ['show', 'latest'],
      ['show', `backup_${short.slice(0, -1)}`],
      ['verify', short, '--level', 'checksum'],
      ['pin', short],
      ['unpin', 'latest'],
      ['restore', short, '--dry-run'],
    ];
    for (const call of calls) {
      const { code, document } = await json(...call);
      const plan = document.plan as { backup: BackupDocument } | undefined;
      expect({ call, code, id: (plan ?? document).backup?.id }).toEqual({ call, code: 0, id: newest.id });
    }
    const several = await json('show', short.slice(0, 8));
    expect(several).toMatchObject({
      code: 2,
      document: { error: { code: 'BAD_USER_INPUT', field: 'id', message: expect.stringContaining(newest.id) } },
    });
    expect(await json('delete', older.id.replace('backup_', ''), '--yes')).toMatchObject({
      code: 0,
      document: { backups: [{ id: older.id }] },
    });
  }, 120_000);

  it('that are none are refused', async () => {
    const wrong = await Promise.all(['', '%', '_'.repeat(15), 'x/../y'].map((id) => run('show', id)));
    expect(wrong.map(({ code }) => code)).toEqual([4, 4, 4, 4]);
  });

  it('of restores are taken alike', async () => {
    await backUp();
    const restored = await json('restore', 'latest', '--confirm');
    const { id } = restored.document.restore as { id: string };
    for (const name of ['restore_latest', id.slice(0, -2)]) {
      expect((await json('show', name)).document.restore).toMatchObject({ id });
    }
    expect((await json('undo', 'latest', '--confirm')).document.restore).toMatchObject({ undoOf: id });
  }, 120_000);
});

describe('`config`', () => {
  it('creates, shows and edits a config, and says at once what is wrong with its database', async () => {
    const settings = ['--database', 'shop.db', '--no-auto', '--keep-daily', '7'];
    expect(await json('config', 'create', ...settings)).toMatchObject({
      code: 31,
      document: { error: { code: 'DATABASE_NOT_FOUND', hint: expect.stringContaining('--untested') } },
    });
    const made = await json('config', 'create', '--untested', ...settings);
    expect(made).toMatchObject({
      code: 0,
      document: {
        config: { name: 'shop', databaseUrl: `sqlite:${world.folder}/shop.db`, autoBackupEnabled: false, keepDaily: 7 },
      },
    });
    const { id } = made.document.config as { id: number };
    const edited = await run(
      'config',
      'edit',
      'shop',
      '--untested',
      '--name',
      'Shop',
      '--schedule',
      'hourly',
      '--auto',
      '--keep-daily',
      'none',
      '--media',
      world.media,
    );
    expect(edited).toMatchObject({ code: 0, stderr: expect.stringContaining('Warning DATABASE_NOT_FOUND') });
    expect(edited.stdout).toMatch(/^Schedule: +0 \* \* \* \* \(UTC\)$/m);
    const { document } = await json('config', 'show', String(id));
    expect(document.config).toMatchObject({
      name: 'Shop',
      schedule: '0 * * * *',
      mediaPaths: [world.media],
      keepDaily: null,
    });
    expect((await json('config', 'edit', 'Shop')).code).toBe(2);
    await world.app.configs.remove(id, 'test');
  });

  it('takes the settings of the environment, and adopts either side where they differ', async () => {
    const env = {
      DATA_DIR: 'data',
      DB_BACKUP_PATH: 'backups',
      DATABASE_URL: 'sqlite:./other.db',
      DB_BACKUP_MAX_FILES: '9',
    };
    const config = async (...args: string[]) => {
      const { stdout } = await start([program, 'config', ...args, '--json'], { cwd: world.folder, env }).ended;
      return (JSON.parse(stdout) as { config: { id: number } }).config;
    };
    const { id } = await config('create', '--from-environment');
    expect(await config('show', 'other')).toMatchObject({ id, origin: 'ENVIRONMENT', maxBackupFiles: 9 });
    await world.app.configs.update(id, { maxBackupFiles: 3 }, 'you');
    expect(await config('adopt', 'environment')).toMatchObject({ id, maxBackupFiles: 9, origin: 'ENVIRONMENT' });
    expect(await config('adopt', 'product', String(id))).toMatchObject({ id, maxBackupFiles: 9, origin: null });
    await world.app.configs.remove(id, 'test');
  });
});

describe('Another run that holds the database', () => {
  const held = async (work: () => Promise<void>) => {
    const { models, log, configs } = world.app;
    const key = databaseLease((await configs.get()).databaseKey);
    // Long enough that no pause of this process lets go of it.
    await Hold.during({ models, log, leaseMs: 60_000 }, [key], work, () => {
      throw new Error('held by another');
    });
  };
  const newest = async () => {
    const row = await world.app.models.Backup.findOne({ order: [['createdAt', 'DESC']] });
    return row ?? expect(row).not.toBeNull();
  };

  it.each([
    ['SIGINT', 130, 1],
    ['SIGHUP', 129, 3],
  ] as const)(
    'is waited for and named, which others can see; %s then cancels the run and ends with %i',
    (signal, code, times) =>
      held(async () => {
        const command = launch(['backup']);
        await command.says('waiting: another process');
        const lease = waitLease((await newest())?.id ?? '');
        expect(await world.app.models.leases.holderOf(lease)).toContain(`:${command.child.pid}:`);
        for (let i = 0; i < times; i++) command.child.kill(signal);
        expect(await command.ended).toMatchObject({ code, stderr: expect.stringContaining('CANCELLED') });
        expect(await newest()).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
        expect(await world.app.models.leases.holderOf(lease)).toBeNull();
      }),
  );

  it('a row that a worker has taken meanwhile is followed to its end', () =>
    held(async () => {
      const command = launch(['backup', '--json']);
      let row = await newest();
      while (row?.status !== 'PENDING') {
        await new Promise((wake) => setTimeout(wake, 50));
        row = await newest();
      }
      const source = { databaseUrl: `sqlite:${world.database}`, mediaPaths: [world.media] };
      // The command may be trying for the row itself at this very moment: then it is left to the command.
      while ((await row.reload()).status === 'PENDING') {
        await world.app.backups.run(row.id, NEVER, { source });
        await new Promise((wake) => setTimeout(wake, 50));
      }
      const { code, stdout } = await command.ended;
      expect({ code, backup: (JSON.parse(stdout) as Document).backup }).toMatchObject({
        code: 0,
        backup: { id: row.id, status: 'COMPLETED' },
      });
    }));

  it('SIGTERM in the middle of a run ends it as CANCELLED, with 143 and nothing left', async () => {
    await backUp();
    const before = await readdir(world.backups);
    // Enough to be in the middle of, however late the signal comes.
    const large = join(world.media, 'large.bin');
    await writeFile(large, randomBytes(96 * 1024 * 1024));
    const command = launch(['backup']);
    await command.says(' snapshot');
    command.child.kill('SIGTERM');
    const { code } = await command.ended;
    await rm(large);
    expect({ code, errorCode: (await newest())?.errorCode }).toEqual({ code: 143, errorCode: 'CANCELLED' });
    expect(await readdir(world.backups)).toEqual(before);
  });
});

describe('People', () => {
  it('`token` gives an admin a token, `password` sets a password from standard input and ends it', async () => {
    const { users } = world.app.auth;
    await users.ensureAdmin('admin@example.org', 'a first password');
    const { code, document } = await json('token', '--ttl', '5');
    expect(code).toBe(0);
    const header = `Bearer ${document.token}`;
    expect(await world.app.auth.authenticate(header)).toMatchObject({ email: 'admin@example.org', admin: true });
    const minutes = (Date.parse(String(document.expiresAt)) - Date.now()) / 60_000;
    expect(minutes).toBeGreaterThan(4);
    expect(minutes).toBeLessThanOrEqual(5);
    const unknown = [await run('token', '--email', 'nobody@example.org'), await run('password', 'nobody@example.org')];
    expect(unknown.map(({ code }) => code)).toEqual([4, 4]);
    expect(unknown.map(({ stderr }) => stderr.includes('--email'))).toEqual([true, false]);
    expect(await launch(['password', 'admin@example.org'], 'short\n').ended).toMatchObject({ code: 2 });
    expect(await launch(['password', 'admin@example.org'], 'quite another password\n').ended).toMatchObject({
      code: 0,
    });
    expect(await users.check('admin@example.org', 'quite another password')).not.toBeNull();
    await expect(world.app.auth.authenticate(header)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });
});

describe('Users', () => {
  it('`tokens add` makes an API token, `tokens` lists it, and `tokens revoke` ends it', async () => {
    const made = await json('tokens', 'add', 'Deployment', '--scope', 'READ', 'backup', '--expires', '2099-01-01');
    const { token } = made.document as unknown as { token: string };
    const actor = await world.app.auth.authenticate(`Bearer ${token}`);
    expect(actor).toMatchObject({ admin: true, scopes: ['READ', 'BACKUP'] });
    const list = await run('tokens');
    expect(list.stdout).toMatch(/Deployment +READ, BACKUP .*2099-01-01/);
    expect(list.stdout).not.toContain(token);
    expect(await json('tokens', 'revoke', 'Deployment')).toMatchObject({ code: 0, document: { revoked: true } });
    await expect(world.app.auth.authenticate(`Bearer ${token}`)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    const wrong = await json('tokens', 'add', 'x', '--scope', 'everything');
    expect([wrong.code, wrong.document.error?.message]).toEqual([2, expect.stringContaining('Choose from READ')]);
  });

  it('`users` lists users; `users remove` ends the tokens of one, and keeps the last admin', async () => {
    const { users } = world.app.auth;
    const [first] = await users.list();
    if (first === undefined) await users.create('admin@example.org', 'a first password', 'ADMIN');
    const second = await users.create('second@example.org', 'a second password', 'ADMIN');
    const header = `Bearer ${world.app.auth.sessionOf(second).token}`;
    const { document } = await json('users');
    expect(document.users).toContainEqual({
      id: second.id,
      email: 'second@example.org',
      role: 'ADMIN',
      createdAt: second.createdAt.toISOString(),
    });
    expect((await run('users')).stdout).toMatch(/E-MAIL.*\n.*admin@example\.org/);
    expect(await json('users', 'remove', 'Second@example.org')).toMatchObject({
      code: 0,
      document: { email: 'second@example.org', removed: true },
    });
    await expect(world.app.auth.authenticate(header)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(await run('users', 'remove', 'second@example.org')).toMatchObject({ code: 4 });
    expect(await json('users', 'remove', 'admin@example.org')).toMatchObject({
      code: 2,
      document: { error: { code: 'BAD_USER_INPUT', field: 'id' } },
    });
    expect(await run('users', 'remove')).toMatchObject({ code: 2 });
    expect(await run('users', 'destroy')).toMatchObject({ code: 2 });
  });
});

describe('What goes wrong', () => {
  it('is shown by message, hint, row and exit code: a source that is missing', async () => {
    const { stderr } = await writer.stop().then(() => ({ stderr: '' }));
    expect(stderr).toBe('');
    await rename(world.database, `${world.database}.away`);
    try {
      const { code, stdout, stderr: said } = await run('backup');
      expect({ code, stdout }).toEqual({ code: 31, stdout: '' });
      expect(said).not.toMatch(/[{}]|^\s+at |node_modules/m);
      const [, failed] = (await run('list', '--limit', '1')).stdout.split('\n');
      expect(failed).toMatch(/ MANUAL +FAILED +.* DATABASE_NOT_FOUND /);
      expect(said).toMatch(/^Error DATABASE_NOT_FOUND: .*db\.sqlite3.*$/m);
      expect(said).toContain(ERRORS.DATABASE_NOT_FOUND.hint);
      const { document } = await json('auto-backup', '--force');
      expect(document).toMatchObject({
        error: { code: 'DATABASE_NOT_FOUND' },
        results: [{ configId: 1, done: false, backup: { status: 'FAILED', errorCode: 'DATABASE_NOT_FOUND' } }],
      });
    } finally {
      await rename(`${world.database}.away`, world.database);
      writer = await startWriter(world.database, 5);
    }
  });

  it.each([
    [['restore', 'nope', '--confirm'], 4],
    [['show', 'restore_nope'], 4],
    [['config', 'show', 'nope'], 4],
    [['config', 'create', '--database', 'oracle://me:hunter2@host/app'], 30],
    [['config', 'create', '--database', 'mysql://me:hunter2@127.0.0.1:1/app'], 31],
    [['config', 'create', '--database', 'me:hunter2@host/app'], 30],
    [['config', 'edit', 'App', '--schedule', 'often'], 2],
    [['extract', 'latest', '--to', '/proc/nowhere'], 50],
    [['list', '--after', 'yesterday'], 2],
  ])('%j is told in words, without JSON, stack or password', async (args, code) => {
    const ended = await run(...args);
    expect({ code: ended.code, stdout: ended.stdout }).toEqual({ code, stdout: '' });
    expect(ended.stderr).not.toMatch(/[{}]|^\s+at |node_modules|hunter2|INTERNAL/m);
  });

  it('a malformed JOBS_URL or another wrong variable is one clean error', async () => {
    const env = { DATA_DIR: 'data', JOBS_URL: 'mongodb://me:hunter2@', DB_BACKUP_SCHEDULE: 'often' };
    for (const args of [['list'], ['status'], ['serve']]) {
      const { code, stdout, stderr } = await start([program, ...args], { cwd: world.folder, env }).ended;
      expect({ code, stdout }).toEqual({ code: 20, stdout: '' });
      expect(stderr).toMatch(/CONFIG_INVALID: The environment has 2 problems:\n- .*DB_BACKUP|JOBS_URL/);
      expect(stderr).not.toMatch(/hunter2|^\s+at /m);
    }
  });

  const typed = spawnSync('script', ['--version']).error === undefined ? it : it.skip;
  typed('anything but the file name at the prompt is refused and restores nothing (needs script)', async () => {
    const { id, fileName } = await backUp();
    const restores = await world.app.models.Restore.count();
    const command = `${process.execPath} ${program} restore ${id}`;
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      cwd: world.folder,
      env: { PATH: process.env.PATH, DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', TERM: 'dumb' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (!text.includes('type the file name') && (text += chunk.toString()).includes('type the file name')) {
        child.stdin.write('no\n');
      } else text += chunk.toString();
    });
    await once(child, 'close');
    expect(text).toContain(`Nothing was restored: the file name of the backup was not typed.`);
    expect(text).toContain(fileName);
    expect(text).not.toContain('confirm is not true');
    expect(await world.app.models.Restore.count()).toBe(restores);
  });

  it('usage errors end with 2, with --json as a document', async () => {
    const [unknown, missing, wrong] = await Promise.all([run('nope'), json('show'), json('list', '--limit', '0')]);
    expect(unknown).toMatchObject({ code: 2, stdout: '' });
    expect(unknown.stderr).toContain('--help');
    expect(missing).toMatchObject({ code: 2, document: { error: { code: 'BAD_USER_INPUT' } } });
    expect(wrong).toMatchObject({ code: 2, document: { error: { message: expect.stringContaining('--limit') } } });
  });

  it('has one exit code each, listed in --help', async () => {
    const numbers = Object.values(EXIT_CODES);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(Object.keys(EXIT_CODES).sort()).toEqual(Object.keys(ERRORS).sort());
    expect(numbers.every((number) => number > 0 && number < 126)).toBe(true);
    const { code, stdout } = await run('--help');
    expect(code).toBe(0);
    for (const [error, number] of Object.entries(EXIT_CODES)) {
      expect(stdout).toMatch(new RegExp(`^ +${number}  ${error}$`, 'm'));
    }
  });
});

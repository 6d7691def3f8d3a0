import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, createApp } from '../../../src/app.js';
import { loadEnvironment } from '../../../src/environment.js';
import type { Secrets } from '../../../src/core/secrets.js';
import type { DestinationRow } from '../../../src/models/index.js';
import { contentHash } from '../../support/sqlite.js';
import { createWorld, filesIn, NEVER, readTree, type World } from '../../support/world.js';

const OPTIONS = { actor: 'test' };

let lost: World;
let away: string;
let destination: DestinationRow;
let folder: string;
let fresh: App;

beforeEach(async () => {
  lost = await createWorld();
  away = join(lost.folder, 'away');
  const input = { name: 'Away', storageType: 'SYSTEM' as const, values: { path: away } };
  destination = await lost.app.destinations.create(input, 'test', NEVER);
  const [first] = await lost.app.destinations.list();
  const destinationIds = [first?.id ?? 0, destination.id];
  await lost.app.configs.update(1, { destinationIds, schedule: '30 4 * * *', keepDaily: 5 }, 'test');
  folder = await mkdtemp(join(tmpdir(), 'db-manager-'));
  fresh = await createApp(
    loadEnvironment(
      { DATA_DIR: join(folder, 'data'), DB_BACKUP_PATH: join(folder, 'backups'), LOG_LEVEL: 'silent' },
      folder,
    ),
  );
});
afterEach(async () => {
  await fresh.close(0);
  await lost.close();
  await rm(folder, { recursive: true, force: true });
});

const from = (path = away) => ({ storageType: 'SYSTEM' as const, values: { path } });

async function backUp() {
  const row = await lost.backup();
  await lost.app.copies.runDue(NEVER);
  return row.reload();
}

/** The machine burns: its own folder of archives is gone with it. */
async function lose() {
  await rm(lost.backups, { recursive: true });
  const before = [await contentHash(lost.database), await readTree(lost.media)];
  for (const side of ['', '-wal', '-shm']) await rm(lost.database + side, { force: true });
  await rm(lost.media, { recursive: true });
  return before;
}

async function restoreWith(app: App, backupId: string) {
  const row = await app.restores.create({ backupId, confirm: true }, 'test');
  await app.restores.run(row.id, NEVER);
  expect(await row.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
  return [await contentHash(lost.database), await readTree(lost.media)];
}

describe('Recovering an installation', () => {
  it('brings configs, history and users back, with what is newer than the control backup', async () => {
    const user = { email: 'you@example.org', passwordHash: 'x', role: 'ADMIN' as const, createdAt: new Date() };
    await lost.app.models.User.create(user);
    const first = await backUp();
    await lost.app.controlBackups.runDue(NEVER);
    const second = await backUp();
    const before = await lose();
    const done = await fresh.recovery.run(from(), OPTIONS, NEVER);
    expect(done).toMatchObject({ controlBackup: { encrypted: false }, configsMade: [], withoutSecrets: [] });
    expect(done.passedOver.map(({ error }) => error.code)).toEqual(['STORAGE_UNAVAILABLE']);
    expect(done.takenIn.map(({ fileName }) => fileName)).toEqual([second.fileName]);
    const config = await fresh.configs.get(1);
    expect(config).toMatchObject({ name: 'App', schedule: '30 4 * * *', keepDaily: 5, copyTo: [destination.id] });
    expect(config.nextRunAt!.getTime()).toBeGreaterThan(Date.now());
    expect(done.withoutPasswords).toEqual(['you@example.org']);
    expect((await fresh.models.User.findAll()).map(({ passwordHash }) => passwordHash)).toEqual(['']);
    expect(await fresh.auth.users.check('you@example.org', '')).toBeNull();
    expect(await fresh.backups.get(first.id)).toMatchObject({ status: 'COMPLETED', configId: 1 });
    expect(await restoreWith(fresh, first.id)).toEqual(before);
    expect(await restoreWith(fresh, done.takenIn[0]?.id ?? '')).toEqual(before);
    const actions = (await fresh.models.AuditEvent.findAll()).map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(['config.create', 'recovery.run']));
  });

  it('opens an encrypted control backup with the identity, and seals its secrets anew', async () => {
    const user = { email: 'you@example.org', passwordHash: 'a hash', role: 'ADMIN' as const, createdAt: new Date() };
    await lost.app.models.User.create(user);
    const { key, identity } = await lost.app.keys.create({ name: 'Safe', generate: true }, 'test');
    const held = await lost.app.keys.create({ name: 'Held', generate: true, keepHere: true }, 'test');
    await lost.app.configs.update(1, { encryptionKeyIds: [key.id, held.key.id] }, 'test');
    const values = { host: '127.0.0.1', port: 1, user: 'me', path: '/x', password: 'canary-password', hostKey: 'x' };
    const other = await lost.app.models.Destination.create({
      storageType: 'SFTP',
      storagePath: 'sftp://me@127.0.0.1:1/x',
      settings: values,
      secrets: await sealedBy(lost.app, { password: 'canary-password' }),
    });
    const target = 'http://127.0.0.1:1/canary-path';
    const channel = await lost.app.channels.create({ kind: 'WEBHOOK', target }, 'test');
    const backup = await backUp();
    await lost.app.controlBackups.runDue(NEVER);
    const before = await lose();
    await expect(fresh.recovery.run(from(), OPTIONS, NEVER)).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_MISSING' });
    expect(await fresh.configs.list()).toEqual([]);
    const done = await fresh.recovery.run(from(), { ...OPTIONS, identity: identity! }, NEVER);
    expect(done).toMatchObject({ controlBackup: { encrypted: true }, takenIn: [] });
    expect(done).toMatchObject({ withoutSecrets: [], withoutPasswords: [] });
    expect(await fresh.models.User.findAll()).toEqual([expect.objectContaining({ passwordHash: 'a hash' })]);
    expect((await fresh.keys.ofConfig(1)).map(({ name }) => name)).toEqual(['Safe', 'Held']);
    const row = await fresh.destinations.get(other.id);
    expect(await openedBy(fresh, row.secrets)).toEqual({ password: 'canary-password' });
    const { sealed = null } = await fresh.channels.get(channel.id);
    expect(await openedBy(fresh, sealed)).toEqual({ target, secret: '' });
    // By the identity that was kept here.
    expect(await restoreWith(fresh, backup.id)).toEqual(before);
  });

  it('names the destinations and channels whose secrets are to be given again', async () => {
    await lost.app.channels.create({ name: 'Ops', kind: 'SLACK', target: 'http://127.0.0.1:1/canary-path' }, 'test');
    await lost.app.models.Destination.create({
      name: 'Box',
      storageType: 'SFTP',
      storagePath: 'sftp://me@127.0.0.1:1/x',
      settings: { host: '127.0.0.1', port: 1, user: 'me', path: '/x' },
      secrets: await sealedBy(lost.app, { password: 'canary-password' }),
      offline: true,
    });
    await backUp();
    await lost.app.controlBackups.runDue(NEVER);
    await lose();
    expect(await fresh.recovery.run(from(), OPTIONS, NEVER)).toMatchObject({ withoutSecrets: ['Box'] });
    const { reasons } = await fresh.overview.read();
    expect(reasons.find(({ code }) => code === 'CHANNEL_FAILED')?.message).toContain('"Ops": its target was lost.');
  });

  it('rebuilds configs from archives alone, encrypted for the key that opened them', async () => {
    const { key, identity } = await lost.app.keys.create({ name: 'Safe', generate: true }, 'test');
    await lost.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
    const rows = [await backUp(), await backUp()];
    const before = await lose();
    const done = await fresh.recovery.run(from(), { ...OPTIONS, identity: identity! }, NEVER);
    expect(done).toMatchObject({ controlBackup: null, passedOver: [] });
    expect(done.takenIn.map(({ fileName }) => fileName).sort()).toEqual(rows.map(({ fileName }) => fileName).sort());
    const [config] = done.configsMade;
    expect(config).toMatchObject({ name: 'App', databaseUrl: `sqlite:${lost.database}`, storagePath: away });
    expect((await fresh.keys.ofConfig(config?.id ?? 0)).map(({ recipient }) => recipient)).toEqual([key.recipient]);
    const restore = { backupId: done.takenIn[0]?.id ?? '', confirm: true, identity: identity! };
    const { id } = await fresh.restores.create(restore, 'test');
    await fresh.restores.run(id, NEVER);
    expect([await contentHash(lost.database), await readTree(lost.media)]).toEqual(before);
  });

  it('goes on with an older control backup, or the archives, where one is damaged', async () => {
    await backUp();
    await lost.app.controlBackups.runDue(NEVER);
    await writeFile(join(away, 'db-manager-control_20990101_000000_abcdef.zip'), 'damaged');
    await lose();
    const done = await fresh.recovery.run(from(), OPTIONS, NEVER);
    expect(done.controlBackup).not.toBeNull();
    expect(done.passedOver[0]).toMatchObject({ error: { code: 'ARCHIVE_FOREIGN' } });
  });

  it('follows a folder that is mounted elsewhere now', async () => {
    await backUp();
    await lost.app.controlBackups.runDue(NEVER);
    await lose();
    const elsewhere = join(lost.folder, 'mounted');
    await rename(away, elsewhere);
    const done = await fresh.recovery.run(from(elsewhere), OPTIONS, NEVER);
    expect(done.takenIn).toEqual([]);
    expect(await fresh.destinations.get(destination.id)).toMatchObject({ storagePath: elsewhere });
  });

  it('ends runs that were under way, and makes up for no run that was missed', async () => {
    const open = await lost.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const ended = await backUp();
    const restore = await lost.restore({ backupId: ended.id });
    await lost.app.models.Restore.update({ status: 'RUNNING' }, { where: { id: restore.id } });
    await lost.app.models.BackupConfig.update({ nextRunAt: new Date(0) }, { where: { id: 1 } });
    await lost.app.controlBackups.runDue(NEVER);
    await lose();
    await fresh.recovery.run(from(), OPTIONS, NEVER);
    expect(await fresh.backups.get(open.id)).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await fresh.restores.get(restore.id)).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await fresh.scheduler.tick()).toBe(0);
  });

  it('lists first, and changes nothing then', async () => {
    await backUp();
    await lost.app.controlBackups.runDue(NEVER);
    const found = await fresh.recovery.look(from());
    expect(found).toMatchObject({ place: away, controlBackups: [{ encrypted: false }], archives: [{}] });
    expect(Math.abs(found.controlBackups[0]!.at.getTime() - Date.now())).toBeLessThan(60_000);
    expect(await fresh.destinations.list()).toEqual([]);
  });

  it('is refused where a control database has something, and where nothing lies', async () => {
    const nothing = join(lost.folder, 'nothing');
    await expect(lost.app.recovery.run(from(), OPTIONS, NEVER)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      message: expect.stringContaining('1 config(s)'),
    });
    await expect(fresh.recovery.run(from(nothing), OPTIONS, NEVER)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
    await expect(fresh.recovery.run(from(lost.media), OPTIONS, NEVER)).rejects.toMatchObject({ field: 'from' });
    await backUp();
    const named = { ...OPTIONS, controlBackup: 'db-manager-control_20200101_000000_abcdef.zip' };
    await expect(fresh.recovery.run(from(), named, NEVER)).rejects.toMatchObject({ field: 'control-backup' });
    expect(await filesIn(join(folder, 'backups'))).toEqual([]);
    expect(await readdir(away)).toHaveLength(1);
  });
});

/** The secrets of a process, sealed and opened as its own parts do. */
const secretsOf = (app: App) => (app.destinations as unknown as { env: { secrets: Secrets } }).env.secrets;
const sealedBy = (app: App, values: Record<string, string>) => secretsOf(app).seal(values);
const openedBy = (app: App, sealed: string | null) => secretsOf(app).open(sealed ?? '');

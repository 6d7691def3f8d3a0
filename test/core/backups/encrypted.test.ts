import { createReadStream } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { EncryptionKeyRow } from '../../../src/models/index.js';
import { all, exec } from '../../support/sqlite.js';
import { createWorld, NEVER, readTree, type World } from '../../support/world.js';

const PASSPHRASE = 'canary four random words';

let world: World;
/** A key that is held here, one whose identity only this test has, and a passphrase. */
let held: EncryptionKeyRow;
let away: EncryptionKeyRow;
let passphrase: EncryptionKeyRow;
let identity: string;
beforeAll(async () => {
  world = await createWorld();
  const { keys } = world.app;
  held = (await keys.create({ name: 'Held', generate: true, keepHere: true }, 'test')).key;
  const made = await keys.create({ name: 'Away', generate: true }, 'test');
  [away, identity] = [made.key, made.identity ?? ''];
  passphrase = (await keys.create({ name: 'Words', passphrase: PASSPHRASE }, 'test')).key;
});
afterAll(() => world.close());
beforeEach(() => use());

const use = async (...keys: EncryptionKeyRow[]) => {
  await world.app.configs.update(1, { encryptionKeyIds: keys.map(({ id }) => id) }, 'test');
};

/** The rows of every table, and the media. */
async function present() {
  const names = await all<{ name: string }>(world.database, "SELECT name FROM sqlite_master WHERE type = 'table'");
  const tables: Record<string, unknown> = {};
  for (const { name } of names) tables[name] = await all(world.database, `SELECT * FROM "${name}" ORDER BY 1`);
  return { tables, media: await readTree(world.media) };
}

async function change(): Promise<void> {
  await exec(world.database, 'UPDATE head SET k = k + 1');
  await writeFile(join(world.media, 'later.txt'), 'later');
}

describe('The backup of a config with encryption keys', () => {
  const kinds: [string, () => EncryptionKeyRow[], () => string | undefined][] = [
    ['no key', () => [], () => undefined],
    ['a recipient that is held here', () => [held], () => undefined],
    ['two recipients, one held here', () => [held, away], () => undefined],
    ['a recipient that only people have', () => [away], () => identity],
    ['a passphrase', () => [passphrase], () => undefined],
  ];
  const matrix = kinds.flatMap((kind) =>
    (['DEFLATE', 'NONE'] as const).map((method): [string, string, ...typeof kind] => [method, ...kind] as never),
  );

  it.each(matrix as unknown as [string, string, (typeof kinds)[0][1], (typeof kinds)[0][2]][])(
    'compressed by %s, with %s, comes back as it was',
    async (compression, _kind, keysOf, identityOf) => {
      await use(...keysOf());
      await world.app.configs.update(1, { compression: compression as 'NONE' }, 'test');
      const before = await present();
      const backup = await world.backup();
      const sealed = keysOf().length > 0;
      expect(backup).toMatchObject({ status: 'COMPLETED', verificationLevel: 'ARCHIVE', errorMessage: null });
      expect(backup.fileName.endsWith(sealed ? '.zip.age' : '.zip')).toBe(true);
      const begin = sealed ? 'age-encryption.org/v1\n' : 'PK';
      expect((await readFile(backup.filePath)).subarray(0, begin.length).toString()).toBe(begin);
      await change();
      const given = { ...(identityOf() !== undefined && { identity: identityOf() }) };
      const restore = await world.restore({ backupId: backup.id, mediaMode: 'MIRROR', ...given });
      expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null, sealedFileKey: null });
      expect(await present()).toEqual(before);
      const safety = await world.app.backups.get(restore.safetyBackupId ?? '');
      expect(safety.fileName.endsWith('.age')).toBe(sealed);
      // Each safety backup for a passphrase takes a second or two.
      if (compression === 'NONE') return;
      const undo = await world.app.restores.createUndo(restore.id, 'test', identityOf());
      await world.app.restores.run(undo.id, NEVER);
      expect((await undo.reload()).status).toBe('COMPLETED');
      expect(Object.keys((await present()).media)).toContain('later.txt');
    },
  );

  it('notes for whom it is encrypted, in its record and inside the archive', async () => {
    await use(held, away);
    const backup = await world.backup();
    expect((await world.app.keys.ofBackup(backup.id)).map(({ id }) => id)).toEqual([held.id, away.id]);
    const { stored } = await world.app.backups.open(backup.id);
    const { metadata } = await stored.archive(NEVER);
    expect(metadata.encryption).toEqual({ recipients: [held.recipient, away.recipient], passphrase: false });
  });

  it('cannot be restored without its key, nor with another one', async () => {
    await use(away);
    const backup = await world.backup();
    await expect(world.restore({ backupId: backup.id })).rejects.toMatchObject({
      code: 'ENCRYPTION_KEY_MISSING',
      message: expect.stringContaining(away.recipient ?? ''),
    });
    const { identity: other } = await world.app.keys.create({ name: 'Other', generate: true }, 'test');
    await expect(world.restore({ backupId: backup.id, identity: other ?? '' })).rejects.toMatchObject({
      code: 'ENCRYPTION_KEY_WRONG',
    });
  });

  it.each([
    ['keys that are none', () => [999], 'NOT_FOUND'],
    ['a passphrase beside a recipient', () => [held.id, passphrase.id], 'BAD_USER_INPUT'],
  ])('is not made with %s: the config is refused', async (_title, ids, code) => {
    const input = { encryptionKeyIds: ids() };
    await expect(world.app.configs.update(1, input, 'test')).rejects.toMatchObject({ code, field: 'encryptionKeyIds' });
  });

  it('keeps its keys from being deleted while it opens with no other', async () => {
    const { key } = await world.app.keys.create({ name: 'Short-lived', generate: true }, 'test');
    await use(key);
    const refused = { code: 'ENCRYPTION_KEY_IN_USE' };
    await expect(world.app.keys.remove(key.id, 'test')).rejects.toMatchObject(refused);
    const backup = await world.backup();
    await use();
    await expect(world.app.keys.remove(key.id, 'test')).rejects.toMatchObject(refused);
    await world.app.backups.remove([backup.id], 'test');
    await world.app.keys.remove(key.id, 'test');
  });
});

describe('Verifying an encrypted backup', () => {
  it('without its key compares the stored bytes, and says what it could not see', async () => {
    await use(away);
    const backup = await world.backup();
    const blind = await world.app.verifications.verify(backup.id, 'CONTENT', 'test', NEVER);
    expect(blind).toMatchObject({ verificationLevel: 'CHECKSUM', errorCode: null });
    expect(blind.warnings.join()).toContain('no key held here opens it');
    const seeing = await world.app.verifications.verify(backup.id, 'CONTENT', 'test', NEVER, { identity });
    expect(seeing).toMatchObject({ verificationLevel: 'CONTENT', errorCode: null });
    expect(seeing.warnings.join()).not.toContain('no key');
  });

  it.each([['held'], ['away']])('finds a bit that is another, with the key %s', async (which) => {
    await use(which === 'held' ? held : away);
    const backup = await world.backup();
    const bytes = await readFile(backup.filePath);
    bytes[bytes.length - 1000] = (bytes[bytes.length - 1000] ?? 0) ^ 1;
    await writeFile(backup.filePath, bytes);
    const verified = await world.app.verifications.verify(backup.id, 'ARCHIVE', 'test', NEVER);
    expect(verified).toMatchObject({ verifiedAt: null, errorCode: 'ARCHIVE_CORRUPT' });
  });
});

describe('Rewrapping an encrypted backup', () => {
  it('makes it open with the new keys and no longer with the old one, its content unchanged', async () => {
    await use(held);
    const before = await present();
    const { id, filePath, checksum } = await world.backup();
    const row = await world.app.backups.rewrap(id, [away.id], 'test', NEVER);
    expect(row.checksum).not.toBe(checksum);
    await expect(readFile(filePath)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(world.restore({ backupId: id })).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_MISSING' });
    const verified = await world.app.verifications.verify(id, 'CONTENT', 'test', NEVER, { identity });
    expect(verified).toMatchObject({ verificationLevel: 'CONTENT', errorCode: null });
    await change();
    expect((await world.restore({ backupId: id, identity, mediaMode: 'MIRROR' })).status).toBe('COMPLETED');
    expect(await present()).toEqual(before);
    const back = await world.app.backups.rewrap(id, [held.id, away.id], 'test', NEVER, identity);
    expect((await world.app.keys.ofBackup(back.id)).map((key) => key.id)).toEqual([held.id, away.id]);
    expect((await world.app.verifications.verify(id, 'ARCHIVE', 'test', NEVER)).verificationLevel).toBe('ARCHIVE');
  });

  it('refuses an archive that is damaged, and leaves nothing new', async () => {
    await use(held);
    const { id, filePath } = await world.backup();
    const bytes = await readFile(filePath);
    bytes[300] = (bytes[300] ?? 0) ^ 1;
    await writeFile(filePath, bytes);
    const files = Object.keys(await readTree(world.backups));
    await expect(world.app.backups.rewrap(id, [away.id], 'test', NEVER)).rejects.toMatchObject({
      code: 'ARCHIVE_CORRUPT',
    });
    expect(Object.keys(await readTree(world.backups))).toEqual(files);
  });

  it('refuses a backup that is not encrypted, and a request without keys', async () => {
    const { id } = await world.backup();
    const rewrap = (keys: number[]) => world.app.backups.rewrap(id, keys, 'test', NEVER);
    await expect(rewrap([held.id])).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'id' });
    await expect(rewrap([])).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'encryptionKeyIds' });
  });
});

describe('An encrypted archive that comes from elsewhere', () => {
  const upload = async (path: string, given?: string) =>
    world.app.backups.upload(createReadStream(path), basename(path), undefined, 'test', NEVER, given);

  it('is taken in with its key, and keeps its form and name', async () => {
    await use(away);
    const { filePath, fileName, checksum } = await world.backup();
    await expect(upload(filePath)).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_MISSING' });
    const row = await upload(filePath, identity);
    expect(row).toMatchObject({ status: 'COMPLETED', checksum, backupType: 'UPLOADED', verificationLevel: 'ARCHIVE' });
    expect(row.fileName).not.toBe(fileName);
    expect(row.fileName).toMatch(/_backup_\d{8}_\d{6}_\d+\.zip\.age$/);
    expect((await world.app.keys.ofBackup(row.id)).map(({ id }) => id)).toEqual([away.id]);
    const restore = await world.restore({ backupId: row.id, identity });
    expect(restore.status).toBe('COMPLETED');
  });

  it('is found in its place when its record is lost, and taken in by a key that is held here', async () => {
    await use(held);
    const { filePath, address } = await world.backup();
    const fileName = 'other_backup_20250101_000000.zip.age';
    await rename(filePath, join(world.backups, fileName));
    const [found] = await world.app.cleanup.reconcile();
    expect(found?.files).toContain(join(world.backups, fileName));
    const options = { configId: undefined, sameApplication: false };
    const row = await world.app.backups.adopt({ address, fileName }, options, 'test', NEVER);
    expect(row).toMatchObject({ fileName, status: 'COMPLETED' });
    expect((await world.app.keys.ofBackup(row.id)).map(({ id }) => id)).toEqual([held.id]);
  });

  it('is stored without encryption where it came so, which its record says', async () => {
    const { filePath } = await world.backup();
    await use(held);
    const row = await upload(filePath);
    expect(row.warnings.join()).toContain('came without encryption');
  });
});

describe('After a crash of a run that encrypts', () => {
  it('its file goes, known by its header without any key; one of another run stays', async () => {
    await use(away);
    const row = await world.backup();
    const other = await readFile((await world.backup()).filePath);
    const died = { status: 'RUNNING', leaseHolder: 'dead', phase: 'verify', checksum: null } as const;
    await row.update(died);
    await world.app.backups.recover();
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    await expect(readFile(row.filePath)).rejects.toMatchObject({ code: 'ENOENT' });
    await writeFile(row.filePath, other);
    await row.update(died);
    await world.app.backups.recover();
    expect((await row.reload()).status).toBe('FAILED');
    expect((await readFile(row.filePath)).equals(other)).toBe(true);
  });
});

describe('The secrets of encryption', () => {
  it('are nowhere in the control database, whatever was done with them', async () => {
    await use(away);
    const backup = await world.backup();
    const pending = await world.app.restores.create({ backupId: backup.id, confirm: true, identity }, 'test');
    expect(pending.sealedFileKey).not.toBeNull();
    const text = async () => {
      const { sequelize } = world.app.models;
      const tables = (await sequelize.query("SELECT name FROM sqlite_master WHERE type = 'table'"))[0] as {
        name: string;
      }[];
      const rows = await Promise.all(tables.map(({ name }) => sequelize.query(`SELECT * FROM "${name}"`)));
      return JSON.stringify(rows);
    };
    const secrets = [identity, PASSPHRASE, identity.slice(20, 40)];
    for (const secret of secrets) expect(await text()).not.toContain(secret);
    await world.app.restores.cancel(pending.id, 'test');
    expect((await pending.reload()).sealedFileKey).toBeNull();
  });
});

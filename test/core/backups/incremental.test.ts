import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SqliteConnection } from '../../../src/engines/sqlite/connection.js';
import { preferred } from '../../../src/core/archives/chains.js';
import type { Storage } from '../../../src/core/ports.js';
import type { BackupRow } from '../../../src/models/index.js';
import { all, exec } from '../../support/sqlite.js';
import { createWorld, filesIn, NEVER, readTree, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
  await exec(world.database, 'CREATE TABLE filler (id INTEGER PRIMARY KEY, text TEXT)');
  await exec(
    world.database,
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
     INSERT INTO filler SELECT i, hex(randomblob(100)) FROM n`,
  );
  await world.app.configs.update(1, { incremental: true }, 'test');
});
afterEach(() => world.close());

/** Rows of every table, and the media. */
async function present() {
  const names = await all<{ name: string }>(world.database, "SELECT name FROM sqlite_master WHERE type = 'table'");
  const tables: Record<string, unknown> = {};
  for (const { name } of names) tables[name] = await all(world.database, `SELECT * FROM "${name}" ORDER BY 1`);
  return { tables, media: await readTree(world.media) };
}

async function change(step: number): Promise<void> {
  await exec(world.database, `UPDATE filler SET text = 'step ${step}' WHERE id % 2000 = ${step}`);
  await writeFile(join(world.media, `step ${step}.txt`), `step ${step}`);
}

async function chainOf(length: number): Promise<{ rows: BackupRow[]; states: Awaited<ReturnType<typeof present>>[] }> {
  const [rows, states] = [[] as BackupRow[], [] as Awaited<ReturnType<typeof present>>[]];
  for (let step = 0; step < length; step++) {
    if (step > 0) await change(step);
    states.push(await present());
    rows.push(await world.backup());
  }
  return { rows, states };
}

/** Flips a byte in the middle of the stored file. */
async function damage({ filePath }: BackupRow): Promise<void> {
  const bytes = await readFile(filePath);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
  await rm(filePath);
  await writeFile(filePath, bytes);
}

describe('A config with incremental backups', () => {
  it('makes a full one first, then ones that hold only what changed', async () => {
    const { rows } = await chainOf(3);
    expect(rows.map(({ status, mode, chainPosition }) => ({ status, mode, chainPosition }))).toEqual([
      { status: 'COMPLETED', mode: 'FULL', chainPosition: 0 },
      { status: 'COMPLETED', mode: 'INCREMENTAL', chainPosition: 1 },
      { status: 'COMPLETED', mode: 'INCREMENTAL', chainPosition: 2 },
    ]);
    const [full = 0, first = 0] = rows.map(({ fileSize }) => fileSize ?? 0);
    expect(first).toBeLessThan(full / 5);
    expect(rows[2]?.parentArchiveId).toBe(rows[1]?.id);
    expect(rows.map(({ mediaFileCount }) => mediaFileCount)).toEqual([3, 4, 5]);
    expect(rows[1]?.warnings).toEqual([]);
  });

  it('restores every one of them to the state of its moment', async () => {
    const { rows, states } = await chainOf(4);
    await rm(join(world.media, 'step 1.txt'));
    await exec(world.database, 'DELETE FROM filler WHERE id > 1000');
    for (const [index, row] of rows.entries()) {
      const restore = await world.restore({ backupId: row.id, restoreMedia: true, mediaMode: 'MIRROR' });
      expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await present()).toEqual(states[index]);
    }
  });

  it('verifies each at every level', async () => {
    const { rows } = await chainOf(3);
    for (const row of rows) {
      for (const level of ['CHECKSUM', 'ARCHIVE', 'CONTENT'] as const) {
        expect(await world.app.verifications.verify(row.id, level, 'test', NEVER)).toMatchObject({
          verificationLevel: level,
          errorCode: null,
        });
      }
    }
  });

  it('says of one without a change that it is unchanged, and stores next to nothing', async () => {
    await world.app.models.BackupConfig.update({ mediaPaths: [] }, { where: { id: 1 } });
    const full = await world.backup();
    const row = await world.backup();
    expect(row.note).toBe(`Unchanged since ${full.id}.`);
    expect(await world.app.backups.chainFullSize(row)).toBe(full.fileSize);
    expect(await world.app.backups.chainFullSize(full)).toBeNull();
    expect(row.fileSize).toBeLessThan((full.fileSize ?? 0) / 50);
  });

  it('asks for the room of a full one where a full one is made, however small the last one was', async () => {
    const { rows } = await chainOf(2);
    const free = Math.floor((rows[0]?.fileSize ?? 0) / 2);
    const { storages } = world.app;
    const open = storages.open.bind(storages);
    const space = async () => ({ free, total: 10 * free });
    storages.open = (address) => Object.assign(Object.create(open(address)) as Storage, { space });
    await change(2);
    expect(await world.backup()).toMatchObject({ status: 'COMPLETED', mode: 'INCREMENTAL' });
    await world.app.configs.update(1, { incremental: false }, 'test');
    expect(await world.backup()).toMatchObject({ status: 'FAILED', errorCode: 'STORAGE_FULL' });
  });

  it('does not read a database that nobody has written to, and reads it after each kind of write', async () => {
    const engine = world.app.engines.of('SQLITE');
    const { snapshot, snapshotChanges } = engine;
    let read = 0;
    engine.snapshot = (...options) => {
      read += 1;
      return snapshot(...options);
    };
    engine.snapshotChanges = (...options) => {
      read += 1;
      return snapshotChanges(...options);
    };
    // Times that are younger could be those of a later write, too.
    const settled = () => sleep(200);
    const backUp = async () => {
      read = 0;
      const state = await present();
      const row = await world.backup();
      expect(row).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      return { row, state, read };
    };
    // So long for the media that the test has made just now.
    await sleep(2_100);
    const full = await backUp();
    const known = await backUp();
    const same = await backUp();
    expect(same.row.note).toBe(`Unchanged since ${known.row.id}.`);
    await writeFile(join(world.media, 'new.txt'), 'new');
    const untouched = await backUp();
    expect([full.read, known.read, same.read, untouched.read]).toEqual([1, 0, 0, 0]);
    expect(untouched.row).toMatchObject({ mode: 'INCREMENTAL', tables: known.row.tables, note: null });

    // While another connection is open, what is written stays in the WAL.
    const reader = await SqliteConnection.open(world.database, 'readonly');
    await reader.all('SELECT count(*) FROM filler');
    await exec(world.database, `UPDATE filler SET text = 'in the WAL' WHERE id = 7`);
    await settled();
    const written = await backUp();
    const withWal = await backUp();
    await exec(world.database, 'PRAGMA wal_checkpoint(TRUNCATE)');
    const checkpointed = await backUp();
    expect([written.read, withWal.read, checkpointed.read]).toEqual([1, 0, 1]);
    await reader.close();
    for (const { row, state } of [untouched, written, withWal, checkpointed]) {
      await world.restore({ backupId: row.id, restoreMedia: true, mediaMode: 'MIRROR' });
      expect(await present()).toEqual(state);
    }
    const afterRestore = await backUp();
    expect(afterRestore.read).toBe(1);
    Object.assign(engine, { snapshot, snapshotChanges });
  });

  it('reads an untouched database all the same where a full backup is due', async () => {
    await sleep(200);
    await world.backup();
    const known = await world.backup();
    await world.app.models.Backup.update({ createdAt: new Date('2020-01-01') }, { where: { mode: 'FULL' } });
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', mode: 'FULL', tables: known.tables });
    await world.app.backups.remove([known.id], 'test');
    expect(await world.app.verifications.verify(row.id, 'CONTENT', 'test', NEVER)).toMatchObject({ errorCode: null });
  });

  it.each<[string, (full: BackupRow) => Promise<unknown>, RegExp]>([
    ['the last one is deleted', (full) => world.app.backups.remove([full.id], 'test'), /was deleted/],
    [
      'the last one is damaged',
      async (full) => {
        await damage(full);
        await world.app.verifications.verify(full.id, 'CHECKSUM', 'test', NEVER);
      },
      /damaged or not verified/,
    ],
    [
      'half of the pages have changed',
      () => exec(world.database, 'UPDATE filler SET text = hex(randomblob(100))'),
      /pages have changed/,
    ],
    [
      'the page size has changed',
      () => exec(world.database, 'PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM'),
      /page size/,
    ],
    ['the index of pages is gone', () => rm(join(world.folder, 'data', 'pages', '1.index')), /none to build on/],
    [
      'the index of pages is damaged',
      async () => {
        const path = join(world.folder, 'data', 'pages', '1.index');
        const bytes = await readFile(path);
        bytes[100] = (bytes[100] ?? 0) ^ 1;
        await writeFile(path, bytes);
      },
      /cannot be read/,
    ],
    [
      'the last full one is old enough',
      (full) => full.update({ createdAt: new Date(Date.now() - 8 * 86_400_000) }),
      /7 days old/,
    ],
    [
      'other media folders are backed up',
      async () => {
        await mkdir(join(world.folder, 'app', 'more'));
        await world.app.configs.update(1, { mediaPaths: [world.media, join(world.folder, 'app', 'more')] }, 'test');
      },
      /media folders/,
    ],
  ])('makes a full one, and says why, when %s', async (_case, prepare, why) => {
    const full = await world.backup();
    await prepare(full);
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', mode: 'FULL', chainPosition: 0, parentArchiveId: null });
    expect([row.note, ...row.warnings].join(' ')).toMatch(why);
    await change(1);
    expect(await world.backup()).toMatchObject({ mode: 'INCREMENTAL', parentArchiveId: row.id });
  });

  it('makes a full one on request, on which the next one builds', async () => {
    await chainOf(2);
    const { id } = await world.app.backups.create({ backupType: 'MANUAL', mode: 'FULL' }, 'test');
    await world.app.backups.run(id, NEVER);
    await change(2);
    expect(await world.backup()).toMatchObject({ mode: 'INCREMENTAL', parentArchiveId: id });
  });

  it('builds on the one before where the index of the last one was lost in a crash', async () => {
    const index = join(world.folder, 'data', 'pages', '1.index');
    const { rows } = await chainOf(2);
    const kept = await readFile(index);
    await change(2);
    await world.backup();
    await writeFile(index, kept);
    await change(3);
    const state = await present();
    const row = await world.backup();
    expect(row).toMatchObject({ mode: 'INCREMENTAL', parentArchiveId: rows[1]?.id, chainPosition: 2 });
    await world.restore({ backupId: row.id, mediaMode: 'MIRROR' });
    expect(await present()).toEqual(state);
  });

  it('restores one from the copies of what it builds on where the first ones are gone', async () => {
    const { app } = world;
    const storagePath = join(world.folder, 'second');
    const second = await app.destinations.create(
      { name: 'Second', storageType: 'SYSTEM', values: { path: storagePath } },
      'test',
      NEVER,
    );
    await app.configs.update(1, { copyTo: [second.id] }, 'test');
    const { rows, states } = await chainOf(2);
    await app.copies.runDue(NEVER);
    await rm(rows[0]?.filePath ?? '');
    await change(2);
    await world.restore({ backupId: rows[1]?.id ?? '', mediaMode: 'MIRROR' });
    expect(await present()).toEqual(states[1]);
  });

  it('extracts one as if it were a full one', async () => {
    const { rows, states } = await chainOf(3);
    const { extractBackup } = await import('../../../src/core/archives/extract.js');
    const target = join(world.folder, 'out');
    const open = () => world.app.backups.open(rows[2]?.id ?? '');
    await extractBackup(world.app.audit, open, target, 'test', { signal: NEVER, onProgress: () => undefined });
    const files = await filesIn(target);
    expect(files).toEqual(expect.arrayContaining(['backup_metadata.json', 'database.sqlite3', 'media/step 2.txt']));
    expect(files).toHaveLength(2 + Object.keys(states[2]?.media ?? {}).length);
  });

  it('compares two of them, and answers a query of one', async () => {
    const { rows } = await chainOf(3);
    const [from, to] = [rows[1]?.id ?? '', rows[2]?.id ?? ''];
    const comparison = { from, to, tables: ['filler'], samples: 1 };
    const { tables, media } = await world.app.insight.compare(comparison, 'test', NEVER);
    expect(tables).toMatchObject([{ name: 'filler', added: 0, removed: 0, changed: 2, unchanged: 3_998 }]);
    expect(media).toMatchObject({ added: 1, removed: 0, changed: 0 });
    const query = { id: to, sql: "SELECT count(*) FROM filler WHERE text = 'step 1'", limit: 1 };
    expect((await world.app.insight.query(query, 'test', NEVER)).rows).toEqual([[2]]);
  });
});

describe('A chain with a damaged member', () => {
  it('has the damage found by the verification of every backup that needs it', async () => {
    const { rows } = await chainOf(4);
    await damage(rows[1] as BackupRow);
    const found: (string | null)[] = [];
    for (const { id } of rows)
      found.push((await world.app.verifications.verify(id, 'ARCHIVE', 'test', NEVER)).errorCode ?? null);
    expect(found).toEqual([null, 'ARCHIVE_CORRUPT', 'CHAIN_BROKEN', 'CHAIN_BROKEN']);
  });

  it('marks what builds on it as broken, and goes on with a full backup', async () => {
    const { rows } = await chainOf(3);
    await damage(rows[1] as BackupRow);
    await world.app.verifications.verify(rows[1]?.id ?? '', 'CHECKSUM', 'test', NEVER);
    expect(await rows[2]?.reload()).toMatchObject({ errorCode: 'CHAIN_BROKEN', verifiedAt: null });
    await change(3);
    const next = await world.backup();
    expect(next.mode).toBe('FULL');
    expect(next.warnings.join()).toContain(`${rows[1]?.id} is damaged`);
  });

  it('changes nothing when one of it is restored, and names the damaged one', async () => {
    const { rows } = await chainOf(3);
    await damage(rows[0] as BackupRow);
    const before = await present();
    const outcome = await world
      .restore({ backupId: rows[2]?.id ?? '' })
      .then(({ errorCode, errorMessage }) => `${errorCode} ${errorMessage}`, String);
    expect(outcome).toContain(rows[0]?.id);
    expect(await present()).toEqual(before);
  });
});

describe('A backup that others build on', () => {
  it('is not deleted without them', async () => {
    const { rows } = await chainOf(3);
    const [full, first, second] = rows.map(({ id }) => id) as [string, string, string];
    await expect(world.app.backups.remove([full], 'test')).rejects.toMatchObject({
      code: 'BACKUP_NEEDED',
      message: expect.stringContaining(first),
    });
    expect(await filesIn(world.backups)).toHaveLength(3);
    await world.app.backups.remove([second], 'test');
    expect(await filesIn(world.backups)).toHaveLength(2);
  });

  it('is deleted together with them on request', async () => {
    const { rows } = await chainOf(3);
    const removed = await world.app.backups.remove([rows[0]?.id ?? ''], 'test', 'deleted by hand', true);
    expect(removed.map(({ id }) => id)).toEqual(rows.map(({ id }) => id).reverse());
    expect(await filesIn(world.backups)).toEqual([]);
  });

  it('is deleted with them when all of them are named', async () => {
    const { rows } = await chainOf(3);
    await world.app.backups.remove(
      rows.map(({ id }) => id),
      'test',
    );
    expect(await filesIn(world.backups)).toEqual([]);
  });
});

describe('The retention of a chain', () => {
  it('keeps what a kept backup builds on, and restores it afterwards', async () => {
    const { rows, states } = await chainOf(3);
    for (const row of rows) await row.update({ createdAt: new Date(row.createdAt.getTime() - 86_400_000) });
    await world.app.configs.update(1, { maxBackupFiles: 1 }, 'test');
    const plan = await world.app.cleanup.run(1, 'test');
    expect(plan.items.map(({ reasons: [first] }) => first?.code)).toEqual(['NEWEST_VERIFIED', 'NEEDED', 'NEEDED']);
    await world.restore({ backupId: rows[2]?.id ?? '', mediaMode: 'MIRROR' });
    expect(await present()).toEqual(states[2]);
  });

  it('deletes a whole chain once a newer full backup has taken its place', async () => {
    const { rows } = await chainOf(3);
    for (const row of rows) await row.update({ createdAt: new Date(row.createdAt.getTime() - 86_400_000) });
    const { id } = await world.app.backups.create({ backupType: 'MANUAL', mode: 'FULL' }, 'test');
    await world.app.backups.run(id, NEVER);
    await world.app.configs.update(1, { maxBackupFiles: 1 }, 'test');
    const plan = await world.app.cleanup.run(1, 'test');
    expect(plan.items.filter(({ error }) => error !== null)).toEqual([]);
    expect(plan.deleteCount).toBe(3);
    expect(await filesIn(world.backups)).toHaveLength(1);
  });
});

describe('A chain from elsewhere', () => {
  const files = (rows: BackupRow[]) => Promise.all(rows.map(({ filePath }) => readFile(filePath)));
  const upload = (bytes: Buffer) =>
    world.app.backups.upload(Readable.from([bytes]), 'uploaded.zip', undefined, 'test', NEVER);

  it('is taken in from its full backup on, and every member restores', async () => {
    const { rows, states } = await chainOf(3);
    const archives = await files(rows);
    await world.app.backups.remove(
      rows.map(({ id }) => id),
      'test',
    );
    const uploaded: BackupRow[] = [];
    for (const bytes of archives) uploaded.push(await upload(bytes));
    expect(uploaded.map(({ mode, chainPosition }) => `${mode} ${chainPosition}`)).toEqual([
      'FULL 0',
      'INCREMENTAL 1',
      'INCREMENTAL 2',
    ]);
    for (const [index, { id }] of uploaded.entries()) {
      await world.restore({ backupId: id, mediaMode: 'MIRROR', allowForeign: true });
      expect(await present()).toEqual(states[index]);
    }
  });

  it('is taken in in any order, and is complete when the last part is there', async () => {
    const { rows, states } = await chainOf(4);
    const archives = await files(rows);
    await world.app.backups.remove(
      rows.map(({ id }) => id),
      'test',
    );
    const uploaded: BackupRow[] = [];
    for (const index of [2, 3, 0]) uploaded.push(await upload(archives[index] as Buffer));
    const waiting = await Promise.all(uploaded.map((row) => row.reload()));
    expect(waiting.map(({ errorCode }) => errorCode)).toEqual(['CHAIN_BROKEN', 'CHAIN_BROKEN', null]);
    expect(waiting[0]).toMatchObject({ status: 'COMPLETED', verifiedAt: null, tables: [], mode: 'INCREMENTAL' });
    expect(waiting[0]?.errorMessage).toContain(rows[1]?.id);
    expect(waiting[0]?.errorHint).toContain(`Upload "${rows[1]?.fileName}"`);
    await expect(world.restore({ backupId: waiting[0]?.id ?? '', allowForeign: true })).rejects.toMatchObject({
      code: 'CHAIN_BROKEN',
    });
    uploaded.push(await upload(archives[1] as Buffer));
    const members = (await Promise.all(uploaded.map((row) => row.reload()))).sort(
      (one, other) => one.chainPosition - other.chainPosition,
    );
    expect(members.map(({ errorCode, errorHint }) => errorCode ?? errorHint)).toEqual([null, null, null, null]);
    for (const [index, { id, verifiedAt, tables }] of members.entries()) {
      expect(verifiedAt).not.toBeNull();
      expect(tables).not.toEqual([]);
      await world.restore({ backupId: id, mediaMode: 'MIRROR', allowForeign: true });
      expect(await present()).toEqual(states[index]);
    }
  });

  it('is completed as well by a member that is taken in where it lies', async () => {
    const { rows, states } = await chainOf(2);
    const [full, child] = await files(rows);
    const [{ address, fileName }] = rows as [BackupRow];
    await world.app.backups.remove(
      rows.map(({ id }) => id),
      'test',
    );
    const { id, errorCode } = await upload(child as Buffer);
    expect(errorCode).toBe('CHAIN_BROKEN');
    const moved = fileName.replace('okpuja', 'moved');
    await writeFile(join(world.backups, moved), full as Buffer);
    await world.app.backups.adopt({ address, fileName: moved }, { sameApplication: false }, 'test', NEVER);
    const row = await world.app.backups.get(id);
    expect([row.errorCode, row.verificationLevel]).toEqual([null, 'ARCHIVE']);
    await world.restore({ backupId: id, mediaMode: 'MIRROR', allowForeign: true });
    expect(await present()).toEqual(states[1]);
  });

  it('never takes the place of a backup that was made here', async () => {
    const { rows } = await chainOf(2);
    const [full] = await files(rows);
    const stranger = await upload(full as Buffer);
    expect(preferred([stranger, rows[0] as BackupRow])?.id).toBe(rows[0]?.id);
    expect(preferred([rows[0] as BackupRow, stranger])?.id).toBe(rows[0]?.id);
  });

  it('is refused where its own bytes are damaged, whatever it waits for', async () => {
    const { rows } = await chainOf(2);
    const [, bytes] = await files(rows);
    await world.app.backups.remove(
      rows.map(({ id }) => id),
      'test',
    );
    const broken = Buffer.from(bytes as Buffer);
    broken[60] = (broken[60] ?? 0) ^ 1;
    await expect(upload(broken)).rejects.toMatchObject({ code: expect.stringMatching(/^ARCHIVE_/), field: 'file' });
  });

  it('keeps a waiting one marked when what arrives is not what it builds on', async () => {
    const { rows } = await chainOf(2);
    const [, child] = await files(rows);
    const [full] = rows as [BackupRow];
    await world.app.backups.remove(
      rows.map(({ id }) => id),
      'test',
    );
    const { id } = await upload(child as Buffer);
    // Another archive that says it is the parent.
    await change(5);
    const other = await world.app.backups.create({ backupType: 'MANUAL', mode: 'FULL' }, 'test');
    await world.app.backups.run(other.id, NEVER);
    await world.app.models.Backup.update({ archiveId: full.archiveId ?? full.id }, { where: { id: other.id } });
    await world.app.verifications.verify(id, 'ARCHIVE', 'test', NEVER).catch(() => undefined);
    const row = await world.app.backups.get(id);
    expect(row.errorCode).toMatch(/^(ARCHIVE|CHAIN)_/);
    expect(row.verifiedAt).toBeNull();
  });
});

describe('A chain that is encrypted', () => {
  it('restores with an identity that is not held here', async () => {
    const made = await world.app.keys.create({ name: 'Away', generate: true }, 'test');
    await world.app.configs.update(1, { encryptionKeyIds: [made.key.id] }, 'test');
    const { rows, states } = await chainOf(3);
    expect(rows.map(({ mode }) => mode)).toEqual(['FULL', 'INCREMENTAL', 'INCREMENTAL']);
    const backupId = rows[2]?.id ?? '';
    await expect(world.restore({ backupId })).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_MISSING' });
    await change(3);
    await world.restore({ backupId, mediaMode: 'MIRROR', identity: made.identity ?? '' });
    expect(await present()).toEqual(states[2]);
  });

  it('goes on after one of it was encrypted for another key', async () => {
    const [one, other] = await Promise.all(
      ['One', 'Other'].map((name) => world.app.keys.create({ name, generate: true, keepHere: true }, 'test')),
    );
    await world.app.configs.update(1, { encryptionKeyIds: [one?.key.id ?? 0] }, 'test');
    const { rows, states } = await chainOf(2);
    await world.app.backups.rewrap(rows[0]?.id ?? '', [other?.key.id ?? 0], 'test', NEVER);
    await change(2);
    await world.restore({ backupId: rows[1]?.id ?? '', mediaMode: 'MIRROR' });
    expect(await present()).toEqual(states[1]);
  });
});
